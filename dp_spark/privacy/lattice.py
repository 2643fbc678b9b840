"""Values as integers: the lattice on which every sum is exact and every sensitivity is a whole number.

Floating-point sums depend on the order of addition and have a sensitivity that is not what the textbook says
(Casacuberta, Shoemate, Vadhan and Wagaman, "Widespread Underestimation of Sensitivity in Differentially Private
Libraries and How to Fix It", CCS 2022). So values become multiples of a power of two *before* any summation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from dp_spark.errors import SpecError

#: The bits of a low limb; the sums of 2^40 low limbs, and of 2^40 high ones, fit in a signed 64-bit integer.
LIMB_BITS = 22
#: The largest lattice value that is ever summed; as two limbs it is at most 2^22 and below 2^22.
MAX_LATTICE_VALUE = 2 ** (2 * LIMB_BITS)
#: The most, in size, that a row counts where a unit's rows are reduced to one value: 2^20 of them add up to at most 2^62.
MOST_OF_A_ROW = 2**42
#: The largest value that a unit's rows can come to: rows of 2^10 times as much, of both signs, still count in full.
_MOST_OF_A_UNIT = 2**32
#: The least radius of bounds on what a unit's rows come to: fewer steps would be seen beside the noise.
_LEAST_OF_UNITS = 2**10
#: A double holds every integer up to here, so clipping and rounding below it are exact.
_MAX_EXACT = 2**52
_MAX_EXPONENT = 900
#: The same for bounds whose squares are summed.
_MAX_SQUARE = 450


@dataclass(frozen=True)
class Lattice:
    """Clipping bounds on a lattice of integers; a value x stands for the integer rint(x / granularity).

    Attributes:
        min_value: The lower clipping bound, in the column's own unit.
        max_value: The upper clipping bound, in the column's own unit.
        exponent: The granularity is two to this power.
        centre_bits: The midpoint is a multiple of two to this power, in lattice units.
    """

    min_value: float
    max_value: float
    exponent: int
    centre_bits: int = 0

    @property
    def granularity(self) -> float:
        """The distance between neighbouring lattice points, in the column's own unit."""
        return math.ldexp(1.0, self.exponent)

    @property
    def lower(self) -> int:
        """A, the lower clipping bound as a lattice integer."""
        return _rint(self.min_value, self.exponent)

    @property
    def upper(self) -> int:
        """B, the upper clipping bound as a lattice integer."""
        return _rint(self.max_value, self.exponent)

    @property
    def midpoint(self) -> int:
        """The middle of [A, B] on the lattice of 2^centre_bits as coarse a granularity, rounded down; a lattice point, too."""
        coarser = self.exponent + self.centre_bits
        return (_rint(self.min_value, coarser) + _rint(self.max_value, coarser)) // 2 << self.centre_bits

    @property
    def radius(self) -> int:
        """R, the largest distance of a lattice value in [A, B] from the midpoint."""
        return max(self.upper - self.midpoint, self.midpoint - self.lower)

    @property
    def magnitude(self) -> int:
        """The largest absolute lattice value in [A, B]."""
        return max(abs(self.lower), abs(self.upper))

    def to_integer(self, value: float) -> int:
        """The lattice integer of a value that is a number: clip, scale, rint, clip again.

        The reference for what Spark computes row by row (``features.lattice_column``).

        >>> Lattice(0.0, 500.0, -13).to_integer(float("inf")) * 2.0**-13
        500.0
        """
        clipped = max(self.min_value, min(value, self.max_value))
        return max(self.lower, min(_rint(clipped, self.exponent), self.upper))

    def to_row(self, value: float) -> int:
        """The lattice integer of a row's value that is a number, where a unit's rows are reduced to one: at most 2^42 in size.

        The reference for what Spark computes row by row (``features.row_column``).

        >>> Lattice(0.0, 500.0, -13).to_row(-1000.0) * 2.0**-13, Lattice(0.0, 500.0, -13).to_row(float("inf")) == 2**42
        (-1000.0, True)
        """
        most = math.ldexp(MOST_OF_A_ROW, self.exponent)
        return _rint(max(-most, min(value, most)), self.exponent)

    def clip(self, integer: int) -> int:
        """A lattice integer that is clipped to [A, B].

        >>> Lattice(0.0, 500.0, 0).clip(501)
        500
        """
        return max(self.lower, min(integer, self.upper))

    def to_value(self, integer: float) -> float:
        """The value, in the column's own unit, that a lattice integer (or a sum of them) stands for."""
        return integer * self.granularity


def _rint(value: float, exponent: int) -> int:
    return round(math.ldexp(value, -exponent))  # ties to even, like Spark's rint; ldexp is exact here


def split(value: int) -> tuple[int, int]:
    """A lattice integer as (high, low) with value = high * 2^22 + low and 0 <= low < 2^22.

    The reference for what Spark sums row by row (``aggregation.aggregate``).

    >>> split(-1)
    (-1, 4194303)
    """
    return value >> LIMB_BITS, value & (2**LIMB_BITS - 1)


