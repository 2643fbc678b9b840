"""The budget of one dataset: what was opened, and whether it can bear another release.

An account's accountant is fixed when it is opened (design, section 4). All sums and comparisons are exact decimals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from dp_spark.privacy.accountants.base import Cost
from dp_spark.privacy.accountants.registry import ACCOUNTANTS, AccountantName
from dp_spark.privacy.events import Event


@dataclass(frozen=True)
class Account:
    """The budget of one dataset, as the ledger has it.

    Attributes:
        accountant: How charges add up.
        epsilon: The total epsilon.
        delta: The total delta.
        rho: In a zcdp account, the rho that (epsilon, delta) bought at opening; None in a basic one.
    """

    accountant: AccountantName
    epsilon: Decimal
    delta: Decimal
    rho: Decimal | None

    @staticmethod
    def open(epsilon: Decimal, delta: Decimal, accountant: AccountantName | None = None) -> Account:
        """Opens an account; without a named accountant it is basic where delta is 0, else zcdp.

        Raises:
            SpecError: If a zcdp account is asked for without a delta.
        """
        chosen: AccountantName = accountant or ("basic" if delta == 0 else "zcdp")
        return Account(chosen, epsilon, delta, ACCOUNTANTS[chosen].freeze(epsilon, delta))

    @property
    def total(self) -> Cost:
        """All that may be spent, in the accountant's currency."""
        return ACCOUNTANTS[self.accountant].total(self)

    def bears(self, cost: Cost) -> bool:
        """Whether a total cost is within the budget; exact."""
        return ACCOUNTANTS[self.accountant].bears(self, cost)

    def spent_display(self, spent: Cost) -> tuple[Decimal, Decimal]:
        """What was spent, as (epsilon, delta) for people; in a zcdp account epsilon of the rho spent."""
        return ACCOUNTANTS[self.accountant].as_epsilon(self, spent, up=True)

    def remaining_display(self, spent: Cost) -> tuple[Decimal, Decimal]:
        """What remains, as the (epsilon, delta) that one more release with private partitions could still ask for."""
        return ACCOUNTANTS[self.accountant].as_epsilon(self, self.total.minus(spent), up=False)


def pays_for(charged: Sequence[Event], drawn: Sequence[Event]) -> bool:
    """Whether what was charged is what was drawn, in any order: no charge for two draws, and none for nothing."""
    left = list(charged)
    for event in drawn:
        if event not in left:
            return False
        left.remove(event)
    return not left
