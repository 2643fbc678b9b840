"""What the ledger says: its entries read in order, each checked against all before it. Budgets are decided here only.

An account is opened once and may be raised. Accounts of one group share their users: a charge to one counts in all of
them, so that each account's budget bounds what is known about its users from the whole group.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable
from dataclasses import replace

from dp_spark.errors import BudgetError, DamageError
from dp_spark.ledger.accounts import AccountState, is_raise, total_of
from dp_spark.ledger.entries import KINDS, Charge, Correction, Entry, Opening, Publication, Written, entry_of
from dp_spark.ledger.rows import CORRECTION, GENESIS, OPEN, Row, Seal
from dp_spark.places.identities import same_source
from dp_spark.privacy.accountants.account import Account
from dp_spark.privacy.accountants.registry import cost_of

_MEND = "restore the ledger from a backup of its files (docs/ledger.md); do not open a new one"
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError, BudgetError)


class LedgerState:
    """The ledger at one moment, checked as a whole.

    Args:
        rows: All rows, in any order.
        where: The ledger's name, for errors.

    Raises:
        DamageError: If an entry is unknown or cannot be read, the chain is broken, or an account ever spent more than
            it held.
    """

    def __init__(self, rows: Iterable[Row], *, where: str) -> None:
        self.where = where
        self.accounts: dict[str, AccountState] = {}
        self._entries: list[Written[Entry]] = []
        self._charges: dict[str, Written[Charge]] = {}
        self._publications: dict[str, Written[Publication]] = {}
        for row in _in_order(rows):
            self._follow(row)

    @staticmethod
    def sound_part(rows: Iterable[Row], seals: Iterable[Seal] = (), *, where: str) -> LedgerState:
        """The ledger up to the last entry that is vouched for by those before and after it, and by who has seen it."""
        ordered = _in_order(rows)
        state = LedgerState((), where=where)
        with contextlib.suppress(DamageError):
            for row in ordered:
                state._follow(row)
        sound = len(state.entries)
        if sound < len(ordered) and ordered[sound].previous_digest != state.last_digest:
            sound -= 1  # the entry that follows was written after another one than this
        for seal in seals:
            if 1 <= seal.sequence <= sound and ordered[seal.sequence - 1].digest != seal.digest:
                sound = seal.sequence - 1
        return LedgerState(ordered[: max(0, sound)], where=where)

    @property
    def entries(self) -> tuple[Written[Entry], ...]:
        """All entries, oldest first."""
        return tuple(self._entries)

    @property
    def rows(self) -> tuple[Row, ...]:
        """All entries as they are stored, oldest first."""
        return tuple(written.row for written in self._entries)

    @property
    def last_digest(self) -> str:
        """The digest that the next entry must carry."""
        return self._entries[-1].row.digest if self._entries else GENESIS

    @property
    def next_sequence(self) -> int:
        """The sequence number of the next entry."""
        return len(self._entries) + 1

    @property
    def charges(self) -> tuple[Written[Charge], ...]:
        """The charges of all releases, oldest first."""
        return tuple(self._charges.values())

    @property
    def publications(self) -> tuple[Publication, ...]:
        """Where all published releases are, oldest first."""
        return tuple(written.entry for written in self._publications.values())

    @property
    def charged_sources(self) -> list[str]:
        """The identities of all sources that were ever charged for."""
        return sorted({charge.entry.source for charge in self.charges})

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

    def charge_of(self, release_id: str) -> Written[Charge] | None:
        """The charge of a release, or None."""
        return self._charges.get(release_id)

    def digests_of(self, release_id: str) -> tuple[str, ...]:
        """The digests of the files that a release's charge was made and corrected for, oldest first: the last one counts."""
        found = (written.entry for written in self._entries)
        return tuple(
            entry.file_digest for entry in found if isinstance(entry, Charge | Correction) and entry.release_id == release_id
        )

    def publication_of(self, release_id: str) -> Publication | None:
        """Where a release was published, or None."""
        found = self._publications.get(release_id)
        return None if found is None else found.entry

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
            if seal.sequence < 1 or self._entries[seal.sequence - 1].seal != seal:
                raise self._damaged(f"entry {seal.sequence} is not the one that {witness} has seen")

    def check_open(self, opening: Opening) -> None:
        """Checks that an account can be opened.

        Raises:
            BudgetError: If the dataset has one already, or its group has another accountant or spent more than it holds.
        """
        dataset, group, account = opening.dataset, opening.group, opening.account
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
        if not account.bears(self._opened(opening).spent):
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
        if not is_raise(account, self.account(dataset).account):
            raise BudgetError(
                "a budget is only raised: no total may fall, and its accountant stays",
                where=self.where,
                mend="give new totals, each at least the old one: see `dp-spark budget show`",
            )

    def check_charge(self, charge: Charge) -> None:
        """Checks that an account, and every account of its group, can bear a charge for its unit and its source.

        Raises:
            BudgetError: If the unit or the source is not the account's own, or too little remains.
        """
        own = self.account(charge.dataset)
        if charge.accountant != own.account.accountant:
            raise BudgetError("a charge was planned for another accountant", where=self.where, mend="report this as a bug")
        own.check_unit(charge.privacy_unit, charge.source)
        self.check_source(charge.dataset, charge.source)
        for state in (own, *(item for item in self._members(own.group) if item.dataset != own.dataset)):
            state.check_bears(charge.events, self.where)

    def check_source(self, dataset: str, source: str) -> None:
        """Checks that a source was charged to no other account; a charge that goes on without a new entry asks, too.

        Raises:
            BudgetError: If it was.
        """
        for charge in (written.entry for written in self.charges):
            if charge.dataset != dataset and same_source(charge.source, source):
                raise BudgetError(
                    f"this source was charged to the account of another dataset ({charge.dataset})",
                    where="dataset",
                    mend=f"use dataset: {charge.dataset}; one source has one budget",
                )

    def _members(self, group: str | None) -> list[AccountState]:
        return [state for state in self.accounts.values() if group is not None and state.group == group]

    def _opened(self, opening: Opening) -> AccountState:
        """An account as its opening leaves it: with what its group has spent by then."""
        dataset, group, account = opening.dataset, opening.group, opening.account
        members = {dataset, *(state.dataset for state in self._members(group))}
        charges = tuple(charge for charge in self.charges if charge.entry.dataset in members)
        return AccountState(dataset, account, group, charges, total_of(charges, account.accountant))

    # --- reading: each entry follows from all before it ---------------------------------------------------------------

    def _follow(self, row: Row) -> None:
        position = self.next_sequence
        if row.entry not in KINDS:
            raise self._damaged(f"entry {row.sequence} is of an unknown kind")
        if row.sequence != position or row.previous_digest != self.last_digest:
            raise self._damaged(f"the chain of entries is broken at sequence {position}")
        if row.entry != OPEN and row.dataset not in self.accounts:
            raise self._damaged(f"entry {position} belongs to no account")
        try:
            entry = entry_of(row)
            match entry:
                case Opening():
                    self._follow_opening(entry, position)
                case Charge():
                    self._follow_charge(Written(entry, row))
                case Correction():
                    self._follow_correction(entry, position)
                case Publication():
                    self._follow_publication(Written(entry, row))
        except _UNREADABLE:
            if row.entry == CORRECTION:
                raise self._damaged(f"entry {position} is not a correction of parsing") from None
            raise self._damaged(f"entry {position} of {row.dataset} cannot be read") from None
        self._entries.append(Written(entry, row))

    def _follow_opening(self, opening: Opening, position: int) -> None:
        account, group, before = opening.account, opening.group, self.accounts.get(opening.dataset)
        if before is not None and not (opening.reason and before.group == group and is_raise(account, before.account)):
            raise self._damaged(f"entry {position} opens the account of {opening.dataset} again")
        if any(member.account.accountant != account.accountant for member in self._members(group)):
            raise ValueError
        self.accounts[opening.dataset] = self._not_overspent(self._opened(opening), position)

    def _follow_charge(self, written: Written[Charge]) -> None:
        charge = written.entry
        own = self.accounts[charge.dataset]
        if charge.release_id in self._charges:
            raise self._damaged(f"entry {written.sequence} charges a release that was charged before")
        cost = cost_of(charge.events, own.account.accountant)
        for state in [own] if own.group is None else self._members(own.group):
            changed = replace(state, charges=(*state.charges, written), spent=state.spent.plus(cost))
            self.accounts[state.dataset] = self._not_overspent(changed, written.sequence)
        self._charges[charge.release_id] = written

    def _follow_correction(self, correction: Correction, position: int) -> None:
        charge = self.charge_of(correction.release_id)
        if charge is None or charge.entry.corrected(correction.file_digest) != correction:
            raise self._damaged(f"entry {position} corrects a release that was not charged so")
        if charge.entry.unparsed is None:
            raise self._damaged(f"entry {position} is not a correction of parsing")
        if self.publication_of(correction.release_id) is not None:
            raise self._damaged(f"entry {position} corrects a release that was published before")

    def _follow_publication(self, written: Written[Publication]) -> None:
        release_id = written.entry.release_id
        charge = self.charge_of(release_id)
        if charge is None or charge.entry.dataset != written.entry.dataset or release_id in self._publications:
            raise self._damaged(f"entry {written.sequence} is a publication without a charge of its own")
        self._publications[release_id] = written

    def _not_overspent(self, state: AccountState, position: int) -> AccountState:
        if not state.account.bears(state.spent):
            raise self._damaged(f"at entry {position} the account of {state.dataset} has spent more than it holds")
        return state

    def _damaged(self, message: str) -> DamageError:
        return DamageError(message, where=self.where, mend=_MEND)


def _in_order(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row.sequence or 0)  # a damaged one may have none
