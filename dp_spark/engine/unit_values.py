"""Bounded rows as the integers that are added up: what each row adds, or what a unit's rows in a partition come to.

What a unit's rows come to (``per_unit``) is computed by windows over (unit, keys), in which bounded rows lie sorted already. It
stands in the unit's first row of the partition, and null in its others: so what counts rows and what counts units are summed in
one pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from dp_spark.aggregates.query import Bins, Query, Total, Values
from dp_spark.engine.bins import place_of_integer
from dp_spark.engine.bounding import FIRST, KEY_HASH, BoundedRows
from dp_spark.engine.features import clipped, features_of, lattice_column, row_column, term
from dp_spark.privacy.lattice import MOST_OF_A_ROW, Lattice

_PREFIX = "summand"


@dataclass(frozen=True)
class _Rows:
    """What the rows of a unit in a partition have of an integer together.

    Attributes:
        number: How many have a value.
        total: Their sum; null where none has one, like the smallest and the largest.
    """

    number: Column
    total: Column
    smallest: Column
    largest: Column

    @staticmethod
    def of(rows: BoundedRows, found: Column) -> _Rows:
        if not rows.units:  # each row is a unit
            return _Rows(found.isNotNull().cast("bigint"), found, found, found)
        window = Window.partitionBy(*rows.units, KEY_HASH, *rows.keys)
        return _Rows(*(reduce(found).over(window) for reduce in (F.count, F.sum, F.min, F.max)))


def with_summands(rows: BoundedRows, queries: Sequence[Query]) -> tuple[DataFrame, dict[Query, str]]:
    """The bounded rows with what they add to sums, and for each query that reads a feature the column that it counts or sums.

    Args:
        rows: The bounded rows.
        queries: The release's distinct queries.

    Guarantees: the sum of a unit's lattice integers fits in 64 bits: at most 2^20 rows of at most 2^42.
    """
    features, _ = features_of(queries)
    names = names_of(queries)
    once = any(query.once_per_unit for query in names)
    assert not once or rows.bounds.max_contributions_per_partition * MOST_OF_A_ROW < 2**63, "the sum of a unit's rows fits"
    summands = {name: _summand(query, rows, features[query]) for query, name in names.items() if name != features[query]}
    return rows.frame.withColumns(summands) if summands else rows.frame, names  # Spark Connect refuses none


def names_of(queries: Sequence[Query]) -> dict[Query, str]:
    """For each query that reads a feature the column that it counts or sums: the feature, or what is made of it."""
    names, _ = features_of(queries)
    return {
        query: f"{_PREFIX}{index}" if query.once_per_unit or isinstance(query.measure, Total) else name
        for index, (query, name) in enumerate(names.items())
    }


def _summand(query: Query, rows: BoundedRows, feature: str) -> Column:
    measure, found, shift = query.measure, F.col(feature), rows.shifts.get(query, 0)
    if isinstance(measure, Total) and not query.once_per_unit:
        return term(measure, lattice_column(found, measure.lattice), shift)
    if isinstance(measure, Total | Bins) and measure.values.per_unit != "count":
        found = row_column(found, measure.lattice.exponent)
    together = _Rows.of(rows, found)
    value = F.lit(1).cast("bigint")
    if isinstance(measure, Total):
        value = term(measure, reduced(measure.values, measure.lattice, together), shift)
    elif isinstance(measure, Bins):
        value = place_of_integer(reduced(measure.values, measure.lattice, together), measure.integer_edges)
    return F.when(F.col(FIRST) & (together.number > 0), value)


def reduced(values: Values, lattice: Lattice, rows: _Rows) -> Column:
    """What a unit's rows come to, as a lattice integer within the clipping bounds; it means nothing where no row has a value.

    Args:
        values: How they are reduced.
        lattice: Where the result is an integer.
        rows: The unit's rows in a partition.
    """
    match values.per_unit:
        case "sum":
            return clipped(rows.total, lattice)
        case "mean":
            return clipped(half_even(rows.total, rows.number), lattice)
        case "count":
            return lattice_column(rows.number, lattice)
        case "min":
            return clipped(rows.smallest, lattice)
        case "max":
            return clipped(rows.largest, lattice)
    raise AssertionError("values of rows are not reduced")


def half_even(total: Column, number: Column) -> Column:
    """total / number, rounded to the nearest whole number and half to even, in whole numbers alone; null where number is 0."""
    number = F.when(number > 0, number)
    rest = F.pmod(total, number)
    floor = F.call_function("div", total - rest, number)
    twice = rest * F.lit(2)
    odd = floor.bitwiseAND(F.lit(1).cast("bigint")) == 1
    return floor + F.when((twice > number) | ((twice == number) & odd), F.lit(1)).otherwise(F.lit(0))
