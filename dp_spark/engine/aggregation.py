"""Bounded rows to exact integers per partition, in one pass.

Values become lattice integers before the shuffle, so they travel as BIGINT, their sums do not depend on the order of
addition, and the sensitivity is exact. A sum of integers above 2^22 is taken as two, of high and of low limbs, each of
which holds 2^40 rows; the driver joins them to one integer of any size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from dp_spark.aggregates.queries import Query, QueryKind
from dp_spark.engine.bounding import FEATURE, FIRST, KEY, UNIT, BoundedRows, PreparedRows
from dp_spark.engine.columns import located, readable_key
from dp_spark.engine.public_keys import POSITION, PublicKeys
from dp_spark.privacy.lattice import LIMB_BITS, Lattice, join
from dp_spark.published.canonical_rows import canonical_order, in_order, one_chunk
from dp_spark.spark.errors import SPARK_ERRORS
from dp_spark.spark.read_failures import reading_failed


@dataclass(frozen=True)
class ExactAggregates:
    """Exact integers per partition. They live in driver memory only: the repr shows nothing.

    Attributes:
        keys: The partition keys, or the positions of public keys.
        values: Query -> one integer per key, of any size.
    """

    keys: pa.Table = field(repr=False)
    values: Mapping[Query, Sequence[int]] = field(repr=False)

    def in_canonical_order(self) -> ExactAggregates:
        """The same, in the one order and layout of these keys: the order and pieces in which Spark returns groups are data."""
        if self.keys.num_columns == 0:  # one global row
            return self
        order = canonical_order(self.keys)
        values = {query: in_order(column, order) for query, column in self.values.items()}
        return ExactAggregates(one_chunk(self.keys, order), values)


def features_of(queries: Sequence[Query]) -> dict[Query, str]:
    """The feature column that each query needs; queries that can share one do.

    >>> list(features_of([Query(QueryKind.COUNT), Query(QueryKind.COUNT_OF_COLUMN, "x")]).values())
    ['f0']
    """
    sums = [query for query in queries if query.lattice is not None]
    names = {query: f"{FEATURE}{index}" for index, query in enumerate(sums)}
    by_column = {query.column: name for query, name in names.items()}
    for query in queries:
        if query.kind is QueryKind.COUNT_OF_COLUMN:
            # A lattice integer is null exactly where its value is null or NaN, so it can be counted instead.
            names[query] = by_column.setdefault(query.column, f"{FEATURE}{len(set(names.values()))}")
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
    shifts = {query: shift for query in names if (shift := _shift(query, frame))}
    features = {name: _feature(query, frame, shifts.get(query, 0)) for query, name in reversed(names.items())}
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


def _feature(query: Query, frame: DataFrame, shift: int) -> Column:
    assert query.column is not None
    source = _value(frame, query.column)
    if query.lattice is not None:
        summed = lattice_column(source, query.lattice) - F.lit(query.centre).cast("bigint")
        return F.shiftright(summed, shift) if shift else summed
    return F.when(_is_value(source, _type(query, frame)), F.lit(1).cast("bigint"))


def _shift(query: Query, frame: DataFrame) -> int:
    """How many low bits of a feature are zero in every row, as the column's type tells: then fewer limbs have to be summed."""
    if query.lattice is None:
        return 0
    kind = _type(query, frame)
    whole = isinstance(kind, T.IntegralType) or (isinstance(kind, T.DecimalType) and kind.scale <= 0)
    return query.zero_bits if whole else 0


def _type(query: Query, frame: DataFrame) -> T.DataType:
    assert query.column is not None
    return frame.select(_value(frame, query.column)).schema.fields[0].dataType


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
    """One row per partition: keys, then an exact BIGINT for each query, in order; two where a sum has two limbs."""
    names = features_of(queries)
    columns = []
    for index, query in enumerate(queries):
        found = _aggregate(query, names.get(query, ""), two_limbs=_has_two_limbs(query, rows))
        columns += [item.alias(name) for name, item in zip(_columns_of(index, query, rows), found, strict=True)]
    return rows.frame.groupBy(*rows.keys).agg(*columns)


def _has_two_limbs(query: Query, rows: BoundedRows) -> bool:
    # What fits in one limb travels as one: each further sum costs time.
    return query.per_row > 1 << (LIMB_BITS + rows.shifts.get(query, 0))


def _columns_of(index: int, query: Query, rows: BoundedRows) -> tuple[str, ...]:
    return (f"q{index}_high", f"q{index}_low") if _has_two_limbs(query, rows) else (f"q{index}",)


def _aggregate(query: Query, feature: str, *, two_limbs: bool) -> tuple[Column, ...]:
    if query.kind is QueryKind.PRIVACY_ID_COUNT:
        return (F.count(F.when(F.col(FIRST), F.lit(1))),)
    if query.kind is QueryKind.COUNT:
        return (F.count(F.lit(1)),)
    if query.kind is QueryKind.COUNT_OF_COLUMN:
        return (F.count(F.col(feature)),)
    value = F.col(feature)
    if not two_limbs:
        return (_total(value),)
    # An arithmetic shift is floor division, so the low limb is never negative (``lattice.split``).
    low = value.bitwiseAND(F.lit(2**LIMB_BITS - 1).cast("bigint"))
    return (_total(F.shiftright(value, LIMB_BITS)), _total(low))


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
        query: _joined(table.select(_columns_of(index, query, rows)), rows.shifts.get(query, 0))
        for index, query in enumerate(queries)
    }
    return ExactAggregates(table.select(list(rows.keys)), values)


def _joined(limbs: pa.Table, shift: int) -> list[int]:
    """Python integers, which do not overflow, from one BIGINT or two, with the low bits that the feature travelled without."""
    columns = [item.to_pylist() for item in limbs.columns]
    totals = columns[0] if len(columns) == 1 else [join(high, low) for high, low in zip(*columns, strict=True)]
    return [total << shift for total in totals] if shift else totals


def fill_public(exact: ExactAggregates, keys: PublicKeys) -> ExactAggregates:
    """One integer for every public key, in the keys' own order; 0 where no row has the key."""
    positions = exact.keys.column(KEY).to_pylist()
    filled = {}
    for query, values in exact.values.items():
        found = dict(zip(positions, values, strict=True))
        filled[query] = [found.get(position, 0) for position in range(keys.table.num_rows)]
    return ExactAggregates(keys.table, filled)
