"""What every contestant computes: one definition, which each translates into its own library's terms.

Nothing but the standard library is imported here, so the file runs in every contestant's environment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Function = Literal["count", "privacy_id_count", "sum", "mean"]

#: The columns of every table (``tables.py``).
USER, KEY = "user", "key"


@dataclass(frozen=True)
class Aggregate:
    """One released number per partition; a sum or mean is of values clipped to [low, high]."""

    function: Function
    name: str
    column: str = ""
    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True)
class Workload:
    """A release: its aggregates, contribution bounds and the budget of all of it.

    Attributes:
        name: Its name in results.
        aggregates: What is released for each partition.
        max_partitions: L0, the partitions in which a user may count.
        max_rows: Linf, the rows that a user may have in each.
        epsilon: For the whole release.
        delta: For the whole release.
    """

    name: str
    aggregates: tuple[Aggregate, ...]
    max_partitions: int = 4
    max_rows: int = 2
    epsilon: float = 1.0
    delta: float = 1e-6

    @property
    def columns(self) -> list[str]:
        """The value columns that are read, each once, in order."""
        return list(dict.fromkeys(item.column for item in self.aggregates if item.column))

    @property
    def rho(self) -> float:
        """A zCDP budget that is worth (epsilon, delta): epsilon = rho + 2 sqrt(rho ln(1 / delta)), solved for rho."""
        log = math.log(1 / self.delta)
        return (math.sqrt(log + self.epsilon) - math.sqrt(log)) ** 2


_COUNT = Aggregate("count", "rows")
_USERS = Aggregate("privacy_id_count", "users")
_SUM = Aggregate("sum", "total", "value", 0.0, 100.0)

COUNT_SUM = Workload("count_sum", (_COUNT, _SUM))
FIVE = Workload(
    "five",
    (
        _COUNT,
        _USERS,
        _SUM,
        Aggregate("mean", "average", "value", 0.0, 100.0),
        Aggregate("sum", "paid", "amount", 0.0, 1000.0),
    ),
)
WIDE = Workload("wide", (_COUNT, _USERS, _SUM))

WORKLOADS = {workload.name: workload for workload in (COUNT_SUM, FIVE, WIDE)}
