"""Discrete Gaussian noise: P[x] proportional to e^(-x^2 / (2 scale^2)).

It is rho-zCDP with rho = L2^2 / (2 scale^2) (Canonne, Kamath and Steinke 2020, theorem 4), and has no epsilon of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Self

from dp_spark.errors import DpSparkError
from dp_spark.privacy.bounds import Sensitivity
from dp_spark.privacy.events import Event
from dp_spark.privacy.mechanisms.base import Mechanism, raise_until


@dataclass(frozen=True)
class Gaussian(Mechanism):
    """Discrete Gaussian noise, scaled to the L2 sensitivity; ``charge`` is the event's rho."""

    name = opendp_name = "gaussian"
    norm = 2

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
        """See ``Mechanism.calibrate``; it takes a rho only."""
        if rho is None:
            raise DpSparkError("gaussian noise has no epsilon of its own", mend="use a zcdp account, or laplace")
        rounded, most = sensitivity.rounded(grid_bits), Fraction(rho)
        start = cls.distance(rounded) / math.sqrt(2 * float(rho))
        scale = raise_until(start, lambda scale: cls.privacy_map(scale, rounded) <= most)
        return cls(rounded, Event(query, cls.name, scale, None, rho), grid_bits)

    @classmethod
    def distance(cls, sensitivity: Sensitivity) -> float:
        """The L2 sensitivity, rounded up."""
        return root_up(sensitivity.l2_squared)

    @property
    def charge(self) -> Fraction:
        """The event's rho."""
        assert self.event.rho is not None
        return Fraction(self.event.rho)

    @staticmethod
    def stddev_at(scale: float) -> float:
        """The root of the discrete variance.

        >>> round(Gaussian.stddev_at(100.0), 3)
        100.0
        """
        if scale > 10:  # beyond, the discrete and the continuous variance agree to double precision
            return scale
        weights = _weights(scale)
        return math.sqrt(2 * sum(x * x * w for x, w in enumerate(weights)) / (2 * sum(weights) - 1))

    @staticmethod
    def upper_tail_at(scale: float, at_least: int) -> float:
        """P[noise >= at_least]: a sum, or the continuous tail where that is as good."""
        if at_least <= 0:
            return 1.0 - Gaussian.upper_tail_at(scale, 1 - at_least)
        if scale > 1000:
            return 0.5 * math.erfc((at_least - 0.5) / scale / math.sqrt(2))
        weights = _weights(scale)
        return sum(weights[at_least:]) / (2 * sum(weights) - 1)


def root_up(square: int) -> float:
    """The smallest double that is at least the square root of an integer.

    >>> root_up(16), root_up(2) ** 2 >= 2
    (4.0, True)
    """
    root = math.sqrt(square)
    while Fraction(root) ** 2 < square:
        root = math.nextafter(root, math.inf)
    return root


def _weights(scale: float) -> list[float]:
    return [math.exp(-(x * x) / (2 * scale * scale)) for x in range(int(40 * scale) + 2)]
