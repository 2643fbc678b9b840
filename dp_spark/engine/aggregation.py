"""Bounded rows to exact integers per partition, in one pass.

Values become lattice integers before the shuffle, so they travel as BIGINT, their sums do not depend on the order of
addition, and the sensitivity is exact. A sum of integers above 2^22 is taken as two, of high and of low limbs, each of
which holds 2^40 rows; the driver joins them to one integer of any size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from dp_spark.aggregates.query import Measure, Present, Query, Rows, Total, Units
from dp_spark.engine.bounding import FEATURE, FIRST, KEY, UNIT, BoundedRows, PreparedRows
from dp_spark.engine.columns import located, readable_key
from dp_spark.engine.public_keys import POSITION, PublicKeys
from dp_spark.privacy.integers import Exact
from dp_spark.privacy.lattice import LIMB_BITS, Lattice, join
from dp_spark.published.canonical_rows import canonical_order, one_chunk
from dp_spark.spark.errors import SPARK_ERRORS
from dp_spark.spark.read_failures import reading_failed


@dataclass(frozen=True)
class ExactAggregates:
    """Exact integers per partition. They live in driver memory only: the repr shows nothing.

    Attributes:
        keys: The partition keys, or the positions of public keys.
        values: Query -> Python integers of any size, an array of shape (keys, integers of the query).
    """

    keys: pa.Table = field(repr=False)
    values: Mapping[Query, Exact] = field(repr=False)

    def in_canonical_order(self) -> ExactAggregates:
        """The same, in the one order and layout of these keys: the order and pieces in which Spark returns groups are data."""
        if self.keys.num_columns == 0:  # one global row
            return self
        order = canonical_order(self.keys)
        values = {query: integers[order.to_numpy()] for query, integers in self.values.items()}
        return ExactAggregates(one_chunk(self.keys, order), values)


def features_of(queries: Sequence[Query]) -> dict[Query, str]:
    """The feature column that each query needs; queries that can share one do.

    >>> from dp_spark.aggregates.query import ROW_COUNT, count_of_column
    >>> list(features_of([ROW_COUNT, count_of_column("x")]).values())
    ['f0']
    """
    sums = {query: query.measure for query in queries if isinstance(query.measure, Total)}
    names = {query: f"{FEATURE}{index}" for index, query in enumerate(sums)}
    by_column = {total.column: names[query] for query, total in sums.items()}
    for query in queries:
        if isinstance(query.measure, Present):
            # A lattice integer is null exactly where its value is null or NaN, so it can be counted instead.
            names[query] = by_column.setdefault(query.measure.column, f"{FEATURE}{len(set(names.values()))}")
    return names


def prepare_rows(
    frame: DataFrame,
    units: Sequence[str],
    group_by: Sequence[str],
    queries: Sequence[Query],
    public: DataFrame | None,
    *,
    clustered: bool = False,
) -> PreparedRows:
    """Only what is needed, as it will be shuffled: units, keys (or the position of a public key), integers.

    Args:
        frame: The preprocessed source.
        units: The privacy-unit columns; empty where each row is a unit.
        group_by: The partition columns.
        queries: The release's distinct queries.
        public: The public keys with their position; rows outside are dropped here, before bounding.
        clustered: Whether all rows of a unit are read by one task already (``buckets.Buckets``).
    """
    names = features_of(queries)
    shifts = {query: shift for query in names if (shift := _shift(query.measure, frame))}
    features = {name: _feature(query.measure, frame, shifts.get(query, 0)) for query, name in reversed(names.items())}
    selected = [
        *(_value(frame, name).alias(f"{UNIT}{index}") for index, name in enumerate(units)),
        *(readable_key(frame, name).alias(f"{KEY}{index}") for index, name in enumerate(group_by)),
        *(features[name].alias(name) for name in sorted(features)),
    ]
    # Spark refuses a frame without any column; a count over row units needs none.
    rows = frame.select(*selected, *([] if selected else [F.lit(1).alias("row")]))
    unit_names = [f"{UNIT}{index}" for index in range(len(units))]
    for name in unit_names:  # a composite unit is null if any part is; null units are dropped
        rows = rows.where(F.col(name).isNotNull())
    key_names = [f"{KEY}{index}" for index in range(len(group_by))]
    if public is not None:
        rows, key_names = _to_positions(rows, key_names, public, [*unit_names, *sorted(features)]), [KEY]
    return PreparedRows(rows, unit_names, key_names, sorted(features), clustered, shifts)


def _to_positions(rows: DataFrame, keys: Sequence[str], public: DataFrame, others: Sequence[str]) -> DataFrame:
    known = public.select(
        *(F.col(public.columns[index]).alias(f"public{index}") for index in range(len(keys))), F.col(POSITION).alias(KEY)
    )
    same = F.lit(True)
    for index, name in enumerate(keys):
        key = known[f"public{index}"]
        # Where no key is null, no null row can have one; and Spark joins whole numbers that are plainly equal twice as fast.
        same = same & (rows[name].eqNullSafe(key) if public.schema[index].nullable else rows[name] == key)
    return rows.join(F.broadcast(known), same, "inner").select(*others, KEY)


def _feature(measure: Measure, frame: DataFrame, shift: int) -> Column:
    assert isinstance(measure, Total | Present)
    source = _value(frame, measure.column)
    if isinstance(measure, Present):
        return F.when(_is_value(source, _type(measure.column, frame)), F.lit(1).cast("bigint"))
    centred = lattice_column(source, measure.lattice) - F.lit(measure.centre).cast("bigint")
    power = centred if measure.power == 1 else centred * centred
    summed = power - F.lit(measure.shift).cast("bigint") if measure.shift else power
    return F.shiftright(summed, shift) if shift else summed


def _shift(measure: Measure, frame: DataFrame) -> int:
    """How many low bits of a feature are zero in every row, as the column's type tells: then fewer limbs have to be summed."""
    if not isinstance(measure, Total):
        return 0
    kind = _type(measure.column, frame)
    whole = isinstance(kind, T.IntegralType) or (isinstance(kind, T.DecimalType) and kind.scale <= 0)
    return measure.zero_bits if whole else 0


