"""Tables with and without one privacy unit, and what a query's vector over all partitions moves by between the two."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from dp_spark.aggregates.query import Bins, Query
from dp_spark.engine.aggregation import ExactAggregates
from dp_spark.privacy.bounds import Sensitivity
from dp_spark.privacy.trees import LeafCounts

#: What a column of numbers can hold at worst.
SPECIAL = [None, math.nan, math.inf, -math.inf, -0.0, 0.0, 5e-324, -1e308, 1.7e308, 2.0**63, -(2.0**63), 2.0**53 + 2]
#: A partition and the position of one of its integers -> the integer.
Vector = Mapping[tuple[Any, int], int]


def moved(before: Vector, after: Vector) -> Sensitivity:
    """By how much a vector differs from another one."""
    changes = {place: before.get(place, 0) - after.get(place, 0) for place in {*before, *after}}
    changes = {place: change for place, change in changes.items() if change}
    in_each = Counter(partition for partition, _ in changes)
    return Sensitivity(
        l0=len(in_each),
        l1=sum(map(abs, changes.values())),
        l2_squared=sum(change**2 for change in changes.values()),
        linf=max(map(abs, changes.values()), default=0),
        in_each=max(in_each.values(), default=0),
    )


def exceeded(found: Sensitivity, declared: Sensitivity) -> list[str]:
    """The parts of a sensitivity that are larger than declared."""
    return [name for name, value in vars(found).items() if value > getattr(declared, name)]


def vectors(exact: ExactAggregates, queries: Iterable[Query], table: int) -> dict[Query, dict[Any, dict[tuple[Any, int], int]]]:
    """Query -> number of a table -> its vector, of exact aggregates of many tables at once.

    Args:
        exact: The exact aggregates; all nodes of a tree are counted, drawn or not.
        queries: The queries.
        table: Which of the columns of keys is the number of the table.
    """
    keys = list(zip(*(column.to_pylist() for column in exact.keys.columns), strict=True))
    found: dict[Query, dict[Any, dict[tuple[Any, int], int]]] = {}
    for query in queries:
        of_query = found.setdefault(query, defaultdict(lambda: defaultdict(int)))
        values = exact.values[query]
        if isinstance(values, LeafCounts):
            assert isinstance(query.measure, Bins)
            rows, places = np.divmod(values.cells, values.leaves + 2)
            for row, place, count in zip(rows.tolist(), places.tolist(), values.counts.tolist(), strict=True):
                for node in query.measure.nodes(place):
                    of_query[keys[row][table]][keys[row], node] += count
        else:
            for key, integers in zip(keys, values, strict=True):
                of_query[key[table]].update({(key, index): int(value) for index, value in enumerate(integers)})
    return found
