"""The ledger's entries as pure data: what an account has opened, spent and published, read from a checked chain.

Each entry carries the digest of its predecessor, over all accounts of the ledger, so an entry that was changed,
removed or reordered breaks the chain. Budgets are decided here and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, cast

from dp_spark.accounting import NOTHING, Account, Accountant, Cost, cost_of
from dp_spark.errors import BudgetError, DamageError, SpecError
from dp_spark.events import Event, decimal_text, events_from_json
from dp_spark.paths import overlap

OPEN, CHARGE, PUBLISHED = "open", "charge", "published"
GENESIS = "sha256:" + 64 * "0"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Entry:
    """One row of the ledger; the columns are the design's, and all text but ``sequence`` and ``at``."""

    entry: str
    dataset: str
    sequence: int
    release_id: str | None
    file_digest: str | None
    accountant: str
    privacy_unit: str | None
    source: str | None
    events: str
    epsilon: str
    delta: str
    rho: str | None
    reason: str | None
    at: datetime
    who: str
    previous_digest: str

    @property
    def digest(self) -> str:
        """SHA-256 over every column, in a form that no engine changes."""
        document = {item.name: getattr(self, item.name) for item in fields(self)}
        document["at"] = (self.at - EPOCH) // timedelta(microseconds=1)
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class AccountState:
    """An account as the ledger has it.

    Attributes:
        dataset: The dataset the account belongs to.
        account: Its budget and accountant.
        charges: Its charges, oldest first.
        spent: Their exact sum.
    """

    dataset: str
    account: Account
    charges: tuple[Entry, ...]
    spent: Cost


class LedgerState:
    """The ledger at one moment, checked as a whole.

    Args:
        entries: All rows, in any order.
        where: The ledger's name, for errors.

    Raises:
        DamageError: If an entry is unknown, the chain is broken, or an account has spent more than it holds.
    """

    def __init__(self, entries: Sequence[Entry], *, where: str) -> None:
        self.where = where
        self.entries = tuple(sorted(entries, key=lambda item: item.sequence))
        self._check_chain()
        openings = [entry for entry in self.entries if entry.entry == OPEN]
        self.accounts = {entry.dataset: self._account(entry) for entry in openings}
        if len(self.accounts) != len(openings):
            raise self._damaged("an account was opened twice")
        self._check_sums()

    @property
    def last_digest(self) -> str:
        """The digest that the next entry must carry."""
        return self.entries[-1].digest if self.entries else GENESIS

    @property
    def next_sequence(self) -> int:
        """The sequence number of the next entry."""
        return len(self.entries) + 1

    @property
    def charged_sources(self) -> list[str]:
        """The identities of all sources that were ever charged for."""
        return sorted({str(entry.source) for entry in self.entries if entry.entry == CHARGE})

    def account(self, dataset: str) -> AccountState:
        """The account of a dataset.

        Raises:
            BudgetError: If none was opened.
        """
        if dataset not in self.accounts:
            raise BudgetError(
                f"no budget was opened for the dataset {dataset}",
                where=self.where,
                mend=f"dp-spark budget open --ledger {self.where} --dataset {dataset} --epsilon E [--delta D]",
            )
        return self.accounts[dataset]

    def charge_of(self, release_id: str) -> Entry | None:
        """The charge of a release, or None."""
        return self._find(CHARGE, release_id)

    def publication_of(self, release_id: str) -> Entry | None:
        """The published entry of a release, or None."""
        return self._find(PUBLISHED, release_id)

    def check_open(self, dataset: str) -> None:
        """Checks that a dataset has no account yet.

        Raises:
            BudgetError: If it has one.
        """
        if dataset in self.accounts:
            raise BudgetError(
                f"the dataset {dataset} has an account already", where=self.where, mend="see `dp-spark budget show`"
            )

    def check_charge(self, dataset: str, events: Sequence[Event], *, privacy_unit: str, source: str) -> None:
        """Checks that an account can bear a charge, for this unit and this source.

        Raises:
            BudgetError: If the unit or the source is not the account's own, or too little remains.
        """
        state = self.account(dataset)
        for charge in state.charges[:1]:
            if charge.privacy_unit != privacy_unit:
                raise BudgetError(
                    f"the account of {dataset} protects the unit {charge.privacy_unit}, not {privacy_unit}",
                    where="privacy_unit",
                    mend="use the account's own unit, or open an account for another dataset",
                )
        self._check_source(dataset, source)
        cost = cost_of(events, state.account.accountant)
        if not state.account.bears(state.spent.plus(cost)):
            raise _refused(state, cost, self.where)

    def _check_source(self, dataset: str, source: str) -> None:
        for entry in self.entries:
            if entry.entry == CHARGE and entry.dataset != dataset and same_source(str(entry.source), source):
                raise BudgetError(
                    f"this source was charged to the account of another dataset ({entry.dataset})",
                    where="dataset",
                    mend=f"use dataset: {entry.dataset}; one source has one budget",
                )

    def _find(self, kind: str, release_id: str) -> Entry | None:
        found = [item for item in self.entries if item.entry == kind and item.release_id == release_id]
        return found[0] if found else None

    def _check_chain(self) -> None:
        previous = GENESIS
        for position, entry in enumerate(self.entries, start=1):
            if entry.entry not in (OPEN, CHARGE, PUBLISHED):
                raise self._damaged(f"entry {entry.sequence} is of an unknown kind")
            if entry.sequence != position or entry.previous_digest != previous:
                raise self._damaged(f"the chain of entries is broken at sequence {position}")
            previous = entry.digest

    def _account(self, opening: Entry) -> AccountState:
        charges = tuple(item for item in self.entries if item.entry == CHARGE and item.dataset == opening.dataset)
        try:
            accountant = cast(Accountant, opening.accountant)
            rho = None if opening.rho is None else _amount(opening.rho)
            account = Account(accountant, _amount(opening.epsilon), _amount(opening.delta), rho)
            if (accountant, rho is None) not in (("basic", True), ("zcdp", False)):
                raise ValueError
            spent = NOTHING
            for charge in charges:
                spent = spent.plus(cost_of(events_from_json(charge.events), accountant))
        except (ValueError, KeyError, TypeError, AttributeError, InvalidOperation, BudgetError):
            raise self._damaged(f"an entry of {opening.dataset} cannot be read") from None
        return AccountState(opening.dataset, account, charges, spent)

    def _check_sums(self) -> None:
        for state in self.accounts.values():
            if not state.account.bears(state.spent):
                raise self._damaged(f"the account of {state.dataset} has spent more than it holds")
        for entry in self.entries:
            if entry.dataset not in self.accounts:
                raise self._damaged(f"entry {entry.sequence} belongs to no account")

    def _damaged(self, message: str) -> DamageError:
        return DamageError(message, where=self.where, mend="restore the ledger from its own history; do not open a new one")


