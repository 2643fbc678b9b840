"""The ledger: the only truth about budget. What may be written down is decided here, on the state that it follows."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable
from pathlib import Path

from dp_spark.errors import BudgetError, DamageError, SpecError
from dp_spark.ledger.chain import Chain
from dp_spark.ledger.entries import Charge, Correction, Opening, Publication
from dp_spark.ledger.same_file import corrected_meanwhile, is_correction
from dp_spark.ledger.state import LedgerState
from dp_spark.places.paths import is_local
from dp_spark.privacy.accountants.account import Account
from dp_spark.tables.refs import TableRef, has_local_log
from dp_spark.tables.store import Store


class Ledger:
    """One ledger.

    Args:
        store: Its table.
    """

    def __init__(self, store: Store) -> None:
        self.ref = store.ref
        self.chain = Chain(store)

    def state(self) -> LedgerState:
        """The ledger now, checked.

        Raises:
            BudgetError: If there is no ledger.
            DamageError: If it is not what it must be, or no longer holds what a witness has seen.
        """
        if not self.chain.is_there():
            raise BudgetError("there is no ledger here", where=str(self.ref), mend=_right_place(self.ref))
        return self.chain.read()

    def examine(self) -> tuple[LedgerState, DamageError | None]:
        """The ledger up to its first damage, and what is wrong with it.

        Raises:
            BudgetError: If there is no ledger.
        """
        try:
            return self.state(), None
        except DamageError as error:
            with contextlib.suppress(DamageError):
                seen = self.chain.witness.seen()
                return LedgerState.sound_part(self.chain.rows(), seen, where=str(self.ref)), error
            return LedgerState((), where=str(self.ref)), error

    def open(self, dataset: str, account: Account, reason: str | None = None, group: str | None = None) -> LedgerState:
        """Opens an account, and makes the ledger where there is none yet.

        Args:
            dataset: The dataset it is for.
            account: Its budget.
            reason: Why, for people.
            group: The group of datasets that share users with this one: a charge to one counts in all of them.

        Raises:
            BudgetError: If the dataset has an account already, or the group and the account do not fit.
        """
        self.chain.create()
        opening = Opening(dataset, account, group, reason)

        def decide(state: LedgerState) -> Opening:
            state.check_open(opening)
            return opening

        return self.chain.append(decide, None)

    def raise_budget(self, dataset: str, account: Account, reason: str) -> LedgerState:
        """Raises an account to new totals, by a new opening entry with its reason.

        Raises:
            BudgetError: If there is no account, a total would fall, or the accountant would change.
            SpecError: If there is no reason.
        """
        if not reason.strip():
            raise SpecError("is empty", where="--reason", mend="say why the budget is raised")

        def decide(state: LedgerState) -> Opening:
            state.check_raise(dataset, account)
            return Opening(dataset, account, state.account(dataset).group, reason)

        return self.chain.append(decide, self.state())

    def charge(self, charge: Charge, known: LedgerState | None = None) -> LedgerState:
        """Charges a release to an account; the same release is charged once only.

        Args:
            charge: What is to be paid for.
            known: A state read a moment ago; if it is stale by now it is read again.

        Raises:
            BudgetError: If the account cannot bear it, or the release id was charged for another file.
            ConflictError: If other runs kept coming first.
        """

        def decide(state: LedgerState) -> Charge | None:
            if state.charge_of(charge.release_id) is not None:
                is_correction(state, charge.release_id, charge.file_digest, charge.unparsed)
                return None
            state.check_charge(charge)
            return charge

        return self.chain.append(decide, known)

    def correct(
        self,
        charge: Charge,
        file_digest: str,
        *,
        unparsed: str | None,
        check_undrawn: Callable[[], None],
        known: LedgerState | None = None,
    ) -> LedgerState:
        """Lets a charged release go on with a file that differs in parsing only; costs nothing, and is written once for a file.

        Args:
            charge: Its charge.
            file_digest: The digest of the corrected file.
            unparsed: The same without parsing.
            check_undrawn: Raises where the release was drawn; asked under the ledger's lock.
            known: A state read a moment ago.

        Raises:
            BudgetError: If more than parsing differs. ConflictError: if other runs came first, or it was drawn meanwhile.
        """

        def decide(state: LedgerState) -> Correction | None:
            if not is_correction(state, charge.release_id, file_digest, unparsed):
                return None
            check_undrawn()
            return charge.corrected(file_digest)

        return self.chain.append(decide, known)

    def check_counts(self, release_id: str, file_digest: str) -> None:
        """Checks that a file is the last one that a charge was made or corrected for.

        Raises:
            ConflictError: If it was corrected since.
        """
        if self.state().digests_of(release_id)[-1] != file_digest:
            raise corrected_meanwhile(release_id)

    def mark_published(self, publication: Publication, known: LedgerState | None = None) -> LedgerState:
        """Writes down that a charged release is in its sink; where that was written before, nothing is."""

        def decide(state: LedgerState) -> Publication | None:
            return publication if state.publication_of(publication.release_id) is None else None

        # An entry that got lost would be written again by the next run of this release (and found missing by a witness
        # before that): it spends nothing, so that MERGE counts it as inserted is enough.
        return self.chain.append(decide, known, read_back=False)


def _right_place(ref: TableRef) -> str:
    """The mend where no ledger is found: a second ledger would be a second budget, so none is offered."""
    mend = "correct its place: a dataset's budget is where it was opened; if none ever was, see `dp-spark budget open --help`"
    if ref.path is None or not is_local(ref.path):
        return mend
    place = Path(ref.path.removeprefix("file:"))
    with contextlib.suppress(OSError):  # an offer only
        beside = [
            item.name for item in place.parent.iterdir() if not item.name.endswith("_outbox") and has_local_log(str(item))
        ]
        near = difflib.get_close_matches(place.name, beside, n=1)
        return f"did you mean {place.parent / near[0]}?" if near else mend
    return mend
