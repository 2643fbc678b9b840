"""Bins that are public: between edges, or one for each listed text; which bin a value is in is decided by comparisons alone."""

from __future__ import annotations

import bisect
import itertools
import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from dp_spark.errors import SpecError

#: As many bins as a column of arrays, and a row's search among them, can have.
MAX_BINS = 10_000
_SIZES = (1e-270, 1e270)


@dataclass(frozen=True)
class Edges:
    """Bins [e_i, e_(i+1)) between ascending edges, the last with its end.

    Attributes:
        edges: The edges, two or more.

    >>> [Edges((0.0, 1.0, 2.0)).place(value) for value in (-0.5, -0.0, 0.999, 1.0, 2.0, 2.1)]
    [0, 1, 1, 2, 2, 3]
    """

    edges: tuple[float, ...]

    @property
    def bins(self) -> int:
        """The number of bins."""
        return len(self.edges) - 1

    def place(self, value: float) -> int:
        """Where a number is: 0 below all bins, 1 in the first, ``bins`` in the last, and one more above.

        The reference for what Spark computes row by row (``engine.bins``).
        """
        return self.bins if value == self.edges[-1] else bisect.bisect_right(self.edges, value)

    @cached_property
    def is_even(self) -> bool:
        """Whether the edges are those of bins of equal width, as ``even_edges`` makes them."""
        try:
            return even_edges(self.edges[0], self.edges[-1], self.bins) == self
        except SpecError:
            return False


@dataclass(frozen=True)
class Listed:
    """One bin for each of some texts.

    Attributes:
        values: The texts, each once.
    """

    values: tuple[str, ...]

    @property
    def bins(self) -> int:
        """The number of bins."""
        return len(self.values)

    def place(self, value: str) -> int | None:
        """Where a text is, from 1; None where it is not listed.

        >>> Listed(("a", "b")).place("b"), Listed(("a", "b")).place("B")
        (2, None)
        """
        return self.values.index(value) + 1 if value in self.values else None


Grid = Edges | Listed


def even_edges(first: float, last: float, bins: int) -> Edges:
    """Edges of bins of equal width: each the double that is nearest to where it would be exactly.

    Args:
        first: The first edge.
        last: The last one.
        bins: How many bins there are between.

    Raises:
        SpecError: If doubles cannot part the bins.

    >>> even_edges(0.0, 1.0, 10).edges[3]
    0.3
    """
    if not _SIZES[0] <= max(abs(first), abs(last)) <= _SIZES[1]:
        raise SpecError("the bounds are out of range", mend="use bounds between 1e-270 and 1e270 in size")
    low, width = Fraction(first), (Fraction(last) - Fraction(first)) / bins
    # So that a division finds the bin of a value up to one (``engine.bins``).
    if width < 4 * Fraction(math.ulp(max(abs(first), abs(last)))):
        raise SpecError("the bins are too narrow for doubles to part them", mend="widen the bounds, or use fewer bins")
    return Edges((first, *(float(low + width * index) for index in range(1, bins)), last))


def ascending_edges(edges: tuple[float, ...]) -> tuple[float, ...]:
    """The same edges, which can be those of bins.

    Raises:
        ValueError: If not, with a mend.
    """
    if any(not math.isfinite(edge) for edge in edges):
        raise ValueError("must be finite numbers; write numbers such as 0.5 or 200")
    if any(before >= after for before, after in itertools.pairwise(edges)):
        raise ValueError("must ascend, each edge above the one before; sort them, and write each once")
    return edges
