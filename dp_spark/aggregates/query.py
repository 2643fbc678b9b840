"""What Spark adds up in each partition: a closed set of exact measures, and the queries that are asked with them.

An aggregate is what an author writes; a query is what is drawn and paid. A mean is two queries, and two aggregates
that need the same query share one draw: the same number shown twice is not two secrets.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, Literal

from dp_spark.aggregates.labels import label_of
from dp_spark.errors import SpecError
from dp_spark.privacy.grids import Edges, Grid
from dp_spark.privacy.lattice import MOST_OF_A_ROW, Lattice, centred_lattice, sum_lattice
from dp_spark.privacy.trees import TreeShape

#: How the values of a unit's rows in a partition become one.
Reduction = Literal["sum", "mean", "count", "min", "max"]


@dataclass(frozen=True)
class Values:
    """The values that a measure is taken over: those of a column that are neither null nor NaN.

    Attributes:
        column: The column.
        where: A checked expression without parameters: only rows for which it is true have a value. Which rows survive bounding
            does not depend on it.
        per_unit: How the values of a unit's bounded rows in a partition become one; a unit without a value has none. None: each
            row's value counts.
    """

    column: str
    where: str | None = None
    per_unit: Reduction | None = None


@dataclass(frozen=True)
class Units:
    """The number of privacy units in a partition that have a bounded row there.

    Attributes:
        where: Only rows for which it is true.
        column: Only rows in which this column has a value.
    """

    where: str | None = None
    column: str | None = None


@dataclass(frozen=True)
class Rows:
    """The number of rows.

    Attributes:
        where: Only rows for which it is true.
    """

    where: str | None = None


@dataclass(frozen=True)
class Present:
    """The number of values, one for each row that has one; of units that have one see ``Units``."""

    values: Values


@dataclass(frozen=True)
class Total:
    """The sum of (x - centre)^power - shift over lattice integers x; null values are left out.

    Attributes:
        values: Whose lattice integers.
        lattice: Where they are integers. With ``per_unit``, rows are integers of the same granularity that are not clipped to
            its bounds but to 2^42 in size; what a unit's rows come to is clipped (``lattice.Lattice.to_row``).
        centre: The lattice integer that is taken from each value.
        power: 1 or 2.
        shift: What is taken from each power.
    """

    values: Values
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

        >>> x = Values("x")
        >>> Total(x, Lattice(-3.0, 5.0, 0)).change, Total(x, Lattice(-3.0, 3.0, 0), 0, 2, 4).change
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
        centre are multiples of the same power of two. Of shifted squares nothing is known, nor of a unit's mean.

        >>> from dp_spark.privacy.lattice import sum_lattice
        >>> total = Total(Values("x"), sum_lattice(0.0, 500.0))
        >>> total.zero_bits, total.change >> total.zero_bits
        (35, 500)
        """
        if self.lattice.exponent >= 0 or self.power != 1 or self.values.per_unit == "mean":
            return 0
        if self.values.per_unit is not None and 2.0**-self.lattice.exponent > MOST_OF_A_ROW:
            return 0  # a row's integer is clipped to no multiple of such
        ends = [end for end in (self.lattice.lower, self.lattice.upper, self.centre, self.shift) if end != 0]
        return min(-self.lattice.exponent, *((end & -end).bit_length() - 1 for end in ends))


