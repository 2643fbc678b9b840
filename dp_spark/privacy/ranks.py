"""Places of shares of all values (quantiles) in noisy trees, with what noise makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass

import numpy as np

from dp_spark.privacy.integers import Doubles, Noisy
from dp_spark.privacy.trees import NoisyTree, Places, TreeShape

#: How many partitions are searched at a time: what a search needs of memory is bounded by it.
_CHUNK = 2**14
#: Without noise nothing has to be weighed, and divided by no variance.
_LEAST_VARIANCE = 1e-12

#: The children, in a level, of nodes of the level above: partition * nodes + node, of any shape; all 0 for -1.
Look = Callable[[int, Places], Noisy]


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
    size, shape = tree.shape.leaves, (tree.partitions, len(aims.shares), 3)
    leaf, within = np.empty((2, tree.partitions, shape[1] * 3))
    for part in chunks(tree.partitions):
        leaf[part], within[part] = search(tree, tree.children, aims, variance, part)
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


def search(tree: NoisyTree, look: Look, aims: Aims, variance: float, part: slice) -> tuple[Doubles, Doubles]:
    """Descends to a leaf for each partition of a part and each column of the aims.

    Args:
        tree: The trees, of which the first level is drawn.
        look: What is asked for all else; it may draw it.
        aims: What is searched for.
        variance: The variance of the noise of a node.
        part: The partitions.

    Returns:
        The leaf, -1 below all and ``leaves`` above, and where in it the rank is, from 0 to 1.
    """
    (shares, errors), shape, variance = aims.columns, tree.shape, max(variance, _LEAST_VARIANCE)
    found = tree.top[part].astype(np.float64)
    rows = np.arange(tree.partitions)[part, None]
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
    may do so last; the place itself is where the middle of the largest rank so far and the least one from there on does.
    """
    moved = ranks - errors[:, None] * np.sqrt(spread)
    last = ranks.shape[-1] - 2
    highest = np.maximum.accumulate(moved, axis=-1)
    lowest = np.minimum.accumulate(moved[..., ::-1], axis=-1)[..., ::-1]
    weight = ((np.sign(errors) + 1) / 2)[:, None]
    monotone = (1 - weight) * highest + weight * lowest
    return np.asarray(np.minimum((monotone[..., 1:] < 0).sum(axis=-1), last))


def _pick(values: Doubles, child: Places) -> Doubles:
    return np.asarray(np.take_along_axis(values, child[..., None], axis=-1)[..., 0])


def chunks(number: int) -> Iterator[slice]:
    """Partitions that are searched together."""
    return (slice(start, start + _CHUNK) for start in range(0, number, _CHUNK))


def rank_stddev(shape: TreeShape, shares: Sequence[float], variance: float) -> float:
    """The standard deviation of D where it is largest, whatever the values are: how wrong a rank may be, in values.

    Args:
        shape: The tree.
        shares: The shares that are searched for.
        variance: The variance of the noise of a node.
    """
    asked, variance = np.array(shares), max(variance, _LEAST_VARIANCE)
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
