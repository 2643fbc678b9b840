"""What of a row travels: its unit, its keys, and the columns that feed aggregates, each once.

The condition of an aggregate (``where``) makes null of a value where it is not true, before bounding. It filters no rows: how
many of a unit's rows survive does not depend on it. One value feeds many sums, so it becomes lattice integers behind bounding,
of the rows that are left (``unit_values``); here is how.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from dp_spark.aggregates.query import Bins, Measure, Present, Query, Rows, Total, Units
from dp_spark.engine.bins import place_column
from dp_spark.engine.bounding import FEATURE, KEY, UNIT, PreparedRows
from dp_spark.engine.columns import is_number, located, readable_key
from dp_spark.engine.preprocess import computed
from dp_spark.engine.public_keys import POSITION
from dp_spark.errors import SourceError, SpecError
from dp_spark.privacy.grids import Grid, Listed
from dp_spark.privacy.lattice import MOST_OF_A_ROW, Lattice
from dp_spark.spark.errors import translated
from dp_spark.spec.expressions import Expression, check_expression


@dataclass(frozen=True)
class Feature:
    """What a row carries through bounding; null where it has no value.

    Attributes:
        column: Where it comes from; None: it is 1.
        where: Only rows for which it is true have one.
        is_number: Whether it is the column's value, as a DOUBLE; else it is 1, as it matters only whether there is one.
        grid: What is told of the value is the place in these bins.
    """

    column: str | None
    where: str | None
    is_number: bool = False
    grid: Grid | None = None

    @property
    def is_null_where_no_value_is(self) -> bool:
        """Whether a row has it exactly where it has a value: a text that is not listed has no place."""
        return not isinstance(self.grid, Listed)


def feature_of(measure: Measure) -> Feature | None:
    """What a measure reads of a row; None where the row itself is enough."""
    match measure:
        case Units(where=where, column=column):
            return None if where is None and column is None else Feature(column, where)
        case Rows(where=where):
            return None if where is None else Feature(None, where)
        case Present(values=values):
            return Feature(values.column, values.where)
        case Bins(values=values, grid=grid) if values.per_unit is None:
            return Feature(values.column, values.where, grid=grid)
        case Total(values=values) | Bins(values=values):
            return Feature(values.column, values.where, is_number=values.per_unit != "count")
        case _:
            assert_never(measure)


def features_of(queries: Sequence[Query]) -> tuple[dict[Query, str], dict[str, Feature]]:
    """The feature column that each query needs, and what is in it; queries that can share one do.

    >>> from dp_spark.aggregates.query import ROW_COUNT, Values, count_of_column
    >>> features_of([ROW_COUNT, count_of_column(Values("x"))])[1]
    {'f0': Feature(column='x', where=None, is_number=False, grid=None)}
    """
    wanted = {query: feature for query in queries if (feature := feature_of(query.measure)) is not None}
    names: dict[Feature, str] = {}
    present: dict[tuple[str | None, str | None], str] = {}
    for feature in sorted(wanted.values(), key=_tells_little):
        # A number is null exactly where its row has no value, so it can be counted instead.
        shared = present.get((feature.column, feature.where)) if _tells_little(feature) else None
        names[feature] = shared or names.get(feature) or f"{FEATURE}{len(set(names.values()))}"
        if feature.is_null_where_no_value_is:
            present.setdefault((feature.column, feature.where), names[feature])
    columns: dict[str, Feature] = {}
    for feature, name in names.items():
        columns.setdefault(name, feature)
    return {query: names[feature] for query, feature in wanted.items()}, columns


def _tells_little(feature: Feature) -> bool:
    return not feature.is_number and feature.grid is None


def prepare_rows(
    frame: DataFrame,
    units: Sequence[str],
    group_by: Sequence[str],
    queries: Sequence[Query],
    public: DataFrame | None,
    *,
    clustered: bool = False,
) -> PreparedRows:
    """Only what is needed, as it will be shuffled: units, keys (or the position of a public key), features.

    Args:
        frame: The preprocessed source.
        units: The privacy-unit columns; empty where each row is a unit.
        group_by: The partition columns.
        queries: The release's distinct queries.
        public: The public keys with their position; rows outside are dropped here, before bounding.
        clustered: Whether all rows of a unit are read by one task already (``buckets.Buckets``).
    """
    names, features = features_of(queries)
    shifts = {query: shift for query in names if (shift := _shift(query.measure, frame))}
    selected = [
        *(_value(frame, name).alias(f"{UNIT}{index}") for index, name in enumerate(units)),
        *(readable_key(frame, name).alias(f"{KEY}{index}") for index, name in enumerate(group_by)),
        *(_feature(feature, frame).alias(name) for name, feature in features.items()),
    ]
    # Spark refuses a frame without any column; a count over row units needs none.
    rows = frame.select(*selected, *([] if selected else [F.lit(1).alias("row")]))
    unit_names = [f"{UNIT}{index}" for index in range(len(units))]
    for name in unit_names:  # a composite unit is null if any part is; null units are dropped
        rows = rows.where(F.col(name).isNotNull())
    key_names = [f"{KEY}{index}" for index in range(len(group_by))]
    if public is not None:
        rows, key_names = _to_positions(rows, key_names, public, [*unit_names, *features]), [KEY]
    return PreparedRows(rows, unit_names, key_names, list(features), clustered, shifts)


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


def _feature(feature: Feature, frame: DataFrame) -> Column:
    value = F.lit(1).cast("bigint")
    if feature.column is not None:
        source = _value(frame, feature.column)
        if feature.grid is not None:
            value = place_column(source, feature.grid)
        elif feature.is_number:
            value = _where_number(source, source.cast("double") + F.lit(0.0))  # two zeros are one value to a hash, too
        else:
            value = F.when(_is_value(source, _type(feature.column, frame)), value)
    if feature.where is None:
        return value
    expression = check_expression(feature.where, {}, where="aggregates")  # its parameters are bound (``ReleaseSpec.expand``)
    return F.when(condition(frame, expression, "aggregates"), value)


def condition(frame: DataFrame, expression: Expression, where: str) -> Column:
    """The condition of an aggregate over the preprocessed source; it depends on its row alone.

    Args:
        frame: The source.
        expression: The checked expression.
        where: The key of the release file, for errors.

    Raises:
        SourceError: If it reads a column that is not there.
        SpecError: If it is not true or false.
    """
    with translated(SourceError, "Spark cannot resolve it", where=where, mend="check column names and types"):
        found = computed(frame, expression, where)
        kind = frame.select(found).schema.fields[0].dataType
    if not isinstance(kind, T.BooleanType):
        mend = "compare it with something, as in value >= 0"
        raise SpecError(f"has type {kind.simpleString()}; a condition is true or false", where=where, mend=mend)
    return found


def term(measure: Total, integer: Column, shift: int = 0) -> Column:
    """What a lattice integer within the clipping bounds adds to a sum (``Total.term``, value by value).

    Args:
        measure: The sum.
        integer: The lattice integer.
        shift: How many low bits, all zero, it is told without.
    """
    centred = integer - F.lit(measure.centre).cast("bigint")
    power = centred if measure.power == 1 else centred * centred
    summed = power - F.lit(measure.shift).cast("bigint") if measure.shift else power
    return F.shiftright(summed, shift) if shift else summed


def _shift(measure: Measure, frame: DataFrame) -> int:
    """How many low bits are zero in all that is summed, as the column's type tells: then fewer limbs have to be summed."""
    if not isinstance(measure, Total):
        return 0
    kind = _type(measure.values.column, frame)
    whole = isinstance(kind, T.IntegralType) or (isinstance(kind, T.DecimalType) and kind.scale <= 0)
    return measure.zero_bits if whole or measure.values.per_unit == "count" else 0


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
    integer = _scaled(value.cast("double"), lattice.min_value, lattice.max_value, lattice.exponent)
    return _where_number(value, clipped(integer, lattice))


