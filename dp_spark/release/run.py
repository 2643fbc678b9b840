"""The one ordering: validate, charge, read, bound, aggregate, noise, outbox, publish.

Everything above ``ledger.charge`` reads no private value; everything below it was paid for. Exact aggregates exist
between ``collect`` and the end of ``_draw``, in this process's memory and nowhere else.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession

from dp_spark.aggregates.query import PRIVACY_ID_COUNT, Query
from dp_spark.engine import aggregation, preprocess
from dp_spark.engine.bounding import Salt, bound_contributions
from dp_spark.engine.trial import check_trial
from dp_spark.errors import BudgetError, DpSparkError, SourceError, say_charged
from dp_spark.ledger.entries import Entry, check_release_id
from dp_spark.ledger.outbox import Draw, Outbox, read_books
from dp_spark.ledger.same_file import check_comparable
from dp_spark.ledger.state import LedgerState
from dp_spark.ledger.table import Ledger
from dp_spark.places.identities import covers_source
from dp_spark.plan.manifest_building import build_manifest
from dp_spark.plan.planning import ReleasePlan
from dp_spark.plan.results import release_table
from dp_spark.privacy.accountants.account import covers
from dp_spark.privacy.decimals import decimal_text
from dp_spark.privacy.events import Event, events_from_json
from dp_spark.privacy.integers import Noisy
from dp_spark.release.prepare import Checked, digest_of_drawn, kept_apart, validate
from dp_spark.release.publication import ReleaseResult, already_published, compare_file, publish
from dp_spark.spark.errors import SPARK_ERRORS
from dp_spark.spark.loggers import silence_value_quoting_loggers
from dp_spark.spark.memory import check_fits
from dp_spark.spark.read_failures import reading_failed
from dp_spark.spark.settings import BUCKETING, RELEASE_SETTINGS, bookkeeping, settings
from dp_spark.spec.file_checks import check_file
from dp_spark.spec.release_spec import ReleaseSpec
from dp_spark.spec.unit_pin import unit_words
from dp_spark.tables import sink as sinks
from dp_spark.tables.refs import TableRef

#: The stages that a progress display names, in order.
STAGES = ("validate", "charge", "read and aggregate", "noise", "publish")
_MAY_CORRECT = (
    "how the source is parsed may be corrected in the file under the same release id: mode, sep, quote, escape, encoding, "
    "dateFormat, timestampFormat, timestampNTZFormat, nullValue, and types in schema"
)


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
        SpecError: The file is wrong. BudgetError: the ledger refuses. SourceError: the source is missing or of the
            wrong shape. ConflictError: another run came first. DamageError: ledger, outbox or sink is damaged.

    Guarantees: what is published, charged and returned is (epsilon, delta)-differentially private under the
    manifest's guarantee (docs/privacy.md); the charge is committed before any private value is read.
    """
    silence_value_quoting_loggers()
    made_up = release_id is None
    standing = _Standing(check_release_id(release_id) if release_id is not None else new_release_id(spec))

    def begin(stage: str) -> None:
        standing.reading = standing.reading or stage == STAGES[2]
        on_stage(stage)

    try:
        return _run(spark, spec, standing, begin)
    except BaseException as error:
        _say_what_was_charged(error, standing, made_up=made_up)
        raise


def _run(spark: SparkSession, spec: ReleaseSpec, standing: _Standing, on_stage: Callable[[str], None]) -> ReleaseResult:
    release_id = standing.release_id
    with settings(spark, {**RELEASE_SETTINGS, "spark.sql.session.timeZone": spec.timezone}):
        with bookkeeping(spark):
            on_stage("validate")
            located = spec.expand()
            ref = TableRef.of(located.ledger)
            ledger, outbox = Ledger(spark, ref), Outbox(spark, ref)
            state, drawn = read_books(ledger, outbox)
            known = state.charge_of(release_id)
            standing.charged = known is not None
            if release_id in drawn:  # even if the source is gone by now, or this version refuses the file for a new charge
                return _complete(spark, ledger, outbox, state, spec, located, release_id, on_stage)
            preprocess.check_steps(spec)
            if known is not None:
                check_comparable(release_id, known.file_digest)
            check_file(located)
            checked = validate(spark, spec, located, state, release_id)
            check_trial(spark, located, checked.read, checked.joined)
            if checked.keys is not None:
                check_fits(spark, checked.keys.table.num_rows, len(spec.group_by) + 2 * len(spec.aggregates))
            outbox.create()  # where it cannot be made, nothing is charged
            on_stage("charge")
            standing.charged = standing.charged or None
            state, charge = _charge(ledger, outbox, checked, release_id)
            standing.charged = True
        draw = _draw_quietly(spark, checked, charge, on_stage)
        with bookkeeping(spark):
            stored = outbox.commit(draw, charge.seal, _guard(ledger, checked, release_id))
            on_stage("publish")
            return publish(spark, ledger, checked.sink, state, charge, stored)


