"""Contribution bounding once more, in plain Python: what ``engine.bounding`` has to keep of each unit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from dp_spark.privacy.bounds import ContributionBounds

#: A unit, a key, and features.
Row = tuple[Any, ...]
Hash = Callable[[Row], int]


def nulls_first(values: Iterable[Any]) -> list[tuple[bool, Any]]:
    """What sorts as Spark sorts."""
    return [(value is not None, value) for value in values]


def keep(rows: Iterable[Row], bounds: ContributionBounds, key_hash: Hash, row_hash: Hash) -> list[Row]:
    """The rows that survive.

    Args:
        rows: The rows.
        bounds: k, m and c.
        key_hash: What orders a unit's partitions.
        row_hash: What orders its rows.
    """
    by_unit: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        by_unit[row[0]].append(row)
    return [row for mine in by_unit.values() for row in _of_unit(mine, bounds, key_hash, row_hash)]


def _of_unit(rows: Sequence[Row], bounds: ContributionBounds, key_hash: Hash, row_hash: Hash) -> list[Row]:
    k, m, c = bounds.max_partitions_contributed, bounds.max_contributions_per_partition, bounds.max_contributions
    binds = c is not None and (c < k * m or c == k == m)
    parts: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        parts[row[1]].append(row)
    first = sorted(parts.values(), key=lambda part: (key_hash(part[0]), nulls_first(part[0][1:2])))
    chosen = first if c is not None and binds and k >= c else first[:k]
    kept = []
    for part in chosen:
        part.sort(key=lambda row: (row_hash(row), nulls_first(row[2:])))
        kept += part if c is not None and binds and m >= c else part[:m]
    kept.sort(key=lambda row: (row_hash(row), nulls_first(row[1:])))
    return kept[:c] if binds else kept