@dataclass(frozen=True)
class Bins:
    """How many values are in each node of a tree over public bins (``trees.TreeShape``); of no bin, in no node.

    Attributes:
        values: The values.
        grid: The bins. Between edges, values below and above all of them are in nodes of their own.
        shape: The tree; of one level where only the bins are counted.
    """

    values: Values
    grid: Grid
    shape: TreeShape

    @property
    def lattice(self) -> Lattice:
        """Where what a unit's rows come to is an integer: as far as bins reach, and as much again at each end."""
        assert isinstance(self.grid, Edges), "texts are not reduced"
        first, last = self.grid.edges[0], self.grid.edges[-1]
        return Lattice(2 * first - last, 2 * last - first, sum_lattice(first, last, per_unit=True).exponent)

    @property
    def integer_edges(self) -> tuple[int, ...]:
        """The edges on that lattice.

        Raises:
            SpecError: If two of them are one point of it.
        """
        assert isinstance(self.grid, Edges), "texts are not reduced"
        edges = tuple(round(math.ldexp(edge, -self.lattice.exponent)) for edge in self.grid.edges)
        if any(before >= after for before, after in itertools.pairwise(edges)):
            raise SpecError("the bins are too narrow for what a unit's rows come to", mend="use fewer or wider bins")
        return edges

    def place(self, value: Any) -> int | None:
        """The place of a value, or of what a unit's rows come to, which is a lattice integer; None where it has none."""
        if self.values.per_unit is None:
            return self.grid.place(value)
        edges = Edges(tuple(map(float, self.integer_edges)))
        return edges.place(float(self.lattice.to_integer(value)))

    def nodes(self, place: int) -> list[int]:
        """Which of its integers a value in a place of the grid (``Edges.place``) changes.

        >>> from dp_spark.privacy.grids import even_edges
        >>> bins = Bins(Values("x"), even_edges(0.0, 1.0, 100), TreeShape(2))
        >>> [bins.nodes(place) for place in (0, 1, 100, 101)]
        [[0], [1, 12], [10, 111], [11]]
        """
        shape, leaf = self.shape, place - 1
        if not 0 <= leaf < shape.leaves:
            return [0 if leaf < 0 else shape.branches + 1]
        levels = range(1, shape.levels + 1)
        return [shape.start(level) + (level == 1) + leaf // (shape.leaves // shape.nodes(level)) for level in levels]


Measure = Units | Rows | Present | Total | Bins


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


def count_of_units(where: str | None = None, column: str | None = None) -> Query:
    """The number of units that have a row, or one for which a condition is true or in which a column has a value.

    >>> count_of_units() == PRIVACY_ID_COUNT, count_of_units("x > 0").label
    (True, 'privacy_id_count{"where":"x > 0"}')
    """
    return Query(Units(where, column), label_of("privacy_id_count", column=column, where=where), once_per_unit=True)


def count_of_rows(where: str | None = None) -> Query:
    """The number of rows, or of those for which a condition is true.

    >>> count_of_rows() == ROW_COUNT
    True
    """
    return Query(Rows(where), label_of("count", where=where))


def count_of_column(values: Values) -> Query:
    """The number of values; where a unit has one, the number of units that have it, whatever it is made by.

    >>> count_of_column(Values("value")).label, count_of_column(Values("value", per_unit="mean")).label
    ('count_of_column(value)', 'privacy_id_count{"column":"value"}')
    """
    if values.per_unit is not None:
        return count_of_units(values.where, values.column)
    plain = f"count_of_column({values.column})"
    told = label_of("count_of_column", column=values.column, where=values.where)
    return Query(Present(values), plain if values.where is None else told)


def total_of_column(kind: str, measure: Total) -> Query:
    """A sum over lattice integers.

    Args:
        kind: The first word of its label, another one for each kind of sum.
        measure: What is summed.

    >>> from dp_spark.privacy.lattice import sum_lattice
    >>> total_of_column("sum", Total(Values("value"), sum_lattice(0.0, 500.0))).label
    'sum(value, 0.0, 500.0)'
    """
    once = measure.values.per_unit is not None
    label = label_of_values(kind, measure.values, measure.lattice.min_value, measure.lattice.max_value)
    return Query(measure, label, change=measure.change, granularity=measure.granularity, once_per_unit=once)


def label_of_values(kind: str, values: Values, min_value: float, max_value: float) -> str:
    """The label of a query over values that are clipped to bounds.

    Args:
        kind: Its first word.
        values: The values.
        min_value: The lower clipping bound.
        max_value: The upper one.
    """
    if values == Values(values.column):
        return f"{kind}({values.column}, {min_value!r}, {max_value!r})"
    bounds = [min_value, max_value]
    return label_of(kind, column=values.column, where=values.where, per_unit=values.per_unit, bounds=bounds)


def centred_sum(values: Values, min_value: float, max_value: float) -> Query:
    """The sum of values' distances from the middle of their clipping bounds: one changes it by at most R.

    Raises:
        SpecError: If the clipping bounds make no lattice.
    """
    lattice = centred_lattice(min_value, max_value, per_unit=values.per_unit is not None)
    return total_of_column("centred_sum", Total(values, lattice, centre=lattice.midpoint))