@dataclass
class _Standing:
    """What became of a release so far, for the error that ends it: ``charged`` is None while a commit may have gone through."""

    release_id: str
    charged: bool | None = False
    reading: bool = False


def _say_what_was_charged(error: BaseException, standing: _Standing, *, made_up: bool) -> None:
    """Whatever ends a run after its charge says so: a retry under another id would be charged again."""
    if standing.charged is False or (standing.charged is None and isinstance(error, BudgetError)):
        return
    advice = ""
    if made_up:
        word = "was" if standing.reading else "may have been"
        advice = f"it {word} charged: run it again with --release-id {standing.release_id}"
    say_charged(error, standing.release_id, charged=standing.charged, advice=advice)


def _complete(
    spark: SparkSession,
    ledger: Ledger,
    outbox: Outbox,
    state: LedgerState,
    written: ReleaseSpec,
    spec: ReleaseSpec,
    release_id: str,
    on_stage: Callable[[str], None],
) -> ReleaseResult:
    """A release that was drawn before: it is reported where it was published, and published from the outbox where not."""
    charge, draw, sink = state.charge_of(release_id), outbox.find(release_id), TableRef.of(spec.sink)
    assert charge is not None, "a draw's charge is in the ledger: read_books checked it"
    assert draw is not None, "the outbox is append-only"
    digest = digest_of_drawn(spark, written, spec, state, draw)
    if state.publication_of(release_id) is not None:
        return already_published(spark, state, outbox, release_id, spec, digest)
    note = compare_file(draw, spec, digest)
    drawn = functools.partial(outbox.of_dataset, spec.dataset)
    sinks.check_sink(spark, sink, spec.dataset, kept_apart(spark, spec, {"source": str(charge.source)}), drawn=drawn)
    on_stage("publish")
    return publish(spark, ledger, sink, state, charge, draw, note)


def new_release_id(spec: ReleaseSpec) -> str:
    """An id of its own for a run that was given none: two deliberate runs are two releases."""
    return f"{spec.name[:80]}-{datetime.now(UTC):%Y%m%d}-{secrets.token_hex(6)}"


# --- charge: committed and read back before anything private is read -------------------------------------------------


def _charge(ledger: Ledger, outbox: Outbox, checked: Checked, release_id: str) -> tuple[LedgerState, Entry]:
    plan, spec = checked.plan, checked.spec
    state = ledger.charge(
        spec.dataset,
        plan.events,
        release_id=release_id,
        file_digest=checked.digest,
        privacy_unit=checked.unit,
        source=checked.source,
        guarantee=(decimal_text(plan.guarantee_epsilon), decimal_text(plan.guarantee_delta)),
        unparsed=checked.unparsed,
        known=checked.state,
    )
    charge = state.charge_of(release_id)
    assert charge is not None, "a charge is read back before it is believed"
    _check_resumable(state, charge, checked.source, checked.unit, plan.events)
    undrawn = functools.partial(outbox.check_undrawn, release_id)
    return ledger.correct(charge, checked.digest, unparsed=checked.unparsed, check_undrawn=undrawn, known=state), charge