def _amount(text: str) -> Decimal:
    value = Decimal(text)
    if not value.is_finite() or value < 0:
        raise ValueError
    return value


def same_source(one: str, other: str) -> bool:
    """Whether two source identities are the same, or one folder is inside the other."""
    return overlap(one, other) if "/" in one and "/" in other else one == other


def _refused(state: AccountState, cost: Cost, where: str) -> BudgetError:
    account = state.account
    epsilon, delta = account.remaining_display(state.spent)
    left = f"epsilon {decimal_text(epsilon)}, delta {decimal_text(delta)}"
    if account.rho is None:
        asked = f"epsilon {decimal_text(cost.epsilon)}, delta {decimal_text(cost.delta)}"
    else:
        asked = f"rho {cost.rho:.6g}, selection delta {cost.delta:.6g}"
        left = f"rho {account.rho - state.spent.rho:.6g}, selection delta {float(delta) / 2:.6g}, that is {left}"
    mend = f"ask for at most epsilon {decimal_text(epsilon)} and delta {decimal_text(delta)}"
    if cost.delta and not delta:
        mend = "no delta is left for private partitions: list public partitions"
    elif not epsilon:
        mend = "the budget is used up: what was published stays, nothing more can be"
    return BudgetError(
        f"the budget of {state.dataset} does not bear this release: requested {asked}; remaining {left}", where=where, mend=mend
    )


def check_release_id(release_id: str) -> str:
    """A release id: letters, digits and ``. _ : -``, at most 128 of them.

    Raises:
        SpecError: If it is anything else.
    """
    allowed = all(character.isascii() and (character.isalnum() or character in "._:-") for character in release_id)
    if not release_id or len(release_id) > 128 or not allowed:
        raise SpecError(
            "a release id has 1 to 128 letters, digits, dots, colons, underscores or hyphens",
            where="--release-id",
            mend="choose a plain id, such as a date",
        )
    return release_id


def entry_of_row(row: dict[str, Any]) -> Entry:
    """An entry from a row of the ledger table."""
    return Entry(**{item.name: row[item.name] for item in fields(Entry)})
