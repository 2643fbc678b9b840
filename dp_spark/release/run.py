"""The one ordering: validate, charge, read, bound, aggregate, noise, outbox, publish.

Everything above ``pay`` reads no private value; everything below it was paid for. Exact aggregates exist inside
``draw.draw_quietly``, in this process's memory and nowhere else. How far a release has come says what is left to do.
"""

from __future__ import annotations

from collections.abc import Callable

from pyspark.sql import SparkSession

from dp_spark.engine import preprocess
from dp_spark.engine.trial import check_trial
from dp_spark.ledger.books import read_books
from dp_spark.ledger.progress import Charged, Drawn, New, Published, progress_of
from dp_spark.ledger.same_file import check_comparable
from dp_spark.ledger.state import LedgerState
from dp_spark.release.charging import counts_still, pay
from dp_spark.release.completion import complete, report
from dp_spark.release.draw import draw_quietly
from dp_spark.release.job import Job, Standing
from dp_spark.release.prepare import Checked, validate
from dp_spark.release.publication import Due, ReleaseResult, publish
from dp_spark.spark.loggers import silence_value_quoting_loggers
from dp_spark.spark.memory import check_fits
from dp_spark.spark.settings import RELEASE_SETTINGS, bookkeeping, settings
from dp_spark.spec.file_checks import check_file
from dp_spark.spec.release_spec import ReleaseSpec

#: The stages that a progress display names, in order.
STAGES = ("validate", "charge", "read and aggregate", "noise", "publish")


def run_release(
    spark: SparkSession,
    spec: ReleaseSpec,
    *,
    release_id: str | None = None,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> ReleaseResult:
    """Runs one release, or completes or reports it where its release id is known already.

    Args:
        spark: The session; its settings are the same afterwards.
        spec: The release file.
        release_id: The release's identity. The same id with the same file is charged once, drawn once and published
            once, however often it is run; without one, each run is a new release, and an error that comes after its charge
            names its id (``error.release_id``).
        on_stage: Called with the name of each stage (``STAGES``) as it begins.

    Returns:
        The published rows and manifest, read back from the commit.

    Raises:
        SpecError: The file is wrong.
        BudgetError: The ledger refuses.
        SourceError: The source is missing or of the wrong shape.
        ConflictError: Another run came first.
        DamageError: Ledger, outbox or sink is damaged.

    Guarantees: what is published, charged and returned is (epsilon, delta)-differentially private under the
    manifest's guarantee (docs/privacy.md); the charge is committed before any private value is read.
    """
    silence_value_quoting_loggers()
    standing = Standing.of(spec, release_id)
    with standing.told(), settings(spark, {**RELEASE_SETTINGS, "spark.sql.session.timeZone": spec.timezone}):
        on_stage("validate")
        return _go_on(Job.of(spark, spec, standing.release_id, on_stage), standing)


def _go_on(job: Job, standing: Standing) -> ReleaseResult:
    """Takes a release from where it stands to where it is published."""
    with bookkeeping(job.spark):
        state, drawn = read_books(job.ledger, job.outbox)
    progress = progress_of(state, drawn, job.release_id)
    standing.charged = not isinstance(progress, New)
    match progress:
        case Published():
            with bookkeeping(job.spark):
                return report(job, state, progress)
        case Drawn():  # even if the source is gone by now, or this version refuses the file for a new charge
            with bookkeeping(job.spark):
                return complete(job, state, progress)
        case New() | Charged():
            with bookkeeping(job.spark):
                checked = _check(job, state, progress)
                job.on_stage("charge")
                standing.charged = standing.charged or None
                state, charge = pay(job, checked)
                standing.charged = True
            draw = draw_quietly(job.spark, checked, charge, job.on_stage)
            with bookkeeping(job.spark):
                stored = job.outbox.commit(draw, charge.seal, counts_still(job, checked))
                job.on_stage("publish")
                return publish(job.spark, job.ledger, Due(charge, stored, checked.sink), state)


def _check(job: Job, state: LedgerState, progress: New | Charged) -> Checked:
    """All that can be found out without a private value: what is refused here costs nothing."""
    preprocess.check_steps(job.written)
    if isinstance(progress, Charged):
        check_comparable(job.release_id, progress.charge.entry.file_digest)
    check_file(job.spec)
    checked = validate(job.spark, job.written, job.spec, state, job.release_id)
    check_trial(job.spark, job.spec, checked.read, checked.joined)
    if checked.keys is not None:
        plan = checked.plan
        check_fits(job.spark, checked.keys.table.num_rows, plan.published_numbers, plan.tree_nodes, plan.bins)
    job.outbox.create()  # where it cannot be made, nothing is charged
    return checked
