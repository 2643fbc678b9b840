"""Noisy trees to distribution functions: how many values are below each edge of the leaves, and how wrong that may be."""

from __future__ import annotations

import functools

import numpy as np

from dp_spark.privacy.integers import Doubles
from dp_spark.privacy.trees import NoisyTree, TreeShape


def counts_below(tree: NoisyTree) -> tuple[Doubles, Doubles]:
    """The number of values below each edge, of shape (partitions, leaves + 1), and of all values, of shape (partitions).

    A node's count and those of its children tell the same; each is used with the weight that its variance gives it, from the
    first level down, and what children lack is spread over them evenly (Hay, Rastogi, Miklau and Suciu 2010, the second of
    their two steps; docs/adr/0010-quantile-trees.md says what the first one would add).

    Args:
        tree: Trees of which all nodes were drawn.
    """
    branches, top = tree.shape.branches, tree.top.astype(np.float64)
    counts, var = top[:, 1:-1], 1.0  # in variances of the noise of a node
    for level in range(2, tree.shape.levels + 1):
        parents = np.arange(counts.size).reshape(counts.shape)
        children = tree.children(level, parents).astype(np.float64)
        together = children.sum(axis=-1)
        gain = var / (var + branches)
        counts = counts + gain * (together - counts)
        counts = (children + ((counts - together) / branches)[..., None]).reshape(len(top), -1)
        var = var * (1 - gain) / branches**2 + 1 - 1 / branches
    below = np.cumsum(np.concatenate([top[:, :1], counts], axis=1), axis=1)
    return below, below[:, -1] + top[:, -1]


@functools.lru_cache(maxsize=8)
def _squares(shape: TreeShape) -> tuple[Doubles, Doubles, float]:
    """Each count below is a sum of nodes with fixed weights, and so is the total: their squares and products."""
    below, total = counts_below(NoisyTree.whole(shape, np.eye(shape.width, dtype=np.int64)))
    return (below**2).sum(axis=0), total @ below, float(total @ total)


def rank_variances(shape: TreeShape, shares: Doubles, variance: float) -> Doubles:
    """The variance of (count below an edge) - share * (all values), for each edge.

    Args:
        shape: The tree.
        shares: For each edge a share of all values, of shape (any, leaves + 1).
        variance: The variance of the noise of a node.
    """
    below, both, total = _squares(shape)
    return np.asarray(variance * (below - 2 * shares * both + shares**2 * total))


def total_variance(shape: TreeShape, variance: float) -> float:
    """The variance of the number of all values."""
    return variance * _squares(shape)[2]


def ascending(values: Doubles) -> Doubles:
    """Rows that ascend: the middle of the largest value so far and the least one from there on.

    >>> ascending(np.array([[0.1, 0.4, 0.2, 0.9]])).round(3).tolist()
    [[0.1, 0.3, 0.3, 0.9]]
    """
    highest = np.maximum.accumulate(values, axis=1)
    return np.asarray((highest + np.minimum.accumulate(values[:, ::-1], axis=1)[:, ::-1]) / 2)
