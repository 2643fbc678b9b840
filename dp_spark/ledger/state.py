"""What the ledger says: its entries read in order, each checked against all before it. Budgets are decided here only.

An account is opened once and may be raised. Accounts of one group share their users: a charge to one counts in all of
them, so that each account's budget bounds what is known about its users from the whole group.
"""

from __future__ import annotations

import contextlib
import difflib
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import cast

from dp_spark.errors import BudgetError, DamageError
from dp_spark.ledger.entries import CHARGE, CORRECTION, GENESIS, KINDS, OPEN, PUBLISHED, Entry, Seal
from dp_spark.places.identities import same_source, split_identities
from dp_spark.privacy.accountants.account import Account
from dp_spark.privacy.accountants.base import Cost
from dp_spark.privacy.accountants.registry import ACCOUNTANTS, AccountantName, cost_of
from dp_spark.privacy.decimals import decimal_text
from dp_spark.privacy.events import Event, events_from_json, unparsed_from_json
from dp_spark.spec.unit_pin import agrees, gains_names, loses_names, unit_words

_MEND = "restore the ledger from a backup of its files (docs/ledger.md); do not open a new one"
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError, BudgetError)


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
    charges: tuple[Entry, ...]
    spent: Cost

    @property
    def own_charges(self) -> tuple[Entry, ...]:
        """The charges of this dataset's own releases."""
        return tuple(charge for charge in self.charges if charge.dataset == self.dataset)


@dataclass(frozen=True)
class Publication:
    """What a published entry says.

    Attributes:
        sink: The table that the release is in.
        version: Its version there.
        draw: The digest of the draw that was published.
    """

    sink: str
    version: int
    draw: str

    @staticmethod
    def of(entry: Entry) -> Publication:
        """Reads a published entry.

        Raises:
            ValueError, KeyError, TypeError: If it is not one.
        """
        place = json.loads(entry.events)
        if not isinstance(place["version"], int):
            raise TypeError
        return Publication(str(place["sink"]), place["version"], str(place["draw"]))


