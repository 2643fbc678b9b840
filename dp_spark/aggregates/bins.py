"""Counts by public bins, and trees over them: what quantiles, histograms and distribution functions are read from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

import numpy as np
import pyarrow as pa
from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, model_validator
from typing_extensions import override

from dp_spark.aggregates.clipped import OverValues
from dp_spark.aggregates.labels import label_of
from dp_spark.aggregates.query import Bins, Query, Values
from dp_spark.errors import at_key
from dp_spark.privacy.grids import Edges, Grid, Listed, ascending_edges, even_edges
from dp_spark.privacy.integers import Doubles, Noisy
from dp_spark.privacy.trees import BRANCHES, TreeShape
from dp_spark.schema.model import Clip, no_bool

#: The most bins of a histogram: its cells are arrays of as many.
MOST_BINS = 1_000
#: The most characters of a listed text: manifests hold them all.
MOST_CHARACTERS = 1_000

Number = Annotated[float, BeforeValidator(no_bool)]
_Item = TypeVar("_Item")


BinEdges = Annotated[tuple[Number, ...], Field(min_length=2, max_length=MOST_BINS + 1), AfterValidator(ascending_edges)]


def each_once(what: str) -> Callable[[tuple[_Item, ...]], tuple[_Item, ...]]:
    """A validator of lists that have nothing twice.

    Args:
        what: What an element is, for people.
    """

    def check(items: tuple[_Item, ...]) -> tuple[_Item, ...]:
        repeated = next((item for index, item in enumerate(items) if item in items[:index]), None)
        if repeated is not None:
            raise ValueError(f"lists {repeated!r} twice; list each {what} once")
        return items

    return check


Text = Annotated[str, Field(max_length=MOST_CHARACTERS)]
Texts = Annotated[tuple[Text, ...], Field(min_length=1, max_length=MOST_BINS), AfterValidator(each_once("text"))]


def bins_query(values: Values, grid: Grid, shape: TreeShape) -> Query:
    """Counts by the nodes of a tree over bins: one value changes one in each level, by one.

    Args:
        values: What is counted.
        grid: The bins; values of none of them are counted at an end, texts not at all.
        shape: The tree; of one level where only the bins themselves are counted.
    """
    measure, once = Bins(values, grid, shape), values.per_unit is not None
    if once:
        measure.integer_edges  # noqa: B018 - refuses bins that are too narrow
    label = label_of(
        "bins",
        column=values.column,
        where=values.where,
        per_unit=values.per_unit,
        levels=None if shape.levels == 1 else shape.levels,
        **_told(grid),
    )
    return Query(measure, label, touched=shape.levels, width=shape.width, once_per_unit=once)


def _told(grid: Grid) -> dict[str, Any]:
    if isinstance(grid, Listed):
        return {"values": grid.values}
    if grid.is_even:
        return {"bounds": [grid.edges[0], grid.edges[-1]], "bins": grid.bins}
    return {"edges": grid.edges}


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


def rows_of(column: pa.ChunkedArray, width: int) -> Any:
    """A released column of arrays of one length, as numpy's, of shape (rows, width)."""
    return column.combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(len(column), width)


class Binned(OverValues):
    """An aggregate of which the author gives the bins. Where a tree over the same bins is drawn, it reads that."""

    #: How bins are written, for people.
    ways: ClassVar[str] = "edges, or min_value, max_value and resolution"

    edges: BinEdges | None = None
    min_value: Clip | None = None
    max_value: Clip | None = None
    resolution: Literal[10, 100, 1000] | None = None
    _levels: int = PrivateAttr(default=1)

    unsaid: ClassVar[tuple[str, ...]] = ("where", "per_unit", "edges", "min_value", "max_value", "resolution")

    @model_validator(mode="after")
    def _one_kind_of_bins(self) -> Self:
        even = (self.min_value, self.max_value, self.resolution)
        given = [self.edges is not None, any(part is not None for part in even), *self._has_other_bins()]
        if sum(given) != 1:
            raise ValueError(f"needs its bins, in one way; write {self.ways}")
        if given[1] and None in even:
            raise ValueError("min_value, max_value and resolution go together; write all three, or edges")
        if self.min_value is not None and self.max_value is not None and self.min_value >= self.max_value:
            raise ValueError("min_value must be below max_value; swap or widen them")
        return self

    def _has_other_bins(self) -> Sequence[bool]:
        """Whether bins of another kind are given."""
        return ()

    @property
    def numbers_grid(self) -> Edges:
        """The bins between edges."""
        with at_key(f"aggregates.{self.name}"):
            if self.edges is not None:
                return Edges(self.edges)
            assert self.min_value is not None
            assert self.max_value is not None
            assert self.resolution is not None
            return even_edges(self.min_value, self.max_value, self.resolution)

    @property
    def grid(self) -> Grid:
        """The bins."""
        return self.numbers_grid

    @property
    def shape(self) -> TreeShape:
        """The tree that it reads."""
        return self._shape(self._levels)

    def _shape(self, levels: int) -> TreeShape:
        return TreeShape(levels, self.grid.bins if levels == 1 else BRANCHES)

    @property
    @override
    def in_short(self) -> str:
        return f"{self.function} of {self.grid.bins} bins{self.reduced}{self.conditional}"

    @property
    @override
    def elements(self) -> int:
        return self.grid.bins + 2

    @override
    def queries(self) -> tuple[Query, ...]:
        with at_key(f"aggregates.{self.name}"):
            return (bins_query(self.of_values, self.grid, self.shape),)

    @override
    def served_by(self, labels: Collection[str]) -> Self:
        levels = levels_over(self.grid)
        if levels == self._levels or bins_query(self.of_values, self.grid, self._shape(levels)).label not in labels:
            return self
        found = self.model_copy()
        found._levels = levels
        return found

    @property
    def counted_what(self) -> str:
        """What is counted, for people."""
        return self.what_of(f"number of values of {self.column}", "")

    @property
    def bins_told(self) -> dict[str, Any]:
        """The bins, for the manifest."""
        grid = self.grid
        return {"values": list(grid.values)} if isinstance(grid, Listed) else {"edges": list(grid.edges)}

    def counted(self, rows: Sequence[Mapping[str, Any]], unit: str) -> list[int]:
        """For ``reference``: the number of values below all bins, in each, and above all."""
        found = [0] * (self.grid.bins + 2)
        measure = Bins(self.of_values, self.grid, self.shape)
        for place in map(measure.place, self.numbers(rows, unit)):
            if place is not None:
                found[place] += 1
        return found
