"""What every selection strategy is: a query over the candidate keys, and a draw that says which of them are shown."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from dp_spark.errors import DpSparkError
from dp_spark.privacy.accountants.base import Currency
from dp_spark.privacy.decimals import decimal_text
from dp_spark.privacy.events import Event
from dp_spark.privacy.integers import Exact, Noisy
from dp_spark.privacy.mechanisms.base import Mechanism
from dp_spark.privacy.mechanisms.drawing import check_integers

#: The probabilities of being shown that a plan tells the numbers of units for.
CURVE = (0.01, 0.5, 0.95, 0.99)
#: The highest threshold: twice as much is no 64-bit integer any more.
MOST = 2**62
_INT64 = 2**63


class Shown(NamedTuple):
    """What a selection has drawn.

    Attributes:
        positions: The positions of the candidate keys that are shown, ascending.
        counts: Their noisy counts, of shape (positions, 1); None for a strategy without ``releases_counts``.
        event: What was charged.
    """

    positions: npt.NDArray[np.int64]
    counts: Noisy | None
    event: Event


class Selection(ABC):
    """A selection strategy, calibrated to its charge.

    Keys with fewer units than the pre-threshold are no candidates. They need not reach the driver, and are not shown more often
    than with as many as it where they do.

    Guarantees: a key that no neighbour has as a candidate is shown with a probability that the event's delta bounds, over all
    keys that one unit can bring.
    """

    #: The name in the registry, and in manifests.
    name: ClassVar[str]
    #: The label of the query that candidates are selected by.
    query: ClassVar[str]
    #: Whether the noisy answers to ``query`` are drawn with the selection and can be released, too. Where they are not, an
    #: aggregate that asks ``query`` is a draw of its own, with its own charge.
    releases_counts: ClassVar[bool]
    #: What it can be paid in.
    currencies: ClassVar[tuple[Currency, ...]]
    #: The noise that selects; its event is the charge.
    noise: Mechanism

    @classmethod
    @abstractmethod
    def calibrate(cls, noise: Mechanism, delta: Decimal, pre_threshold: int = 1) -> Self:
        """The strategy that shows the most for a delta.

        Args:
            noise: The mechanism of ``query``.
            delta: The delta that selection may cost; at least ``least_delta``.
            pre_threshold: The fewest units that a candidate has; every key that occurs has one.

        Raises:
            SpecError: If it cannot be had with this noise.
        """

    @staticmethod
    @abstractmethod
    def least_delta(noise: Mechanism) -> Decimal:
        """The smallest delta that can be had with this noise."""

    @property
    def pre_threshold(self) -> int:
        """The fewest units that a candidate has."""
        return self.noise.event.pre_threshold or 1

    @abstractmethod
    def units_for(self, probability: float) -> int:
        """The number of privacy units from which on a partition is shown with at least this probability."""

    def curve(self) -> dict[float, int]:
        """The probabilities of ``CURVE``, each with its ``units_for``."""
        return {probability: self.units_for(probability) for probability in CURVE}

    @abstractmethod
    def draw(self, counts: Exact) -> Shown:
        """Draws once for all candidate keys.

        Args:
            counts: The exact answer of ``query`` for each candidate key, of shape (candidates, 1).

        Raises:
            DpSparkError: If the counts are not in the strategy's input domain. No value is shown.
        """

    # --- what people are told ---

    @property
    @abstractmethod
    def in_short(self) -> str:
        """What decides, in a few words for a plan."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What a manifest tells of the selection, as JSON data: it depends on public settings alone."""

    @staticmethod
    @abstractmethod
    def is_described(partitions: Mapping[str, Any]) -> bool:
        """Whether what a manifest tells can be what ``describe`` told. It may raise LookupError where something is absent."""

    @staticmethod
    @abstractmethod
    def combined(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What the manifest of a combined table tells, from what ``describe`` told of each release."""

    @staticmethod
    @abstractmethod
    def shown_where(partitions: Mapping[str, Any]) -> str:
        """In words, which partitions are shown, from what ``describe`` or ``combined`` told."""

    @staticmethod
    @abstractmethod
    def none_shown(partitions: Mapping[str, Any]) -> tuple[str, str]:
        """Why nothing was shown, and what to change, from what ``describe`` told."""


def check_units(noise: Mechanism, query: str) -> None:
    """Checks that what selects is a count of units, of which each counts once in a partition.

    Raises:
        DpSparkError: If it is not.
    """
    if (noise.event.query, noise.sensitivity.linf) != (query, 1):
        raise DpSparkError("selection counts privacy units, each once", mend="report this as a bug")


def check_counts(counts: Exact) -> list[int]:
    """The exact counts of candidate keys as a list, checked.

    Raises:
        DpSparkError: If they are not one 64-bit integer for each key. No value is shown.
    """
    check_integers(counts)
    values: list[int] = counts.ravel().tolist()
    if counts.shape[1] != 1 or not all(-_INT64 <= value < _INT64 for value in values):
        raise DpSparkError("the candidate counts are not one 64-bit integer for each key; no value is shown")
    return values


def needs(selection: Selection) -> dict[str, Any]:
    """What a manifest tells of every strategy: what it costs, and how many units a partition needs."""
    least = {} if selection.pre_threshold == 1 else {"pre_threshold": selection.pre_threshold}
    return {
        **least,
        "delta": decimal_text(selection.noise.event.delta),
        "noise_scale": selection.noise.scale,
        "units_for_50_percent": selection.units_for(0.5),
        "units_for_95_percent": selection.units_for(0.95),
    }


def never_below(partitions: Mapping[str, Any]) -> str:
    """Of a pre-threshold, in words, from what a manifest tells; nothing where there is none."""
    least = partitions.get("pre_threshold")
    return "" if least is None else f"; none with fewer than {least} users is"
