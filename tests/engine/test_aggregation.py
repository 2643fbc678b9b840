"""Exact integers per partition: the lattice in Spark, exact sums, public keys before bounding, and silence about values."""

from __future__ import annotations

import math
import random
import re
import traceback
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from frames import NO_BOUND, SALT, exact_values, explained, frame_of, tuples
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T
from queries import centred, count_of, plain_sum, total_in

from dp_spark.aggregates.query import (
    PRIVACY_ID_COUNT,
    ROW_COUNT,
    Present,
    Query,
    Rows,
    Total,
    Units,
    Values,
    total_of_column,
)
from dp_spark.engine import aggregation
from dp_spark.engine.aggregation import ExactAggregates, fill_public
from dp_spark.engine.bounding import Salt, bound_contributions
from dp_spark.engine.buckets import Buckets
from dp_spark.engine.features import lattice_column, prepare_rows
from dp_spark.engine.public_keys import PublicKeys, public_keys
from dp_spark.errors import SourceError, SpecError
from dp_spark.privacy.bounds import ContributionBounds
from dp_spark.privacy.lattice import Lattice, centred_lattice, square_lattice, sum_lattice
from dp_spark.spark.settings import BUCKETING, RELEASE_SETTINGS
from dp_spark.spark.settings import settings as session_settings
from dp_spark.spec.release_spec import PublicPartitions, Source

STR, INT, DOUBLE = pa.string(), pa.int32(), pa.float64()
COUNT, total = ROW_COUNT, plain_sum


def keys_of(spark: SparkSession, frame: DataFrame, **values: Sequence[Any]) -> PublicKeys:
    public = PublicPartitions.model_validate({"values": {name: list(items) for name, items in values.items()}})
    return public_keys(spark, public, {name: frame.schema[name].dataType for name in values}, "UTC")


# --- the lattice, row by row ------------------------------------------------------------------------------------------

SPECIAL = [
    None, math.nan, math.inf, -math.inf, 0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308,
    -1.7976931348623157e308, 0.5, 1.5, 2.5, -0.5, -1.5, 1.0, 1e16, 2.0**53, 2.0**63, -(2.0**63), 1e19,
]  # fmt: skip
BOUNDS = [
    (0.0, 500.0), (-1.0, 1.0), (0.0, 0.1), (-1e-3, 1e6), (-1e200, 1e-200), (1e-200, 2e-200), (1e250, 2e250), (1000.0, 1001.0),
    (-7.0, -3.0), (2.0**40, 2.0**40 + 1), (-(2.0**-899), 2.0**-899), (-(2.0**899), 2.0**898), (1e-9, 1e9),
]  # fmt: skip


def reference(lattice: Lattice, value: float | None) -> int | None:
    return None if value is None or math.isnan(value) else lattice.to_integer(float(value))


def lattices(bounds: Sequence[tuple[float, float]]) -> list[Lattice]:
    found = []
    for low, high in bounds:
        for build in (sum_lattice, centred_lattice):
            try:
                found.append(build(low, high))
            except SpecError:
                continue
    return found


def half_way(lattice: Lattice) -> list[float]:
    """Values that lie between two lattice points: rint goes to the even one."""
    middle = lattice.midpoint
    return [math.ldexp(middle + step + 0.5, lattice.exponent) for step in (-3, -2, -1, 0, 1, 2)]


magnitude = st.floats(min_value=1e-250, max_value=1e250)
bound = st.one_of(magnitude, magnitude.map(lambda value: -value), st.just(0.0))
ordered = st.tuples(bound, bound).filter(lambda pair: pair[0] != pair[1]).map(lambda pair: (min(pair), max(pair)))


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    values=st.lists(st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=True), max_size=150),
    bounds=st.lists(ordered, min_size=1, max_size=6),
)
@example(values=[], bounds=BOUNDS)
def test_spark_finds_the_lattice_integer_of_every_double(
    spark: SparkSession, values: list[float], bounds: list[tuple[float, float]]
) -> None:
    on = lattices(bounds)
    values = [
        *SPECIAL,
        *values,
        *(item for lattice in on for item in [*half_way(lattice), lattice.min_value, lattice.max_value]),
    ]
    frame = frame_of(spark, {"x": DOUBLE}, [(value,) for value in values])
    found = frame.select(*(lattice_column(F.col("x"), lattice).alias(f"l{index}") for index, lattice in enumerate(on)))
    assert all(item.dataType == T.LongType() for item in found.schema.fields)
    assert tuples(found) == [tuple(reference(lattice, value) for lattice in on) for value in values]