def _check_resumable(state: LedgerState, charge: Entry, source: str, unit: str, events: Sequence[Event]) -> None:
    """A release that was charged and never drawn goes on only as what it was charged for."""
    if not covers_source(str(charge.source), source):
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
    if events_from_json(charge.events) != tuple(events):
        raise BudgetError(
            f"the release id {charge.release_id} was charged for other noise than these versions of dp-spark and OpenDP draw",
            where="--release-id",
            mend="run it with the versions that it was charged with, or use a new release id",
        )


def _guard(ledger: Ledger, checked: Checked, release_id: str) -> Callable[[], None]:
    """What must hold when a draw is committed: its source was parsed as the last correction says."""
    if checked.unparsed is None:  # nothing to correct
        return lambda: None
    return functools.partial(ledger.check_counts, release_id, checked.digest)


# --- read, bound, aggregate, noise: the only place where exact aggregates exist --------------------------------------


def _draw_quietly(spark: SparkSession, checked: Checked, charge: Entry, on_stage: Callable[[str], None]) -> Draw:
    """``_draw``, whose failures say nothing: a library's own message could quote an exact value."""
    try:
        return _draw(spark, checked, charge, on_stage)
    except SourceError as error:
        if checked.unparsed is not None:
            error.mend += f"; {_MAY_CORRECT}"
        raise
    except DpSparkError:
        raise
    except (*SPARK_ERRORS, MemoryError) as error:
        raise reading_failed(error) from None
    except Exception as error:  # noqa: BLE001 - whatever it is, its text stays here
        raise DpSparkError(
            f"computing the release failed unexpectedly ({type(error).__name__})",
            where="read, aggregate and noise",
            mend="run the same command again with this release id; report it if it stays",
        ) from None


def _draw(spark: SparkSession, checked: Checked, charge: Entry, on_stage: Callable[[str], None]) -> Draw:
    plan, spec = checked.plan, checked.spec
    on_stage("read and aggregate")
    queries = list(plan.mechanisms)
    public = checked.keys.frame(spark) if checked.keys is not None else None
    rows = aggregation.prepare_rows(
        checked.frame, spec.unit_columns, spec.group_by, queries, public, clustered=checked.clustered
    )
    bounded = bound_contributions(rows, plan.bounds, Salt.fresh())
    with settings(spark, {BUCKETING: "true"} if checked.clustered else {}):
        exact = aggregation.collect(aggregation.aggregate(bounded, queries), bounded, queries)
    if checked.keys is not None:
        exact = aggregation.fill_public(exact, checked.keys)
    on_stage("noise")
    keys, noisy, drawn = _add_noise(plan, exact.in_canonical_order())
    if not covers(events_from_json(charge.events), drawn):
        raise DpSparkError("a draw was not charged for; nothing is published", mend="report this as a bug", final=True)
    manifest = build_manifest(
        plan,
        release_id=str(charge.release_id),
        file_digest=checked.digest,
        sequence=charge.sequence,
        at=charge.at.date().isoformat(),  # no time of day: with the commit's it would tell how long computing took
        ledger=checked.state.entries[0].digest,
    )
    return Draw(release_table(plan, keys.rename_columns(list(spec.group_by)), noisy), manifest)


def _add_noise(plan: ReleasePlan, exact: aggregation.ExactAggregates) -> tuple[pa.Table, dict[Query, Noisy], list[Event]]:
    """Selects partitions, then draws noise once for each query; returns the keys shown, the noisy values, the events."""
    keys, values = exact.keys, dict(exact.values)
    noisy: dict[Query, Noisy] = {}
    drawn: list[Event] = []
    if plan.selection is not None:
        positions, counts, event = plan.selection.draw(values[PRIVACY_ID_COUNT])
        drawn.append(event)
        keys = keys.take(pa.array(positions, pa.int64()))
        values = {query: integers[positions] for query, integers in values.items()}
        if counts is not None:
            del values[PRIVACY_ID_COUNT]
            noisy[PRIVACY_ID_COUNT] = counts
    for query, integers in values.items():
        noisy[query], event = plan.mechanisms[query].draw(integers)
        drawn.append(event)
    return keys, noisy, drawn


def _column(drawn: Sequence[int]) -> Noisy:
    return np.array(drawn, np.int64).reshape(-1, 1)
