"""What every mechanism is: additive integer noise on one query, calibrated so that the charge covers the draw.

A mechanism carries the event that it must be charged for, and ``draw`` returns (result, event): a draw and its cost
cannot separate. A subclass says how its charge becomes a noise scale and what the distribution of its noise is. This module
and its subclasses load OpenDP only when a scale is calibrated or noise is drawn.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from dp_spark.errors import DpSparkError
from dp_spark.privacy.bounds import Norm, Sensitivity
from dp_spark.privacy.events import Event
from dp_spark.privacy.integers import Exact, Noisy
from dp_spark.privacy.mechanisms.drawing import check_integers, in_chunks
from dp_spark.privacy.noise_grid import to_grid

if TYPE_CHECKING:
    from dp_spark.privacy.mechanisms.measurements import Measurement

_LEVEL = 0.95


@dataclass(frozen=True)
class Mechanism(ABC):
    """Additive integer noise on one query, calibrated to its charge.

    Attributes:
        sensitivity: By how much one privacy unit can change the query's integers, in steps of the grid.
        event: What a draw must be charged for.
        grid_bits: Noise is drawn on a grid with steps of 2^grid_bits lattice units.

    Guarantees: ``privacy_map`` at ``sensitivity`` is at most ``charge``.
    """

    sensitivity: Sensitivity
    event: Event
    grid_bits: int = 0

    #: The name in release files, events and manifests.
    name: ClassVar[str]
    #: What OpenDP's constructors call it: ``make_laplace``, ``make_laplace_threshold``.
    opendp_name: ClassVar[str]
    #: The norm of the sensitivity that the noise follows.
    norm: ClassVar[Norm]

    @classmethod
    @abstractmethod
    def calibrate(
        cls,
        query: str,
        sensitivity: Sensitivity,
        *,
        epsilon: Decimal | None = None,
        rho: Decimal | None = None,
        grid_bits: int = 0,
    ) -> Self:
        """The least noise whose privacy map is within the charge; give epsilon or rho.

        Args:
            query: The query's label, for the event.
            sensitivity: The query's sensitivity, in lattice units.
            epsilon: The charge in a basic account.
            rho: The charge in a zcdp account.
            grid_bits: The grid that noise is drawn on (``noise_grid.grid_bits``); 0 for counts.

        Raises:
            DpSparkError: If the mechanism cannot be charged so.
        """

    @classmethod
    @abstractmethod
    def distance(cls, sensitivity: Sensitivity) -> int | float:
        """A sensitivity in the mechanism's norm, never rounded down."""

    @property
    @abstractmethod
    def charge(self) -> Fraction:
        """The part of the event's charge that the privacy map must keep below."""

    @staticmethod
    @abstractmethod
    def stddev_at(scale: float) -> float:
        """The standard deviation of noise of this scale."""

    @staticmethod
    @abstractmethod
    def upper_tail_at(scale: float, at_least: int) -> float:
        """P[noise >= at_least] for noise of this scale."""

    @classmethod
    def quantile_at(cls, scale: float, tail: float) -> int:
        """The smallest integer w with P[noise > w] <= tail."""
        high = 1
        while cls.upper_tail_at(scale, high + 1) > tail:
            high *= 2
        low = -1
        while cls.upper_tail_at(scale, low + 1) <= tail:
            low *= 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if cls.upper_tail_at(scale, middle + 1) <= tail else (middle, high)
        return high

    @classmethod
    def half_width_at(cls, scale: float) -> float:
        """The smallest integer w with P[|noise| <= w] >= 95 %."""
        return float(max(0, cls.quantile_at(scale, (1 - _LEVEL) / 2)))

    @property
    def scale(self) -> float:
        """The noise scale in steps of the grid: b of the Laplace, sigma of the Gaussian."""
        return self.event.scale

    @property
    def stddev(self) -> float:
        """The standard deviation of the noise, in steps of the grid."""
        return self.stddev_at(self.scale)

    @property
    def half_width(self) -> float:
        """The 95 % half-width of the noise, in steps of the grid."""
        return self.half_width_at(self.scale)

    @classmethod
    def privacy_map(cls, scale: float, sensitivity: Sensitivity) -> Fraction:
        """The privacy loss of noise of this scale at this sensitivity: OpenDP's own, rounded outward."""
        from dp_spark.privacy.mechanisms import measurements

        return Fraction(measurements.additive(cls.opendp_name, cls.norm, scale).map(cls.distance(sensitivity)))

    def thresholded(self, threshold: int) -> Measurement:
        """The same noise on the values of a map, of which only those that reach a threshold are returned."""
        from dp_spark.privacy.mechanisms import measurements

        return measurements.thresholded(self.opendp_name, self.norm, self.scale, threshold)

    def draw(self, values: Exact) -> tuple[Noisy, Event]:
        """Draws noise once for exact integers, for each one by itself; returns steps of the grid.

        Args:
            values: The exact integers in lattice units, of shape (partitions, integers of the query) and any size; what is
                beyond 2^62 steps is clamped.

        Raises:
            DpSparkError: If the integers are not in the mechanism's input domain. No value is shown.
        """
        check_integers(values)
        steps = to_grid(values, self.grid_bits).ravel().tolist()
        parts = in_chunks(self._draw, steps)
        return np.concatenate([np.empty(0, np.int64), *parts]).reshape(values.shape), self.event

    def _draw(self, steps: Sequence[int]) -> Noisy:
        from dp_spark.privacy.mechanisms import measurements

        measurement = measurements.additive(self.opendp_name, self.norm, self.scale, len(steps))
        if not measurement.input_domain.member(steps):
            raise DpSparkError("the aggregates do not form the vector that was planned")
        return np.array(measurement(steps), dtype=np.int64)


def raise_until(scale: float, accepted: Callable[[float], bool]) -> float:
    """Raises a noise scale, ever faster, until its privacy map accepts it."""
    step = 2.0**-52
    while not accepted(scale):
        scale, step = math.nextafter(scale * (1 + step), math.inf), 2 * step
    return scale
