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

        Proof: floor(u + d / W) - floor(u) <= ceil(d / W) <= (d + W - 1) / W for every d >= 0, and entries that do not change
        stay: at most N = l0 * in_each change. By the first bound each changes by at most ceil(linf / W). By the second, with
        the changes d_i whose sum is at most L1 and whose squares add up to at most L2^2, the sum of the rounded ones is at most
        (L1 + N (W - 1)) / W, and that of their squares (L2^2 + 2 (W - 1) L1 + N (W - 1)^2) / W^2; both are whole numbers. The
        smaller bound holds. The first is attained where a partition has one integer and all N can change by linf at once;
        several small changes of different integers can each be rounded up.

        >>> Sensitivity(2, 18, 162, 9).rounded(2)
        Sensitivity(l0=2, l1=6, l2_squared=18, linf=3, in_each=1)
        >>> Sensitivity(10, 100, 10_000, 100).rounded(2)  # ten rows, wherever they are
        Sensitivity(l0=10, l1=32, l2_squared=668, linf=25, in_each=1)
        """
        if bits == 0:
            return self
        linf, entries, below = -(-self.linf >> bits), self.l0 * self.in_each, (1 << bits) - 1
        l1 = min(entries * linf, (self.l1 + entries * below) >> bits)
        squares = (self.l2_squared + 2 * below * self.l1 + entries * below**2) >> (2 * bits)
        return Sensitivity(self.l0, l1, min(entries * linf**2, squares), linf, self.in_each)


@dataclass(frozen=True)
class ContributionBounds:
    """How much one privacy unit can contribute after bounding.

    Attributes:
        max_partitions_contributed: k, the number of partitions a unit can appear in (L0).
        max_contributions_per_partition: m, the number of its rows in each (Linf).
        max_contributions: c, the number of its rows in all partitions together (L1); None: as many as k and m allow.
    """

    max_partitions_contributed: int
    max_contributions_per_partition: int
    max_contributions: int | None = None

    @staticmethod
    def of(k: int | None, m: int | None, c: int | None) -> ContributionBounds:
        """The bounds of which some are given; a missing k or m counts as c, and none can be larger than c.

        >>> ContributionBounds.of(None, 3, 10)
        ContributionBounds(max_partitions_contributed=10, max_contributions_per_partition=3, max_contributions=10)
        """
        k, m = (bound if bound is not None else c for bound in (k, m))
        assert k is not None, "a release file without c has k"
        assert m is not None, "a release file without c has m"
        return ContributionBounds(k, m) if c is None else ContributionBounds(min(k, c), min(m, c), c)

    def describe(self) -> dict[str, int]:
        """The bounds as manifests and plans tell them: c where it is given."""
        told = {name: getattr(self, name) for name in ("max_partitions_contributed", "max_contributions_per_partition")}
        return told if self.max_contributions is None else {**told, "max_contributions": self.max_contributions}

    @property
    def total(self) -> int | None:
        """c, where k and m alone do not keep to it, or neither is smaller: then it implies both, also where all are 1."""
        c, k, m = self.max_contributions, self.max_partitions_contributed, self.max_contributions_per_partition
        return c if c is not None and (c < k * m or c <= min(k, m)) else None

    @property
    def implied(self) -> tuple[bool, bool]:
        """Whether anything that keeps to c keeps to k, and to m."""
        c = self.total
        return (False, False) if c is None else (
            self.max_partitions_contributed >= c, self.max_contributions_per_partition >= c,
        )  # fmt: skip

    def sensitivity(self, query: Change) -> Sensitivity:
        """The sensitivity of a query over rows with these bounds.

        With m' = min(m, c), or 1 where a unit counts once, k' = min(k, c), n = min(k' m', c) and (q, r) = divmod(n, m'):
        L0 = k', L1 = d touched n, L2^2 = d^2 touched (q m'^2 + r^2).

        Proof: a unit's rows are in at most k' partitions, a_i <= m' of them in the i-th and at most n in all (where a unit
        counts once, a_i is 0 or 1); all other rows stay, as bounding treats units independently. One row changes ``touched``
        integers by at most d each. So an integer of the i-th partition changes by at most d a_i, and a partition's by at most
        d a_i touched together and (d a_i)^2 touched in squares: all a_i rows can touch the same integers. The sum of a_i is at
        most n. The sum of their squares is convex, so it is largest where no two lie strictly between 0 and m' (moving one
        from the smaller to the larger would not lower it): q partitions with m' and one with r. Both are attained.
        """
        of_each = 1 if query.once_per_unit else self.max_contributions_per_partition
        k, m = (bound if self.max_contributions is None else min(bound, self.max_contributions) for bound in (
            self.max_partitions_contributed, of_each,
        ))  # fmt: skip
        rows = k * m if self.max_contributions is None else min(k * m, self.max_contributions)
        full, rest = divmod(rows, m)
        largest, in_each = query.change * m, min(query.width, query.touched * m)
        l2_squared = query.change**2 * query.touched * (full * m**2 + rest**2)
        return Sensitivity(k, query.change * query.touched * rows, l2_squared, linf=largest, in_each=in_each)
