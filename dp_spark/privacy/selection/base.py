"""What every selection strategy is: a query over the candidate keys, and a draw that says which of them are shown."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from dp_spark.privacy.events import Event
from dp_spark.privacy.integers import Exact, Noisy
from dp_spark.privacy.mechanisms.base import Mechanism


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

    Guarantees: a key that no neighbour has is shown with a probability that the event's delta bounds, over all keys that
    one unit can bring.
    """

    #: The name in the registry, and in manifests.
    name: ClassVar[str]
    #: The label of the query that candidates are selected by.
    query: ClassVar[str]
    #: Whether the noisy answers to ``query`` are drawn with the selection and can be released, too. Where they are not, an
    #: aggregate that asks ``query`` is a draw of its own, with its own charge.
    releases_counts: ClassVar[bool]
    #: The noise that selects; its event is the charge.
    noise: Mechanism

    @classmethod
    @abstractmethod
    def calibrate(cls, noise: Mechanism, delta: Decimal) -> Self:
        """The strategy that shows the most for a delta.

        Args:
            noise: The mechanism of ``query``.
            delta: The delta that selection may cost; at least ``least_delta``.

        Raises:
            SpecError: If it cannot be had with this noise.
        """

    @staticmethod
    @abstractmethod
    def least_delta(noise: Mechanism) -> Decimal:
        """The smallest delta that can be had with this noise."""

    @abstractmethod
    def units_for(self, probability: float) -> int:
        """The number of privacy units from which on a partition is shown with at least this probability."""

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
