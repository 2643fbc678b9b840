from __future__ import annotations

import numpy as np
import pytest

from dp_spark.privacy.cumulated import counts_below, rank_variances
from dp_spark.privacy.trees import NoisyTree, TreeShape

SHAPES = [TreeShape(1, branches=7), TreeShape(2), TreeShape(3, branches=4)]

shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)


def nodes_of(shape: TreeShape, leaves: np.ndarray) -> np.ndarray:
    """All nodes of one partition, from its leaves and the two ends."""
    inner = leaves[1:-1]
    sums = [inner.reshape(shape.nodes(level), -1).sum(axis=1) for level in range(1, shape.levels + 1)]
    return np.concatenate([leaves[:1], sums[0], leaves[-1:], *sums[1:]])


@shapes
def test_without_noise_they_are_the_counts(shape: TreeShape) -> None:
    leaves = np.random.default_rng(1).integers(0, 50, (5, shape.leaves + 2))
    below, total = counts_below(NoisyTree.whole(shape, np.array([nodes_of(shape, row) for row in leaves])))
    assert np.allclose(below, np.cumsum(leaves[:, :-1], axis=1))
    assert np.allclose(total, leaves.sum(axis=1))


@shapes
def test_the_told_variance_is_that_of_the_ranks(shape: TreeShape) -> None:
    noise = np.rint(np.random.default_rng(2).normal(scale=30, size=(8000, shape.width))).astype(np.int64)
    below, total = counts_below(NoisyTree.whole(shape, noise))
    shares = np.linspace(0, 1, shape.leaves + 1)[None, :]
    told = rank_variances(shape, shares, 30.0**2)[0]
    assert np.allclose(np.var(below - shares * total[:, None], axis=0) / told, 1, atol=0.1)


def test_counts_of_several_levels_err_less_than_those_of_the_leaves() -> None:
    """At one and the same noise of a node; and at equal budget, where each of three levels has three times the variance."""
    flat, tree = TreeShape(1, branches=1000), TreeShape(3)
    middle = np.full((1, 1001), 0.5)
    assert rank_variances(tree, middle, 3.0).max() < rank_variances(flat, middle, 1.0).max() / 10
