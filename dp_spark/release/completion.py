"""Releases that are drawn already: reported where they were published, and published from the outbox where not.

Nothing private is read and nothing is drawn: their source may be gone, and this version may refuse their file.
"""

from __future__ import annotations

import contextlib
import functools
from dataclasses import replace

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from dp_spark.engine.public_keys import public_keys
from dp_spark.ledger.entries import Publication
from dp_spark.ledger.outbox import StoredDraw, outbox_damage
from dp_spark.ledger.progress import Drawn, Published
from dp_spark.ledger.same_file import NOT_COMPARED, check_likely, check_same_file
from dp_spark.ledger.state import LedgerState
from dp_spark.release.apart import check_public_sources, kept_apart
from dp_spark.release.job import Job
from dp_spark.release.publication import Due, ReleaseResult, publish
from dp_spark.spark.errors import SPARK_ERRORS
from dp_spark.spec.file_digests import is_current, version_for
from dp_spark.tables import delta as tables
from dp_spark.tables import sink as sinks
from dp_spark.tables.refs import TableRef


def report(job: Job, state: LedgerState, done: Published) -> ReleaseResult:
    """What was published under this id, whatever the sink holds by now.

    Args:
        job: The run.
        state: The ledger.
        done: Its charge and its publication.

    Raises:
        BudgetError: If it was another release file's.
        DamageError: If its draw is gone, or another one.
    """
    place, draw = done.publication, job.outbox.draw_of(job.release_id)
    note = _compare_file(job, state, draw)
    if draw.digest != place.draw:
        raise outbox_damage(job.outbox.ref, f"the draw of {job.release_id} is not the one that the ledger names")
    account, rows = state.account(done.charge.entry.dataset), _rows_there(job.spark, place)
    sink = str(TableRef.stored(place.sink))
    return ReleaseResult(
        job.release_id, "already_published", sink, place.version, rows, draw.manifest, done.charge, account, note
    )


def complete(job: Job, state: LedgerState, drawn: Drawn) -> ReleaseResult:
    """Publishes what was drawn before.

    Args:
        job: The run.
        state: The ledger.
        drawn: Its charge.

    Raises:
        BudgetError: If it was drawn for another release file. SpecError: if the sink may not be written to.
        ConflictError: If a newer release is there. DamageError: if its draw is gone.
    """
    draw, spec, sink = job.outbox.draw_of(job.release_id), job.spec, TableRef.of(job.spec.sink)
    note = _compare_file(job, state, draw)
    apart = kept_apart(job.spark, spec, {"source": drawn.charge.entry.source})
    sinks.check_sink(job.spark, sink, spec.dataset, apart, drawn=functools.partial(job.outbox.of_dataset, spec.dataset))
    job.on_stage("publish")
    return replace(publish(job.spark, job.ledger, Due(drawn.charge, draw, sink), state), note=note)


def _rows_there(spark: SparkSession, place: Publication) -> pa.Table | None:
    """The published rows; None where they are gone, or were vacuumed: they cannot be shown."""
    sink = TableRef.stored(place.sink)
    with contextlib.suppress(*SPARK_ERRORS):
        if tables.exists(spark, sink) and tables.published_version(spark, sink, place.release_id) == place.version:
            return tables.read_rows(spark, sink, place.version)
    return None


def _compare_file(job: Job, state: LedgerState, draw: StoredDraw) -> str:
    """Compares the file with the one that a draw was made for, as far as it can be.

    Returns:
        What could not be compared, in words; nothing where all was.

    Raises:
        BudgetError: If it is another file. SpecError, SourceError: if a table of keys cannot be read, or is protected.
    """
    found, stored = _digest(job, state, draw), draw.manifest.get("file_digest")
    if is_current(stored):
        check_same_file(job.release_id, stored, found)
        return ""
    check_likely(draw.manifest, job.spec)
    return NOT_COMPARED.format(version=version_for(stored))


def _digest(job: Job, state: LedgerState, draw: StoredDraw) -> str:
    """The digest of a file that is given for a release that is drawn: its steps and its source are not needed any more.

    The types of a table of keys are those of the keys that were drawn.
    """
    public, drawn = job.spec.public_partitions, draw.manifest["group_by"]
    comparable = is_current(draw.manifest.get("file_digest")) and list(job.spec.group_by) == drawn
    if public is None or public.source is None or not comparable:
        return job.written.digest()  # nothing has to be read, or nothing can be compared, or it is another file
    check_public_sources(job.spark, job.spec.model_copy(update={"preprocess": ()}), state.charged_sources)
    types = from_arrow_schema(draw.rows.select(drawn).schema, prefer_timestamp_ntz=True)
    keys = public_keys(job.spark, public, {item.name: item.dataType for item in types.fields}, job.spec.timezone)
    return job.written.digest(keys.digest)
