"""What Spark adds up in each partition: a closed set of exact measures, and the queries that are asked with them.

An aggregate is what an author writes; a query is what is drawn and paid. A mean is two queries, and two aggregates
that need the same query share one draw: the same number shown twice is not two secrets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dp_spark.privacy.lattice import Lattice, centred_lattice


@dataclass(frozen=True)
class Units:
    """The number of privacy units in a partition."""


@dataclass(frozen=True)
class Rows:
    """The number of rows."""


@dataclass(frozen=True)
class Present:
    """The number of a column's values that are neither null nor NaN."""

    column: str


@dataclass(frozen=True)
class Total:
    """The sum of (x - centre)^power - shift over a column's lattice integers x; null values are left out.

    Attributes:
        column: The value column.
        lattice: Where its values are integers.
        centre: The lattice integer that is taken from each value.
        power: 1 or 2.
        shift: What is taken from each power.
    """

    column: str
    lattice: Lattice
    centre: int = 0
    power: int = 1
    shift: int = 0

    def term(self, integer: int) -> int:
        """What one lattice integer adds to the sum; the reference for what Spark computes row by row."""
        return int((integer - self.centre) ** self.power) - self.shift

    @property
    def change(self) -> int:
        """The largest size of a term: at an end of the clipping bounds, or where a square is least.

        >>> Total("x", Lattice(-3.0, 5.0, 0)).change, Total("x", Lattice(-3.0, 3.0, 0), 0, 2, 4).change
        (5, 5)
        """
        ends = {self.lattice.lower, self.lattice.upper, min(max(self.centre, self.lattice.lower), self.lattice.upper)}
        return max(abs(self.term(end)) for end in ends)

    @property
    def granularity(self) -> float:
        """What a sum of one means, in the column's own unit to the power."""
        return math.ldexp(1.0, self.lattice.exponent * self.power)

    @property
    def zero_bits(self) -> int:
        """How many low bits are zero in what is summed of each value, if the values are whole numbers.

        A whole number is a multiple of 1 / granularity in lattice units; so it stays where both ends of the clipping and the
        centre are multiples of the same power of two. Of shifted squares nothing is known.

        >>> from dp_spark.privacy.lattice import sum_lattice
        >>> total = Total("x", sum_lattice(0.0, 500.0))
        >>> total.zero_bits, total.change >> total.zero_bits
        (35, 500)
        """
        if self.lattice.exponent >= 0 or self.power != 1:
            return 0
        ends = [end for end in (self.lattice.lower, self.lattice.upper, self.centre, self.shift) if end != 0]
        return min(-self.lattice.exponent, *((end & -end).bit_length() - 1 for end in ends))


Measure = Units | Rows | Present | Total


@dataclass(frozen=True)
class Query:
    """One draw: integers for each partition, and how much one row changes them (``privacy.bounds.Change``).

    Attributes:
        measure: What is added up.
        label: A name that is the same for the same query, in events, ledgers and manifests, for ever.
        change: d, the largest change of one integer of a partition by one row.
        touched: How many integers of a partition one row changes.
        width: How many integers a partition has.
        granularity: What one of an integer means, in the column's own unit (of squares: in its square).
        once_per_unit: Whether a unit counts once in a partition, however many rows it has there.
    """

    measure: Measure
    label: str
    change: int = 1
    touched: int = 1
    width: int = 1
    granularity: float = 1.0
    once_per_unit: bool = False

    @property
    def on_grid(self) -> bool:
        """Whether its integers may be rounded once more, to the grid of the noise: sums, not counts."""
        return isinstance(self.measure, Total)


PRIVACY_ID_COUNT = Query(Units(), "privacy_id_count", once_per_unit=True)
ROW_COUNT = Query(Rows(), "count")


def count_of_column(column: str) -> Query:
    """The number of a column's values.

    >>> count_of_column("value").label
    'count_of_column(value)'
    """
    return Query(Present(column), f"count_of_column({column})")


def total_of_column(kind: str, measure: Total) -> Query:
    """A sum over a column's lattice integers.

    Args:
        kind: The first word of its label, another one for each kind of sum.
        measure: What is summed.

    >>> from dp_spark.privacy.lattice import sum_lattice
    >>> total_of_column("sum", Total("value", sum_lattice(0.0, 500.0))).label
    'sum(value, 0.0, 500.0)'
    """
    lattice = measure.lattice
    label = f"{kind}({measure.column}, {lattice.min_value!r}, {lattice.max_value!r})"
    return Query(measure, label, change=measure.change, granularity=measure.granularity)


def centred_sum(column: str, min_value: float, max_value: float) -> Query:
    """The sum of a column's distances from the middle of its clipping bounds: one row changes it by at most R.

    Raises:
        SpecError: If the clipping bounds make no lattice.
    """
    lattice = centred_lattice(min_value, max_value)
    return total_of_column("centred_sum", Total(column, lattice, centre=lattice.midpoint))
