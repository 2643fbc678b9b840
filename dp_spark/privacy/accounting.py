"""Events to (epsilon, delta), and whether an account can bear another release. The only importer of dp-accounting.

Two accountants (design, section 4), fixed when an account is opened:

* ``basic``: sums of epsilon and of delta (Dwork and Roth 2014, theorem 3.16).
* ``zcdp``: sums of rho (Bun and Steinke 2016, lemma 2.3), with half of delta frozen for the conversion to
  (epsilon, delta) and the other half for partition selection.

All sums and comparisons are exact decimals; only the conversion uses floating point, and it errs against us.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from typing import Literal

import numpy as np
from dp_accounting import ZCDpEvent
from dp_accounting.rdp import RdpAccountant

from dp_spark.errors import BudgetError, SpecError
from dp_spark.privacy.decimals import sum_exactly
from dp_spark.privacy.events import Event

Accountant = Literal["basic", "zcdp"]

#: Renyi orders from just above 1 to 10^9, each 1.2 % above its neighbour (in order - 1): dp-accounting's own stop at
#: 512, far below the best order 1 + sqrt(log(1/delta)/rho) of a small rho, and would waste nearly all of it.
_ORDERS = tuple(1 + np.geomspace(1.1e-2, 1e9, 2200))
#: The conversion is computed in doubles; this relative margin is far above their error and far below what matters.
_MARGIN = 1e-9
_DIGITS = 15


def zcdp_to_epsilon(rho: Decimal | Fraction, delta: Decimal) -> float:
    """The epsilon for which rho-zCDP implies (epsilon, delta)-DP, rounded up.

    Args:
        rho: The zCDP parameter.
        delta: The target delta, above 0.

    Source: Canonne, Kamath and Steinke, "The Discrete Gaussian for Differential Privacy" (2020), proposition 12,
    minimised over a grid of orders: any order is a valid bound, so a coarse grid can only err against us.

    >>> 5.0 < zcdp_to_epsilon(Decimal("0.5"), Decimal("1e-6")) < 5.6
    True
    """
    if rho == 0:
        return 0.0
    accountant = RdpAccountant(orders=_ORDERS)
    accountant.compose(ZCDpEvent(float(rho) * (1 + _MARGIN)))
    return float(accountant.get_epsilon(float(delta) * (1 - _MARGIN))) * (1 + _MARGIN)


@functools.lru_cache(maxsize=256)
def zcdp_from_budget(epsilon: Decimal, delta: Decimal) -> Decimal:
    """The largest rho, to 15 digits, that a budget of (epsilon, delta) buys, with half of delta for the conversion.

    Args:
        epsilon: The budget's epsilon.
        delta: The budget's whole delta, above 0.

    Raises:
        SpecError: If it buys less than can be told from nothing.

    Guarantees: ``zcdp_to_epsilon(result, delta / 2) <= epsilon``, and the same budget always gives the same rho, so
    a release that asks for exactly what was opened fits.
    """
    target, half = float(epsilon), delta / 2
    low, high = 0.0, target
    while zcdp_to_epsilon(Fraction(high), half) <= target:
        low, high = high, 2 * high
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if zcdp_to_epsilon(Fraction(middle), half) <= target else (low, middle)
    if low == 0:
        raise SpecError("is too small to be converted to zCDP", where="epsilon", mend="give more, or use a basic account")
    return Context(prec=_DIGITS, rounding=ROUND_FLOOR).create_decimal(Decimal(low))


@dataclass(frozen=True)
class Cost:
    """What a release or a whole account has spent.

    Attributes:
        epsilon: In a basic account, the sum of epsilons; in a zcdp account, 0 (rho carries it).
        rho: In a zcdp account, the sum of rhos; in a basic account, 0.
        delta: The sum of the deltas of partition selection.
    """

    epsilon: Decimal
    rho: Decimal
    delta: Decimal

    def plus(self, other: Cost) -> Cost:
        """The exact sum of two costs."""
        return Cost(
            sum_exactly((self.epsilon, other.epsilon)),
            sum_exactly((self.rho, other.rho)),
            sum_exactly((self.delta, other.delta)),
        )


NOTHING = Cost(Decimal(0), Decimal(0), Decimal(0))


def cost_of(events: Iterable[Event], accountant: Accountant) -> Cost:
    """The exact sum of what events are charged.

    Raises:
        BudgetError: If an event has no cost that this accountant can add up.
    """
    events = tuple(events)
    charges = [event.epsilon if accountant == "basic" else event.rho for event in events]
    known = [charge for charge in charges if charge is not None]
    if len(known) != len(charges):
        raise BudgetError(f"a {accountant} account cannot add up this mechanism", mend="use laplace noise, or a zcdp account")
    total = sum_exactly(known)
    delta = sum_exactly(event.delta for event in events)
    return Cost(total, Decimal(0), delta) if accountant == "basic" else Cost(Decimal(0), total, delta)


@dataclass(frozen=True)
class Account:
    """The budget of one dataset.

    Attributes:
        accountant: How charges add up.
        epsilon: The total epsilon.
        delta: The total delta.
        rho: In a zcdp account, the rho that (epsilon, delta) bought at opening; None in a basic one.
    """

    accountant: Accountant
    epsilon: Decimal
    delta: Decimal
    rho: Decimal | None

    @staticmethod
    def open(epsilon: Decimal, delta: Decimal, accountant: Accountant | None = None) -> Account:
        """Opens an account; without a named accountant it is basic where delta is 0, else zcdp.

        Raises:
            SpecError: If a zcdp account is asked for without a delta.
        """
        chosen: Accountant = accountant or ("basic" if delta == 0 else "zcdp")
        if chosen == "zcdp" and delta == 0:
            raise SpecError("a zcdp account needs a delta above 0", where="--delta", mend="give --delta, or basic")
        return Account(chosen, epsilon, delta, zcdp_from_budget(epsilon, delta) if chosen == "zcdp" else None)

    def bears(self, cost: Cost) -> bool:
        """Whether a total cost is within the budget; exact, never by whichever accountant is smaller today."""
        if self.rho is None:
            return cost.rho == 0 and cost.epsilon <= self.epsilon and cost.delta <= self.delta
        return cost.epsilon == 0 and cost.rho <= self.rho and 2 * Fraction(cost.delta) <= Fraction(self.delta)

    def spent_display(self, spent: Cost) -> tuple[Decimal, Decimal]:
        """What was spent, as (epsilon, delta) for people; in a zcdp account epsilon of the rho spent."""
        if self.rho is None:
            return spent.epsilon, spent.delta
        return self._epsilon(spent.rho, ROUND_CEILING), sum_exactly((spent.delta, spent.delta))

    def remaining_display(self, spent: Cost) -> tuple[Decimal, Decimal]:
        """What remains, as the (epsilon, delta) that one more release with private partitions could still ask for."""
        if self.rho is None:
            return sum_exactly((self.epsilon, -spent.epsilon)), sum_exactly((self.delta, -spent.delta))
        remaining = sum_exactly((self.rho, -spent.rho))
        return self._epsilon(remaining, ROUND_FLOOR), sum_exactly((self.delta, -spent.delta, -spent.delta))

    def _epsilon(self, rho: Decimal, rounding: str) -> Decimal:
        if rho == self.rho:  # the conversion rounds up a little; opening rounded down
            return self.epsilon
        converted = Decimal(repr(zcdp_to_epsilon(rho, self.delta / 2)))
        return min(self.epsilon, Context(prec=6, rounding=rounding).create_decimal(converted))


def covers(charged: Sequence[Event], drawn: Sequence[Event]) -> bool:
    """Whether every draw was charged for, each charge used at most once."""
    left = list(charged)
    for event in drawn:
        if event not in left:
            return False
        left.remove(event)
    return True
