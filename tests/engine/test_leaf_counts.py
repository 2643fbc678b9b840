"""Counts by bin in Spark are those of the reference, beside other integers, in one pass."""

from __future__ import annotations

import math
import random
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from aggregate_cases import places_in
from frames import NO_BOUND, SALT, explained, frame_of
from pyspark.sql import DataFrame, SparkSession
from queries import plain_sum

from dp_spark.aggregates.bins import bins_query
from dp_spark.aggregates.query import PRIVACY_ID_COUNT, ROW_COUNT, Bins, Query, Values, count_of_column
from dp_spark.engine import aggregation, leaf_counts
from dp_spark.engine.aggregation import ExactAggregates
from dp_spark.engine.bounding import bound_contributions
from dp_spark.engine.features import prepare_rows
from dp_spark.engine.public_keys import public_keys
from dp_spark.errors import DpSparkError
from dp_spark.privacy.bounds import ContributionBounds
from dp_spark.privacy.grids import Edges, Listed, even_edges
from dp_spark.privacy.trees import LeafCounts, TreeShape
from dp_spark.spark.settings import settings as session_settings
from dp_spark.spec.release_spec import PublicPartitions

EVEN, ODD, TEXTS = even_edges(-10.0, 10.0, 100), Edges((-4.0, 0.0, 0.5, 7.0)), Listed(("a", "b"))
QUERIES = [
    PRIVACY_ID_COUNT,
    bins_query(Values("x"), EVEN, TreeShape(2)),
    plain_sum("x", -5, 5),
    bins_query(Values("x"), ODD, TreeShape(1, 3)),
    bins_query(Values("t"), TEXTS, TreeShape(1, 2)),
    count_of_column(Values("t")),
    bins_query(Values("x", per_unit="sum"), ODD, TreeShape(1, 3)),
    bins_query(Values("x", where="x > 0", per_unit="count"), ODD, TreeShape(1, 3)),
    ROW_COUNT,
]
SPECIAL = [None, math.nan, math.inf, -math.inf, -0.0, 0.0, 0.5, 7.0, -4.0, 1e308, 9.999]

pytestmark = pytest.mark.spark


def some_rows(seed: int, size: int = 300) -> list[tuple[Any, ...]]:
    chosen = random.Random(seed)
    return [
        (
            f"u{chosen.randrange(40)}",
            chosen.choice(["p", "q", None, ""]),
            chosen.choice(SPECIAL) if chosen.random() < 0.4 else chosen.uniform(-12, 12),
            chosen.choice(["a", "b", "", "c", None]),
        )
        for _ in range(size)
    ]


def source(spark: SparkSession, rows: list[tuple[Any, ...]]) -> DataFrame:
    return frame_of(spark, {"id": pa.string(), "g": pa.string(), "x": pa.float64(), "t": pa.string()}, rows)


def exact(
    spark: SparkSession,
    frame: DataFrame,
    group_by: list[str],
    public: list[Any] | None = None,
    units: tuple[str, ...] = ("id",),
) -> ExactAggregates:
    found = None
    if public is not None:
        listed = PublicPartitions.model_validate({"values": {"g": public}})
        found = public_keys(spark, listed, {"g": frame.schema["g"].dataType}, "UTC")
    rows = prepare_rows(frame, units, group_by, QUERIES, None if found is None else found.frame(spark))
    bounded = bound_contributions(rows, NO_BOUND if units else ContributionBounds(1, 1), SALT)
    got = aggregation.collect(aggregation.aggregate(bounded, QUERIES), bounded, QUERIES)
    return (aggregation.fill_public(got, found) if found is not None else got).in_canonical_order()


def leaves(query: Query, rows: list[tuple[Any, ...]]) -> list[int]:
    """All places of one partition, counted one by one."""
    assert isinstance(query.measure, Bins)
    values, found = query.measure.values, [0] * (query.measure.shape.leaves + 2)
    present = [(row[0], row["idgxt".index(values.column) - 1]) for row in rows]
    present = [(unit, value) for unit, value in present if value is not None and value == value]
    if values.where is not None:
        present = [(unit, value) for unit, value in present if value > 0]
    for place in places_in(query.measure, query.measure.grid, present):
        if place is not None:
            found[place] += 1
    return found


