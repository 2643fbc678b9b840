"""From contribution bounds to the sensitivity of each query (design, section 4; add or remove one privacy unit)."""

from __future__ import annotations

from dataclasses import dataclass

from dp_spark.aggregates.queries import Query, QueryKind


@dataclass(frozen=True)
class ContributionBounds:
    """How much one privacy unit can contribute after bounding.

    Attributes:
        max_partitions_contributed: k, the number of partitions a unit can appear in (L0).
        max_contributions_per_partition: m, the number of its rows in each (Linf).
    """

    max_partitions_contributed: int
    max_contributions_per_partition: int


@dataclass(frozen=True)
class Sensitivity:
    """By how much a query's vector over all partitions can change; exact integers on the query's lattice.

    Attributes:
        l0: The number of partitions that can change.
        l1: The L1 sensitivity.
        l2_squared: The square of the L2 sensitivity: its root is taken once, rounded up, when noise is calibrated.
        linf: The largest change in one partition.
    """

    l0: int
    l1: int
    l2_squared: int
    linf: int

    def rounded(self, bits: int) -> Sensitivity:
        """The sensitivity after each integer is rounded to a multiple of W = 2^bits, counted in W (``noise_grid.to_grid``).

        Proof: floor(u + d / W) - floor(u) <= ceil(d / W) for every d >= 0. So an entry that changes by at most linf
        changes by at most ceil(linf / W), and entries that do not change stay. Both are attained.

        >>> Sensitivity(2, 18, 162, 9).rounded(2)
        Sensitivity(l0=2, l1=6, l2_squared=18, linf=3)
        """
        linf = -(-self.linf >> bits)
        return Sensitivity(self.l0, self.l0 * linf, self.l0 * linf**2, linf)


def sensitivity_of(query: Query, bounds: ContributionBounds) -> Sensitivity:
    """The sensitivity of a query over rows bounded by ``bounds``.

    Proof: a unit changes at most k partitions, each by at most ``per_partition``; all others keep their rows, as
    bounding treats units independently. So L1 <= k * per_partition and L2^2 <= k * per_partition^2.

    >>> sensitivity_of(Query(QueryKind.COUNT), ContributionBounds(4, 2))
    Sensitivity(l0=4, l1=8, l2_squared=16, linf=2)
    >>> sensitivity_of(Query(QueryKind.PRIVACY_ID_COUNT), ContributionBounds(4, 2))
    Sensitivity(l0=4, l1=4, l2_squared=4, linf=1)
    """
    k = bounds.max_partitions_contributed
    per_partition = query.per_row * (1 if query.kind is QueryKind.PRIVACY_ID_COUNT else bounds.max_contributions_per_partition)
    return Sensitivity(l0=k, l1=k * per_partition, l2_squared=k * per_partition**2, linf=per_partition)
