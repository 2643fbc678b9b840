"""Counts over a tree of leaves: exact ones by leaf, and noisy ones of the nodes that were drawn.

The leaves are intervals of equal width. Each node counts the values of ten below it; a value is counted once in each level.
Values outside the leaves are counted in two further nodes of the first level, one at each end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from dp_spark.errors import DpSparkError
from dp_spark.privacy.integers import Noisy

#: How many children a node has (docs/adr/0010-quantile-trees.md has the figures for others).
BRANCHES = 10

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TreeShape:
    """The shape of a tree; its nodes as one vector are the first level, with a node at each end, then the next ones.

    Attributes:
        levels: The levels that are drawn; the root is not, as nobody needs it.
        branches: The children of a node.

    >>> shape = TreeShape(3)
    >>> shape.leaves, shape.width, shape.start(1), shape.start(2), shape.start(3)
    (1000, 1112, 0, 12, 112)
    """

    levels: int
    branches: int = BRANCHES

    @property
    def leaves(self) -> int:
        """The number of leaves."""
        return self.nodes(self.levels)

    def nodes(self, level: int) -> int:
        """The number of nodes of a level, the two ends not among them."""
        return int(self.branches**level)

    def start(self, level: int) -> int:
        """Where a level begins in the vector of all nodes; the first with the node below."""
        return 0 if level == 1 else 2 + sum(self.nodes(above) for above in range(1, level))

    @property
    def width(self) -> int:
        """The number of all nodes."""
        return self.start(self.levels) + self.nodes(self.levels) + (2 if self.levels == 1 else 0)


@dataclass(frozen=True)
class LeafCounts:
    """How many values each leaf of each partition has, exactly: those that have any. The repr shows nothing.

    Attributes:
        partitions: The number of partitions.
        leaves: The number of leaves, without the two ends.
        cells: partition * (leaves + 2) + place, ascending, each once; place 0 is below the leaves, leaves + 1 above.
        counts: The number of values in each cell.
    """

    partitions: int
    leaves: int
    cells: Places = field(repr=False)
    counts: Places = field(repr=False)

    @staticmethod
    def of(partitions: int, leaves: int, rows: Places, places: Places, counts: Places) -> LeafCounts:
        """From counts in any order, each cell at most once.

        >>> found = LeafCounts.of(2, 3, np.array([1, 0]), np.array([4, 1]), np.array([7, 5]))
        >>> found.between(np.array([0, 1]), np.array([0, 4]), np.array([5, 5])).tolist()
        [5, 7]
        """
        cells = rows * (leaves + 2) + places
        order = np.argsort(cells)
        return LeafCounts(partitions, leaves, cells[order], counts[order])

    def __getitem__(self, positions: Places) -> LeafCounts:
        """Some of the partitions, in another order; each at most once."""
        place_of = np.full(self.partitions, -1, np.int64)
        place_of[positions] = np.arange(len(positions))
        rows, places = np.divmod(self.cells, self.leaves + 2)
        kept = place_of[rows] >= 0
        return LeafCounts.of(len(positions), self.leaves, place_of[rows[kept]], places[kept], self.counts[kept])

    def spread(self, positions: Places, partitions: int) -> LeafCounts:
        """The same partitions at other positions among so many; nothing is in the others."""
        rows, places = np.divmod(self.cells, self.leaves + 2)
        return LeafCounts.of(partitions, self.leaves, positions[rows], places, self.counts)

    def between(self, rows: Places, first: Places, behind: Places) -> Places:
        """How many values lie in the places from ``first`` to before ``behind``, for partitions ``rows``; all of one shape."""
        ends = [np.searchsorted(self.cells, rows * (self.leaves + 2) + place) for place in (first, behind)]
        return np.asarray(self._added[ends[1]] - self._added[ends[0]])

    @cached_property
    def _added(self) -> Places:
        """How many values lie before each cell, and in all: asked for once a level of each part of a search."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.counts)])


class NoisyTree:
    """What of noisy trees was drawn, for each partition.

    Args:
        shape: Their shape.
        top: The first level with its ends, of shape (partitions, branches + 2).
    """

    def __init__(self, shape: TreeShape, top: Noisy) -> None:
        self.shape = shape
        self.top = top
        # By level from the second on, in the parts in which they came: partition * nodes + node of each parent whose children
        # were drawn, and these. A search looks at what it has just drawn, so parts are put together only when it is over.
        self._parts: list[list[tuple[Places, Noisy]]] = [[] for _ in range(1, shape.levels)]

    @staticmethod
    def whole(shape: TreeShape, nodes: Noisy) -> NoisyTree:
        """From all nodes, of shape (partitions, width)."""
        tree = NoisyTree(shape, nodes[:, : shape.branches + 2])
        for level in range(2, shape.levels + 1):
            drawn = nodes[:, shape.start(level) : shape.start(level) + shape.nodes(level)]
            tree.add(level, np.arange(len(nodes) * shape.nodes(level - 1)), drawn.reshape(-1, shape.branches))
        return tree

    @property
    def partitions(self) -> int:
        """The number of partitions."""
        return len(self.top)

    def add(self, level: int, parents: Places, children: Noisy) -> None:
        """Adds the children of nodes of the level above, none of which has any yet; parents ascend."""
        if not len(parents):
            return
        parts = self._parts[level - 2]
        if parts and parts[-1][0][-1] >= parents[0]:
            raise DpSparkError(
                "a node of a tree was drawn twice; nothing is published", mend="report this as a bug", final=True
            )
        parts.append((parents, children))

    def _whole_level(self, level: int) -> tuple[Places, Noisy]:
        """All parents whose children were drawn, and these."""
        parts = self._parts[level - 2]
        if len(parts) != 1:
            none = (np.empty(0, np.int64), np.empty((0, self.shape.branches), np.int64))
            known, drawn = (np.concatenate(arrays) for arrays in zip(none, *parts, strict=True))
            parts[:] = [(known, drawn)] if len(known) else []
            return known, drawn
        return parts[0]

    def children(self, level: int, parents: Places) -> Noisy:
        """The children, in a level, of nodes of the level above: partition * nodes + node, of any shape; all 0 for -1."""
        found = np.zeros((*parents.shape, self.shape.branches), np.int64)
        wanted = parents >= 0
        if not wanted.any():
            return found
        parts = self._parts[level - 2]
        in_last = bool(parts) and parents[wanted].min() >= parts[-1][0][0]
        known, drawn = parts[-1] if in_last else self._whole_level(level)
        places = np.searchsorted(known, parents[wanted])
        assert np.array_equal(known[np.minimum(places, len(known) - 1)], parents[wanted]), "these nodes were not drawn"
        found[wanted] = drawn[places]
        return found

    def leaves(self) -> Noisy:
        """All leaves without the ends, of shape (partitions, leaves), where all were drawn."""
        if self.shape.levels == 1:
            return self.top[:, 1:-1]
        known, drawn = self._whole_level(self.shape.levels)
        assert len(known) == self.partitions * self.shape.nodes(self.shape.levels - 1), "some were not drawn"
        return drawn.reshape(self.partitions, self.shape.leaves)
