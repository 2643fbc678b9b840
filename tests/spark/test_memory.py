"""A release with more public keys than the driver can hold is refused before the charge."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession
from release_helpers import COUNT, Place

from dp_spark.errors import SpecError
from dp_spark.privacy.trees import LeafCounts
from dp_spark.spark import memory as driver_memory
from dp_spark.spark.memory import BINS_PER_GIB, CELLS_PER_GIB, MOST_CELLS, check_fits, memory_gib

pytestmark = pytest.mark.books_in_memory


def test_what_fits_passes_and_one_key_more_does_not(spark: SparkSession) -> None:
    gib = memory_gib(spark.conf.get("spark.driver.memory") or "")
    assert gib is not None
    keys = int(gib * CELLS_PER_GIB) // 7
    check_fits(spark, keys, 7)
    with pytest.raises(SpecError, match="public keys with 7 columns") as caught:
        check_fits(spark, keys + 1, 7)
    assert caught.value.where == "partitions.public"
    assert caught.value.mend.startswith(f"give the driver {int(gib) + 1}g or more")
    check_fits(spark, keys, 3, 4)
    with pytest.raises(SpecError, match="with 3 columns and 4 nodes of trees"):
        check_fits(spark, keys + 1, 3, 4)


def test_bins_that_may_all_have_a_value_fit_or_are_refused_with_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 keys with 10,000 bins, of which few may have a value, need no more than the counts of all take."""
    nobody: Any = None
    monkeypatch.setattr(driver_memory, "_driver_gib", lambda spark: 2)
    with pytest.raises(SpecError, match="with 7 columns and 12 nodes of trees and 10002 bins are more than a driver") as caught:
        check_fits(nobody, 10_000, 7, 12, 10_002)
    [needed] = re.findall(r"give the driver (\d+)g or more", caught.value.mend)
    assert needed == "3"
    assert caught.value.mend.endswith("fewer keys, aggregates or bins")
    monkeypatch.setattr(driver_memory, "_driver_gib", lambda spark: int(needed))
    check_fits(nobody, 10_000, 7, 12, 10_002)
    check_fits(nobody, int(needed) * BINS_PER_GIB, 0, 0, 1)
    with pytest.raises(SpecError, match="bins"):
        check_fits(nobody, int(needed) * BINS_PER_GIB + 1, 0, 0, 1)


def test_a_bin_that_has_a_value_is_held_in_as_many_bytes_as_is_checked() -> None:
    places = np.arange(1000)
    counts = LeafCounts.of(1, 1000, np.zeros_like(places), places, places)
    counts.between(places[:1], places[:1], places[1:2])
    held = [value.nbytes for value in vars(counts).values() if isinstance(value, np.ndarray)]
    assert sum(held) // len(places) == 2**30 // BINS_PER_GIB


def test_more_than_one_value_can_hold_is_refused_whatever_the_memory(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_memory, "_driver_gib", lambda spark: None)
    check_fits(spark, MOST_CELLS // 7, 7)
    with pytest.raises(SpecError, match="more than one release can hold"):
        check_fits(spark, MOST_CELLS // 7 + 1, 7)


@pytest.mark.parametrize(
    ("text", "gib"), [("8g", 8), ("8G", 8), ("512m", 0.5), ("2048", 2), ("1048576k", 1), ("1t", 1024), ("8gb", 8), ("?", None)]
)
def test_amounts_of_memory_are_read_as_spark_reads_them(text: str, gib: float | None) -> None:
    assert memory_gib(text) == gib


@pytest.mark.parametrize(
    ("gib", "aggregate", "told"),
    [
        (1e-7, COUNT, "with 3 columns are more than a driver"),
        (1e-4, {"function": "median", "column": "cost", "min_value": 0, "max_value": 9, "resolution": 10_000}, "10002 bins"),
    ],
    ids=["cells", "bins"],
)
def test_a_release_that_is_too_wide_costs_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch, gib: float, aggregate: dict[str, Any], told: str
) -> None:
    monkeypatch.setattr(driver_memory, "_driver_gib", lambda spark: gib)
    before = place.entries()
    with pytest.raises(SpecError, match=told):
        place.release("wide", partitions={"public": {"values": {"ward": ["a", "b"]}}}, aggregates=[{"name": "m", **aggregate}])
    assert place.entries() == before
    assert not place.sink.exists()


@pytest.mark.slow
def test_a_release_that_is_drawn_already_is_published_whatever_the_memory(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "keys.csv").write_text("ward\ner\n", encoding="utf-8")
    keys = {"public": {"source": {"format": "csv", "path": str(tmp_path / "keys.csv"), "schema": {"ward": "string"}}}}
    place.release("wide", partitions=keys)
    monkeypatch.setattr(driver_memory, "_driver_gib", lambda spark: 1e-7)
    assert place.release("wide", partitions=keys).status == "already_published"
