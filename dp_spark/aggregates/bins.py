"""Counts by public bins, and trees over them: what quantiles, histograms and distribution functions are read from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Self

import numpy as np
import pyarrow as pa
from pydantic import BeforeValidator, Field, PrivateAttr
from typing_extensions import override

from dp_spark.aggregates.base import Aggregate
from dp_spark.aggregates.given import Doubles, Need
from dp_spark.aggregates.query import Bins, Query, Reduction, Values, label_of
from dp_spark.privacy.grids import Edges, Grid, Listed
from dp_spark.privacy.integers import Noisy
from dp_spark.privacy.trees import BRANCHES, TreeShape
from dp_spark.schema.model import Column, no_bool

#: The most bins of a histogram: its cells are arrays of as many.
MOST_BINS = 1_000
#: As many edges or texts stand in a label; more are told by their digest.
_TOLD = 20

Number = Annotated[float, BeforeValidator(no_bool)]
BinEdges = Annotated[tuple[Number, ...], Field(min_length=2, max_length=MOST_BINS + 1)]


def bins_query(values: Values, grid: Grid, shape: TreeShape) -> Query:
    """Counts by the nodes of a tree over bins: one value changes one in each level, by one.

    Args:
        values: What is counted.
        grid: The bins; values of none of them are counted at an end, texts not at all.
        shape: The tree; of one level where only the bins themselves are counted.
    """
    once = values.per_unit is not None
    label = label_of(
        "bins",
        column=values.column,
        where=values.where,
        per_unit=values.per_unit,
        levels=None if shape.levels == 1 else shape.levels,
        **_told(grid),
    )
    measure = Bins(values, grid, shape)
    return Query(measure, label, touched=shape.levels, width=shape.width, once_per_unit=once)


def _told(grid: Grid) -> dict[str, Any]:
    if isinstance(grid, Listed):
        return {"values": _short(grid.values)}
    if grid.is_even:
        return {"bounds": [grid.edges[0], grid.edges[-1]], "bins": grid.bins}
    return {"edges": _short(grid.edges)}


def _short(items: Sequence[Any]) -> list[Any] | str:
    if len(items) <= _TOLD:
        return list(items)
    return "sha256:" + hashlib.sha256(json.dumps(list(items)).encode()).hexdigest()


def levels_over(grid: Grid) -> int:
    """How many levels a tree over bins has: more than one where they are of equal width and 100, 1000, ...

    >>> from dp_spark.privacy.grids import even_edges
    >>> [levels_over(even_edges(0.0, 1.0, bins)) for bins in (10, 50, 1000)]
    [1, 1, 3]
    """
    if not isinstance(grid, Edges) or not grid.is_even:
        return 1
    levels = len(str(grid.bins)) - 1
    return levels if grid.bins == BRANCHES**levels and levels > 0 else 1


def arrays(values: Doubles | Noisy) -> pa.Array:
    """Rows of one length as a column of arrays."""
    width = values.shape[1]
    offsets = pa.array(np.arange(0, values.size + 1, width), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(values).ravel()))


def rows_of(column: pa.ChunkedArray, width: int) -> Doubles:
    """A released column of arrays as doubles, of shape (rows, width)."""
    return np.asarray(column.combine_chunks().flatten().to_numpy(), np.float64).reshape(len(column), width)


class Binned(Aggregate):
    """An aggregate of which the author gives the bins. Where a tree over the same bins is drawn, it reads that."""

    column: Column
    per_unit: Reduction | None = None
    _levels: int = PrivateAttr(default=1)

    @property
    def grid(self) -> Grid:
        """The bins."""
        raise NotImplementedError

    @property
    def values(self) -> Values:
        """What is counted."""
        return Values(self.column, self.where, self.per_unit)

    @property
    def shape(self) -> TreeShape:
        """The tree that it reads."""
        return self._shape(self._levels)

    def _shape(self, levels: int) -> TreeShape:
        return TreeShape(levels, self.grid.bins if levels == 1 else BRANCHES)

    @override
    def needs(self) -> tuple[Need, ...]:
        return (Need(self.column, numeric=self.per_unit != "count"),)

    @override
    def queries(self) -> tuple[Query, ...]:
        return (bins_query(self.values, self.grid, self.shape),)

    @override
    def served_by(self, labels: Collection[str]) -> Self:
        """The same, read from a tree over the same bins where there is one."""
        levels = levels_over(self.grid)
        if bins_query(self.values, self.grid, self._shape(levels)).label not in labels:
            return self
        found = self.model_copy()
        found._levels = levels
        return found

    def counted(self, rows: Sequence[Mapping[str, Any]], unit: str) -> list[int]:
        """For ``reference``: the number of values below all bins, in each, and above all."""
        found = [0] * (self.grid.bins + 2)
        values = values_of(rows, unit, self.column, self.per_unit)
        for place in map(self.grid.place, values):
            found[place or 0] += 1
        return found