class LedgerState:
    """The ledger at one moment, checked as a whole.

    Args:
        entries: All rows, in any order.
        where: The ledger's name, for errors.

    Raises:
        DamageError: If an entry is unknown or cannot be read, the chain is broken, or an account ever spent more than
            it held.
    """

    def __init__(self, entries: Iterable[Entry], *, where: str) -> None:
        self.where = where
        self.accounts: dict[str, AccountState] = {}
        self._entries: list[Entry] = []
        self._first: dict[tuple[str, str | None], Entry] = {}
        for entry in _in_order(entries):
            self._follow(entry)

    @staticmethod
    def sound_part(entries: Iterable[Entry], seals: Iterable[Seal] = (), *, where: str) -> LedgerState:
        """The ledger up to the last entry that is vouched for by those before and after it, and by who has seen it."""
        ordered = _in_order(entries)
        state = LedgerState((), where=where)
        with contextlib.suppress(DamageError):
            for entry in ordered:
                state._follow(entry)
        sound = len(state.entries)
        if sound < len(ordered) and ordered[sound].previous_digest != state.last_digest:
            sound -= 1  # the entry that follows was written after another one than this
        for seal in seals:
            if 1 <= seal.sequence <= sound and ordered[seal.sequence - 1].digest != seal.digest:
                sound = seal.sequence - 1
        return LedgerState(ordered[: max(0, sound)], where=where)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All entries, oldest first."""
        return tuple(self._entries)

    @property
    def last_digest(self) -> str:
        """The digest that the next entry must carry."""
        return self._entries[-1].digest if self._entries else GENESIS

    @property
    def next_sequence(self) -> int:
        """The sequence number of the next entry."""
        return len(self._entries) + 1

    @property
    def charged_sources(self) -> list[str]:
        """The identities of all sources that were ever charged for."""
        return sorted({str(entry.source) for entry in self._entries if entry.entry == CHARGE})

    def account(self, dataset: str) -> AccountState:
        """The account of a dataset.

        Raises:
            BudgetError: If none was opened.
        """
        if dataset not in self.accounts:
            near = difflib.get_close_matches(dataset, self.accounts, n=1)
            command = f"dp-spark budget open --ledger {self.where} --dataset {dataset} --epsilon E [--delta D]"
            raise BudgetError(
                f"no budget was opened for the dataset {dataset}",
                where=self.where,
                mend=f"did you mean {near[0]}? If not: {command}" if near else command,
            )
        return self.accounts[dataset]

    def charge_of(self, release_id: str) -> Entry | None:
        """The charge of a release, or None."""
        return self._first.get((CHARGE, release_id))

    def digests_of(self, release_id: str) -> tuple[str, ...]:
        """The digests of the files that a release's charge was made and corrected for, oldest first: the last one counts."""
        kinds = (CHARGE, CORRECTION)
        return tuple(str(item.file_digest) for item in self._entries if item.entry in kinds and item.release_id == release_id)

    def publication_of(self, release_id: str) -> Entry | None:
        """The published entry of a release, or None."""
        return self._first.get((PUBLISHED, release_id))

    def check_seals(self, seals: Iterable[Seal], witness: str) -> None:
        """Checks that the ledger still holds every entry that a witness has seen.

        Args:
            seals: What the witness remembers; it must have been asked before the ledger was read.
            witness: What it is, for the error.

        Raises:
            DamageError: If an entry is missing or another one.
        """
        for seal in seals:
            if seal.sequence > len(self._entries):
                raise self._damaged(
                    f"the ledger ends at entry {len(self._entries)}, but {witness} has seen entry {seal.sequence}: "
                    "entries were removed, or an older state was put back"
                )
            if seal.sequence < 1 or self._entries[seal.sequence - 1].digest != seal.digest:
                raise self._damaged(f"entry {seal.sequence} is not the one that {witness} has seen")

    def check_open(self, dataset: str, account: Account, group: str | None) -> None:
        """Checks that an account can be opened.

        Raises:
            BudgetError: If the dataset has one already, or its group has another accountant or spent more than it holds.
        """
        if dataset in self.accounts:
            raise BudgetError(
                f"the dataset {dataset} has an account already",
                where=self.where,
                mend="see `dp-spark budget show`; `dp-spark budget raise` gives it more",
            )
        for other in self._members(group):
            if other.account.accountant != account.accountant:
                raise BudgetError(
                    f"the accounts of the group {group} are {other.account.accountant}, this one is {account.accountant}",
                    where="--accountant",
                    mend=f"open it with --accountant {other.account.accountant}",
                )
        _, spent = self._shared(dataset, group, account.accountant)
        if not account.bears(spent):
            raise BudgetError(
                f"the group {group} has already spent more than this budget",
                where="--epsilon",
                mend="open it with at least what the group has spent: see `dp-spark budget show`",
            )

    def check_raise(self, dataset: str, account: Account) -> None:
        """Checks that an account can be raised to new totals.

        Raises:
            BudgetError: If a total would fall, or the accountant would change.
        """
        if not _covers(account, self.account(dataset).account):
            raise BudgetError(
                "a budget is only raised: no total may fall, and its accountant stays",
                where=self.where,
                mend="give new totals, each at least the old one: see `dp-spark budget show`",
            )

    def check_charge(self, dataset: str, events: Sequence[Event], *, privacy_unit: str, source: str) -> None:
        """Checks that an account, and every account of its group, can bear a charge for this unit and this source.

        Raises:
            BudgetError: If the unit or the source is not the account's own, or too little remains.
        """
        state = self.account(dataset)
        _check_unit(state, privacy_unit, source)
        self.check_source(dataset, source)
        for member in (state, *(item for item in self._members(state.group) if item.dataset != dataset)):
            cost = cost_of(events, member.account.accountant)
            if not member.account.bears(member.spent.plus(cost)):
                raise _refused(member, cost, self.where)

    def check_source(self, dataset: str, source: str) -> None:
        """Checks that a source was charged to no other account; a charge that goes on without a new entry asks, too.

        Raises:
            BudgetError: If it was.
        """
        for entry in self._entries:
            if entry.entry == CHARGE and entry.dataset != dataset and same_source(str(entry.source), source):
                raise BudgetError(
                    f"this source was charged to the account of another dataset ({entry.dataset})",
                    where="dataset",
                    mend=f"use dataset: {entry.dataset}; one source has one budget",
                )

    def _members(self, group: str | None) -> list[AccountState]:
        return [state for state in self.accounts.values() if group is not None and state.group == group]

    def _shared(self, dataset: str, group: str | None, accountant: AccountantName) -> tuple[tuple[Entry, ...], Cost]:
        """The charges that count in an account, and their sum."""
        members = {dataset, *(state.dataset for state in self._members(group))}
        charges = tuple(entry for entry in self._entries if entry.entry == CHARGE and entry.dataset in members)
        spent = cost_of((), accountant)
        for charge in charges:
            spent = spent.plus(cost_of(events_from_json(charge.events), accountant))
        return charges, spent

    # --- reading: each entry follows from all before it ---------------------------------------------------------------

    def _follow(self, entry: Entry) -> None:
        position = self.next_sequence
        if entry.entry not in KINDS:
            raise self._damaged(f"entry {entry.sequence} is of an unknown kind")
        if entry.sequence != position or entry.previous_digest != self.last_digest:
            raise self._damaged(f"the chain of entries is broken at sequence {position}")
        if entry.entry != OPEN and entry.dataset not in self.accounts:
            raise self._damaged(f"entry {position} belongs to no account")
        try:
            if entry.entry == OPEN:
                self._follow_opening(entry)
            elif entry.entry == CHARGE:
                self._follow_charge(entry)
            elif entry.entry == CORRECTION:
                self._follow_correction(entry)
            else:
                self._follow_publication(entry)
        except _UNREADABLE:
            raise self._damaged(f"entry {position} of {entry.dataset} cannot be read") from None
        self._entries.append(entry)
        self._first.setdefault((entry.entry, entry.release_id), entry)

    def _follow_opening(self, entry: Entry) -> None:
        account, group, before = account_of(entry), _group_of(entry), self.accounts.get(entry.dataset)
        if before is not None and not (entry.reason and before.group == group and _covers(account, before.account)):
            raise self._damaged(f"entry {entry.sequence} opens the account of {entry.dataset} again")
        if any(member.account.accountant != account.accountant for member in self._members(group)):
            raise ValueError
        charges, spent = self._shared(entry.dataset, group, account.accountant)
        self.accounts[entry.dataset] = AccountState(entry.dataset, account, group, charges, spent)
        self._check_spent(self.accounts[entry.dataset], entry)

    def _follow_charge(self, entry: Entry) -> None:
        own = self.accounts[entry.dataset]
        if entry.release_id is not None and self.charge_of(entry.release_id) is not None:
            raise self._damaged(f"entry {entry.sequence} charges a release that was charged before")
        split_identities(str(entry.source))
        events = events_from_json(entry.events)
        for amount in itertools.chain.from_iterable((event.epsilon, event.rho, event.delta) for event in events):
            _amount(str(amount or 0))
        cost = cost_of(events, own.account.accountant)
        for state in [own] if own.group is None else self._members(own.group):
            changed = replace(state, charges=(*state.charges, entry), spent=state.spent.plus(cost))
            self._check_spent(changed, entry)
            self.accounts[state.dataset] = changed

    def _follow_correction(self, entry: Entry) -> None:
        charge = self.charge_of(str(entry.release_id))
        same = ("dataset", "release_id", "accountant", "privacy_unit", "source")
        if charge is None or any(getattr(charge, name) != getattr(entry, name) for name in same):
            raise self._damaged(f"entry {entry.sequence} corrects a release that was not charged so")
        free = events_from_json(entry.events) == () and not any(map(_amount, (entry.epsilon, entry.delta, entry.rho or "0")))
        if not free or unparsed_from_json(charge.events) is None or entry.file_digest is None:
            raise self._damaged(f"entry {entry.sequence} is not a correction of parsing")
        if self.publication_of(str(entry.release_id)) is not None:
            raise self._damaged(f"entry {entry.sequence} corrects a release that was published before")

    def _follow_publication(self, entry: Entry) -> None:
        charge = self.charge_of(str(entry.release_id))
        if charge is None or charge.dataset != entry.dataset or self.publication_of(str(entry.release_id)) is not None:
            raise self._damaged(f"entry {entry.sequence} is a publication without a charge of its own")
        Publication.of(entry)

    def _check_spent(self, state: AccountState, entry: Entry) -> None:
        if not state.account.bears(state.spent):
            raise self._damaged(f"at entry {entry.sequence} the account of {state.dataset} has spent more than it holds")

    def _damaged(self, message: str) -> DamageError:
        return DamageError(message, where=self.where, mend=_MEND)


