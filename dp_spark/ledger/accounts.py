"""One account of the ledger: its budget, what was charged to it, and what it still bears, for its own unit alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dp_spark.errors import BudgetError
from dp_spark.ledger.entries import Charge, Written
from dp_spark.places.identities import same_source
from dp_spark.privacy.accountants.account import Account
from dp_spark.privacy.accountants.base import Cost
from dp_spark.privacy.accountants.registry import ACCOUNTANTS, AccountantName, cost_of
from dp_spark.privacy.decimals import decimal_text
from dp_spark.privacy.events import Event
from dp_spark.spec.unit_pin import agrees, gains_names, loses_names, unit_words


@dataclass(frozen=True)
class AccountState:
    """An account as the ledger has it.

    Attributes:
        dataset: The dataset the account belongs to.
        account: Its budget and accountant, as last raised.
        group: The group of datasets that it shares users with, or None.
        charges: The charges that count, oldest first: its own and those of its group.
        spent: Their exact sum.
    """

    dataset: str
    account: Account
    group: str | None
    charges: tuple[Written[Charge], ...]
    spent: Cost

    @property
    def own_charges(self) -> tuple[Charge, ...]:
        """The charges of this dataset's own releases."""
        return tuple(charge.entry for charge in self.charges if charge.entry.dataset == self.dataset)

    def check_bears(self, events: Iterable[Event], where: str) -> None:
        """Checks that the account bears these draws on top of what it has spent.

        Args:
            events: The draws.
            where: The ledger's name, for the error.

        Raises:
            BudgetError: If too little remains.
        """
        cost = cost_of(events, self.account.accountant)
        if not self.account.bears(self.spent.plus(cost)):
            raise _refused(self, cost, where)

    def check_unit(self, privacy_unit: str, source: str) -> None:
        """Checks that a charge for this unit of this source protects what the earlier charges protect.

        Raises:
            BudgetError: If it does not.
        """
        # All charges, not the first alone: positions are pinned by the first charge that has them.
        for charge in self.own_charges:
            if not agrees(charge.privacy_unit, privacy_unit):
                raise BudgetError(
                    f"the account of {self.dataset} protects the unit {unit_words(charge.privacy_unit)}, "
                    f"not {unit_words(privacy_unit)}",
                    where="privacy_unit",
                    mend="use the account's own unit, or open an account for another dataset",
                )
            if same_source(charge.source, source):
                self._check_names(charge, privacy_unit)

    def _check_names(self, charge: Charge, privacy_unit: str) -> None:
        if loses_names(charge.privacy_unit, charge.file_digest, privacy_unit):
            raise BudgetError(
                f"the account of {self.dataset} was charged for this source with a header; without one, another column "
                "could become its unit",
                where="source.options",
                mend="read it with its header, as before",
            )
        if gains_names(charge.privacy_unit, privacy_unit):
            raise BudgetError(
                f"the account of {self.dataset} was charged for this source without a header, for the unit "
                f"{unit_words(charge.privacy_unit)}; with names of its own, another column could become its unit",
                where="source.options",
                mend="read the same CSV files with options: {header: false}, as before",
            )


def total_of(charges: Iterable[Written[Charge]], accountant: AccountantName) -> Cost:
    """The exact sum of charges.

    Raises:
        BudgetError: If one has no cost that this accountant can add up.
    """
    spent = cost_of((), accountant)
    for charge in charges:
        spent = spent.plus(cost_of(charge.entry.events, accountant))
    return spent


def is_raise(new: Account, old: Account) -> bool:
    """Whether an account may be raised to ``new``: no total is below the old one, and the accountant stays."""
    if new.accountant != old.accountant or new.epsilon < old.epsilon or new.delta < old.delta:
        return False
    return new.rho is None or old.rho is None or new.rho >= old.rho


def _refused(state: AccountState, cost: Cost, where: str) -> BudgetError:
    account = state.account
    epsilon, delta = account.remaining_display(state.spent)
    accountant = ACCOUNTANTS[account.accountant]
    asked, left = accountant.describe(cost), accountant.describe_left(account, state.spent)
    mend = f"ask for at most epsilon {decimal_text(epsilon)} and delta {decimal_text(delta)}"
    if cost.delta and not delta:
        mend = "no delta is left for private partitions: list public partitions"
    elif not epsilon:
        mend = "the budget is used up: what was published stays, nothing more can be"
    return BudgetError(
        f"too little is left of the budget of {state.dataset}: the release needs {asked}; remaining {left}",
        where=where,
        mend=mend,
    )
