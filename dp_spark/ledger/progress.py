"""How far a release has come: new, charged, drawn, published. What is left to do follows from that alone.

Every step ends with one atomic commit (docs/ledger.md), so a release is in exactly one of these, whatever died on the way.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from dp_spark.errors import DamageError
from dp_spark.ledger.entries import Charge, Publication, Written
from dp_spark.ledger.state import LedgerState


@dataclass(frozen=True)
class New:
    """Nothing is known of it: it was never charged, and nothing private was read for it."""


@dataclass(frozen=True)
class Charged:
    """It was charged, and nothing that was drawn was kept: drawing now is its only draw."""

    charge: Written[Charge]


@dataclass(frozen=True)
class Drawn:
    """Its one draw is in the outbox: nothing is drawn again, nothing private is read again."""

    charge: Written[Charge]


@dataclass(frozen=True)
class Published:
    """Its draw is in its sink, and the ledger says where."""

    charge: Written[Charge]
    publication: Publication


Progress = New | Charged | Drawn | Published


def progress_of(state: LedgerState, drawn: Container[str], release_id: str) -> Progress:
    """How far a release has come, from one look at ledger and outbox (``books.read_books``).

    Args:
        state: What the ledger says.
        drawn: The ids of the releases that were drawn, by the outbox, which was read before the ledger.
        release_id: The release.

    Raises:
        DamageError: If it was drawn and never charged, or published and never drawn.
    """
    charge, publication = state.charge_of(release_id), state.publication_of(release_id)
    if release_id not in drawn:
        if publication is not None:
            raise _damage(state, f"{release_id} was published, but its draw is gone")
        return New() if charge is None else Charged(charge)
    if charge is None:
        raise _damage(state, f"{release_id} was drawn, but the ledger has no charge for it")
    return Drawn(charge) if publication is None else Published(charge, publication)


def _damage(state: LedgerState, message: str) -> DamageError:
    return DamageError(
        message, where=state.where, mend="put the files of ledger and outbox back from a backup (docs/ledger.md)"
    )
