"""Truncated geometric selection: a key is shown or not, by noise that ends where the delta of a lonely key ends.

With X the discrete Laplace noise of scale s on the condition that |X| <= r, a candidate with n units is shown where
n + X > r: with one unit only at X = r, without any never, and from 2 r + 1 units on always. n + X is (1/s, p)-DP for n that
moves by one, with p = P[X = r]: both ends have probability p, and without them the two distributions lie on the same integers,
with a ratio of at most e^(1/s) (docs/privacy.md). k keys together have (k/s, 1 - (1 - p)^k). It is the k-truncated symmetric
geometric distribution of Desfontaines, Voss, Gipson and Mandayam 2022, "Differentially private partition selection":
no selection with this epsilon and p for each key shows one more often. With a pre-threshold tau, n is the number of units less
tau - 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import MAX_EMAX, MIN_EMIN, ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from dp_spark.errors import DpSparkError, SpecError
from dp_spark.privacy.decimals import decimal_text
from dp_spark.privacy.integers import Exact, one_for_each
from dp_spark.privacy.mechanisms.base import Mechanism
from dp_spark.privacy.selection.base import MOST, Selection, Shown, check_counts, check_units, needs, never_below

# The smallest delta has 60 places and is shared by a million keys; a scale is below 2^63. 200 digits leave a hundred over.
_UP, _DOWN = (Context(prec=200, rounding=rounding, Emax=MAX_EMAX, Emin=MIN_EMIN) for rounding in (ROUND_CEILING, ROUND_FLOOR))


@dataclass(frozen=True)
class TruncatedGeometric(Selection):
    """Truncated geometric selection, calibrated.

    Attributes:
        noise: The noise of a privacy-id count as it is before it is truncated; its event says where, and has the delta.

    Guarantees: with p the probability of the largest noise, 1 - (1 - p)^k is at most the event's delta, and k/s at most its
    epsilon: decimals that are rounded outward, and OpenDP's privacy map.
    """

    noise: Mechanism

    name = "truncated_geometric"
    query = "privacy_id_count"
    releases_counts = False
    currencies = ("epsilon",)

    @classmethod
    def calibrate(cls, noise: Mechanism, delta: Decimal, pre_threshold: int = 1) -> Self:
        """The least r whose delta is within the charge.

        r is at least s/8, which costs less where delta is far above epsilon: else nearly all noise would be rejected.

        Args:
            noise: The Laplace noise of the privacy-id count, paid with an epsilon, with Linf = 1.
            delta: The delta that selection may cost; at least ``least_delta``.
            pre_threshold: tau.

        Raises:
            SpecError: If the noise is so large that r is beyond 64 bits.
        """
        check_units(noise, cls.query)
        if (noise.name, noise.event.rho) != ("laplace", None):
            raise DpSparkError("truncated geometric noise is laplace noise that costs an epsilon", mend="report this as a bug")
        assert delta >= cls.least_delta(noise), "it was not proved for so small a delta"
        radius = max(least_radius(noise.scale, delta_of_each(delta, noise.sensitivity.l0)), math.ceil(noise.scale / 8))
        if radius > MOST:
            raise SpecError(
                "is too small for private partitions: the noise of their counts is beyond 64 bits",
                where="budget.epsilon",
                mend="give a larger epsilon, or list public partitions",
            )
        event = replace(
            noise.event,
            delta=delta,
            threshold=radius + pre_threshold,
            pre_threshold=pre_threshold if pre_threshold > 1 else None,
            truncated_at=radius,
        )
        return cls(replace(noise, event=event))

    @staticmethod
    def least_delta(noise: Mechanism) -> Decimal:
        """The smallest that a release file can ask for: 200 digits bound the delta of every smaller one less tightly."""
        return Decimal("1e-60")

    @property
    def radius(self) -> int:
        """r: the largest noise that there is."""
        assert self.noise.event.truncated_at is not None
        return self.noise.event.truncated_at

    def units_for(self, probability: float) -> int:
        """See ``Selection.units_for``."""
        low, high = 0, 2 * self.radius + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._shown(middle) >= probability else (middle, high)
        return high + self.pre_threshold - 1

    def _shown(self, above: int) -> float:
        """P[n + X > r] for n = ``above`` >= 1; for people, in doubles."""
        scale, radius = self.noise.scale, self.radius
        if above > radius:
            return 1.0 - self._shown(2 * radius + 1 - above) if above <= 2 * radius else 1.0
        # With q = e^(-1/s) and j = r + 1 - n it is (q^j - q^(r+1)) / (1 + q - 2 q^(r+1)); expm1 keeps the digits of a large s.
        tail = math.exp(-(radius + 1 - above) / scale) * -math.expm1(-above / scale)
        return tail / -(math.expm1(-(radius + 1) / scale) + math.exp(-1 / scale) * math.expm1(-radius / scale))

    def draw(self, counts: Exact) -> Shown:
        """Draws noise once for all candidate keys; says which are shown, and none of their counts.

        Args:
            counts: The exact privacy-unit count of each candidate key, of shape (candidates, 1).

        Raises:
            DpSparkError: If the counts are not in the mechanism's input domain. No value is shown.
        """
        radius, below = self.radius, self.pre_threshold - 1
        # n + X > r as X > r - n, in Python's integers: no sum leaves 64 bits. Without units, n <= 0, nothing is above it.
        limits = [max(-radius - 1, min(radius, radius - (value - below))) for value in check_counts(counts)]
        shown = np.flatnonzero(self._truncated(len(limits)) > np.array(limits, dtype=np.int64))
        return Shown(shown.astype(np.int64), None, self.noise.event)

    def _truncated(self, size: int) -> npt.NDArray[np.int64]:
        """OpenDP's discrete Laplace noise, drawn anew where it is beyond r: that is its distribution on the condition."""
        zeros = one_for_each([0] * size)
        drawn = self.noise.draw(zeros)[0].ravel()
        while (beyond := np.flatnonzero((drawn < -self.radius) | (drawn > self.radius))).size:
            drawn[beyond] = self.noise.draw(zeros[: beyond.size])[0].ravel()
        return drawn

    @property
    def in_short(self) -> str:
        """From where on keys are always shown."""
        return f"truncated noise: always from {self._always:,} on"

    @property
    def _always(self) -> int:
        return 2 * self.radius + self.pre_threshold

    def describe(self) -> dict[str, Any]:
        """Where the noise is truncated, what it costs, and how many units a partition needs."""
        epsilon = self.noise.event.epsilon
        assert epsilon is not None
        return {
            "truncated_at": self.radius,
            "epsilon": decimal_text(epsilon),
            **needs(self),
            "units_for_100_percent": self._always,
        }

    @staticmethod
    def is_described(partitions: Mapping[str, Any]) -> bool:
        """Whether it says from where on partitions are shown."""
        return {int} == {type(partitions[name]) for name in ("units_for_95_percent", "units_for_100_percent")}

    @staticmethod
    def combined(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """From how many units on each party shows a key always."""
        return {
            "units_for_100_percent_at_each": [part["units_for_100_percent"] for part in parts],
            "note": "a key that a party did not show has fewer than its number of users there: where parties is "
            f"below {len(parts)}, counts and sums leave out what those parties have",
        }

    @staticmethod
    def shown_where(partitions: Mapping[str, Any]) -> str:
        """See ``Selection.shown_where``."""
        each = partitions.get("units_for_100_percent_at_each")
        if each is not None:
            return f"private; {partitions['note']} ({', '.join(f'{item:,}' for item in each)})"
        return (
            "shown by chance, the more users the likelier: "
            f"95 % of those with {partitions['units_for_95_percent']} users are, "
            f"and all with {partitions['units_for_100_percent']}{never_below(partitions)}"
        )

    @staticmethod
    def none_shown(partitions: Mapping[str, Any]) -> tuple[str, str]:
        """See ``Selection.none_shown``."""
        return (
            f"no key was shown (with {partitions['units_for_95_percent']} units a key is in 95 % of cases)",
            "a larger delta or epsilon, or fewer aggregates, let keys with fewer units be shown",
        )


def delta_of_each(delta: Decimal, partitions: int) -> Decimal:
    """1 - (1 - delta)^(1/k), rounded down: k keys with so much each have delta together.

    >>> float(delta_of_each(Decimal("0.75"), 2))
    0.5
    """
    # Decimal's ln and exp are rounded to the nearest whatever the context says, so the next number bounds them.
    log = _UP.next_plus(_UP.ln(_UP.subtract(Decimal(1), delta)))
    kept = _UP.next_plus(_UP.exp(_UP.divide(log, Decimal(partitions))))
    return _DOWN.subtract(Decimal(1), kept)


def largest_noise(scale: float, radius: int) -> Decimal:
    """P[X = r], rounded up.

    It is (Q - 1) / ((Q + 1) Q^r - 2) with Q = e^(1/s), as 1 + 2 (q + ... + q^r) = (1 + q - 2 q^(r+1)) / (1 - q) with q = 1/Q.

    >>> round(float(largest_noise(1e9, 2)), 6), float(largest_noise(1e-9, 2))
    (0.2, 0.0)
    """
    low, high, power = _exp_below(1, scale), _exp_above(1, scale), _exp_below(radius, scale)
    others = _DOWN.subtract(_DOWN.multiply(_DOWN.add(low, Decimal(1)), power), Decimal(2))
    return _UP.divide(_UP.subtract(high, Decimal(1)), others)


def least_radius(scale: float, delta: Decimal) -> int:
    """The least r >= 1 with P[X = r] <= delta, as ``largest_noise`` bounds it."""
    # Solved for r it is s ln(((Q - 1) / delta + 2) / (Q + 1)): rounding can move that by one integer, so it starts below.
    ratio = _exp_above(1, scale)
    odds = _UP.divide(_UP.add(_UP.divide(_UP.subtract(ratio, Decimal(1)), delta), Decimal(2)), _UP.add(ratio, Decimal(1)))
    radius = max(1, int(_UP.multiply(Decimal(scale), _UP.ln(odds))) - 1)
    while largest_noise(scale, radius) > delta:
        radius += 1
    return radius


def _exp_below(numerator: int, scale: float) -> Decimal:
    """A lower bound of e^(numerator / scale)."""
    return _DOWN.next_minus(_DOWN.exp(_DOWN.divide(Decimal(numerator), Decimal(scale))))


def _exp_above(numerator: int, scale: float) -> Decimal:
    """An upper bound of e^(numerator / scale)."""
    return _UP.next_plus(_UP.exp(_UP.divide(Decimal(numerator), Decimal(scale))))