def _check_unit(state: AccountState, privacy_unit: str, source: str) -> None:
    # All charges, not the first alone: positions are pinned by the first charge that has them.
    for charge in state.own_charges:
        if not agrees(charge.privacy_unit, privacy_unit):
            raise BudgetError(
                f"the account of {state.dataset} protects the unit {unit_words(charge.privacy_unit)}, "
                f"not {unit_words(privacy_unit)}",
                where="privacy_unit",
                mend="use the account's own unit, or open an account for another dataset",
            )
        same = same_source(str(charge.source), source)
        if same and loses_names(charge.privacy_unit, charge.file_digest, privacy_unit):
            raise BudgetError(
                f"the account of {state.dataset} was charged for this source with a header; without one, another column "
                "could become its unit",
                where="source.options",
                mend="read it with its header, as before",
            )
        if same and gains_names(charge.privacy_unit, privacy_unit):
            raise BudgetError(
                f"the account of {state.dataset} was charged for this source without a header, for the unit "
                f"{unit_words(charge.privacy_unit)}; with names of its own, another column could become its unit",
                where="source.options",
                mend="read the same CSV files with options: {header: false}, as before",
            )


def _in_order(entries: Iterable[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda item: item.sequence or 0)  # a damaged one may have none


def account_of(opening: Entry) -> Account:
    """The account that an opening or a raise leaves.

    Raises:
        ValueError, ArithmeticError: If the entry is not one.
    """
    accountant, rho = opening.accountant, None if opening.rho is None else _amount(opening.rho)
    if (accountant, rho is None) not in (("basic", True), ("zcdp", False)):
        raise ValueError
    return Account(cast(AccountantName, accountant), _amount(opening.epsilon), _amount(opening.delta), rho)


def _group_of(opening: Entry) -> str | None:
    document = json.loads(opening.events)
    return str(document["group"]) if isinstance(document, dict) else None


def _covers(new: Account, old: Account) -> bool:
    """Whether no total of ``new`` is below that of ``old``."""
    if new.accountant != old.accountant or new.epsilon < old.epsilon or new.delta < old.delta:
        return False
    return new.rho is None or old.rho is None or new.rho >= old.rho


def _amount(text: str) -> Decimal:
    value = Decimal(text)
    if not value.is_finite() or value < 0:
        raise ValueError
    return value


def _refused(state: AccountState, cost: Cost, where: str) -> BudgetError:
    account = state.account
    epsilon, delta = account.remaining_display(state.spent)
    left = f"epsilon {decimal_text(epsilon)}, delta {decimal_text(delta)}"
    asked = ACCOUNTANTS[account.accountant].describe(cost)
    if account.rho is not None:
        left = f"rho {account.rho - state.spent.amount:.6g}, selection delta {float(delta) / 2:.6g}, that is {left}"
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
