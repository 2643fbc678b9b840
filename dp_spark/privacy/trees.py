"""Noisy counts over a tree of leaves, drawn only where somebody looks, and ranks that are found in it.

The leaves are intervals of equal width. Each node counts the values of ten below it; a value is counted once in each level.
Values outside the leaves are counted in two further nodes of the first level, one at each end. Noise is independent from node
to node, so it does not matter for the guarantee which of them are looked at, nor that noisy counts decide it: what is seen is a
function of the noisy tree as a whole, of which a node that nobody looks at need not be drawn (docs/privacy.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, field

import numpy as np
import numpy.typing as npt

from dp_spark.errors import DpSparkError
from dp_spark.privacy.integers import Noisy

#: How many children a node has (docs/adr/0010-quantile-trees.md has the figures for others).
BRANCHES = 10
#: How many partitions are descended at a time: what a descent needs of memory is bounded by it.
_CHUNK = 2**14

Doubles = npt.NDArray[np.float64]
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

    def take(self, positions: Places) -> LeafCounts:
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
        added = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.counts)])
        ends = [np.searchsorted(self.cells, rows * (self.leaves + 2) + place) for place in (first, behind)]
        return np.asarray(added[ends[1]] - added[ends[0]])

    def dense(self) -> Places:
        """All leaves of all partitions, without the ends, of shape (partitions, leaves)."""
        rows, places = np.divmod(self.cells, self.leaves + 2)
        found = np.zeros((self.partitions, self.leaves + 2), np.int64)
        found[rows, places] = self.counts
        return found[:, 1:-1]


class NoisyTree:
    """What of noisy trees was drawn, for each partition.

    Args:
        shape: Their shape.
        top: The first level with its ends, of shape (partitions, branches + 2).
    """

    def __init__(self, shape: TreeShape, top: Noisy) -> None:
        self.shape = shape
        self.top = top
        # By level from the second on: partition * nodes + node of each parent whose children were drawn, and these.
        self._parents = [np.empty(0, np.int64) for _ in range(1, shape.levels)]
        self._children = [np.empty((0, shape.branches), np.int64) for _ in range(1, shape.levels)]

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
        known = self._parents[level - 2]
        if len(known) and len(parents) and known[-1] >= parents[0]:
            raise DpSparkError("a node of a tree was drawn twice; nothing is published", mend="report this as a bug", final=True)
        self._parents[level - 2] = np.concatenate([known, parents])
        self._children[level - 2] = np.concatenate([self._children[level - 2], children])

    def children(self, level: int, parents: Places) -> Noisy:
        """The children, in a level, of nodes of the level above: partition * nodes + node, of any shape; all 0 for -1."""
        known = self._parents[level - 2]
        found = np.zeros((*parents.shape, self.shape.branches), np.int64)
        wanted = parents >= 0
        places = np.searchsorted(known, parents[wanted])
        assert np.array_equal(known[np.minimum(places, len(known) - 1)], parents[wanted]), "these nodes were not drawn"
        found[wanted] = self._children[level - 2][places]
        return found

    def leaves(self) -> Noisy:
        """All leaves without the ends, of shape (partitions, leaves), where all were drawn."""
        if self.shape.levels == 1:
            return self.top[:, 1:-1]
        assert len(self._parents[-1]) == self.partitions * self.shape.nodes(self.shape.levels - 1), "some were not drawn"
        return self._children[-1].reshape(self.partitions, self.shape.leaves)


def draw_tree(
    shape: TreeShape, exact: LeafCounts, draw: Callable[[Places], Noisy], aims: Aims | None, variance: float
) -> NoisyTree:
    """Draws the nodes that a search for ranks looks at, or all: each at most once.

    Args:
        shape: The tree.
        exact: The exact counts of its leaves.
        draw: Adds fresh noise to each of some counts, of any shape (nodes, integers).
        aims: What is searched for; None for all nodes.
        variance: The variance of the noise of a node.
    """
    ends = np.arange(-1, shape.branches + 1, dtype=np.int64)
    each = shape.leaves // shape.branches
    # The places of the first level: below, the nodes, above.
    first, behind = (np.clip(1 + (ends + step) * each, 0, shape.leaves + 2) for step in (0, 1))
    first[0], behind[0], first[-1], behind[-1] = 0, 1, shape.leaves + 1, shape.leaves + 2
    rows = np.arange(exact.partitions, dtype=np.int64)
    tree = NoisyTree(shape, draw(exact.between(rows[:, None], first[None, :], behind[None, :])))

    def children(level: int, parents: Places) -> Noisy:
        """The children of one parent each, drawn now."""
        of, node = np.divmod(parents, shape.nodes(level - 1))
        size = shape.leaves // shape.nodes(level)
        begin = 1 + (node[:, None] * shape.branches + np.arange(shape.branches)) * size
        return draw(exact.between(of[:, None], begin, begin + size))

    if aims is None:
        for level in range(2, shape.levels + 1):
            parents = np.arange(exact.partitions * shape.nodes(level - 1))
            tree.add(level, parents, children(level, parents))
        return tree

    def look(level: int, parents: Places) -> Noisy:
        new = np.unique(parents[parents >= 0])
        tree.add(level, new, children(level, new))
        return tree.children(level, parents)

    for part in _chunks(exact.partitions):
        _search(tree.top, shape, look, aims, variance, part)
    return tree


@dataclass(frozen=True)
class Aims:
    """What is searched for: where the rank of a place comes near to a share of all values.

    Attributes:
        shares: The shares, each above 0 and below 1.
        errors: How many standard deviations of its own error the rank may be wrong by, at the ends of an interval.
    """

    shares: tuple[float, ...]
    errors: float

    @property
    def columns(self) -> tuple[Doubles, Doubles]:
        """For each share its lower end, its place and its upper end: the share, and the errors that the rank is moved by."""
        return np.repeat(self.shares, 3), np.tile([-self.errors, 0.0, self.errors], len(self.shares))


@dataclass(frozen=True)
class Found:
    """Where ranks were found, for each partition and share, in leaves: 0 is the lower end of the first one.

    Attributes:
        low: The lower end of the interval; the beginning of a leaf.
        place: The place itself.
        high: The upper end; the end of a leaf.
    """

    low: Doubles
    place: Doubles
    high: Doubles


def find(tree: NoisyTree, aims: Aims, variance: float) -> Found:
    """Finds shares of all values in noisy trees; places ascend with the shares, and lie in their intervals.

    For a place x the noisy rank less the share q of the noisy total is D(x), whose variance is known exactly. The place of q is
    where D turns positive; the ends of its interval are where D can no longer be told from 0, on either side: Woodruff
    (1952), "Confidence Intervals for Medians and Other Position Measures", for ranks that are wrong by noise instead of by
    sampling. Within a node the ranks are those of its children together with its own count, weighted by their variances
    (Hay, Rastogi, Miklau and Suciu 2010, "Boosting the Accuracy of Differentially Private Histograms Through Consistency",
    along one path). Between the ends of a leaf, values are taken to lie evenly.

    Args:
        tree: What was drawn with these aims, or with more.
        aims: What is searched for.
        variance: The variance of the noise of a node.
    """

    def look(level: int, parents: Places) -> Noisy:
        return tree.children(level, parents)

    size, shape = tree.shape.leaves, (tree.partitions, len(aims.shares), 3)
    leaf, within = np.empty((2, tree.partitions, shape[1] * 3))
    for part in _chunks(tree.partitions):
        leaf[part], within[part] = _search(tree.top, tree.shape, look, aims, variance, part)
    leaf, within = leaf.reshape(shape), within.reshape(shape)
    place = np.clip(leaf[:, :, 1] + within[:, :, 1], 0, size)
    # Ranks that cross are nearer to the truth when sorted (Chernozhukov, Fernandez-Val and Galichon 2010).
    place[:, np.argsort(aims.shares, kind="stable")] = np.sort(place, axis=1)
    low = np.minimum(np.clip(leaf[:, :, 0], 0, size), place)
    high = np.maximum(np.clip(leaf[:, :, 2] + 1, 0, size), place)
    return Found(low, place, high)


@dataclass
class _Paths:
    """How far a search has come, for each partition and aim: the rank where the current node begins, and its count.

    Attributes:
        rank: D at the beginning of the node.
        count: The node's count.
        var: The variance of ``rank``.
        cov: The covariance of ``rank`` and ``count``.
        count_var: The variance of ``count``.
    """

    rank: Doubles
    count: Doubles
    var: Doubles
    cov: Doubles
    count_var: Doubles

    @staticmethod
    def at_top(shape: TreeShape, top: Doubles, shares: Doubles, variance: float) -> tuple[Doubles, Doubles]:
        """D and its variance at the ends of the nodes of the first level; all noise is independent there.

        D = (1 - q) (what is before) - q (what is behind).
        """
        before = np.concatenate([np.zeros((len(top), 1)), np.cumsum(top, axis=1)], axis=1)
        ends = np.arange(shape.branches + 3)
        ranks = before[:, None, :] - shares[:, None] * before[:, None, -1:]
        spread = variance * ((1 - shares[:, None]) ** 2 * ends + shares[:, None] ** 2 * ends[::-1])
        return ranks, np.broadcast_to(spread, ranks.shape)

    def open(self, children: Doubles, variance: float) -> tuple[Doubles, Doubles]:
        """D and its variance at the ends of a node's children; what they add up to is told once more, and used first.

        The sum of b children has an independent error of b times the variance: rank and count are moved by it as by any
        further measurement (Kalman 1960). Given the node's count the children have to add up to it, and what they lack is
        spread over them evenly: of their errors only those that add up to 0 are left.
        """
        branches = children.shape[-1]
        together = children.sum(axis=-1)
        wrong, spread = together - self.count, self.count_var + branches * variance
        self.rank = self.rank + self.cov / spread * wrong
        self.count = self.count + self.count_var / spread * wrong
        self.var = self.var - self.cov**2 / spread
        self.cov = self.cov - self.cov * self.count_var / spread
        self.count_var = self.count_var - self.count_var**2 / spread
        part = np.arange(branches + 1) / branches
        before = np.concatenate([np.zeros((*together.shape, 1)), np.cumsum(children, axis=-1)], axis=-1)
        ranks = self.rank[..., None] + before + part * (self.count - together)[..., None]
        of_children = variance * branches * part * (1 - part)
        return ranks, self.var[..., None] + 2 * part * self.cov[..., None] + part**2 * self.count_var[..., None] + of_children

    def enter(self, child: Places, ranks: Doubles, spread: Doubles, children: Doubles, variance: float) -> _Paths:
        """The same at one of the children."""
        branches = children.shape[-1]
        count = _pick(children, child) + (self.count - children.sum(axis=-1)) / branches
        part = child / branches
        cov = self.cov / branches + part * self.count_var / branches - variance * part
        count_var = self.count_var / branches**2 + variance * (1 - 1 / branches)
        return _Paths(_pick(ranks, child), count, _pick(spread, child), cov, count_var)


def _search(
    top: Noisy, shape: TreeShape, look: Callable[[int, Places], Noisy], aims: Aims, variance: float, part: slice
) -> tuple[Doubles, Doubles]:
    """Descends to a leaf for each partition of a part and each column of the aims.

    Returns:
        The leaf, -1 below all and ``leaves`` above, and where in it the rank is, from 0 to 1.
    """
    shares, errors = aims.columns
    found = top[part].astype(np.float64)
    rows = np.arange(len(top))[part, None]
    ranks, spread = _Paths.at_top(shape, found, shares, variance)
    child = _crossing(ranks, spread, errors)
    counts = np.broadcast_to(found[:, None, :], (*child.shape, found.shape[1]))
    of_all = np.full(child.shape, variance)
    paths = _Paths(_pick(ranks, child), _pick(counts, child), _pick(spread, child), -shares * of_all, of_all)
    node = child - 1
    inside = (node >= 0) & (node < shape.branches)
    for level in range(2, shape.levels + 1):
        counts = look(level, np.where(inside, rows * shape.nodes(level - 1) + node, -1)).astype(np.float64)
        ranks, spread = paths.open(counts, variance)
        child = _crossing(ranks, spread, errors)
        paths = paths.enter(child, ranks, spread, counts, variance)
        node = np.where(inside, node * shape.branches + child, node)
    leaf = np.where(inside, node, np.where(node < 0, -1, shape.leaves)).astype(np.float64)
    # Where a leaf has nothing to part, its middle does as well as any place.
    within = np.divide(-paths.rank, paths.count, out=np.full(child.shape, 0.5), where=paths.count > 0)
    return leaf, np.clip(within, 0.0, 1.0)


def _crossing(ranks: Doubles, spread: Doubles, errors: Doubles) -> Places:
    """The child in which D, moved by so many standard deviations of its own, turns positive.

    Noisy ranks can cross 0 several times. The lower end of an interval is where they may do so first, the upper one where they
    may do so last, and the place itself between: where the middle of the largest rank so far and the least one from there on does.
    """
    moved = ranks - errors[:, None] * np.sqrt(spread)
    last = ranks.shape[-1] - 2
    highest = np.maximum.accumulate(moved, axis=-1)
    lowest = np.minimum.accumulate(moved[..., ::-1], axis=-1)[..., ::-1]
    weight = ((np.sign(errors) + 1) / 2)[:, None]
    monotone = (1 - weight) * highest + weight * lowest
    return np.minimum((monotone[..., 1:] < 0).sum(axis=-1), last)


def _pick(values: Doubles, child: Places) -> Doubles:
    return np.take_along_axis(values, child[..., None], axis=-1)[..., 0]


def _chunks(number: int) -> Iterator[slice]:
    return (slice(start, start + _CHUNK) for start in range(0, number, _CHUNK))


def rank_stddev(shape: TreeShape, shares: Sequence[float], variance: float) -> float:
    """The standard deviation of D where it is largest, whatever the values are: how wrong a rank may be, in values.

    Args:
        shape: The tree.
        shares: The shares that are searched for.
        variance: The variance of the noise of a node.
    """
    asked = np.array(shares)
    _, spread = _Paths.at_top(shape, np.zeros((1, shape.branches + 2)), asked, variance)
    largest = spread.max()
    inner = spread[0, :, 1 : shape.branches + 1]  # where a node begins that has children
    zero, one = np.zeros(inner.shape), np.full(inner.shape, variance)
    paths = _Paths(zero, zero, inner, -asked[:, None] * one, one)
    for _ in range(2, shape.levels + 1):
        nothing = np.zeros((*paths.rank.shape, shape.branches))
        ranks, spread = paths.open(nothing, variance)
        largest = max(largest, spread.max())
        entered = [
            paths.enter(np.full(paths.rank.shape, child), ranks, spread, nothing, variance) for child in range(shape.branches)
        ]
        paths = _Paths(*(np.concatenate(parts, axis=1) for parts in zip(*map(astuple, entered), strict=True)))
    return float(np.sqrt(largest))
