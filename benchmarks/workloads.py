"""What every contestant computes: one definition, which each translates into its own library's terms.

Nothing but the standard library is imported here, so the file runs in every contestant's environment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Function = Literal["count", "privacy_id_count", "sum", "mean", "variance", "quantiles"]

#: The columns of every table (``tables.py``).
USER, KEY = "user", "key"


@dataclass(frozen=True)
class Aggregate:
    """One released number per partition, or one for each share of quantiles; values are clipped to [low, high]."""

    function: Function
    name: str
    column: str = ""
    low: float = 0.0
    high: float = 0.0
    shares: tuple[float, ...] = ()


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
_OF_VALUES: tuple[Function, ...] = ("sum", "mean", "variance")

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
COUNT = Workload("count", (_COUNT,))
TWO_COLUMNS = Workload(
    "two_columns",
    (
        _COUNT,
        _USERS,
        *(
            Aggregate(function, f"{function}_{column}", column, 0.0, high)
            for column, high in (("value", 100.0), ("amount", 1000.0))
            for function in _OF_VALUES
        ),
    ),
)
QUANTILES = Workload("quantiles", (Aggregate("quantiles", "at", "value", 0.0, 100.0, (0.05, 0.5, 0.95)),))

WORKLOADS = {workload.name: workload for workload in (COUNT_SUM, FIVE, WIDE, COUNT, TWO_COLUMNS, QUANTILES)}
