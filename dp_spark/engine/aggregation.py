"""Bounded rows to exact integers per partition, in one pass.

Values are lattice integers before they are added up, so their sums do not depend on the order of addition, and the
sensitivity is exact. A sum of integers above 2^22 is taken as two, of high and of low limbs, each of which holds 2^40
rows; the driver joins them to one integer of any size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from dp_spark.aggregates.query import Bins, Present, Query, Rows, Total, Units
from dp_spark.engine.bounding import FIRST, KEY, BoundedRows
from dp_spark.engine.leaf_counts import Counts, apart, grouped
from dp_spark.engine.public_keys import PublicKeys
from dp_spark.engine.unit_values import names_of, with_summands
from dp_spark.privacy.integers import Exact
from dp_spark.privacy.lattice import LIMB_BITS, join
from dp_spark.privacy.trees import LeafCounts
from dp_spark.published.canonical_rows import canonical_order, one_chunk
from dp_spark.spark.errors import SPARK_ERRORS
from dp_spark.spark.read_failures import reading_failed

_COUNTED = "counted_in_partition"


@dataclass(frozen=True)
class ExactAggregates:
    """Exact integers per partition. They live in driver memory only: the repr shows nothing.

    Attributes:
        keys: The partition keys, or the positions of public keys.
        values: Query -> Python integers of any size, an array of shape (keys, integers of the query); of bins their counts.
    """

    keys: pa.Table = field(repr=False)
    values: Mapping[Query, Exact | LeafCounts] = field(repr=False)

    def in_canonical_order(self) -> ExactAggregates:
        """The same, in the one order and layout of these keys: the order and pieces in which Spark returns groups are data."""
        if self.keys.num_columns == 0:  # one global row
            return self
        order = canonical_order(self.keys)
        values = {query: integers[order.to_numpy()] for query, integers in self.values.items()}
        return ExactAggregates(one_chunk(self.keys, order), values)


def aggregate(rows: BoundedRows, queries: Sequence[Query]) -> DataFrame:
    """One row per partition: keys, then each query's exact integers, in order: a BIGINT for each limb of each integer.

    Where there are bins, further rows count their values (``leaf_counts``).
    """
    frame, names = with_summands(rows, queries)
    columns = []
    for index, query in enumerate(queries):
        if isinstance(query.measure, Bins):
            continue
        integers = _integers(query, names, two_limbs=_has_two_limbs(query, rows))
        for aliases, limbs in zip(_columns_of(index, query, rows), integers, strict=True):
            columns += [limb.alias(alias) for alias, limb in zip(aliases, limbs, strict=True)]
    places = _places(queries, names)
    if places:
        return grouped(frame, rows.keys, list(dict.fromkeys(places.values())), columns)
    return frame.groupBy(*rows.keys).agg(*columns)


def _places(queries: Sequence[Query], names: Mapping[Query, str]) -> dict[Query, str]:
    """The column of places of each query of bins; queries of the same bins share it."""
    return {query: names[query] for query in queries if isinstance(query.measure, Bins)}


def with_at_least(frame: DataFrame, rows: BoundedRows, queries: Sequence[Query], counted: Query, least: int) -> DataFrame:
    """Only the partitions that have at least so many of what a query counts: dropped before the driver sees them.

    Args:
        frame: What ``aggregate`` made of the rows and the queries.
        rows: The rows.
        queries: The queries.
        counted: One of them, an integer of one limb.
        least: The pre-threshold; 1 drops nothing, as every key that occurs has a unit.
    """
    if least <= 1:
        return frame
    number = F.col(f"q{queries.index(counted)}_0_whole")
    if not any(isinstance(query.measure, Bins) for query in queries):
        return frame.where(number >= F.lit(least))
    # A row of a bin holds no integers: it goes with the row of its partition, for one more shuffle of what is aggregated.
    of_partition = F.max(number).over(Window.partitionBy(*rows.keys))
    return frame.withColumn(_COUNTED, of_partition).where(F.col(_COUNTED) >= F.lit(least)).drop(_COUNTED)


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
            return [(F.count(F.col(names[query]) if query in names else F.when(F.col(FIRST), F.lit(1))),)]
        case Rows():
            return [(F.count(F.col(names[query]) if query in names else F.lit(1)),)]
        case Present():
            return [(F.count(F.col(names[query])),)]
        case Total():
            return [_limbs(F.col(names[query])) if two_limbs else (_total(F.col(names[query])),)]
        case Bins():
            raise AssertionError("bins are no columns of sums")
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
    places = _places(queries, names_of(queries))
    found: dict[str, Counts] = {}
    if places:
        table, found = apart(table, rows.keys, list(dict.fromkeys(places.values())))
    values: dict[Query, Exact | LeafCounts] = {}
    for index, query in enumerate(queries):
        if isinstance(query.measure, Bins):
            values[query] = LeafCounts.of(table.num_rows, query.measure.shape.leaves, *found[places[query]])
        else:
            values[query] = _joined(table, _columns_of(index, query, rows), rows.shifts.get(query, 0))
    exact = ExactAggregates(table.select(list(rows.keys)), values)
    return exact if rows.keys or table.num_rows else _nothing(queries)


def _nothing(queries: Sequence[Query]) -> ExactAggregates:
    """The one global row where no row is: grouping sets have none then."""
    none = np.empty(0, np.int64)
    return ExactAggregates(
        pa.table({}),
        {
            query: LeafCounts.of(1, query.measure.shape.leaves, none, none, none)
            if isinstance(query.measure, Bins)
            else np.full((1, query.width), 0, dtype=object)
            for query in queries
        },
    )


def _joined(table: pa.Table, integers: Sequence[tuple[str, ...]], shift: int) -> Exact:
    """Python integers, which do not overflow, from one BIGINT or two, with the low bits that they were added up without."""
    found = np.empty((table.num_rows, len(integers)), dtype=np.object_)
    for index, names in enumerate(integers):
        limbs = [table.column(name).to_pylist() for name in names]
        totals = limbs[0] if len(limbs) == 1 else [join(high, low) for high, low in zip(*limbs, strict=True)]
        found[:, index] = [total << shift for total in totals]
    return found


def fill_public(exact: ExactAggregates, keys: PublicKeys) -> ExactAggregates:
    """Integers for every public key, in the keys' own order; 0 where no row has the key."""
    positions = exact.keys.column(KEY).to_numpy().astype(np.int64)
    filled: dict[Query, Exact | LeafCounts] = {}
    for query, values in exact.values.items():
        if isinstance(values, LeafCounts):
            filled[query] = values.spread(positions, keys.table.num_rows)
        else:
            integers = np.full((keys.table.num_rows, query.width), 0, dtype=object)
            integers[positions] = values
            filled[query] = integers
    return ExactAggregates(keys.table, filled)
