"""What a unit's rows come to: exact, the same whatever the order of rows, and beside sums over rows in one pass."""

from __future__ import annotations

import math
import random
import re
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest
from aggregate_cases import exact
from bounded_reference import keep
from frames import SALT, exact_values, explained, frame_of, tuples
from helpers import of_each_kind
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from queries import centred, count_of, plain_sum

from dp_spark.aggregates.query import (
    PRIVACY_ID_COUNT,
    ROW_COUNT,
    Query,
    Reduction,
    Total,
    Values,
    centred_sum,
    count_of_column,
    count_of_rows,
    count_of_units,
    total_of_column,
)
from dp_spark.engine.aggregation import aggregate
from dp_spark.engine.bounding import bound_contributions
from dp_spark.engine.features import prepare_rows
from dp_spark.engine.unit_values import half_even
from dp_spark.privacy.bounds import ContributionBounds
from dp_spark.privacy.lattice import MOST_OF_A_ROW, square_lattice, sum_lattice
from dp_spark.spark.settings import settings as session_settings

STR, INT, DOUBLE, BOOL = pa.string(), pa.int64(), pa.float64(), pa.bool_()
COLUMNS = {"unit": STR, "g": INT, "x": DOUBLE, "y": INT, "z": STR, "flag": BOOL}
HOSTILE = [None, math.nan, math.inf, -math.inf, -0.0, 0.0, 1e300, -1e300, 5e-324, 0.1, 2.5, 3.5, -2.5, 1e16]
WHOLE = [None, 0, -3, 5, 99, 2**62, -(2**63)]


def mixed(seed: int, size: int = 500) -> list[tuple[Any, ...]]:
    source = random.Random(seed)
    return [
        (
            f"user {source.randrange(40)}",
            source.choice([None, 0, 1, 2]),
            source.choice([*HOSTILE, *(source.uniform(-20, 20) for _ in HOSTILE)]),
            source.choice(WHOLE),
            source.choice([None, "", "text"]),
            source.choice([None, True, False]),
        )
        for _ in range(size)
    ] + [("alone", 3, source.choice(HOSTILE), None, None, True)]


def summed(column: str, how: Reduction, low: float, high: float, where: str | None = None) -> Query:
    return total_of_column("sum", Total(Values(column, where, how), sum_lattice(low, high, per_unit=True)))


def squared(column: str, how: Reduction, low: float, high: float) -> Query:
    lattice = square_lattice(low, high, per_unit=True)
    shift = lattice.radius**2 // 2
    return total_of_column("squares", Total(Values(column, None, how), lattice, lattice.midpoint, power=2, shift=shift))


HOWS: tuple[Reduction, ...] = ("sum", "mean", "count", "min", "max")
QUERIES = [
    *(summed("x", how, -5, 50) for how in HOWS),
    *(summed("y", how, 0, 100) for how in HOWS),
    *(squared("x", how, -5, 20) for how in HOWS),
    summed("z", "count", 0, 3), summed("x", "sum", 0, 1e9), summed("x", "mean", -1, 1, "flag"),
    summed("x", "sum", 0, 9, "y > 0"),
    centred_sum(Values("y", None, "mean"), 0, 7), centred_sum(Values("x", "flag", "max"), -3, 8),
    count_of_column(Values("x", None, "sum")), count_of_column(Values("z", "flag", "sum")), count_of_units("flag"),
    count_of_units(None, "y"), count_of_rows("flag"), count_of_column(Values("x", "flag")),
    total_of_column("sum", Total(Values("x", "flag"), sum_lattice(-5, 50))),
    PRIVACY_ID_COUNT, ROW_COUNT, count_of("x"), plain_sum("x", 0, 10), centred("y", 0, 5),
]  # fmt: skip


def plain(query: Query, rows: Sequence[dict[str, Any]]) -> int:
    """``y > 0`` stands for what it means, and the rest is the definition of the measures."""
    return exact(query, [{**row, "y > 0": None if row["y"] is None else row["y"] > 0} for row in rows])[0]


def in_python(rows: Sequence[tuple[Any, ...]], queries: Sequence[Query]) -> dict[tuple[Any, ...], tuple[int, ...]]:
    parts: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        parts[row[1]].append(dict(zip(COLUMNS, row, strict=True)))
    return {(key,): tuple(plain(query, part) for query in queries) for key, part in parts.items()}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_spark_finds_what_the_definition_says_beside_sums_over_rows(spark: SparkSession, seed: int) -> None:
    rows, queries = mixed(seed), QUERIES.copy()
    random.Random(seed).shuffle(queries)
    assert exact_values(spark, frame_of(spark, COLUMNS, rows), queries, units=["unit"]) == in_python(rows, queries)


def test_a_condition_also_counts_where_each_row_is_a_unit(spark: SparkSession) -> None:
    queries = [count_of_units("flag"), count_of_rows("flag"), count_of_units("flag", "x"), PRIVACY_ID_COUNT]
    rows = [(str(index), *row[1:]) for index, row in enumerate(mixed(4))]
    found = exact_values(spark, frame_of(spark, COLUMNS, rows), queries, units=[], bounds=ContributionBounds(1, 1))
    assert found == in_python(rows, queries)


