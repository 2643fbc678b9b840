"""Thresholding: a key is shown where its noisy privacy-unit count reaches a threshold.

A key that one user makes a candidate must almost never be shown. Candidate keys keep their noisy count where it reaches the
threshold T. One that has as many units as the pre-threshold tau (1 where there is none) is no candidate without one of
them; it is shown with probability P[tau + noise >= T], and a unit can bring k such keys: delta = 1 - (1 - P)^k
(docs/privacy.md; Rogers 2023, "A Unifying Privacy Analysis Framework for Unknown Domain Algorithms";
Desfontaines, Voss, Gipson and Mandayam 2022 for the problem). With Linf = 1 a unit moves each count by at most 1.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Context, Decimal
from fractions import Fraction
from typing import Any, Self

import numpy as np

from dp_spark.errors import DpSparkError, SpecError
from dp_spark.privacy.integers import Exact
from dp_spark.privacy.mechanisms.base import Mechanism
from dp_spark.privacy.mechanisms.drawing import in_chunks
from dp_spark.privacy.selection.base import MOST, Selection, Shown, check_counts, check_units, needs, never_below


@dataclass(frozen=True)
class Thresholding(Selection):
    """Thresholding, calibrated: the noise of a privacy-id count, and the smallest noisy count that is shown.

    Attributes:
        noise: The mechanism of the privacy-id count; its event has the delta and the threshold as well.

    Guarantees: with T the threshold and tau the pre-threshold, 1 - (1 - P[tau + noise >= T])^k is at most the event's delta.
    """

    noise: Mechanism

    name = "threshold"
    query = "privacy_id_count"
    releases_counts = True
    currencies = ("epsilon", "rho")

    @classmethod
    def calibrate(cls, noise: Mechanism, delta: Decimal, pre_threshold: int = 1) -> Self:
        """The lowest threshold whose delta, as ``threshold_delta`` bounds it, is within the charge.

        Args:
            noise: The mechanism of the privacy-id count, with Linf = 1.
            delta: The delta that selection may cost; at least ``least_delta``.
            pre_threshold: tau. Counts less tau - 1 are those of keys that occur, so the threshold is that much higher.

        Raises:
            SpecError: If the noise is so large that no threshold in 64 bits has this delta.
        """
        check_units(noise, cls.query)
        assert delta >= cls.least_delta(noise), "no threshold has so small a delta"
        fits = functools.partial(_fits, noise, Fraction(delta))
        if not fits(MOST):
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
        least = pre_threshold if pre_threshold > 1 else None
        event = replace(noise.event, delta=delta, threshold=high + pre_threshold - 1, pre_threshold=least)
        return cls(replace(noise, event=event))

    @staticmethod
    def least_delta(noise: Mechanism) -> Decimal:
        """The smallest delta that any threshold has, as ``threshold_delta`` bounds it in doubles; rounded up to two digits."""
        least = Decimal(threshold_delta(replace(noise, event=replace(noise.event, scale=1.0)), MOST))
        return Context(prec=2, rounding=ROUND_CEILING).plus(least)

    @property
    def threshold(self) -> int:
        """T: keys whose noisy count is at least this are shown."""
        assert self.noise.event.threshold is not None
        return self.noise.event.threshold

    def units_for(self, probability: float) -> int:
        """The number of privacy units from which on a partition is shown with at least this probability."""
        return max(self.pre_threshold, self.threshold + self.noise.quantile_at(self.noise.scale, 1 - probability))

    def draw(self, counts: Exact) -> Shown:
        """Draws noise once for all candidate keys, and shows those that reach the threshold, with their noisy counts.

        Args:
            counts: The exact privacy-unit count of each candidate key, each at least 1, of shape (candidates, 1).

        Raises:
            DpSparkError: If the counts are not in the mechanism's input domain. No value is shown.
        """
        parts = in_chunks(self._draw, list(enumerate(check_counts(counts))))
        shown = np.array([item for part in parts for item in sorted(part.items())], dtype=np.int64).reshape(-1, 2)
        return Shown(shown[:, 0], shown[:, 1:], self.noise.event)

    @property
    def in_short(self) -> str:
        """The threshold."""
        return f"threshold {self.threshold:,}"

    def describe(self) -> dict[str, Any]:
        """The threshold, what it costs, and how many units a partition needs."""
        return {"threshold": self.threshold, **needs(self)}

    @staticmethod
    def is_described(partitions: Mapping[str, Any]) -> bool:
        """Whether there is a threshold."""
        return isinstance(partitions["threshold"], int)

    @staticmethod
    def combined(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The threshold of each party."""
        return {
            "thresholds": [part["threshold"] for part in parts],
            "note": "a key that a party did not show has between none and about its threshold of users there: where parties is "
            f"below {len(parts)}, counts and sums leave out what those parties have",
        }

    @staticmethod
    def shown_where(partitions: Mapping[str, Any]) -> str:
        """See ``Selection.shown_where``."""
        if "thresholds" in partitions:
            return f"private; {partitions['note']} ({', '.join(f'{item:,}' for item in partitions['thresholds'])})"
        return (
            f"shown where a noisy count of users reaches {partitions['threshold']}; "
            f"95 % of those with {partitions['units_for_95_percent']} users are{never_below(partitions)}"
        )

    @staticmethod
    def none_shown(partitions: Mapping[str, Any]) -> tuple[str, str]:
        """See ``Selection.none_shown``."""
        needed, threshold = partitions["units_for_95_percent"], partitions["threshold"]
        return (
            f"no key reached the threshold of {threshold} units (with {needed} a key is shown in 95 % of cases)",
            "a larger delta or epsilon, or fewer aggregates, lower the threshold",
        )

    def _draw(self, counts: Sequence[tuple[int, int]]) -> dict[int, int]:
        measurement = self.noise.thresholded(self.threshold)
        candidates = dict(counts)
        if not measurement.input_domain.member(candidates):
            raise DpSparkError("the candidate counts do not form the vector that was planned")
        return dict(measurement(candidates))


def _fits(noise: Mechanism, delta: Fraction, threshold: int) -> bool:
    return Fraction(threshold_delta(noise, threshold)) <= delta


def threshold_delta(noise: Mechanism, threshold: int) -> float:
    """1 - (1 - P[1 + noise >= threshold])^k, rounded up; k is the number of keys that a unit can bring.

    With a pre-threshold tau it is asked for counts less tau - 1: a key is a candidate where that is 1 or more.

    OpenDP's own map at threshold T is the delta of keeping noisy counts *above* T, while its measurement keeps
    those at T as well (docs/adr/0003). Asked at T - 1 it bounds what is really drawn, as counts are whole.
    """
    reach = noise.distance(noise.sensitivity)
    distance = (noise.sensitivity.l0, reach, type(reach)(1))
    delta = float(noise.thresholded(threshold - 1).map(distance)[1])
    return delta if math.isfinite(delta) else 1.0