def row_column(value: Column, exponent: int) -> Column:
    """The same where a unit's rows are reduced: not clipped to the bounds, but to 2^42 in size (``Lattice.to_row``)."""
    most = MOST_OF_A_ROW * 2.0**exponent
    return _where_number(value, _scaled(value.cast("double"), -most, most, exponent))


def clipped(integer: Column, lattice: Lattice) -> Column:
    """A lattice integer clipped to [A, B] (``Lattice.clip``); of null it makes a bound."""
    return F.greatest(F.lit(lattice.lower).cast("bigint"), F.least(integer, F.lit(lattice.upper).cast("bigint")))


def _scaled(double: Column, low: float, high: float, exponent: int) -> Column:
    between = F.greatest(F.lit(low), F.least(double, F.lit(high)))
    # Scaling by a power of two is exact, in one or two factors that a double can hold.
    scaled = between * F.lit(2.0 ** -(exponent // 2)) * F.lit(2.0 ** -(exponent - exponent // 2))
    return F.rint(scaled).cast("bigint")


def _where_number(value: Column, integer: Column) -> Column:
    return F.when(is_number(value.cast("double")), integer)


def _is_value(source: Column, kind: T.DataType) -> Column:
    if isinstance(kind, T.FloatType | T.DoubleType):
        return is_number(source)
    return source.isNotNull()
