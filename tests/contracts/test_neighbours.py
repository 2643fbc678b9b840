"""Without one privacy unit no exact integer vector moves further than its declared sensitivity, and some move as far.

Thousands of random tables in plain Python, for every aggregate of the registry; hundreds through Spark, in a few jobs: the
number of its table is a part of each row's unit and key, so that each table is bounded and aggregated by itself.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pytest
from aggregate_cases import WHERE, as_read, exact, instances, limits_of
from bounded_reference import keep
from frames import SALT, frame_of
from neighbours import SPECIAL, exceeded, moved, vectors
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from dp_spark.aggregates.base import Aggregate
from dp_spark.aggregates.query import Query
from dp_spark.aggregates.registry import BY_FUNCTION
from dp_spark.engine import aggregation
from dp_spark.engine.bounding import bound_contributions
from dp_spark.engine.features import prepare_rows
from dp_spark.privacy.bounds import ContributionBounds

# --- in plain Python --------------------------------------------------------------------------------------------------


def by_text(*parts: int) -> Callable[[tuple[Any, ...]], int]:
    def of(row: tuple[Any, ...]) -> int:
        text = repr([row[part] for part in parts])
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())

    return of


def random_table(chosen: random.Random, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Rows (unit, key, value, condition) of a few units; in half of the tables unit 0 has an own partition, or one value."""
    keys, flags = ["p", "q", "", None], [True, True, True, False, None]
    own, mine = [*keys, *["own"] * chosen.randrange(2)], values if chosen.randrange(2) else [chosen.choice(values)]
    rows = [(0, chosen.choice(own), chosen.choice(mine), chosen.choice(flags)) for _ in range(12)]
    return rows + [
        (chosen.randrange(1, 4), chosen.choice(keys), chosen.choice(values), chosen.choice(flags)) for _ in range(12)
    ]


def values_for(aggregate: Aggregate, chosen: random.Random) -> list[Any]:
    low, high = limits_of(aggregate)
    numbers = [*SPECIAL, low, high, (low + high) / 2, high + 1, *(chosen.uniform(low - 1, high + 1) for _ in range(3))]
    texts = [""] if any(need.text for need in aggregate.needs()) else []
    return [as_read(aggregate, value) for value in numbers] + texts + [*(getattr(aggregate, "values", None) or ())]


def vector(query: Query, kept: Sequence[tuple[Any, ...]], keys: set[Any]) -> dict[tuple[Any, int], int]:
    found = {}
    for key in keys:
        rows = [{"unit": row[0], "x": row[2], WHERE: row[3]} for row in kept if row[1] == key]
        found.update({(key, index): value for index, value in enumerate(exact(query, rows))})
    return found


def test_without_a_unit_no_aggregate_moves_further_than_its_sensitivity() -> None:
    chosen, tightest = random.Random(16), defaultdict[str, float](float)
    aggregates = [item for item in instances() if item.function in BY_FUNCTION]
    for number in range(2000):
        aggregate = aggregates[number % len(aggregates)]
        rows = random_table(chosen, values_for(aggregate, chosen))
        bounds = ContributionBounds.of(chosen.choice([1, 2, 3]), chosen.choice([1, 2, 4]), chosen.choice([None, 1, 2, 3, 5]))
        before, after = (
            keep([row for row in rows if row[0] != gone], bounds, by_text(0, 1), by_text(0, 1, 2, 3)) for gone in (None, 0)
        )
        assert Counter(map(repr, after)) == Counter(repr(row) for row in before if row[0] != 0), "nobody else's rows change"
        changed = {row[1] for row in before if row[0] == 0}
        for query in aggregate.queries():
            found, declared = moved(vector(query, before, changed), vector(query, after, changed)), bounds.sensitivity(query)
            assert exceeded(found, declared) == [], (aggregate, bounds, rows)
            tightest[aggregate.function] = max(tightest[aggregate.function], found.l2_squared / declared.l2_squared)
    assert tightest == dict.fromkeys(BY_FUNCTION, 1.0)


# --- through Spark ----------------------------------------------------------------------------------------------------

