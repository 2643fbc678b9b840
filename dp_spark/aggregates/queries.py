"""The integer queries that a release asks of its bounded rows.

An aggregate is what an author writes; a query is what is drawn and paid. A mean is two queries, and two aggregates
that need the same query share one draw: the same number shown twice is not two secrets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from dp_spark.errors import SpecError
from dp_spark.privacy.lattice import Lattice, centred_lattice, sum_lattice
from dp_spark.spec.release_spec import Aggregate, ClippedAggregate, Count, PrivacyIdCount


class QueryKind(StrEnum):
    """What a query counts or sums in each partition."""

    PRIVACY_ID_COUNT = "privacy_id_count"
    COUNT = "count"
    COUNT_OF_COLUMN = "count_of_column"
    SUM = "sum"
    CENTRED_SUM = "centred_sum"


@dataclass(frozen=True)
class Query:
    """One integer per partition.

    Attributes:
        kind: What is counted or summed.
        column: The value column, for the kinds that have one.
        lattice: The lattice on which the values are integers, for the sums.
    """

    kind: QueryKind
    column: str | None = None
    lattice: Lattice | None = None

    @property
    def label(self) -> str:
        """A name that is the same for the same query, used in events and manifests.

        >>> Query(QueryKind.SUM, "value", sum_lattice(0.0, 500.0)).label
        'sum(value, 0.0, 500.0)'
        """
        if self.lattice is not None:
            return f"{self.kind}({self.column}, {self.lattice.min_value!r}, {self.lattice.max_value!r})"
        return f"{self.kind}({self.column})" if self.column is not None else str(self.kind)

    @property
    def centre(self) -> int:
        """The lattice integer that is taken from each value before it is summed."""
        return self.lattice.midpoint if self.lattice is not None and self.kind is QueryKind.CENTRED_SUM else 0

    @property
    def per_row(self) -> int:
        """By how much one row can change the integer of its partition.

        >>> Query(QueryKind.COUNT).per_row, Query(QueryKind.SUM, "x", Lattice(-3.0, 5.0, 0)).per_row
        (1, 5)
        """
        if self.lattice is None:
            return 1
        return self.lattice.radius if self.kind is QueryKind.CENTRED_SUM else self.lattice.magnitude

    @property
    def change(self) -> int:
        """d, the largest change of the integer of a partition by one row."""
        return self.per_row

    @property
    def touched(self) -> int:
        """How many integers of a partition one row changes."""
        return 1

    @property
    def once_per_unit(self) -> bool:
        """Whether a unit counts once in a partition, however many rows it has there."""
        return self.kind is QueryKind.PRIVACY_ID_COUNT

    @property
    def zero_bits(self) -> int:
        """How many low bits are zero in what is summed of each value, if the values are whole numbers.

        A whole number is a multiple of 1 / granularity in lattice units; so it stays where both ends of the clipping and the
        centre are multiples of the same power of two.

        >>> query = Query(QueryKind.SUM, "x", sum_lattice(0.0, 500.0))
        >>> query.zero_bits, query.per_row >> query.zero_bits
        (35, 500)
        """
        if self.lattice is None or self.lattice.exponent >= 0:
            return 0
        ends = [end for end in (self.lattice.lower, self.lattice.upper, self.centre) if end != 0]
        return min(-self.lattice.exponent, *((end & -end).bit_length() - 1 for end in ends))


PRIVACY_ID_COUNT = Query(QueryKind.PRIVACY_ID_COUNT)


def queries_of(aggregate: Aggregate) -> tuple[Query, ...]:
    """The queries an aggregate is computed from, in the order in which ``results`` consumes them.

    Raises:
        SpecError: If the aggregate's clipping bounds make no lattice.
    """
    if isinstance(aggregate, PrivacyIdCount):
        return (PRIVACY_ID_COUNT,)
    if isinstance(aggregate, Count):
        if aggregate.column is None:
            return (Query(QueryKind.COUNT),)
        return (Query(QueryKind.COUNT_OF_COLUMN, aggregate.column),)
    return _clipped(aggregate)


def _clipped(aggregate: ClippedAggregate) -> tuple[Query, ...]:
    try:
        if aggregate.function == "sum":
            lattice = sum_lattice(aggregate.min_value, aggregate.max_value)
            return (Query(QueryKind.SUM, aggregate.column, lattice),)
        lattice = centred_lattice(aggregate.min_value, aggregate.max_value)
    except SpecError as error:
        raise SpecError(error.message, where=f"aggregates.{aggregate.name}", mend=error.mend) from None
    return (
        Query(QueryKind.COUNT_OF_COLUMN, aggregate.column),
        Query(QueryKind.CENTRED_SUM, aggregate.column, lattice),
    )


def weighted_queries(aggregates: Sequence[Aggregate], *, selection: Decimal | None) -> dict[Query, Decimal]:
    """The distinct queries of a release with their weights; a query that several aggregates need has the largest.

    Args:
        aggregates: The aggregates of the release.
        selection: The weight of private partition selection, or None where the partitions are public. Selection is
            a privacy-id count, so a requested privacy_id_count is the same draw.
    """
    weights: dict[Query, Decimal] = {} if selection is None else {PRIVACY_ID_COUNT: selection}
    for aggregate in aggregates:
        for query in queries_of(aggregate):
            weights[query] = max(weights.get(query, Decimal(0)), aggregate.weight)
    return weights
