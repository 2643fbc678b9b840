"""An account's budget over time, from the ledger's entries: what each charge left. No source, person or reason is in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from dp_spark.errors import SpecError
from dp_spark.ledger.entries import CHARGE, OPEN, Entry
from dp_spark.ledger.state import LedgerState, account_of
from dp_spark.privacy.accountants.account import Account
from dp_spark.privacy.accountants.base import Cost
from dp_spark.privacy.accountants.registry import cost_of
from dp_spark.privacy.events import events_from_json


@dataclass(frozen=True)
class Step:
    """The account after one of the entries that changed it.

    Attributes:
        entry: The opening, raising or charge.
        account: The budget as it is then.
        spent: The exact sum of all charges so far.
    """

    entry: Entry
    account: Account
    spent: Cost

    @property
    def is_charge(self) -> bool:
        """Whether the entry is a charge; else it opened or raised the budget."""
        return self.entry.entry == CHARGE

    @property
    def at(self) -> datetime:
        """When."""
        return self.entry.at

    @property
    def shares_left(self) -> dict[str, float]:
        """What is left of each part of the budget, as a share of the total at that time.

        Charges add up in epsilon in a basic account and in rho in a zcdp account, where half of delta is for selection.
        """
        total, spent = self.account.total, self.spent
        shares: dict[str, float] = {total.currency: _left(total.amount, spent.amount)}
        if total.delta:
            shares["delta"] = _left(total.delta, spent.delta)
        return shares


@dataclass(frozen=True)
class BudgetHistory:
    """An account over time.

    Attributes:
        dataset: Whose account.
        group: The group of datasets whose charges count in it, or None.
        steps: Openings, raisings and charges, oldest first; the first one is the opening.
    """

    dataset: str
    group: str | None
    steps: tuple[Step, ...]

    @property
    def last(self) -> Step:
        """The account as the ledger has it."""
        return self.steps[-1]

    @property
    def charges(self) -> tuple[Step, ...]:
        """The charges that count, oldest first."""
        return tuple(step for step in self.steps if step.is_charge)


def budget_history(state: LedgerState, manifest: Mapping[str, Any]) -> BudgetHistory:
    """The history of the account that paid for a release.

    Args:
        state: The ledger.
        manifest: The release's manifest.

    Raises:
        SpecError: If this ledger was not charged for this very release.
    """
    charge = state.charge_of(manifest["release_id"])
    named, digest = (manifest["dataset"], manifest["charge"]["sequence"]), manifest["file_digest"]
    if charge is None or (charge.dataset, charge.sequence) != named or digest not in state.digests_of(manifest["release_id"]):
        raise SpecError(
            f"this ledger was not charged for the release {manifest['release_id']}",
            where="--ledger",
            mend="give the ledger that the release file names",
        )
    account = state.account(charge.dataset)
    counted = {entry.sequence for entry in account.charges}
    return BudgetHistory(account.dataset, account.group, tuple(_steps(state, account.dataset, counted)))


def _steps(state: LedgerState, dataset: str, counted: set[int]) -> Iterator[Step]:
    account, accountant = None, state.account(dataset).account.accountant  # it stays, and a group has one
    spent = cost_of((), accountant)
    for entry in state.entries:
        opens = entry.entry == OPEN and entry.dataset == dataset
        if opens:
            account = account_of(entry)
        elif entry.sequence in counted:  # a charge of the group can be older than the account: it counts from its opening
            spent = spent.plus(cost_of(events_from_json(entry.events), accountant))
        if account is not None and (opens or entry.sequence in counted):
            yield Step(entry, account, spent)


def _left(total: Decimal, used: Decimal) -> float:
    return float((total - used) / total)