def test_integers_floats_and_decimals_have_the_same_lattice(spark: SparkSession) -> None:
    columns = {"i": pa.int64(), "s": pa.int16(), "f": pa.float32(), "d": pa.decimal128(38, 10)}
    rows = [
        (2**63 - 1, 32767, math.nan, Decimal("1234567890123456789012345678.0123456789")),
        (-(2**63), -32768, -math.inf, Decimal("-0.0000000001")),
        (None, None, None, None),
        (3, 3, 0.1, Decimal("0.1")),
        (0, 0, -0.0, Decimal("0")),
    ]
    on = [sum_lattice(-2.0, 7.0), sum_lattice(-1e30, 1e20), centred_lattice(0.05, 0.3)]
    frame = frame_of(spark, columns, rows)
    found = frame.select(
        *(lattice_column(F.col(name), lattice).alias(f"{name}{i}") for name in columns for i, lattice in enumerate(on))
    )
    floats = pa.array([row[2] for row in rows], pa.float32()).to_pylist()
    wanted = [
        tuple(reference(lattice, value) for value in (row[0], row[1], floats[index], row[3]) for lattice in on)
        for index, row in enumerate(rows)
    ]
    assert tuples(found) == wanted


# --- aggregates -------------------------------------------------------------------------------------------------------


def wanted_value(query: Query, values: Sequence[dict[str, Any]]) -> int:
    """What a query is for the rows of one partition, in plain Python integers."""
    measure = query.measure
    if isinstance(measure, Rows):
        return len(values)
    if isinstance(measure, Units):
        return len({row["id"] for row in values})
    column = measure.values.column
    present = [row[column] for row in values if row[column] is not None]
    present = [value for value in present if not (isinstance(value, float) and math.isnan(value))]
    if isinstance(measure, Present):
        return len(present)
    return sum(measure.term(measure.lattice.to_integer(float(value))) for value in present)


COLUMNS = {"id": STR, "g": INT, "x": DOUBLE, "y": INT, "z": STR}


def mixed(seed: int, size: int = 400) -> list[tuple[Any, ...]]:
    source = random.Random(seed)
    doubles = [None, math.nan, math.inf, -math.inf, -0.0, 1e16, -1e16, 0.1, 0.3]
    return [
        (
            f"user {source.randrange(30)}",
            source.choice([None, 0, 1, 2, 3]),
            source.choice([*doubles, *(source.uniform(-20, 20) for _ in doubles)]),
            source.choice([None, -3, 0, 4, 99]),
            source.choice([None, "", "text", "NaN"]),
        )
        for _ in range(size)
    ]


def in_python(rows: Sequence[tuple[Any, ...]], queries: Sequence[Query]) -> dict[tuple[Any, ...], tuple[int, ...]]:
    named = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    keys = {row["g"] for row in named}
    return {(key,): tuple(wanted_value(q, [row for row in named if row["g"] == key]) for q in queries) for key in keys}


