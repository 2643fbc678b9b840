"""Ledger and outbox together: opened beside each other, and read so that each vouches for the other.

A draw is stored with the seal of the charge that paid for it, so a ledger that lost that charge is found out; and a release
that the ledger calls published must still have its draw in the outbox.
"""

from __future__ import annotations

from dp_spark.ledger.outbox import Outbox, outbox_damage
from dp_spark.ledger.state import LedgerState
from dp_spark.ledger.table import Ledger
from dp_spark.privacy.accountants.account import Account


def open_account(
    ledger: Ledger, outbox: Outbox, dataset: str, account: Account, reason: str | None = None, group: str | None = None
) -> LedgerState:
    """Opens an account (``Ledger.open``), with the outbox beside the ledger, so that no release has to make it."""
    outbox.create()
    return ledger.open(dataset, account, reason, group)


def read_books(ledger: Ledger, outbox: Outbox) -> tuple[LedgerState, frozenset[str]]:
    """The ledger and the ids of all releases that were drawn, each checked against the other.

    Raises:
        BudgetError: If there is no ledger.
        DamageError: If one of them is damaged, the ledger has lost a charge that was drawn, or the outbox a draw that was
            published.
    """
    seals = outbox.seals()  # before the ledger: what was drawn by now was charged by then
    state = ledger.state()
    state.check_seals(seals.values(), f"the outbox {outbox.ref}")
    published = {place.release_id for place in state.publications}
    if not published <= set(seals):
        seals = outbox.seals()  # after the ledger: what was published by then is drawn by now
    for release_id in sorted(published - set(seals)):
        raise outbox_damage(outbox.ref, f"{release_id} was published, but its draw is gone")
    return state, frozenset(seals)
