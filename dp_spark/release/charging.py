"""The charge of a release: committed and read back before anything private is read, and for this very release alone."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from dp_spark.errors import BudgetError
from dp_spark.ledger.entries import Charge, Written
from dp_spark.ledger.state import LedgerState
from dp_spark.places.identities import covers_source
from dp_spark.privacy.events import Event
from dp_spark.release.job import Job
from dp_spark.release.prepare import Checked
from dp_spark.spec.unit_pin import unit_words


def pay(job: Job, checked: Checked) -> tuple[LedgerState, Written[Charge]]:
    """Charges a release, or goes on with the charge that it has.

    Args:
        job: The run.
        checked: What is to be paid for.

    Returns:
        The ledger afterwards, and the charge in it.

    Raises:
        BudgetError: If the account cannot bear it, or the release was charged as something else.
        ConflictError: If other runs came first. DamageError: if the ledger cannot be written.
    """
    plan = checked.plan
    wanted = Charge(
        dataset=job.spec.dataset,
        release_id=job.release_id,
        file_digest=checked.digest,
        accountant=plan.accountant,
        privacy_unit=checked.unit,
        source=checked.source,
        events=tuple(plan.events),
        unparsed=checked.unparsed,
        epsilon=plan.guarantee_epsilon,
        delta=plan.guarantee_delta,
    )
    state = job.ledger.charge(wanted, checked.state)
    charge = state.charge_of(job.release_id)
    assert charge is not None, "a charge is read back before it is believed"
    check_resumable(state, charge.entry, checked.source, checked.unit, plan.events)
    undrawn = functools.partial(job.outbox.check_undrawn, job.release_id)
    state = job.ledger.correct(charge.entry, checked.digest, unparsed=checked.unparsed, check_undrawn=undrawn, known=state)
    return state, charge


def check_resumable(state: LedgerState, charge: Charge, source: str, unit: str, events: Sequence[Event]) -> None:
    """Checks that a release that was charged and never drawn goes on as what it was charged for.

    Args:
        state: The ledger.
        charge: The release's charge in it.
        source: The source's identity as it is now.
        unit: The unit, as JSON.
        events: What would be drawn.

    Raises:
        BudgetError: If it would be anything else.
    """
    if not covers_source(charge.source, source):
        raise BudgetError(
            f"the release id {charge.release_id} was charged for another source",
            where="source",
            mend="give the environment variables, the catalog and the folders of the first run, or use a new release id",
        )
    state.check_source(charge.dataset, source)
    if charge.privacy_unit != unit:
        raise BudgetError(
            f"the release id {charge.release_id} was charged for the unit {unit_words(charge.privacy_unit)}, "
            f"not {unit_words(unit)}",
            where="privacy_unit",
            mend="give the environment variables and the source of the first run, or use a new release id",
        )
    if charge.events != tuple(events):
        raise BudgetError(
            f"the release id {charge.release_id} was charged for other noise than these versions of dp-spark and OpenDP draw",
            where="--release-id",
            mend="run it with the versions that it was charged with, or use a new release id",
        )


def counts_still(job: Job, checked: Checked) -> Callable[[], None]:
    """What must hold when a draw is committed: its source was parsed as the last correction says."""
    if checked.unparsed is None:  # nothing to correct
        return lambda: None
    return functools.partial(job.ledger.check_counts, job.release_id, checked.digest)
