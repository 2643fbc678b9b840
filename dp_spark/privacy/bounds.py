"""Contribution bounds, and the sensitivity of a query over rows that they bound (design, section 4; add or remove one unit).

The bounded rows answer for the sensitivity: a mechanism cannot be calibrated to other bounds than those that were applied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

#: The norm of a sensitivity that noise follows: L1 or L2.
Norm = Literal[1, 2]


class Change(Protocol):
    """What the bounds need to know of a query."""

    @property
    def change(self) -> int:
        """d, the largest change of one of its integers by one row."""

    @property
    def touched(self) -> int:
        """How many integers of a partition one row changes."""

    @property
    def width(self) -> int:
        """How many integers a partition has."""

    @property
    def once_per_unit(self) -> bool:
        """Whether a unit counts once in a partition, however many rows it has there."""


@dataclass(frozen=True)
class Sensitivity:
    """By how much a query's vector over all partitions can change; exact integers on the query's lattice.

    Attributes:
        l0: The number of partitions that can change.
        l1: The L1 sensitivity.
        l2_squared: The square of the L2 sensitivity: its root is taken once, rounded up, when noise is calibrated.
        linf: The largest change of one integer.
        in_each: How many integers of a partition can change.
    """

    l0: int
    l1: int
    l2_squared: int
    linf: int
    in_each: int = 1

    def rounded(self, bits: int) -> Sensitivity:
        """The sensitivity after each integer is rounded to a multiple of W = 2^bits, counted in W (``noise_grid.to_grid``).

        Proof: floor(u + d / W) - floor(u) <= ceil(d / W) for every d >= 0. So an entry that changes by at most linf
        changes by at most ceil(linf / W), and entries that do not change stay: at most l0 * in_each change. Attained where a
        partition has one integer; several small changes of different integers can each be rounded up.

        >>> Sensitivity(2, 18, 162, 9).rounded(2)
        Sensitivity(l0=2, l1=6, l2_squared=18, linf=3, in_each=1)
        """
        if bits == 0:
            return self
        linf, entries = -(-self.linf >> bits), self.l0 * self.in_each
        return Sensitivity(self.l0, entries * linf, entries * linf**2, linf, self.in_each)


@dataclass(frozen=True)
class ContributionBounds:
    """How much one privacy unit can contribute after bounding.

    Attributes:
        max_partitions_contributed: k, the number of partitions a unit can appear in (L0).
        max_contributions_per_partition: m, the number of its rows in each (Linf).
    """

    max_partitions_contributed: int
    max_contributions_per_partition: int

    def sensitivity(self, query: Change) -> Sensitivity:
        """The sensitivity of a query over rows with these bounds.

        Proof: a unit's rows are in at most k partitions, at most m in each; all other rows stay, as bounding treats units
        independently. One row changes ``touched`` integers by at most d each. So an integer changes by at most d m, and a
        partition's by at most d m touched together and (d m)^2 touched in squares: all m rows can touch the same integers.
        Summing over k partitions gives L1 and L2^2; both are attained.
        """
        k, rows = self.max_partitions_contributed, 1 if query.once_per_unit else self.max_contributions_per_partition
        largest, in_each = query.change * rows, min(query.width, query.touched * rows)
        l1, l2_squared = k * query.touched * largest, k * query.touched * largest**2
        return Sensitivity(k, l1, l2_squared, linf=largest, in_each=in_each)
