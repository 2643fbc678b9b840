"""Draws noisy trees: the nodes that a search looks at and no others, or all; each once.

Noise is independent from node to node, so it does not matter for the guarantee which of them are looked at, nor that noisy
counts decide it: what is seen is a function of the noisy tree as a whole, of which a node that nobody looks at need not be
drawn (docs/privacy.md). Exact counts stay with the caller, who holds them for this one call.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dp_spark.privacy.integers import Noisy
from dp_spark.privacy.ranks import Aims, chunks, search
from dp_spark.privacy.trees import LeafCounts, NoisyTree, Places, TreeShape


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

    for part in chunks(exact.partitions):
        search(tree, look, aims, variance, part)
    return tree
