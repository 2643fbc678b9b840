"""Arrays of numbers: integers of queries, of shape (partitions, integers of the query), and what is made of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

#: Exact aggregates: Python integers of any size, in lattice units.
Exact = npt.NDArray[np.object_]
#: What was drawn: steps of the grid of the noise, which fit in 64 bits.
Noisy = npt.NDArray[np.int64]
#: Cells and their errors.
Doubles = npt.NDArray[np.float64]


def one_for_each(values: Sequence[int]) -> Exact:
    """One integer for each partition, as an array.

    >>> one_for_each([5, 2**70]).tolist()
    [[5], [1180591620717411303424]]
    """
    found = np.empty((len(values), 1), dtype=np.object_)
    found[:, 0] = values
    return found
