"""Counts by bin beside the other integers of partitions: one pass, one shuffle by the keys, and rows for non-empty bins alone.

A thousand bins are not a thousand sums. The bounded rows are grouped by the keys, and once more by the keys and each column of
places, as grouping sets: Spark writes each row once for each of them (Expand), counts before it shuffles, and sends one row for
each partition and one for each of its bins that has a value. Which partition a bin's row belongs to is found on the driver.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from dp_spark.errors import DpSparkError
from dp_spark.privacy.trees import Places
from dp_spark.published.canonical_rows import canonical_order

#: The columns that say which grouping set a row is of, which bin, and how many values are in it.
_SET, _PLACE, _NUMBER = "grouping_set", "place", "values_in_it"

#: For each bin that has a value its partition, its place, and the number of values.
Counts = tuple[Places, Places, Places]


def grouped(frame: DataFrame, keys: Sequence[str], places: Sequence[str], integers: Sequence[Column]) -> DataFrame:
    """One row per partition with its integers, and one for each of its bins that has a value.

    Args:
        frame: Bounded rows.
        keys: The key columns.
        places: The columns of places, each once; null where a row has no value.
        integers: The other aggregates.
    """
    sets = [[*keys], *([*keys, place] for place in places)]
    found = frame.groupingSets(sets, *keys, *places).agg(
        F.grouping_id().alias(_SET), F.count(F.lit(1)).alias(_NUMBER), *integers
    )
    names = [name for name in found.columns if name not in (*keys, *places, _SET, _NUMBER)]
    of_partition = F.col(_SET) == F.lit(_id(places))
    return found.where(of_partition | F.coalesce(*places).isNotNull()).select(
        *keys,
        _SET,
        F.coalesce(*places).alias(_PLACE),
        _NUMBER,
        *(F.when(of_partition, F.col(name)).alias(name) for name in names),
    )


def _id(places: Sequence[str], place: str | None = None) -> int:
    """What ``grouping_id`` says: a bit for each column that a set does not group by, the first is the highest."""
    return sum(1 << position for position, name in enumerate(reversed(places)) if name != place)


def apart(table: pa.Table, keys: Sequence[str], places: Sequence[str]) -> tuple[pa.Table, dict[str, Counts]]:
    """The rows of partitions, and for each column of places the counts of its bins.

    Args:
        table: What ``grouped`` sent.
        keys: The key columns.
        places: The columns of places.
    """
    numbers, sets = _numbered(table.select(list(keys))), table.column(_SET).to_numpy()
    own = sets == _id(places)
    if table.num_rows and not own.any():
        raise DpSparkError("Spark names the rows of partitions in another way", mend="report this as a bug", final=True)
    row_of = np.full(int(numbers.max(initial=-1)) + 1, -1, np.int64)
    row_of[numbers[own]] = np.arange(own.sum())
    found = {}
    for place in places:
        bins = sets == _id(places, place)
        at, number = (table.column(name).to_numpy()[bins].astype(np.int64) for name in (_PLACE, _NUMBER))
        found[place] = (row_of[numbers[bins]], at, number)
    return table.filter(pa.array(own)), found


def _numbered(keys: pa.Table) -> Places:
    """A number for each row, the same for rows of one key."""
    if keys.num_columns == 0:
        return np.zeros(keys.num_rows, np.int64)
    order = canonical_order(keys)
    ordered = keys.take(order)
    changes = [_changes(column.combine_chunks()) for column in ordered.columns]
    found = np.empty(keys.num_rows, np.int64)
    found[order.to_numpy()] = np.cumsum(reduce(np.logical_or, changes))
    return found


def _changes(column: pa.Array) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Whether each value differs from the one before; null is one value."""
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    before, here = column[:-1], column[1:]
    same = pc.equal(before, here).fill_null(False)
    both_null = pc.and_(pc.is_null(before), pc.is_null(here))
    different = pc.invert(pc.or_(same, both_null)).to_numpy(zero_copy_only=False)
    return np.concatenate([np.zeros(min(1, len(column)), bool), different])
