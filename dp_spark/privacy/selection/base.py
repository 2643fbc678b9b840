"""What every selection strategy is: a query over the candidate keys, and a draw that says which of them are shown."""

from __future__ import annotations

from abc import ABC, abstractmethod
from decimal import Decimal
from typing import ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from dp_spark.privacy.events import Event
from dp_spark.privacy.integers import Exact, Noisy
from dp_spark.privacy.mechanisms.base import Mechanism


class Shown(NamedTuple):
    """What a selection has drawn.

    Attributes:
        positions: The positions of the candidate keys that are shown, ascending.
        counts: Their noisy counts, of shape (positions, 1); None for a strategy that releases none.
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

    #: The label of the query that candidates are selected by.
    query: ClassVar[str]
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

    @property
    @abstractmethod
    def threshold(self) -> int:
        """The smallest noisy count that is shown."""

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