COLUMNS = {
    "number": pa.int64(),
    "id": pa.string(),
    "g": pa.string(),
    "x": pa.float64(),
    "n": pa.int64(),
    "t": pa.string(),
    "first": pa.bool_(),
}
EVEN = {"column": "x", "min_value": -8, "max_value": 10, "resolution": 100}
TEN = {"column": "n", "min_value": -(2**62), "max_value": 2**62, "resolution": 10}
SOME = {"where": "n > 0 and t <> ''"}
BINS: list[dict[str, Any]] = [
    {"function": "quantiles", "quantiles": [0.1, 0.5], **EVEN},
    {"function": "quantiles", "quantiles": [0.5], **EVEN, **SOME, "resolution": 1000},
    {"function": "min", "quantile": 0.01, **TEN},
    {"function": "cdf", "column": "n", "edges": [-(2.0**63), -1, 0, 8, 2.0**53, 2.0**62]},
    {"function": "histogram", "column": "x", "edges": [-8, -0.0, 1e-9, 9, 10], **SOME},
    {"function": "histogram", "column": "t", "values": ["", "a", "b"]},
    {"function": "histogram", "column": "t", "values": ["a"], "where": "x > 1"},
    *({"function": "quantiles", "quantiles": [0.5], **EVEN, "per_unit": how} for how in ("sum", "mean", "min", "max")),
    {"function": "histogram", "column": "x", "edges": [0, 1, 2, 9], "per_unit": "count", **SOME},
    {"function": "cdf", "column": "n", "edges": [-100, 0, 100], "per_unit": "max"},
]
OTHERS: list[dict[str, Any]] = [
    {"function": "privacy_id_count", **SOME},
    {"function": "count", "column": "x"},
    *({"function": function, "column": "x", "min_value": -8, "max_value": 8} for function in ("sum", "mean", "variance")),
    *({"function": "sum", "column": "x", "min_value": -8, "max_value": 8, "per_unit": how} for how in ("sum", "mean", "max")),
    {"function": "sum", "column": "n", "min_value": 0, "max_value": 1, "per_unit": "count"},
]


def queries_of(aggregates: Sequence[dict[str, Any]]) -> list[Query]:
    checked = [BY_FUNCTION[item["function"]].model_validate({"name": "a", **item}) for item in aggregates]
    return list(dict.fromkeys(query for item in checked for query in item.queries()))


def some_tables(spark: SparkSession, tables: int) -> DataFrame:
    """Units with specials in all columns, the empty unit and the null one; in each table unit u0 is to go, or its first row.

    In each fourth table it has equal rows, so as to move what it can: all in one partition, several in each, or one in each.
    """
    chosen, rows = random.Random(tables), []
    integers, texts = [None, 0, 1, 7, -1, 2**63 - 1, -(2**63), 2**53 + 1], ["", "a", "b", "c", None]
    keys = ["p", "q", "", None]
    for number in range(tables):
        own = [*keys, "own"]
        equal = {0: ["own"] * 10, 4: own * 4, 8: own}.get(number % 12)
        mine = [("u0", key) for key in equal or chosen.choices(own, k=9)]
        others = [(chosen.choice(["u1", "u2", "", None]), chosen.choice(keys)) for _ in range(10)]
        for index, (unit, key) in enumerate(mine + others):
            value = chosen.choice(SPECIAL) if chosen.random() < 0.5 else chosen.uniform(-12, 12)
            cells = (9.5, 7, "a") if equal and unit == "u0" else (value, chosen.choice(integers), chosen.choice(texts))
            rows.append((number, unit, key, *cells, index == 0))
    chosen.shuffle(rows)
    return frame_of(spark, COLUMNS, rows)


def check_neighbours(
    frame: DataFrame, queries: Sequence[Query], bounds: ContributionBounds, units: Sequence[str], tables: int
) -> dict[Query, float]:
    """Checks each table against itself without its first unit, or row; returns how far each query moved, as a share of most."""
    gone = F.col("id").eqNullSafe("u0") if units else F.col("first")
    found = []
    for source in (frame, frame.where(~gone)):
        rows = bound_contributions(prepare_rows(source, units, ["number", "g"], queries, None), bounds, SALT)
        found.append(vectors(aggregation.collect(aggregation.aggregate(rows, queries), rows, queries), queries, 0))
    tightest = {}
    for query in queries:
        declared, moves = bounds.sensitivity(query), []
        for number in range(tables):
            moves.append(moved(*(side[query].get(number, {}) for side in found)))
            assert exceeded(moves[-1], declared) == [], (query.label, number, moves[-1], declared)
        tightest[query] = max(move.l2_squared for move in moves) / declared.l2_squared
    return tightest


@pytest.mark.usefixtures("held")
def test_dozens_of_tables_through_spark_move_as_far_as_declared(spark: SparkSession) -> None:
    queries = queries_of([BINS[index] for index in (0, 5, 9)])
    tightest = check_neighbours(some_tables(spark, 60), queries, ContributionBounds(3, 2, 5), ["number", "id"], 60)
    assert tightest == dict.fromkeys(queries, 1.0)


@pytest.mark.long
@pytest.mark.usefixtures("held")
@pytest.mark.parametrize(
    "bounds",
    [
        ContributionBounds(1, 1),
        ContributionBounds(2, 3),
        ContributionBounds.of(3, 2, 4),
        ContributionBounds.of(None, None, 5),
        ContributionBounds.of(2, None, 7),
        None,
    ],
    ids=["k1 m1", "k2 m3", "k3 m2 c4", "c5", "k2 c7", "rows"],
)
def test_hundreds_of_tables_through_spark_move_as_far_as_declared(
    spark: SparkSession, bounds: ContributionBounds | None
) -> None:
    """Every kind of bins beside the other measures; without bounds each row is a unit."""
    queries, tables = queries_of(BINS + OTHERS), 400
    units = [] if bounds is None else ["number", "id"]
    tightest = check_neighbours(some_tables(spark, tables), queries, bounds or ContributionBounds(1, 1), units, tables)
    assert {query.label: share for query, share in tightest.items() if share < 1} == {}
