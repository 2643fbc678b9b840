"""A selection strategy that is as little like thresholding as it can be: it releases no counts and tells no threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from dp_spark.privacy.decimals import decimal_text
from dp_spark.privacy.integers import Exact
from dp_spark.privacy.mechanisms.base import Mechanism
from dp_spark.privacy.selection.base import Selection, Shown
from dp_spark.privacy.selection.thresholding import Thresholding


@dataclass(frozen=True)
class Silent(Selection):
    """Shows keys without their counts."""

    inner: Thresholding

    name = "silent"
    query = "privacy_id_count"
    releases_counts = False
    currencies = ("epsilon", "rho")

    @property
    def noise(self) -> Mechanism:  # type: ignore[override]
        return self.inner.noise

    @classmethod
    def calibrate(cls, noise: Mechanism, delta: Decimal, pre_threshold: int = 1) -> Silent:
        return cls(Thresholding.calibrate(noise, delta, pre_threshold))

    @staticmethod
    def least_delta(noise: Mechanism) -> Decimal:
        return Thresholding.least_delta(noise)

    def units_for(self, probability: float) -> int:
        return self.inner.units_for(probability)

    def draw(self, counts: Exact) -> Shown:
        return self.inner.draw(counts)._replace(counts=None)

    @property
    def in_short(self) -> str:
        return "without counts"

    def describe(self) -> dict[str, Any]:
        return {"delta": decimal_text(self.noise.event.delta)}

    @staticmethod
    def is_described(partitions: Mapping[str, Any]) -> bool:
        return isinstance(partitions["delta"], str)

    @staticmethod
    def combined(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {"deltas": [part["delta"] for part in parts]}

    @staticmethod
    def shown_where(partitions: Mapping[str, Any]) -> str:
        return "shown at random"

    @staticmethod
    def none_shown(partitions: Mapping[str, Any]) -> tuple[str, str]:
        return "no key was shown", "ask for less"