def check(got: ExactAggregates, by_key: dict[Any, list[tuple[Any, ...]]], keys: list[Any]) -> None:
    for query in QUERIES:
        counts = got.values[query]
        if isinstance(counts, LeafCounts):
            width = counts.leaves + 2
            at, first = np.divmod(np.arange(len(keys) * width), width)
            found = counts.between(at, first, first + 1).reshape(len(keys), width).tolist()
            assert found == [leaves(query, by_key[key]) for key in keys], query.label
    assert [row[0] for row in got.values[ROW_COUNT]] == [len(by_key[key]) for key in keys]
    assert [row[0] for row in got.values[PRIVACY_ID_COUNT]] == [len({row[0] for row in by_key[key]}) for key in keys]


def grouped(rows: list[tuple[Any, ...]]) -> dict[Any, list[tuple[Any, ...]]]:
    found = defaultdict(list)
    for row in rows:
        found[row[1]].append(row)
    return found


def test_counts_are_those_of_the_reference_with_whatever_is_beside_them(spark: SparkSession) -> None:
    rows = some_rows(1)
    frame = source(spark, rows)
    private = exact(spark, frame, ["g"])
    assert private.keys.column(0).to_pylist() == [None, "", "p", "q"]
    check(private, grouped(rows), [None, "", "p", "q"])
    check(exact(spark, frame, ["g"], ["zz", "q", ""]), grouped(rows), ["", "q", "zz"])
    check(exact(spark, frame, []), {(): rows}, [()])


def test_a_pre_threshold_drops_the_bins_of_a_partition_with_it(spark: SparkSession) -> None:
    rows = [*some_rows(3, 60), *((f"u{number}", "few", 1.0, "a") for number in range(3))]
    units = {key: len({row[0] for row in of_key}) for key, of_key in grouped(rows).items()}
    assert units["few"] == 3 < 4 <= min(number for key, number in units.items() if key != "few")
    bounded = bound_contributions(prepare_rows(source(spark, rows), ["id"], ["g"], QUERIES, None), NO_BOUND, SALT)
    whole = aggregation.aggregate(bounded, QUERIES)
    for least, keys in ((3, [None, "", "few", "p", "q"]), (4, [None, "", "p", "q"])):
        kept = aggregation.with_at_least(whole, bounded, QUERIES, PRIVACY_ID_COUNT, least)
        assert {row["k0"] for row in kept.select("k0").toArrow().to_pylist()} == set(keys), "rows of bins are dropped in Spark"
        check(aggregation.collect(kept, bounded, QUERIES).in_canonical_order(), grouped(rows), keys)


def test_rows_of_no_partition_are_no_empty_release() -> None:
    """As a session would send them in which Spark numbers grouping sets in another way."""
    rows = pa.table({"k0": ["a"], "grouping_set": [7], "place": [1], "values_in_it": [2]})
    with pytest.raises(DpSparkError, match="in another way"):
        leaf_counts.apart(rows, ["k0"], ["f0"])


def test_nothing_is_zero_everywhere(spark: SparkSession) -> None:
    check(exact(spark, source(spark, []), []), {(): []}, [()])
    assert exact(spark, source(spark, []), ["g"]).keys.num_rows == 0
    check(exact(spark, source(spark, []), ["g"], ["a", "b"]), defaultdict(list), ["a", "b"])


@pytest.mark.parametrize("queries", [QUERIES, QUERIES[:2]], ids=["several", "one"])
def test_one_scan_one_shuffle_on_the_unit_and_one_on_the_keys(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str], queries: list[Query]
) -> None:
    source(spark, some_rows(2)).write.parquet(str(tmp_path / "rows"))
    with session_settings(spark, {"spark.sql.adaptive.enabled": "false"}):
        rows = prepare_rows(spark.read.parquet(str(tmp_path / "rows")), ["id"], ["g"], queries, None)
        plan = explained(aggregation.aggregate(bound_contributions(rows, ContributionBounds(2, 2), SALT), queries), capsys)
    lines = re.sub(r"#\d+L?", "", plan).splitlines()
    assert sum("FileScan" in line for line in lines) == 1
    shuffles = [re.search(r"hashpartitioning\((\w+)", line) for line in lines if re.search(r"[- ]Exchange ", line)]
    assert [found and found[1] for found in shuffles] == ["k0", "u0"]
    expands = [index for index, line in enumerate(lines) if "Expand" in line]
    assert len(expands) == 1
    # after bounding, and before what is shuffled: partial counts
    assert [line for line in lines[: expands[0]] if "partial_count(" in line]
    assert not [line for line in lines[: expands[0]] if "Window" in line]
