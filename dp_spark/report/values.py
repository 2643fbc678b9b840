"""The released values of one column with their intervals, as the report shows them: post-processing of published cells."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dp_spark.manifest import confidence_intervals, edge_text
from dp_spark.published.cells import key_text

#: Upper ends of the bins of half-width / |value|; above the last one the noise can be larger than the value.
ERROR_BINS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Released:
    """One released cell.

    Attributes:
        position: The row's position in the table.
        partition: The row's key as text.
        value: The cell; None where it is null.
        interval: Its 95 % interval, cut at the column's range (a mean's clipping bounds); None where the noise is not known.
        width: The half-width before cutting.
    """

    position: int
    partition: str
    value: float | None
    interval: tuple[float, float] | None
    width: float | None

    @property
    def relative_error(self) -> float | None:
        """Half-width by |value|: infinite at 0, None where the noise is not known."""
        if self.width is None or self.value is None:
            return None
        return self.width / abs(self.value) if self.value else math.inf


def partition_text(row: Mapping[str, Any], group_by: Sequence[str]) -> str:
    """A row's key in one line."""
    return ", ".join(key_text(row[name]) for name in group_by) or "all rows"


def released(manifest: Mapping[str, Any], column: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[Released]:
    """The cells of one column of values, in the table's order."""
    name, keys, error = column["name"], manifest["group_by"], column["error"]
    values = [row[name] for row in rows]
    stddevs, *ends = ([row.get(error.get(f"{kind}_column")) for row in rows] for kind in ("stddev", "low", "high"))
    found = confidence_intervals(manifest, name, values, stddevs, ends=(ends[0], ends[1]))
    cells = []
    for position, (row, value, interval) in enumerate(zip(rows, values, found, strict=True)):
        text = partition_text(row, keys)
        if isinstance(value, list):
            pairs = zip(element_names(column), value, interval or [None] * len(value), strict=True)
            cells += [_released(position, f"{text}: {element}", one, of_one, column) for element, one, of_one in pairs]
        else:
            cells.append(_released(position, text, value, interval, column))
    return cells


def _released(
    position: int, text: str, value: float | None, interval: tuple[float, float] | None, column: Mapping[str, Any]
) -> Released:
    width = None if interval is None or value is None else max(interval[1] - value, value - interval[0])
    return Released(position, text, value, None if interval is None else _cut(interval, column), width)


def element_names(column: Mapping[str, Any]) -> list[str]:
    """What each element of a cell is about: a text, a bin between two edges, or what is below an edge (up to the last).

    >>> element_names({"edges": [0.0, 5.0, 10.0], "type": "array<bigint>"})
    ['0 to 5', '5 to 10']
    >>> element_names({"edges": [0.0, 5.0, 10.0], "type": "array<double>"})
    ['below 0', 'below 5', 'up to 10']
    """
    if "values" in column:
        return [key_text(value) for value in column["values"]]
    edges = [edge_text(edge) for edge in column["edges"]]
    if column["type"] == "array<double>":
        return [*(f"below {edge}" for edge in edges[:-1]), f"up to {edges[-1]}"]
    return [f"{low} to {high}" for low, high in itertools.pairwise(edges)]


def _cut(interval: tuple[float, float], column: Mapping[str, Any]) -> tuple[float, float]:
    """A mean of clipped values lies within the clipping bounds, so an interval loses nothing that is cut off there."""
    low, high = column.get("range", (-math.inf, math.inf))
    return min(max(interval[0], low), high), min(max(interval[1], low), high)


def largest(cells: Sequence[Released], number: int) -> list[Released]:
    """The cells with the largest values, in the table's order."""
    known = [item for item in cells if item.value is not None]
    chosen = sorted(known, key=lambda item: (-_value(item), item.position))[:number]
    return sorted(chosen, key=lambda item: item.position)


def by_rank(cells: Sequence[Released]) -> list[Released]:
    """All cells that have a value, the largest first."""
    return sorted((item for item in cells if item.value is not None), key=lambda item: (-_value(item), item.position))


def _value(item: Released) -> float:
    return -math.inf if item.value is None else item.value


def error_counts(cells: Sequence[Released]) -> list[int]:
    """How many cells have a relative error in each bin, in the last one above all bins, and one more: not known."""
    counts = [0] * (len(ERROR_BINS) + 2)
    for item in cells:
        error = item.relative_error
        counts[-1 if error is None else sum(error > end for end in ERROR_BINS)] += 1
    return counts


def error_labels() -> list[str]:
    """What the bins of ``error_counts`` are called."""
    starts = (0.0, *ERROR_BINS)
    names = [
        f"{100 * start:g} to {100 * end:g} %" if start else f"up to {100 * end:g} %"
        for start, end in zip(starts, ERROR_BINS, strict=False)
    ]
    return [*names, f"over {100 * ERROR_BINS[-1]:g} %", "no error bar"]
