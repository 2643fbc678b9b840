from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Literal

import numpy as np
import pytest
from helpers import of_each_kind
from hypothesis import given, settings
from hypothesis import strategies as st

from dp_spark.aggregates.query import Query, Rows
from dp_spark.errors import DpSparkError
from dp_spark.noise_width import stddevs_for
from dp_spark.privacy import ranks
from dp_spark.privacy.bounds import ContributionBounds
from dp_spark.privacy.mechanisms.registry import calibrate
from dp_spark.privacy.ranks import Aims, _Paths, _pick, find, rank_stddev
from dp_spark.privacy.tree_drawing import draw_tree
from dp_spark.privacy.trees import LeafCounts, NoisyTree, TreeShape

SHAPES = [TreeShape(1), TreeShape(2), TreeShape(3), TreeShape(4, branches=3)]
SHARES = (0.05, 0.5, 0.999)

shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)


def counts_of(shape: TreeShape, places: list[np.ndarray]) -> LeafCounts:
    """From the places of the values of each partition: 0 is below the leaves."""
    rows = np.repeat(np.arange(len(places)), [len(item) for item in places])
    cells, counts = np.unique(rows * (shape.leaves + 2) + np.concatenate(places), return_counts=True)
    return LeafCounts.of(len(places), shape.leaves, *np.divmod(cells, shape.leaves + 2), counts)


