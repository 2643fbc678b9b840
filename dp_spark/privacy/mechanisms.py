"""Noise: discrete Laplace and discrete Gaussian from OpenDP, calibrated so that the charge covers the draw.

A mechanism carries the event that it must be charged for, and ``draw`` returns (result, event): a draw and its cost
cannot separate. Sources: Ghosh, Roughgarden and Sundararajan 2009 (discrete Laplace is epsilon-DP with
epsilon = L1 / scale); Canonne, Kamath and Steinke 2020, theorem 4 (discrete Gaussian is rho-zCDP with
rho = L2^2 / (2 scale^2)); both privacy maps are OpenDP's own, evaluated with outward rounding.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from typing import Any, Literal, TypeVar

import opendp.prelude as dp

from dp_spark.errors import DpSparkError
from dp_spark.privacy.bounds import Sensitivity
from dp_spark.privacy.events import Event
from dp_spark.privacy.noise_grid import to_grid

dp.enable_features("contrib")

MechanismName = Literal["laplace", "gaussian"]

_INT64 = 2**63
_LEVEL = 0.95
#: How many values one thread draws noise for at a time.
_CHUNK = 2**15

_Item = TypeVar("_Item")
_Drawn = TypeVar("_Drawn")


@dataclass(frozen=True)
class Mechanism:
    """Additive integer noise on one query, calibrated to its charge.

    Attributes:
        name: ``laplace`` or ``gaussian``.
        sensitivity: By how much one privacy unit can change the vector, in steps of the grid.
        event: What a draw must be charged for.
        grid_bits: Noise is drawn on a grid with steps of 2^grid_bits lattice units.

    Guarantees: the privacy map of the OpenDP measurement at ``sensitivity``, read as an exact fraction, is at most
    the event's epsilon (Laplace) or rho (Gaussian).
    """

    name: MechanismName
    sensitivity: Sensitivity
    event: Event
    grid_bits: int = 0

    @property
    def scale(self) -> float:
        """The noise scale in steps of the grid: b of the Laplace, sigma of the Gaussian."""
        return self.event.scale

    @property
    def stddev(self) -> float:
        """The standard deviation of the noise, in steps of the grid."""
        return noise_stddev(self.name, self.scale)

    @property
    def half_width(self) -> float:
        """The 95 % half-width of the noise, in steps of the grid."""
        return noise_half_width(self.name, self.scale)

    def draw(self, values: Sequence[int]) -> tuple[list[int], Event]:
        """Draws noise once for a vector of exact integers, one per partition; returns steps of the grid.

        Args:
            values: The exact integers in lattice units, of any size; what is beyond 2^62 steps is clamped.

        Raises:
            DpSparkError: If the vector is not a member of the mechanism's input domain. No value is shown.
        """
        checked = [to_grid(value, self.grid_bits) if type(value) is int else value for value in values]
        check_integers(checked)
        return [value for chunk in in_chunks(self._draw, checked) for value in chunk], self.event

    def _draw(self, values: list[int]) -> list[int]:
        measurement = _measurement(self.name, self.scale, len(values))
        if not measurement.input_domain.member(values):
            raise DpSparkError("the aggregates do not form the vector that was planned")
        return list(measurement(values))


def in_chunks(draw: Callable[[list[_Item]], _Drawn], items: list[_Item]) -> list[_Drawn]:
    """Draws for parts of a vector on all cores, and returns what was drawn in the vector's order.

    Noise is drawn for each coordinate by itself, so the parts together have the distribution of the whole, and its
    privacy. OpenDP's samplers hold no lock of Python's, so threads are enough (ADR 7 has the figures).
    """
    chunks = [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]
    if len(chunks) < 2:
        return [draw(chunk) for chunk in chunks]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(draw, chunks))


def check_integers(values: Sequence[Any]) -> None:
    """Checks that every value is a Python int that fits in 64 bits.

    Raises:
        DpSparkError: If one is not. No value is shown.
    """
    # OpenDP casts what it is given without a word, so the type is checked here.
    if not all(type(value) is int and -_INT64 <= value < _INT64 for value in values):
        raise DpSparkError("an aggregate is not a 64-bit integer; no value is shown")


def calibrate(
    name: MechanismName,
    query: str,
    sensitivity: Sensitivity,
    *,
    epsilon: Decimal | None = None,
    rho: Decimal | None = None,
    grid_bits: int = 0,
) -> Mechanism:
    """The mechanism with the least noise whose privacy map is within the charge; give epsilon or rho.

    Args:
        name: ``laplace`` or ``gaussian``.
        query: The query's label, for the event.
        sensitivity: The query's sensitivity, in lattice units.
        epsilon: The charge in a basic account (Laplace only).
        rho: The charge in a zcdp account; Laplace there gets the epsilon with epsilon^2 / 2 <= rho
            (Bun and Steinke 2016, proposition 1.4).
        grid_bits: The grid that noise is drawn on (``noise_grid.grid_bits``); 0 for counts.
    """
    sensitivity = sensitivity.rounded(grid_bits)
    if name == "gaussian":
        if rho is None:
            raise DpSparkError("gaussian noise has no epsilon of its own", mend="use a zcdp account, or laplace")
        event = Event(query, name, _gaussian_scale(sensitivity.l2_squared, rho), None, rho)
        return Mechanism(name, sensitivity, event, grid_bits)
    if epsilon is None:
        if rho is None:
            raise DpSparkError("a mechanism needs an epsilon or a rho")
        epsilon = epsilon_within(rho)
    event = Event(query, name, _laplace_scale(sensitivity.l1, epsilon), epsilon, rho)
    return Mechanism(name, sensitivity, event, grid_bits)


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


def root_up(square: int) -> float:
    """The smallest double that is at least the square root of an integer.

    >>> root_up(16), root_up(2) ** 2 >= 2
    (4.0, True)
    """
    root = math.sqrt(square)
    while Fraction(root) ** 2 < square:
        root = math.nextafter(root, math.inf)
    return root


def _gaussian_scale(l2_squared: int, rho: Decimal) -> float:
    distance = root_up(l2_squared)
    start = distance / math.sqrt(2 * float(rho))
    return raise_until(start, lambda scale: Fraction(_measurement("gaussian", scale).map(distance)) <= Fraction(rho))


def _laplace_scale(l1: int, epsilon: Decimal) -> float:
    start = l1 / float(epsilon)
    return raise_until(start, lambda scale: Fraction(_measurement("laplace", scale).map(l1)) <= Fraction(epsilon))


def raise_until(scale: float, accepted: Callable[[float], bool]) -> float:
    """Raises a noise scale, ever faster, until its privacy map accepts it."""
    step = 2.0**-52
    while not accepted(scale):
        scale, step = math.nextafter(scale * (1 + step), math.inf), 2 * step
    return scale


def _measurement(name: MechanismName, scale: float, size: int | None = None) -> dp.Measurement:
    domain = dp.vector_domain(dp.atom_domain(T="i64"), size=size)
    if name == "laplace":
        return dp.m.make_laplace(domain, dp.l1_distance(T="i64"), scale=scale)
    return dp.m.make_gaussian(domain, dp.l2_distance(T="f64"), scale=scale)


def noise_stddev(name: MechanismName, scale: float) -> float:
    """The standard deviation of discrete noise of this scale.

    >>> round(noise_stddev("laplace", 100.0) / 100, 3), round(noise_stddev("gaussian", 100.0), 3)
    (1.414, 100.0)
    """
    if name == "laplace":
        ratio = math.exp(-1 / scale)  # variance 2a / (1 - a)^2; expm1 keeps the digits of a large scale
        return math.sqrt(2 * ratio) / -math.expm1(-1 / scale)
    if scale > 10:  # beyond, the discrete and the continuous variance agree to double precision
        return scale
    weights = _gaussian_weights(scale)
    return math.sqrt(2 * sum(x * x * w for x, w in enumerate(weights)) / (2 * sum(weights) - 1))


def upper_tail(name: MechanismName, scale: float, at_least: int) -> float:
    """P[noise >= at_least] for discrete noise of this scale."""
    if at_least <= 0:
        return 1.0 - upper_tail(name, scale, 1 - at_least)
    if name == "laplace":
        return math.exp(-at_least / scale) / (1 + math.exp(-1 / scale))
    if scale > 1000:
        return 0.5 * math.erfc((at_least - 0.5) / scale / math.sqrt(2))
    weights = _gaussian_weights(scale)
    return sum(weights[at_least:]) / (2 * sum(weights) - 1)


def quantile(name: MechanismName, scale: float, tail: float) -> int:
    """The smallest integer w with P[noise > w] <= tail."""
    high = 1
    while upper_tail(name, scale, high + 1) > tail:
        high *= 2
    low = -1
    while upper_tail(name, scale, low + 1) <= tail:
        low *= 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if upper_tail(name, scale, middle + 1) <= tail else (middle, high)
    return high


def noise_half_width(name: MechanismName, scale: float) -> float:
    """The smallest integer w with P[|noise| <= w] >= 95 %.

    >>> noise_half_width("laplace", 1e-3), noise_half_width("gaussian", 100.0)
    (0.0, 196.0)
    """
    tail = (1 - _LEVEL) / 2
    return float(max(0, quantile(name, scale, tail)))


def _gaussian_weights(scale: float) -> list[float]:
    return [math.exp(-(x * x) / (2 * scale * scale)) for x in range(int(40 * scale) + 2)]
