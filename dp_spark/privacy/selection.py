"""Which partition keys may be shown: thresholding on the noisy privacy-unit count.

A key that only one user has must almost never be shown. Candidate keys keep their noisy count where it reaches the
threshold T; a key with a single unit does so with probability P[1 + noise >= T], and a unit can bring k such keys:
delta = 1 - (1 - P)^k (Rogers 2023, "A Unifying Privacy Analysis Framework for Unknown Domain Algorithms";
Desfontaines, Voss, Gipson and Mandayam 2022 for the problem). With Linf = 1 a unit moves each count by at most 1.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Context, Decimal
from fractions import Fraction
from typing import Any

import opendp.prelude as dp

from dp_spark.errors import DpSparkError, SpecError
from dp_spark.privacy.events import Event
from dp_spark.privacy.mechanisms import Mechanism, MechanismName, check_integers, in_chunks, quantile, root_up

#: The highest threshold: twice as much is no 64-bit integer any more.
_MOST = 2**62


@dataclass(frozen=True)
class Selection:
    """Thresholding, calibrated: the noise of a privacy-id count, and the smallest noisy count that is shown.

    Attributes:
        noise: The mechanism of the privacy-id count; its event has the delta and the threshold as well.

    Guarantees: with T the threshold, 1 - (1 - P[1 + noise >= T])^k is at most the event's delta.
    """

    noise: Mechanism

    @property
    def threshold(self) -> int:
        """T: keys whose noisy count is at least this are shown."""
        assert self.noise.event.threshold is not None
        return self.noise.event.threshold

    def units_for(self, probability: float) -> int:
        """The number of privacy units from which on a partition is shown with at least this probability."""
        return self.threshold + quantile(self.noise.name, self.noise.scale, 1 - probability)

    def draw(self, counts: Sequence[int]) -> tuple[dict[int, int], Event]:
        """Draws noise once for all candidate keys; returns position -> noisy count of the keys that are shown.

        Args:
            counts: The exact privacy-unit count of each candidate key, each at least 1.

        Raises:
            DpSparkError: If the counts are not in the mechanism's input domain. No value is shown.
        """
        check_integers(counts)
        shown = [item for chunk in in_chunks(self._draw, list(enumerate(counts))) for item in sorted(chunk.items())]
        return dict(shown), self.noise.event

    def _draw(self, counts: list[tuple[int, int]]) -> dict[int, int]:
        measurement = _measurement(self.noise.name, self.noise.scale, self.threshold)
        candidates = dict(counts)
        if not measurement.input_domain.member(candidates):
            raise DpSparkError("the candidate counts do not form the vector that was planned")
        return dict(measurement(candidates))


def calibrate_selection(noise: Mechanism, delta: Decimal) -> Selection:
    """The lowest threshold whose delta, as ``selection_delta`` bounds it, is within the charge.

    Args:
        noise: The mechanism of the privacy-id count, with Linf = 1.
        delta: The delta that selection may cost; at least ``least_delta``.

    Raises:
        SpecError: If the noise is so large that no threshold in 64 bits has this delta.
    """
    assert noise.sensitivity.linf == 1, "selection counts privacy units"
    assert delta >= least_delta(noise), "no threshold has so small a delta"
    fits = functools.partial(_fits, noise, Fraction(delta))
    if not fits(_MOST):
        raise SpecError(
            "is too small for private partitions: the noise of their counts is beyond 64 bits",
            where="budget.epsilon",
            mend="give a larger epsilon, or list public partitions",
        )
    high = 2
    while not fits(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return Selection(replace(noise, event=replace(noise.event, delta=delta, threshold=high)))


def least_delta(noise: Mechanism) -> Decimal:
    """The smallest delta that any threshold has, as ``selection_delta`` bounds it in doubles; rounded up to two digits."""
    least = Decimal(selection_delta(noise.name, 1.0, noise.sensitivity.l0, _MOST))
    return Context(prec=2, rounding=ROUND_CEILING).plus(least)


def _fits(noise: Mechanism, delta: Fraction, threshold: int) -> bool:
    return Fraction(selection_delta(noise.name, noise.scale, noise.sensitivity.l0, threshold)) <= delta


def selection_delta(name: MechanismName, scale: float, l0: int, threshold: int) -> float:
    """1 - (1 - P[1 + noise >= threshold])^l0, rounded up.

    OpenDP's own map at threshold T is the delta of keeping noisy counts *above* T, while its measurement keeps
    those at T as well (docs/adr/0003). Asked at T - 1 it bounds what is really drawn, as counts are whole.
    """
    measurement = _measurement(name, scale, threshold - 1)
    distance: tuple[Any, ...] = (l0, l0, 1) if name == "laplace" else (l0, root_up(l0), 1.0)
    delta = float(measurement.map(distance)[1])
    return delta if math.isfinite(delta) else 1.0


def _measurement(name: MechanismName, scale: float, threshold: int) -> dp.Measurement:
    domain = dp.map_domain(dp.atom_domain(T="i64"), dp.atom_domain(T="i64"))
    if name == "laplace":
        metric = dp.l01inf_distance(dp.absolute_distance(T="i64"))
        return dp.m.make_laplace_threshold(domain, metric, scale=scale, threshold=threshold)
    metric = dp.l02inf_distance(dp.absolute_distance(T="f64"))
    return dp.m.make_gaussian_threshold(domain, metric, scale=scale, threshold=threshold)
