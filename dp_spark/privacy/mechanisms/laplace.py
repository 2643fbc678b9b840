"""Discrete Laplace noise: P[x] proportional to e^(-|x| / scale).

It is epsilon-DP with epsilon = L1 / scale (Ghosh, Roughgarden and Sundararajan 2009), so it works with delta = 0. In a zcdp
account an epsilon costs rho = epsilon^2 / 2 (Bun and Steinke 2016, proposition 1.4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from typing import Self

from dp_spark.errors import DpSparkError
from dp_spark.privacy.bounds import Sensitivity
from dp_spark.privacy.events import Event
from dp_spark.privacy.mechanisms.base import Mechanism, raise_until


@dataclass(frozen=True)
class Laplace(Mechanism):
    """Discrete Laplace noise, scaled to the L1 sensitivity; ``charge`` is the event's epsilon."""

    name = opendp_name = "laplace"
    norm = 1

    @classmethod
    def calibrate(
        cls,
        query: str,
        sensitivity: Sensitivity,
        *,
        epsilon: Decimal | None = None,
        rho: Decimal | None = None,
        grid_bits: int = 0,
    ) -> Self:
        """See ``Mechanism.calibrate``; for a rho it gets the epsilon with epsilon^2 / 2 <= rho."""
        if epsilon is None:
            if rho is None:
                raise DpSparkError("a mechanism needs an epsilon or a rho")
            epsilon = epsilon_within(rho)
        rounded, most = sensitivity.rounded(grid_bits), Fraction(epsilon)
        scale = raise_until(rounded.l1 / float(epsilon), lambda scale: cls.privacy_map(scale, rounded) <= most)
        return cls(rounded, Event(query, cls.name, scale, epsilon, rho), grid_bits)

    @classmethod
    def distance(cls, sensitivity: Sensitivity) -> int:
        """The L1 sensitivity."""
        return sensitivity.l1

    @property
    def charge(self) -> Fraction:
        """The event's epsilon."""
        assert self.event.epsilon is not None
        return Fraction(self.event.epsilon)

    @staticmethod
    def stddev_at(scale: float) -> float:
        """The root of the variance 2a / (1 - a)^2 with a = e^(-1 / scale).

        >>> round(Laplace.stddev_at(100.0) / 100, 3)
        1.414
        """
        ratio = math.exp(-1 / scale)
        return math.sqrt(2 * ratio) / -math.expm1(-1 / scale)  # expm1 keeps the digits of a large scale

    @staticmethod
    def upper_tail_at(scale: float, at_least: int) -> float:
        """P[noise >= at_least], a geometric sum."""
        if at_least <= 0:
            return 1.0 - Laplace.upper_tail_at(scale, 1 - at_least)
        return math.exp(-at_least / scale) / (1 + math.exp(-1 / scale))


def epsilon_within(rho: Decimal) -> Decimal:
    """The largest epsilon, to 28 digits, with epsilon^2 / 2 <= rho.

    >>> epsilon_within(Decimal("0.5")) == 1
    True
    """
    context = Context(prec=28, rounding=ROUND_FLOOR)
    root = context.sqrt(context.multiply(rho, Decimal(2)))
    while Fraction(root) ** 2 > 2 * Fraction(rho):
        root = context.next_minus(root)
    return root
