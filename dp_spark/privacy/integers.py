"""Integers of queries: arrays of shape (partitions, integers of the query)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: Exact aggregates: Python integers of any size, in lattice units.
Exact = npt.NDArray[np.object_]
#: What was drawn: steps of the grid of the noise, which fit in 64 bits.
Noisy = npt.NDArray[np.int64]