def nodes_of(shape: TreeShape, places: np.ndarray) -> list[int]:
    """All nodes of one partition, by looking at each value."""
    found = [int((places == 0).sum())]
    for level in range(1, shape.levels + 1):
        size = shape.leaves // shape.nodes(level)
        inner = places[(places > 0) & (places <= shape.leaves)] - 1
        found += np.bincount(inner // size, minlength=shape.nodes(level)).tolist()
        if level == 1:
            found.append(int((places == shape.leaves + 1).sum()))
    return found


def some_places(shape: TreeShape, seed: int, partitions: int = 7) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    sizes = random.integers(0, 400, partitions)
    return [random.integers(0, shape.leaves + 2, size) // random.integers(1, 4) for size in sizes]


@shapes
def test_all_nodes_are_those_of_the_values(shape: TreeShape) -> None:
    places = some_places(shape, 1)
    tree = draw_tree(shape, counts_of(shape, places), lambda counts: counts, None, 1.0)
    expected = np.array([nodes_of(shape, item) for item in places])
    assert expected.shape == (7, shape.width)
    whole = NoisyTree.whole(shape, expected)
    assert np.array_equal(tree.top, whole.top)
    assert np.array_equal(tree.leaves(), whole.leaves())
    for level in range(2, shape.levels + 1):
        parents = np.arange(7 * shape.nodes(level - 1))
        assert np.array_equal(tree.children(level, parents), whole.children(level, parents))
    inner = [np.bincount(item, minlength=shape.leaves + 2)[1:-1] for item in places]
    assert np.array_equal(tree.leaves(), inner)


@shapes
@pytest.mark.parametrize("together", [7, 1000])
def test_a_search_draws_each_node_once_and_finds_what_it_would_among_all(
    shape: TreeShape, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all partitions together, and of few at a time."""
    monkeypatch.setattr(ranks, "_CHUNK", together)
    places, aims = some_places(shape, 2, 40), Aims(SHARES, 2.0)
    exact, drawn = counts_of(shape, places), 0

    def draw(counts: np.ndarray) -> np.ndarray:
        nonlocal drawn
        drawn += counts.size
        return counts

    tree = draw_tree(shape, exact, draw, aims, 25.0)
    whole = NoisyTree.whole(shape, np.array([nodes_of(shape, item) for item in places]))
    here, there = find(tree, aims, 25.0), find(whole, aims, 25.0)
    for name in ("low", "place", "high"):
        assert np.array_equal(getattr(here, name), getattr(there, name))
    paths = 3 * len(SHARES)
    assert drawn <= 40 * (shape.branches + 2 + (shape.levels - 1) * paths * shape.branches)
    assert drawn < 40 * shape.width or shape.levels < 3
    if shape.levels > 1:
        with pytest.raises(DpSparkError, match="drawn twice"):
            tree.add(2, np.array([0]), np.zeros((1, shape.branches), np.int64))


def test_what_was_not_drawn_is_not_read() -> None:
    shape = TreeShape(2)
    tree = draw_tree(shape, counts_of(shape, [np.full(100, 5)]), lambda counts: counts, Aims((0.5,), 2.0), 1e-6)
    with pytest.raises(AssertionError):
        tree.children(2, np.array([7]))
    with pytest.raises(AssertionError):
        tree.leaves()


@shapes
def test_without_noise_a_place_is_in_the_leaf_of_the_quantile(shape: TreeShape) -> None:
    places = [item for item in some_places(shape, 3, 30) if len(item)]
    found = find(draw_tree(shape, counts_of(shape, places), lambda counts: counts, None, 1e-9), Aims(SHARES, 2.0), 1e-9)
    for row, values in enumerate(places):
        for column, share in enumerate(SHARES):
            leaf = np.sort(values)[math.ceil(share * len(values)) - 1] - 1  # of the smallest value of at least that rank
            clipped = (max(leaf, 0), min(leaf + 1, shape.leaves))
            assert clipped[0] <= found.place[row, column] <= clipped[1]
            assert found.low[row, column] <= clipped[0]
            assert found.high[row, column] >= min(clipped[1], shape.leaves)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(SHAPES),
    st.lists(st.floats(0.001, 0.999), min_size=1, max_size=6, unique=True),
    st.integers(0, 2**32),
    st.sampled_from([1, 1000, 2**50]),
)
def test_places_ascend_and_stay_inside_whatever_the_noise(shape: TreeShape, shares: list[float], seed: int, size: int) -> None:
    nodes = np.random.default_rng(seed).integers(-size, size + 1, (9, shape.width))
    found = find(NoisyTree.whole(shape, nodes), Aims(tuple(shares), 1.96), float(size) ** 2)
    assert (np.diff(found.place[:, np.argsort(shares)], axis=1) >= 0).all()
    assert ((found.low >= 0) & (found.low <= found.place) & (found.place <= found.high) & (found.high <= shape.leaves)).all()


def dense(counts: LeafCounts) -> np.ndarray:
    """All leaves of all partitions, without the ends."""
    rows, places = np.divmod(counts.cells, counts.leaves + 2)
    found = np.zeros((counts.partitions, counts.leaves + 2), np.int64)
    found[rows, places] = counts.counts
    return found[:, 1:-1]


def test_partitions_are_taken_and_spread() -> None:
    shape = TreeShape(1)
    places = some_places(shape, 4, 5)
    exact, order = counts_of(shape, places), np.array([3, 0, 4])
    assert np.array_equal(dense(exact[order]), dense(exact)[order])
    spread = dense(exact[order].spread(np.array([6, 2, 3]), 8))
    assert np.array_equal(spread[[6, 2, 3]], dense(exact)[order])
    assert not spread[[0, 1, 4, 5, 7]].any()
    assert "counts" not in repr(exact)


def test_no_partition_is_no_row() -> None:
    shape = TreeShape(3)
    none = LeafCounts.of(0, shape.leaves, *np.empty((3, 0), np.int64))
    for aims in (None, Aims((0.5,), 2.0)):
        tree = draw_tree(shape, none, lambda counts: counts, aims, 1.0)
        assert find(tree, Aims((0.5,), 2.0), 1.0).place.shape == (0, 1)


# --- how wrong they are -----------------------------------------------------------------------------------------------

MAKERS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "uniform": lambda random, n: random.random(n),
    "skewed": lambda random, n: random.lognormal(-3.5, 1, n),  # some of it above the bounds
    "constant": lambda random, n: np.full(n, 0.37),
    "discrete": lambda random, n: random.poisson(4, n) / 30,
    "bimodal": lambda random, n: np.where(random.random(n) < 0.5, random.normal(0.2, 0.03, n), random.normal(0.8, 0.05, n)),
    "clipped": lambda random, n: np.where(random.random(n) < 0.3, -1, 1.3 * random.random(n)),
}
CONTINUOUS = ("uniform", "bimodal")


def places_of(values: np.ndarray, shape: TreeShape) -> np.ndarray:
    inner = np.minimum((values * shape.leaves).astype(np.int64), shape.leaves - 1) + 1
    return np.where(values < 0, 0, np.where(values > 1, shape.leaves + 1, inner))


def check_coverage(kind: str, mechanism: Literal["laplace", "gaussian"], size: int, draws: int, epsilon: str) -> None:
    """Draws with OpenDP's noise for one partition, many times: the exact vectors of a release, and its mechanism."""
    shape, shares = TreeShape(3), (0.05, 0.5, 0.95)
    query = Query(Rows(), "tree", touched=shape.levels, width=shape.width)
    charge = {"epsilon": Decimal(epsilon)} if mechanism == "laplace" else {"rho": Decimal(epsilon) ** 2 / 2}
    noise = calibrate(mechanism, "tree", ContributionBounds(1, 1).sensitivity(query), **charge)
    variance, errors = noise.stddev**2, stddevs_for(mechanism)
    values = np.sort(MAKERS[kind](np.random.default_rng(size), size))
    places = places_of(values, shape)
    exact, aims = counts_of(shape, [places] * draws), Aims(shares, errors)
    tree = draw_tree(shape, exact, lambda counts: noise.draw(counts.astype(object))[0], aims, variance)
    found = find(tree, aims, variance)
    wrong = errors * rank_stddev(shape, shares, variance)
    for column, share in enumerate(shares):
        truth = np.clip(values[math.ceil(share * size) - 1], 0, 1)
        low, high = found.low[:, column] / shape.leaves, found.high[:, column] / shape.leaves
        covered = np.mean((low <= truth) & (truth <= high))
        assert covered >= 0.95 - 2 * math.sqrt(0.95 * 0.05 / draws), (kind, share, covered)
        if kind in CONTINUOUS and size >= 1000:
            ideal = np.quantile(values, min(1, share + wrong / size)) - np.quantile(values, max(0, share - wrong / size))
            assert np.mean(high - low) <= 1.5 * np.clip(ideal, 0, 1) + 1 / shape.leaves, (kind, share)


@pytest.mark.parametrize("mechanism", ["laplace", "gaussian"])
@pytest.mark.parametrize("kind", MAKERS)
def test_intervals_cover_and_are_as_narrow_as_the_noise_lets_them(kind: str, mechanism: Literal["laplace", "gaussian"]) -> None:
    check_coverage(kind, mechanism, size=2000, draws=150, epsilon="1")


@pytest.mark.slow
@pytest.mark.parametrize("mechanism", ["laplace", "gaussian"])
@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("size", of_each_kind([1, 100, 20_000], 100))
def test_intervals_cover_for_partitions_of_all_sizes(kind: str, mechanism: Literal["laplace", "gaussian"], size: int) -> None:
    check_coverage(kind, mechanism, size, draws=500, epsilon="1")


@shapes
@pytest.mark.parametrize("share", [0.05, 0.5])
def test_the_error_of_a_rank_is_told_and_attained(shape: TreeShape, share: float) -> None:
    """All values in one leaf: the rank within it is the share, wrong by noise alone, and no more than is told."""
    random, size, draws, stddev = np.random.default_rng(5), 10**6, 3000, 40.0
    told = rank_stddev(shape, (share,), stddev**2)
    measured = []
    for leaf in (0, shape.leaves // 2, shape.leaves - 1):
        nodes = np.array(nodes_of(shape, np.full(size, leaf + 1)))
        noisy = nodes + np.rint(random.normal(scale=stddev, size=(draws, shape.width))).astype(np.int64)
        place = find(NoisyTree.whole(shape, noisy), Aims((share,), 2.0), stddev**2).place[:, 0]
        measured.append(size * np.std(place - leaf))
    assert max(measured) <= 1.06 * told
    assert max(measured) >= 0.6 * told


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_a_path_is_the_least_squares_of_what_was_drawn_along_it(share: float) -> None:
    """Ranks and variances at each step of a descent are those of all nodes that it saw, weighted as least squares does."""
    shape, variance = TreeShape(3, branches=3), 7.0
    random = np.random.default_rng(6)
    for first, second in [(0, 0), (0, 2), (1, 1), (2, 0), (2, 2)]:
        top, middle, last = (random.normal(50, 20, size) for size in (5, 3, 3))
        # What is not told apart: the ends, the other nodes of each level, and the last children, in their order.
        order: list[tuple[object, ...]] = [("below",)]
        for node in range(3):
            if node != first:
                order.append((node,))
                continue
            for child in range(3):
                order += [(node, child)] if child != second else [(node, child, leaf) for leaf in range(3)]
        order.append(("above",))
        nodes: list[tuple[object, ...]] = [("below",), (0,), (1,), (2,), ("above",)]
        nodes += [(first, child) for child in range(3)] + [(first, second, leaf) for leaf in range(3)]
        design = np.array([[float(item[: len(node)] == node) for item in order] for node in nodes])
        inverse = np.linalg.inv(design.T @ design)
        estimate = inverse @ design.T @ np.concatenate([top, middle, last])

        shares = np.array([share])
        ranks, spread = _Paths.at_top(shape, top[None, :], shares, variance)
        child = np.array([[first + 1]])
        one = np.full(child.shape, variance)
        paths = _Paths(_pick(ranks, child), top[None, [first + 1]], _pick(spread, child), -share * one, one)
        ranks, spread = paths.open(middle[None, None, :], variance)
        paths = paths.enter(np.array([[second]]), ranks, spread, middle[None, None, :], variance)
        ranks, spread = paths.open(last[None, None, :], variance)
        begin = order.index((first, second, 0))
        for end in range(4):
            weights = np.array([(1 - share) if index < begin + end else -share for index in range(len(order))])
            assert ranks[0, 0, end] == pytest.approx(weights @ estimate)
            assert spread[0, 0, end] == pytest.approx(variance * weights @ inverse @ weights)