def join(high: int, low: int) -> int:
    """The integer, or the sum of integers, whose limbs these are; sums of low limbs can be of any size.

    >>> join(*split(-1)), join(-2, 2 * 4194303)
    (-1, -2)
    """
    return (high << LIMB_BITS) + low


def sum_lattice(min_value: float, max_value: float, *, per_unit: bool = False) -> Lattice:
    """The lattice for a sum of values clipped to [min_value, max_value].

    Args:
        min_value: The lower clipping bound.
        max_value: The upper one.
        per_unit: Whether a value is what a unit's rows come to.

    Guarantees: no lattice value in [A, B] exceeds 2^44 in size, or 2^32 where a unit's rows are reduced.

    Raises:
        SpecError: If the bounds are not finite, not increasing, or out of range.

    >>> sum_lattice(0.0, 500.0).granularity == 2.0 ** -35
    True
    """
    _check_bounds(min_value, max_value)
    most = _MOST_OF_A_UNIT if per_unit else MAX_LATTICE_VALUE
    return _finest(min_value, max_value, lambda lattice: lattice.magnitude <= most)


def centred_lattice(min_value: float, max_value: float, *, per_unit: bool = False) -> Lattice:
    """The lattice for a sum of (x - midpoint), as a mean needs it.

    The midpoint is the one that the first version had, whose centred values were at most 2^22: a mean is published without it,
    and combining the means of several parties has to know it (``combining``).

    Args:
        min_value: The lower clipping bound.
        max_value: The upper one.
        per_unit: Whether a value is what a unit's rows come to.

    Guarantees: no centred lattice value exceeds 2^44 in size, and A and B are integers that a double holds exactly. Where a
    unit's rows are reduced, 2^32 and 2^42.

    Raises:
        SpecError: If the bounds are not finite, not increasing, or so close that a double cannot part them.

    >>> centred_lattice(1000.0, 1001.0).radius <= 2 ** 44
    True
    """
    coarse = _coarse(min_value, max_value, per_unit=per_unit)
    most = _MOST_OF_A_UNIT if per_unit else MAX_LATTICE_VALUE
    for bits in range(LIMB_BITS, 0, -1):
        lattice = Lattice(min_value, max_value, coarse.exponent - bits, bits)
        if lattice.radius <= most and lattice.magnitude <= (MOST_OF_A_ROW if per_unit else _MAX_EXACT):
            return lattice
    return coarse


def square_lattice(min_value: float, max_value: float, *, per_unit: bool = False) -> Lattice:
    """The lattice for a sum of squares of (x - midpoint), as a variance needs it; the midpoint is that of ``centred_lattice``.

    Args:
        min_value: The lower clipping bound.
        max_value: The upper one.
        per_unit: Whether a value is what a unit's rows come to.

    Guarantees: no centred lattice value exceeds 2^22 in size, so that its square fits in two limbs.

    Raises:
        SpecError: If the bounds are not finite, not increasing, or so far out that their squares leave a double's range.

    >>> square_lattice(0.0, 100.0).radius <= 2 ** 22, square_lattice(0.0, 100.0).granularity
    (True, 1.52587890625e-05)
    """
    coarse = _coarse(min_value, max_value, per_unit=per_unit)
    if not 2.0**-_MAX_SQUARE <= max(abs(min_value), abs(max_value)) <= 2.0**_MAX_SQUARE:
        raise SpecError("the clipping bounds are out of range", mend="use bounds between 1e-135 and 1e135 in size")
    return coarse


def _coarse(min_value: float, max_value: float, *, per_unit: bool) -> Lattice:
    _check_bounds(min_value, max_value)
    most = MOST_OF_A_ROW if per_unit else _MAX_EXACT
    coarse = _finest(min_value, max_value, lambda found: found.radius <= 2**LIMB_BITS and found.magnitude <= most)
    if coarse.radius < (_LEAST_OF_UNITS if per_unit else 1):
        derive = ", or derive the distance from a number between them and use that column" if per_unit else ""
        raise SpecError("min_value and max_value are too close together", mend=f"widen the clipping bounds{derive}")
    return coarse


def _check_bounds(min_value: float, max_value: float) -> None:
    if not (math.isfinite(min_value) and math.isfinite(max_value)):
        raise SpecError("min_value and max_value must be finite numbers", mend="write the clipping bounds as numbers")
    if min_value >= max_value:
        raise SpecError("min_value must be below max_value", mend="swap or widen the clipping bounds")
    if not 2.0**-_MAX_EXPONENT <= max(abs(min_value), abs(max_value)) <= 2.0**_MAX_EXPONENT:
        raise SpecError("the clipping bounds are out of range", mend="use bounds between 1e-270 and 1e270 in size")


def _finest(min_value: float, max_value: float, fits: Callable[[Lattice], bool]) -> Lattice:
    # frexp gives 2^(e-1) <= size < 2^e, so the finest lattice that can fit is within a few steps above e - 53.
    exponent = math.frexp(max(abs(min_value), abs(max_value)))[1] - 54
    while not fits(Lattice(min_value, max_value, exponent)):
        exponent += 1
    return Lattice(min_value, max_value, exponent)