def _type(column: str, frame: DataFrame) -> T.DataType:
    return frame.select(_value(frame, column)).schema.fields[0].dataType


def _value(frame: DataFrame, name: str) -> Column:
    found = located(frame, name)
    assert found is not None, "a column that is read was found before the charge"
    return found[0]


def lattice_column(value: Column, lattice: Lattice) -> Column:
    """A numeric column as lattice integers; null where it is null or NaN (``Lattice.to_integer``, row by row).

    The order is fixed: null or NaN to null; clip as double; scale by the granularity; rint; cast; clip again. Greatest
    and least would turn null into a bound and NaN into the maximum, so both are set aside first.
    """
    double = value.cast("double")
    clipped = F.greatest(F.lit(lattice.min_value), F.least(double, F.lit(lattice.max_value)))
    # Scaling by a power of two is exact, in one or two factors that a double can hold.
    scaled = clipped * F.lit(2.0 ** -(lattice.exponent // 2)) * F.lit(2.0 ** -(lattice.exponent - lattice.exponent // 2))
    integer = F.rint(scaled).cast("bigint")
    bounded = F.greatest(F.lit(lattice.lower).cast("bigint"), F.least(integer, F.lit(lattice.upper).cast("bigint")))
    return F.when(double.isNotNull() & ~F.isnan(double), bounded)


def _is_value(source: Column, kind: T.DataType) -> Column:
    if isinstance(kind, T.FloatType | T.DoubleType):
        return source.isNotNull() & ~F.isnan(source)
    return source.isNotNull()


def aggregate(rows: BoundedRows, queries: Sequence[Query]) -> DataFrame:
    """One row per partition: keys, then each query's exact integers, in order: a BIGINT for each limb of each integer."""
    names = features_of(queries)
    columns = []
    for index, query in enumerate(queries):
        integers = _integers(query, names, two_limbs=_has_two_limbs(query, rows))
        for aliases, limbs in zip(_columns_of(index, query, rows), integers, strict=True):
            columns += [limb.alias(alias) for alias, limb in zip(aliases, limbs, strict=True)]
    return rows.frame.groupBy(*rows.keys).agg(*columns)


def with_at_least(frame: DataFrame, queries: Sequence[Query], counted: Query, least: int) -> DataFrame:
    """Only the partitions that have at least so many of what a query counts: dropped before the driver sees them.

    Args:
        frame: What ``aggregate`` made of the queries.
        queries: The queries.
        counted: One of them, an integer of one limb.
        least: The pre-threshold; 1 drops nothing, as every key that occurs has a unit.
    """
    return frame.where(F.col(f"q{queries.index(counted)}_0_whole") >= F.lit(least)) if least > 1 else frame


def _has_two_limbs(query: Query, rows: BoundedRows) -> bool:
    # What fits in one limb travels as one: each further sum costs time.
    return query.change > 1 << (LIMB_BITS + rows.shifts.get(query, 0))


def _columns_of(index: int, query: Query, rows: BoundedRows) -> list[tuple[str, ...]]:
    """For each integer of a query the columns of its limbs."""
    limbs = ("high", "low") if _has_two_limbs(query, rows) else ("whole",)
    return [tuple(f"q{index}_{integer}_{limb}" for limb in limbs) for integer in range(query.width)]


def _integers(query: Query, names: Mapping[Query, str], *, two_limbs: bool) -> list[tuple[Column, ...]]:
    """For each integer of a query its limbs."""
    measure = query.measure
    match measure:
        case Units():
            return [(F.count(F.when(F.col(FIRST), F.lit(1))),)]
        case Rows():
            return [(F.count(F.lit(1)),)]
        case Present():
            return [(F.count(F.col(names[query])),)]
        case Total():
            return [_limbs(F.col(names[query])) if two_limbs else (_total(F.col(names[query])),)]
        case _:
            assert_never(measure)


def _limbs(value: Column) -> tuple[Column, Column]:
    # An arithmetic shift is floor division, so the low limb is never negative (``lattice.split``).
    low = value.bitwiseAND(F.lit(2**LIMB_BITS - 1).cast("bigint"))
    return _total(F.shiftright(value, LIMB_BITS)), _total(low)


def _total(integers: Column) -> Column:
    return F.coalesce(F.sum(integers), F.lit(0).cast("bigint"))


def collect(frame: DataFrame, rows: BoundedRows, queries: Sequence[Query]) -> ExactAggregates:
    """Runs the one Spark job that reads private values, and brings exact integers to the driver.

    Raises:
        SourceError: If Spark cannot read the source. DpSparkError: if memory, a disk or Spark itself failed. Its own
            message, which can quote values, goes nowhere.
    """
    try:
        table = frame.toArrow()
    except (*SPARK_ERRORS, MemoryError) as error:
        raise reading_failed(error) from None
    values = {
        query: _joined(table, _columns_of(index, query, rows), rows.shifts.get(query, 0)) for index, query in enumerate(queries)
    }
    return ExactAggregates(table.select(list(rows.keys)), values)


def _joined(table: pa.Table, integers: Sequence[tuple[str, ...]], shift: int) -> Exact:
    """Python integers, which do not overflow, from one BIGINT or two, with the low bits that the feature travelled without."""
    found = np.empty((table.num_rows, len(integers)), dtype=np.object_)
    for index, names in enumerate(integers):
        limbs = [table.column(name).to_pylist() for name in names]
        totals = limbs[0] if len(limbs) == 1 else [join(high, low) for high, low in zip(*limbs, strict=True)]
        found[:, index] = [total << shift for total in totals]
    return found


def fill_public(exact: ExactAggregates, keys: PublicKeys) -> ExactAggregates:
    """Integers for every public key, in the keys' own order; 0 where no row has the key."""
    positions = exact.keys.column(KEY).to_numpy().astype(np.int64)
    filled = {}
    for query, values in exact.values.items():
        filled[query] = np.full((keys.table.num_rows, query.width), 0, dtype=object)
        filled[query][positions] = values
    return ExactAggregates(keys.table, filled)