@pytest.mark.slow
@pytest.mark.parametrize(
    "bounds",
    of_each_kind(
        [ContributionBounds(2, 2), ContributionBounds.of(2, 3, 4), ContributionBounds.of(None, None, 3)],
        ContributionBounds.of(2, 3, 4),
    ),
    ids=str,
)
def test_without_a_unit_every_vector_moves_within_its_sensitivity(spark: SparkSession, bounds: ContributionBounds) -> None:
    rows = mixed(7, 300)
    everybody = exact_values(spark, frame_of(spark, COLUMNS, rows), QUERIES, units=["unit"], bounds=bounds)
    nothing = (0,) * len(QUERIES)
    for gone in ("user 3", "alone"):
        fewer = frame_of(spark, COLUMNS, [row for row in rows if row[0] != gone])
        others = exact_values(spark, fewer, QUERIES, units=["unit"], bounds=bounds)
        for index, query in enumerate(QUERIES):
            moved = [everybody[key][index] - others.get(key, nothing)[index] for key in everybody]
            limits = bounds.sensitivity(query)
            assert sum(map(bool, moved)) <= limits.l0, query.label
            assert sum(map(abs, moved)) <= limits.l1, query.label
            assert sum(value**2 for value in moved) <= limits.l2_squared, query.label


def test_no_unit_moves_any_query_further_in_the_reference() -> None:
    """A thousand small tables of hostile values; the loosest of all comes within a factor of two of its bound."""
    source, closest = random.Random(11), dict.fromkeys(QUERIES, 0.0)
    for seed in range(1000):
        k, m, c = source.choice([None, 1, 2]), source.choice([None, 1, 3]), source.choice([1, 2, 4, 7])
        bounds = ContributionBounds.of(k, m, c)
        rows = [(f"user {source.randrange(3)}", *row[1:]) for row in mixed(seed, 12)]
        kept = keep(rows, bounds, hash_of(0, 1), hash_of(*range(6)))
        everybody = in_python(kept, QUERIES)
        others = in_python([row for row in kept if row[0] != "user 1"], QUERIES)
        for index, query in enumerate(QUERIES):
            moved = [found[index] - (others[key][index] if key in others else 0) for key, found in everybody.items()]
            limits = bounds.sensitivity(query)
            assert sum(map(bool, moved)) <= limits.l0, query.label
            assert sum(map(abs, moved)) <= limits.l1, query.label
            assert sum(value**2 for value in moved) <= limits.l2_squared, query.label
            closest[query] = max(closest[query], sum(map(abs, moved)) / limits.l1)
    counted = [query for query in QUERIES if '"per_unit":"count"' in query.label]  # a unit has fewer rows than the bounds allow
    assert min(share for query, share in closest.items() if query not in counted) > 0.5


def hash_of(*parts: int) -> Callable[[tuple[Any, ...]], int]:
    return lambda row: zlib.crc32(repr([row[part] for part in parts]).encode())


@given(st.integers(-(2**62), 2**62), st.integers(1, 2**20))
def test_the_rounding_rule_is_half_to_even_of_the_exact_quotient(total: int, number: int) -> None:
    """What ``half_even`` computes, in Python's integers."""
    rest = total % number
    floor = (total - rest) // number
    found = floor + (2 * rest > number or (2 * rest == number and floor & 1))
    assert found == round(Fraction(total, number))


def test_a_mean_is_rounded_half_to_even_in_whole_numbers(spark: SparkSession) -> None:
    source = random.Random(1)
    pairs = [(total, number) for number in (1, 2, 3, 4, 6) for total in range(-13, 14)]
    pairs += [(source.randrange(-(2**62), 2**62), source.randrange(1, 10**6)) for _ in range(500)]
    pairs += [(number // 2 + number * 10**9 * sign, number) for number in (2, 4, 10**6) for sign in (-1, 1)]
    pairs += [(10**6 * 2**42, 10**6), (-(10**6) * 2**42, 10**6), (7, 0)]
    frame = frame_of(spark, {"total": INT, "number": INT}, pairs)
    wanted = [None if number == 0 else round(Fraction(total, number)) for total, number in pairs]
    assert [item[0] for item in tuples(frame.select(half_even(F.col("total"), F.col("number"))))] == wanted


@pytest.mark.slow
def test_the_largest_rows_of_a_unit_do_not_overflow(spark: SparkSession) -> None:
    """A million rows of infinity, of one unit, as the largest bounds allow: their sum is 2^42 each."""
    frame = spark.range(10**6).selectExpr("1L as unit", "0L as g", "double('infinity') as x")
    queries = [summed("x", "mean", 0, 10), summed("x", "sum", 0, 10)]
    bounds = ContributionBounds(1, 10**6)
    found = exact_values(spark, frame, queries, units=["unit"], bounds=bounds)
    assert found == {(0,): tuple(query.change for query in queries)}
    assert 10**6 * MOST_OF_A_ROW < 2**63


def test_one_scan_one_shuffle_on_the_unit_and_one_on_the_key(spark: SparkSession, capsys: pytest.CaptureFixture[str]) -> None:
    """The values of units need neither a shuffle nor a sort of their own: rows lie together already."""
    with session_settings(spark, {"spark.sql.adaptive.enabled": "false"}):
        frame = frame_of(spark, COLUMNS, mixed(0)).repartition(3)
        rows = prepare_rows(frame, ["unit"], ["g"], QUERIES, None)
        bounded = bound_contributions(rows, ContributionBounds(2, 2), SALT)
        plan = re.sub(r"#\d+L?", "", explained(aggregate(bounded, QUERIES), capsys))
    assert re.findall(r"[- ]Exchange hashpartitioning\((\w+), \d+\)", plan) == ["k0", "u0"]
    orders = [re.findall(r"(\w+) ASC", order)[:3] for order in re.findall(r"Sort \[([^\]]*)\]", plan)]
    assert orders == [["u0", "key_hash", "k0"], ["u0"]]
    assert len(re.findall(r"Scan ", plan)) == 1
