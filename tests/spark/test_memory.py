"""A release with more public keys than the driver can hold is refused before the charge."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from release_helpers import Place

from dp_spark.errors import SpecError
from dp_spark.spark import memory as driver_memory
from dp_spark.spark.memory import CELLS_PER_GIB, MOST_CELLS, check_fits, memory_gib

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


def test_a_release_that_is_too_wide_costs_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_memory, "_driver_gib", lambda spark: 1e-7)
    before = place.entries()
    with pytest.raises(SpecError, match="driver"):
        place.release("wide", partitions={"public": {"values": {"ward": ["a", "b"]}}})
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