def squares(column: str, low: float, high: float) -> Query:
    lattice = square_lattice(low, high)
    return total_of_column("squares", Total(Values(column), lattice, lattice.midpoint, power=2, shift=lattice.radius**2 // 2))


ALL_KINDS = [
    total("x", 0, 10), centred("x", 0, 5), count_of("x"), count_of("y"), total("y", -2, 50), total("x", -5, 5), count_of("z"),
    COUNT, PRIVACY_ID_COUNT, centred("y", 0, 4), total("x", 0, 1e6), squares("x", 0, 5), squares("y", 0.1, 4),
]  # fmt: skip


@pytest.mark.parametrize("order", range(4))
def test_every_query_is_its_own_however_many_share_a_column(spark: SparkSession, order: int) -> None:
    """Two sums over one column with different bounds, its mean, its count, another column's sum and count, text."""
    rows, queries = mixed(order), ALL_KINDS.copy()
    if order:
        random.Random(order).shuffle(queries)
    assert exact_values(spark, frame_of(spark, COLUMNS, rows), queries) == in_python(rows, queries)


@pytest.mark.parametrize(
    "queries", [[count_of("x")], [count_of("z"), count_of("x")], [count_of("y"), COUNT], [PRIVACY_ID_COUNT]]
)
def test_a_column_is_counted_without_a_sum_too(spark: SparkSession, queries: list[Query]) -> None:
    """Neither null nor NaN counts; an empty text and the text NaN do."""
    rows = mixed(9, 120)
    assert exact_values(spark, frame_of(spark, COLUMNS, rows), queries) == in_python(rows, queries)


def test_float_nan_and_null_count_for_nothing(spark: SparkSession) -> None:
    rows = [("a", 0, value) for value in (math.nan, None, 1.5, -0.0, math.inf)]
    frame = frame_of(spark, {"id": STR, "g": INT, "x": pa.float32()}, rows)
    queries = [count_of("x"), COUNT]
    assert exact_values(spark, frame, queries) == {(0,): (3, 5)}
    bounded = total("x", 0, 2)
    summed = int(3.5 / bounded.granularity)  # 1.5, and infinity clipped to 2
    assert exact_values(spark, frame, [*queries, bounded]) == {(0,): (3, 5, summed)}


def test_sums_of_nothing_are_zero_and_never_null(spark: SparkSession) -> None:
    rows = [("a", 0, None), ("b", 0, math.nan), ("c", 1, None)]
    queries = [total("x", 3, 9), centred("x", 3, 9), count_of("x"), COUNT]
    frame = frame_of(spark, {"id": STR, "g": INT, "x": DOUBLE}, rows)
    assert exact_values(spark, frame, queries) == {(0,): (0, 0, 0, 2), (1,): (0, 0, 0, 1)}
    nobody = frame.where("g > 5")
    assert exact_values(spark, nobody, queries, group_by=[]) == {(): (0, 0, 0, 0)}
    assert exact_values(spark, nobody, queries) == {}


def test_a_global_row_and_row_units(spark: SparkSession) -> None:
    rows = mixed(3, 150)
    frame = frame_of(spark, COLUMNS, rows)
    named = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    assert exact_values(spark, frame, ALL_KINDS, group_by=[]) == {(): tuple(wanted_value(q, named) for q in ALL_KINDS)}
    each_row = [{**row, "id": index} for index, row in enumerate(named)]
    one = ContributionBounds(1, 1)
    found = exact_values(spark, frame, ALL_KINDS, units=[], group_by=[], bounds=one)
    assert found == {(): tuple(wanted_value(q, each_row) for q in ALL_KINDS)}
    assert exact_values(spark, frame, [COUNT], units=[], group_by=[], bounds=one) == {(): (150,)}


def test_sums_do_not_depend_on_order_spark_partitions_or_aqe(spark: SparkSession) -> None:
    """Doubles that do not associate: a plain sum of them changes with the order of addition."""
    source = random.Random(2)
    rows = [(f"user {i % 40}", i % 3, source.choice([1e16, 1.0, -1e16, 0.1, 3e-9]) * source.random()) for i in range(1200)]
    queries = [total("x", -1e16, 1e16), centred("x", -1.0, 1e16), count_of("x"), total("x", 0, 0.2)]
    found = []
    for partitions, adaptive in ((1, "true"), (7, "false"), (64, "true")):
        source.shuffle(rows)
        held = {"spark.sql.adaptive.enabled": adaptive, "spark.sql.shuffle.partitions": str(partitions)}
        with session_settings(spark, held):
            frame = frame_of(spark, {"id": STR, "g": INT, "x": DOUBLE}, rows).repartition(partitions)
            found.append(exact_values(spark, frame, queries, bounds=ContributionBounds(2, 9)))
    assert found[0] == found[1] == found[2]
    assert any(values[0] for values in found[0].values())


def sums_of(frame: DataFrame, queries: Sequence[Query]) -> list[int]:
    """How many sums each query is."""
    rows = prepare_rows(frame, [], ["g"], queries, None)
    columns = aggregation.aggregate(bound_contributions(rows, ContributionBounds(1, 1), SALT), queries).columns
    return [sum(name.split("_")[0] == f"q{index}" for name in columns) for index in range(len(queries))]


@pytest.mark.slow
def test_whole_numbers_travel_as_one_limb_and_are_summed_as_exactly(spark: SparkSession) -> None:
    """What fits in one limb travels as one; the type of the column changes neither the lattice nor the sum."""
    numbers = [None, 0, 1, -1, 7, 99, 100, 101, -(2**63), 2**63 - 1, 2**53 + 1, 4_000_000, -4_000_001]
    frame = frame_of(spark, {"id": STR, "g": INT, "x": pa.int64()}, [(f"u{i}", 0, item) for i, item in enumerate(numbers)])
    frame = frame.selectExpr(
        "id", "g", "x", "cast(x as decimal(20, 0)) as d", "cast(x as double) as f", "cast(x as decimal(20, 1)) as t"
    )
    cases = [(0, 100, 1), (-3, 4_194_304, 1), (-3, 4_194_305, 2), (0.5, 100, 1), (0, 99.9, 2), (-7, -2, 1), (0, 2.0**60, 2)]
    for build in (total, centred):
        queries = [build(name, low, high) for name in ("x", "d", "f", "t") for low, high, _ in cases]
        sums = sums_of(frame, queries)
        assert sums == [limbs for _, _, limbs in cases] * 2 + [2] * 2 * len(cases) or build is centred
        assert sums[0] == sums[len(cases)] == 1
        wanted = tuple(
            sum(total_in(query).term(total_in(query).lattice.to_integer(float(x))) for x in numbers if x is not None)
            for query in queries
        )
        assert exact_values(spark, frame, queries, bounds=ContributionBounds(1, 1)) == {(0,): wanted}


def test_sums_of_limbs_are_exact_beyond_64_bits(spark: SparkSession) -> None:
    """Small values below a large bound, a million times the bound itself, its negative, and what a shift rounds down."""
    size, high = 1_600_000, 1e7
    frame = spark.range(size).selectExpr(
        "id", "cast(least(id % 8, 3) as int) as g",
        f"element_at(array(1.0D, -double(id) / 7, -{high}D, {high}D), int(least(id % 8, 3)) + 1) as x",
    )  # fmt: skip
    queries = [total("x", -high, high), centred("x", -high, high), centred("x", 2.0**40, 2.0**40 + 1), total("x", 0.0, 3.0)]
    assert sums_of(frame, queries) == [2, 2, 1, 2]
    wanted = {}
    for key in range(4):
        values = [[1.0], [-index / 7 for index in range(1, size, 8)], [-high], [high]][key]
        times = (5 if key == 3 else 1) * size // 8 // len(values)
        wanted[(key,)] = tuple(
            times * sum(total_in(query).term(total_in(query).lattice.to_integer(value)) for value in values)
            for query in queries
        )
    found = exact_values(spark, frame, queries, units=[], bounds=ContributionBounds(1, 1))
    assert found == wanted
    assert found[(0,)][0] == 200_000 * 2**20, "no small value is rounded away"
    assert found[(3,)][0] > 2**63


def test_a_query_of_several_integers_keeps_each_in_its_place(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """A made-up measure of two integers, each sum and its double: in one limb, shifted, and in two."""
    real = aggregation._integers

    def doubled(query: Query, names: Any, *, two_limbs: bool) -> list[tuple[Any, ...]]:
        [limbs] = real(query, names, two_limbs=two_limbs)
        return [limbs, tuple(limb * 2 for limb in limbs)][: query.width]

    monkeypatch.setattr(aggregation, "_integers", doubled)
    frame = frame_of(spark, COLUMNS, rows := mixed(5, 60)).where("g is not null")
    queries = [replace(total("x", 0, 10), width=2), COUNT, replace(total("y", -2, 50), width=2)]
    prepared = prepare_rows(frame, ["id"], ["g"], queries, None)
    bounded = bound_contributions(prepared, NO_BOUND, SALT)
    exact = aggregation.collect(aggregation.aggregate(bounded, queries), bounded, queries)
    wanted = in_python(rows, queries)
    for query, place, factors in zip(queries, range(3), ([1, 2], [1], [1, 2]), strict=True):
        singles = [wanted[(key,)][place] for key in exact.keys.column(0).to_pylist()]
        assert exact.values[query].tolist() == [[factor * value for factor in factors] for value in singles]


def test_with_wide_bounds_the_aggregates_are_those_of_plain_spark(spark: SparkSession) -> None:
    source = random.Random(8)
    rows = [
        (
            source.choice([None, *(f"u{i}" for i in range(20))]),
            source.choice(["a", "b", None]),
            source.choice([None, source.uniform(-40, 90)]),
        )
        for _ in range(500)
    ]
    frame = frame_of(spark, {"id": STR, "g": STR, "x": DOUBLE}, rows)
    queries = [PRIVACY_ID_COUNT, COUNT, count_of("x"), total("x", -50, 100), centred("x", -50, 100)]
    found = exact_values(spark, frame, queries)
    plain = (
        frame.where("id is not null")
        .groupBy("g")
        .agg(F.countDistinct("id"), F.count("*"), F.count("x"), F.sum("x"), F.avg("x"))
    )
    for key, units, number, values, summed, mean in tuples(plain):
        exact = found.pop((key,))
        assert exact[:3] == (units, number, values)
        lattice = total_in(queries[3]).lattice
        assert abs(lattice.to_value(exact[3]) - summed) <= values * lattice.granularity / 2 + 1e-9
        lattice = total_in(queries[4]).lattice
        centre = lattice.to_value(lattice.midpoint)
        assert abs(centre + lattice.to_value(exact[4]) / values - mean) <= lattice.granularity / 2 + 1e-9
    assert found == {}


# --- public keys ------------------------------------------------------------------------------------------------------


def test_rows_outside_the_public_keys_are_dropped_before_bounding(spark: SparkSession) -> None:
    """A unit's one partition is never wasted on a key that nobody sees."""
    rows = [(f"u{i}", key) for i in range(150) for key in ("shown", "other", "third", None)]
    frame = frame_of(spark, {"id": STR, "g": STR}, rows)
    keys = keys_of(spark, frame, g=["shown"])
    found = exact_values(spark, frame, [PRIVACY_ID_COUNT, COUNT], keys=keys, bounds=ContributionBounds(1, 1), salt=Salt.fresh())
    assert found == {("shown",): (150, 150)}


def test_public_keys_come_in_their_own_order_with_zero_where_nobody_is(spark: SparkSession) -> None:
    rows = [
        ("a", "x", 1, 2.0),
        ("b", "x", 1, 3.0),
        ("a", "y", 2, 4.0),
        ("c", None, 1, 5.0),
        ("c", "x", None, 6.0),
        ("d", None, None, 7.0),
    ]
    frame = frame_of(spark, {"id": STR, "g": STR, "h": INT, "x": DOUBLE}, rows)
    keys = keys_of(spark, frame, g=["z", None, "x"], h=[None, 1, 7])
    queries = [PRIVACY_ID_COUNT, total("x", 0, 8)]
    found = exact_values(spark, frame, queries, group_by=["g", "h"], keys=keys)
    unit = 1 / queries[1].granularity
    wanted = {("x", 1): (2, 5), ("x", None): (1, 6), (None, 1): (1, 5), (None, None): (1, 7)}
    assert list(found) == [(g, h) for g in ("z", None, "x") for h in (None, 1, 7)]
    assert found == {key: (wanted.get(key, (0, 0))[0], wanted.get(key, (0, 0))[1] * unit) for key in found}


def test_public_and_private_keys_agree_on_every_key_type(spark: SparkSession) -> None:
    frame = frame_of(spark, {"id": STR, "g": INT}, [("a", 1), ("b", 2), ("b", None)]).selectExpr(
        "id", "cast(g as decimal(6,2)) as d", "g = 1 as b", "cast(g as bigint) as n", "date_add(date'2024-01-01', g) as t",
        "timestamp'2024-01-01 00:00:00Z' + make_interval(0,0,0,g) as m",
    )  # fmt: skip
    group_by = ["d", "b", "n", "t", "m"]
    private = exact_values(spark, frame, [COUNT], group_by=group_by)
    schema = T.StructType([frame.schema[name] for name in group_by])
    table = frame.select(*group_by).toArrow()
    public = exact_values(spark, frame, [COUNT], group_by=group_by, keys=PublicKeys(table, schema, ""))
    assert public == private
    assert len(private) == 3


def test_a_key_that_is_no_utf8_is_null_and_a_unit_stays_itself(spark: SparkSession) -> None:
    """Keys are published, and other readers fail at such bytes; a null unit would drop people."""
    raw = [("FF", "61"), ("FE", "61"), ("FF", "FF"), ("61", "EDA080"), ("61", None), ("62", "C3A9")]
    frame = spark.createDataFrame(pa.table({"u": [u for u, _ in raw], "k": [k for _, k in raw]}))
    frame = frame.selectExpr("cast(unhex(u) as string) AS id", "cast(unhex(k) as string) AS g")
    expected = {("a",): (2, 2), (None,): (2, 3), ("é",): (1, 1)}
    assert exact_values(spark, frame, [PRIVACY_ID_COUNT, COUNT]) == expected
    keys = keys_of(spark, frame, g=["a", None, "b"])
    found = exact_values(spark, frame, [PRIVACY_ID_COUNT, COUNT], keys=keys)
    assert found == {("a",): (2, 2), (None,): (2, 3), ("b",): (0, 0)}
    derived = frame.withColumn("g", F.substring(F.lit("é").cast("binary"), 1, 1).cast("string"))  # half of a letter
    assert exact_values(spark, derived, [COUNT]) == {(None,): (6,)}


def test_fill_public_puts_values_at_the_positions_of_their_keys() -> None:
    """All integers of a partition: bins are as many as a query has."""
    bins = Query(Rows(), "bins", width=3)
    keys = PublicKeys(pa.table({"g": ["p", "q", "r", "s"]}), T.StructType(), "")
    values = {COUNT: [[22], [7]], PRIVACY_ID_COUNT: [[2], [1]], bins: [[2**70, 1, 0], [4, 5, 6]]}
    exact = ExactAggregates(
        pa.table({"k": pa.array([2, 0], pa.int32())}),
        {query: np.array(integers, dtype=object) for query, integers in values.items()},
    )
    filled = fill_public(exact, keys)
    assert {query: integers.tolist() for query, integers in filled.values.items()} == {
        COUNT: [[7], [0], [22], [0]],
        PRIVACY_ID_COUNT: [[1], [0], [2], [0]],
        bins: [[4, 5, 6], [0, 0, 0], [2**70, 1, 0], [0, 0, 0]],
    }
    assert filled.keys is keys.table
    assert "22" not in repr(exact)


def test_column_names_may_hold_dots_backticks_and_the_names_we_use_inside(spark: SparkSession) -> None:
    rows = [("a", 1, 2.0), ("b", 1, 3.0), ("b", 2, 4.0)]
    frame = frame_of(spark, {"u0": STR, "f0": INT, "key_hash.x`y": DOUBLE}, rows)
    query = total("key_hash.x`y", 0, 8)
    unit = 1 / query.granularity
    found = exact_values(spark, frame, [query, COUNT], units=["u0"], group_by=["f0"])
    assert found == {(1,): (5 * unit, 2), (2,): (4 * unit, 1)}
    keys = keys_of(spark, frame, f0=[2])
    assert exact_values(spark, frame, [query], units=["u0"], group_by=["f0"], keys=keys) == {(2,): (4 * unit,)}


# --- the plan ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def stored(spark: SparkSession, tmp_path: Path) -> DataFrame:
    columns = {"id": STR, "g": STR, "x": DOUBLE, "y": STR, "unused": STR}
    path = str(tmp_path / "source")
    frame_of(spark, columns, [("a", "1", 2.0, "z", "w")]).write.parquet(path)
    return spark.read.parquet(path)


PLAN_QUERIES = [PRIVACY_ID_COUNT, COUNT, total("x", 0, 10), count_of("x"), count_of("y")]


def plans(spark: SparkSession, frame: DataFrame, keys: PublicKeys | None, capsys: Any) -> tuple[str, str]:
    public = keys.frame(spark) if keys is not None else None
    with session_settings(spark, {"spark.sql.adaptive.enabled": "false"}):
        rows = prepare_rows(frame, ["id"], ["g"], PLAN_QUERIES, public)
        whole = aggregation.aggregate(bound_contributions(rows, ContributionBounds(2, 2), SALT), PLAN_QUERIES)
        return tuple(re.sub(r"#\d+L?", "", explained(whole, capsys, mode)) for mode in ("simple", "formatted"))


@pytest.mark.parametrize(("public", "key"), [(False, "k0"), (True, "k")])
def test_one_scan_one_shuffle_on_the_unit_and_one_of_partial_aggregates(
    spark: SparkSession, stored: DataFrame, capsys: pytest.CaptureFixture[str], public: bool, key: str
) -> None:
    keys = keys_of(spark, stored, g=["1", "2"]) if public else None
    simple, formatted = plans(spark, stored, keys, capsys)
    lines = simple.splitlines()
    scans = [index for index, line in enumerate(lines) if "FileScan" in line]
    shuffles = [index for index, line in enumerate(lines) if re.search(r"[- ]Exchange ", line)]
    windows = [index for index, line in enumerate(lines) if re.search(r"[- ]Window \[", line)]
    assert len(scans) == 1
    assert "ReadSchema: struct<id:string,g:string,x:double,y:string>" in lines[scans[0]]
    assert [re.search(r"hashpartitioning\((.*), \d+\)", lines[index]).group(1) for index in shuffles] == [key, "u0"]
    functions = [re.search(r"Window \[(\w+)\(", lines[index]).group(1) for index in windows]
    assert functions == ["row_number", "dense_rank", "bit_or"]
    # from the top of the plan: the final shuffle, the windows, the unit's shuffle, the scan
    assert shuffles[0] < windows[0] < windows[1] < windows[2] < shuffles[1] < scans[0]
    sorts = {index: re.search(r"Sort \[([^\]]*)\]", line).group(1) for index, line in enumerate(lines) if "Sort [" in line}
    # one sort by the unit alone, before the rows that cannot be kept are dropped, and one for both windows that are exact
    assert [re.findall(r"(\w+) ASC", order) for order in sorts.values()] == [
        ["u0", "key_hash", key, "row_hash", "f0", "f1"], ["u0"],
    ]  # fmt: skip
    assert windows[1] < min(sorts) < windows[2] < max(sorts)
    assert ("BroadcastHashJoin" in simple) is public
    assert not re.search(r"SortMergeJoin|NestedLoop|CartesianProduct|Generate|Expand|ObjectHashAggregate|EvalPython", simple)
    partial = [index for index, line in enumerate(lines) if "partial_sum(" in line]
    assert len(partial) == 1
    assert shuffles[0] < partial[0] < windows[0], "partial aggregation comes before its shuffle"
    shuffled = re.findall(r"^\(\d+\) Exchange\s*\nInput \[\d+\]: \[([^\]]*)\]", formatted, flags=re.MULTILINE)
    assert [set(item.split(", ")) for item in shuffled] == [
        {"u0", key, "f0", "f1"},
        {key, *re.findall(r"\w+", "count count count count sum")},
    ]


def test_a_pre_threshold_drops_keys_behind_the_last_shuffle_and_adds_none(
    spark: SparkSession, stored: DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    with session_settings(spark, {"spark.sql.adaptive.enabled": "false"}):
        rows = prepare_rows(stored, ["id"], ["g"], PLAN_QUERIES, None)
        bounded = bound_contributions(rows, ContributionBounds(2, 2), SALT)
        whole = aggregation.aggregate(bounded, PLAN_QUERIES)
        least = aggregation.with_at_least(whole, bounded, PLAN_QUERIES, PRIVACY_ID_COUNT, 20)
        before, after = (explained(frame, capsys).splitlines() for frame in (whole, least))
    before, after = ([re.sub(r"#\d+L?|^[ :+*()\d-]*", "", line) for line in plan] for plan in (before, after))
    assert [line for line in after if "q0_0_whole >= 20" in line] == ["Filter (q0_0_whole >= 20)"]
    assert [line.split(" ")[0] for line in after if "q0_0_whole >= 20" not in line] == [line.split(" ")[0] for line in before]
    places = {word: next(i for i, line in enumerate(after) if line.startswith(word)) for word in ("Filter", "Hash", "Exchange")}
    assert places["Filter"] < places["Hash"] < places["Exchange"], "as HAVING: where a key's count is whole, in the same stage"


def test_a_pre_threshold_counts_units_among_the_bounded_rows(spark: SparkSession) -> None:
    """Four units are in both keys and keep one of them; one is in the first alone, with three rows."""
    rows = [("a", "1", 1.0)] * 3 + [(unit, key, 1.0) for unit in "cdef" for key in ("1", "2")]
    found = {}
    for least in (1, 2, 3, 4):
        frame = frame_of(spark, {"id": STR, "g": STR, "x": DOUBLE}, rows)
        queries = [total("x", 0, 10), PRIVACY_ID_COUNT]
        bounded = bound_contributions(prepare_rows(frame, ["id"], ["g"], queries, None), ContributionBounds(1, 3), SALT)
        whole = aggregation.with_at_least(aggregation.aggregate(bounded, queries), bounded, queries, PRIVACY_ID_COUNT, least)
        exact = aggregation.collect(whole, bounded, queries)
        counts = exact.values[PRIVACY_ID_COUNT].ravel().tolist()
        found[least] = dict(zip(exact.keys.column("k0").to_pylist(), counts, strict=True))
    assert sum(found[1].values()) == 5, "each unit in one key"
    assert len(set(found[1].values())) == 2
    for least, kept in found.items():
        assert kept == {key: count for key, count in found[1].items() if count >= least}
    assert len(found[3]) == 1, "unbounded both have four units or more"


@pytest.mark.parametrize(("unit", "shuffled"), [("id", ["k0"]), ("g", ["k0", "u0"])])
def test_a_table_in_buckets_of_the_unit_is_read_without_a_shuffle_on_it(
    spark: SparkSession, stored: DataFrame, capsys: pytest.CaptureFixture[str], unit: str, shuffled: list[str]
) -> None:
    name, query = f"bucketed_{unit}", [PRIVACY_ID_COUNT]
    stored.write.bucketBy(4, "ID").saveAsTable(name)
    try:
        frame, buckets = spark.read.table(name), Buckets.of(spark, Source.model_validate({"table": name}), [unit])
        assert (buckets is not None) is (unit == "id")
        if buckets is not None:
            frame = buckets.only_in_place(frame)
            assert frame.count() == stored.where(F.col("id").isNotNull()).count(), "none is lost"
        held = {"spark.sql.adaptive.enabled": "false", BUCKETING: "true" if buckets else "false"}
        with session_settings(spark, RELEASE_SETTINGS | held):
            rows = prepare_rows(frame, [unit], ["y"], query, None, clustered=buckets is not None)
            whole = aggregation.aggregate(bound_contributions(rows, ContributionBounds(2, 2), SALT), query)
            plan = re.sub(r"#\d+L?", "", explained(whole, capsys))
    finally:
        spark.sql(f"DROP TABLE {name}")
    assert re.findall(r"[- ]Exchange hashpartitioning\((\w+), \d+\)", plan) == shuffled


# --- silence ----------------------------------------------------------------------------------------------------------


def test_exact_aggregates_show_nothing() -> None:
    exact = ExactAggregates(pa.table({"k": ["key-4711"]}), {COUNT: [815]})
    for text in (repr(exact), str(exact), f"{exact}", repr([exact])):
        assert "4711" not in text
        assert "815" not in text


def silent(error: BaseException) -> str:
    """All that a traceback of this error would show."""
    return "".join(traceback.format_exception(error))


def test_a_failing_read_shows_no_value(spark: SparkSession, capfd: pytest.CaptureFixture[str]) -> None:
    """Spark's message quotes what failed; ours does not, nor does stderr."""
    frame = frame_of(spark, {"id": STR, "g": STR, "x": DOUBLE}, [("secret-4711", "a", 1.0)])
    failing = frame.withColumn("x", F.when(F.col("x") > 0, F.raise_error(F.concat(F.lit("of "), "id")).cast("double")))
    with pytest.raises(SourceError) as caught:
        exact_values(spark, failing, [total("x", 0, 1)])
    assert "4711" not in silent(caught.value)
    assert "4711" not in repr(caught.value.to_dict())
    assert caught.value.__cause__ is None
    assert caught.value.exit_code == 4
    shown = capfd.readouterr()
    assert "4711" not in shown.out + shown.err


def test_a_file_that_vanishes_is_a_source_error(spark: SparkSession, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "source"
    frame_of(spark, {"id": STR, "g": STR}, [("secret-4711", "a")]).write.partitionBy("id").parquet(str(path))
    frame = spark.read.parquet(str(path))
    rows = prepare_rows(frame, ["id"], ["g"], [COUNT], None)
    bounded = bound_contributions(rows, NO_BOUND, SALT)
    whole = aggregation.aggregate(bounded, [COUNT])
    for file in path.rglob("*.parquet"):
        file.unlink()
    with pytest.raises(SourceError) as caught:
        aggregation.collect(whole, bounded, [COUNT])
    assert "4711" not in silent(caught.value)
    assert caught.value.where == "source"
    shown = capfd.readouterr()
    assert "4711" not in shown.out + shown.err
