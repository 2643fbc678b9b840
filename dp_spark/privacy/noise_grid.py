"""The grid that noise is drawn on: exact sums are rounded to it once per partition, whatever the number of rows.

Values lie on a lattice so fine that rounding *each of n values* stays invisible, and their sum can have 84 bits. The noise
is drawn in 64. So the sum is rounded once more, to a grid whose step is a power of two of lattice units: that error is at
most half a step per cell, not per row. ADR 8 has the bounds.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np

from dp_spark.privacy.bounds import Norm, Sensitivity
from dp_spark.privacy.integers import Exact, Noisy

#: Rounded sums are clamped to this size, which leaves room for the noise.
LARGEST_SUM = 2**62
#: A row changes a cell by at most so many steps: 2^40 rows fit below ``LARGEST_SUM``.
_ROW = 2**22
#: The same where the noise is so small that a step of that size would be seen beside it: 2^30 rows fit.
_FINEST_ROW = 2**32
#: The noise scale, in steps, from which on half a step is invisible beside it.
_LEAST_SCALE = 2**12
#: The largest noise scale in steps: a Laplace draw is beyond 2^62 with a probability of e^-32.
_LARGEST_SCALE = 2**57
_LARGEST_L1 = 2**48


def grid_bits(
    exact: Sensitivity, per_row: int, *, norm: Norm, epsilon: Decimal | None = None, rho: Decimal | None = None
) -> int:
    """The binary logarithm of a grid's step in lattice units: a function of public settings alone.

    Args:
        exact: The sensitivity of the exact sums, in lattice units.
        per_row: By how much one row can change a sum, in lattice units.
        norm: The norm of the sensitivity that the noise follows.
        epsilon: The charge in a basic account.
        rho: The charge in a zcdp account.

    Guarantees: L1 is at most 2^48 steps; a row is at most 2^22 steps, or 2^32 where the noise scale would otherwise be below
    2^12 steps; and the noise scale is at most 2^57 steps, unless a single step for each partition is too much already.
    """
    squared = _squared_scale(exact, epsilon=epsilon, rho=rho, norm=norm)
    bits = 0
    while bits < exact.linf.bit_length() and not (
        per_row <= _FINEST_ROW << bits and exact.rounded(bits).l1 <= _LARGEST_L1 and squared <= (_LARGEST_SCALE << bits) ** 2
    ):
        bits += 1
    while per_row > _ROW << bits and squared >= (_LEAST_SCALE << (bits + 1)) ** 2:
        bits += 1
    return bits


def _squared_scale(exact: Sensitivity, *, epsilon: Decimal | None, rho: Decimal | None, norm: Norm) -> Fraction:
    """The square of the noise scale in lattice units, as exact as the charge: equal plans have equal grids everywhere."""
    if epsilon is not None:
        return (exact.l1 / Fraction(epsilon)) ** 2
    assert rho is not None, "a query is charged an epsilon or a rho"
    return (exact.l2_squared if norm == 2 else exact.l1**2) / (2 * Fraction(rho))


def to_grid(values: Exact, bits: int) -> Noisy:
    """Sums as steps of 2^bits: the nearest, half a step upwards, clamped to 62 bits.

    Args:
        values: Exact sums in lattice units, of any shape and size.
        bits: The binary logarithm of the grid's step.

    Guarantees: two sums that differ by d differ by at most ceil(d / 2^bits) steps. Rounding half to even would not do:
    1/2 and 3/2 would become 0 and 2. Clamping moves no two integers apart.

    >>> to_grid(np.array([-7, -6, -2, 1, 2, 6], dtype=object), 2).tolist()
    [-2, -1, 0, 0, 1, 2]
    """
    steps = values if bits == 0 else (values + (1 << (bits - 1))) >> bits  # elements stay Python integers: no overflow
    return np.clip(steps, -LARGEST_SUM, LARGEST_SUM).astype(np.int64)
