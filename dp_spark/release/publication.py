"""From the outbox to the sink: what was drawn is published, and written down as published, once.

Nothing here knows an exact value or draws noise; whatever runs again publishes the very rows that the outbox holds.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
from pyspark.sql import SparkSession

from dp_spark.errors import ConflictError, DamageError
from dp_spark.ledger.accounts import AccountState
from dp_spark.ledger.entries import Charge, Written
from dp_spark.ledger.on_delta import outbox_at
from dp_spark.ledger.outbox import StoredDraw
from dp_spark.ledger.state import LedgerState
from dp_spark.ledger.table import Ledger
from dp_spark.published.row_comparison import same_rows
from dp_spark.spark.errors import translated
from dp_spark.tables import delta as tables
from dp_spark.tables import sink as sinks
from dp_spark.tables.local_lock import local_lock
from dp_spark.tables.refs import TableRef


@dataclass(frozen=True)
class ReleaseResult:
    """A published release, as read back.

    Attributes:
        release_id: Its identity in the ledger.
        status: ``published`` by this run, or ``already_published`` before it.
        sink: Where it is.
        version: The version of the Delta table that holds it.
        rows: The published rows; None where an earlier publication is no longer there to be read.
        manifest: The manifest.
        charge: The ledger's entry that paid for it.
        account: The dataset's account afterwards.
        note: What could not be checked, for people; mostly nothing.
    """

    release_id: str
    status: Literal["published", "already_published"]
    sink: str
    version: int
    rows: pa.Table | None
    manifest: Mapping[str, Any]
    charge: Written[Charge]
    account: AccountState
    note: str = ""


@dataclass(frozen=True)
class Due:
    """A release that is drawn, and where it is to be published.

    Attributes:
        charge: The charge that paid for it.
        draw: Its one draw, as the outbox holds it.
        sink: The table that it is due in.
    """

    charge: Written[Charge]
    draw: StoredDraw
    sink: TableRef


def publish(spark: SparkSession, ledger: Ledger, due: Due, state: LedgerState) -> ReleaseResult:
    """Publishes a draw from the outbox, and writes down in the ledger that it is published.

    Args:
        spark: The session.
        ledger: The ledger.
        due: What is published where.
        state: The ledger as it was read a moment ago, with the charge.

    Raises:
        ConflictError: If a newer release is there already, or another publisher came first.
        DamageError: If the sink cannot be written.
    """
    charge, draw, sink = due.charge.entry, due.draw, due.sink
    with local_lock(ledger.ref):
        base = tables.newest_version(spark, sink)  # before the manifest: a rival's commit in between makes this one void
        # The sink was checked before computing; since then somebody else's table can have come to be there.
        drawn = functools.partial(outbox_at(spark, ledger.ref).of_dataset, charge.dataset)
        present = sinks.check_sink(spark, sink, charge.dataset, {}, drawn=drawn)
        shown = present == draw.manifest and _is_the_draw(_rows(spark, sink, base), draw)
        if not shown and not _was_overtaken(spark, ledger, due, state, present):
            sinks.publish(spark, sink, draw.rows, draw.manifest, base)
    version = tables.published_version(spark, sink, charge.release_id)
    rows = None if version is None else _rows(spark, sink, version)
    if version is None or rows is None or not _is_the_draw(rows, draw):
        raise ConflictError("another run published there at the same time", where=str(sink), mend="run the same command again")
    state = ledger.mark_published(charge.published(str(sink), version, draw.digest), state)
    account = state.account(charge.dataset)
    return ReleaseResult(charge.release_id, "published", str(sink), version, rows, draw.manifest, due.charge, account)


def _is_the_draw(rows: pa.Table, draw: StoredDraw) -> bool:
    """Whether a table shows this draw: two ledgers can charge one release id on one day, and their manifests are equal."""
    return same_rows(rows, draw.rows, draw.manifest["group_by"])


def _rows(spark: SparkSession, sink: TableRef, version: int) -> pa.Table:
    mend = "make it readable, or remove it: the same command publishes the same rows again"
    with translated(DamageError, "the published table cannot be read", where=str(sink), mend=mend):
        return tables.read_rows(spark, sink, version)


def _was_overtaken(
    spark: SparkSession, ledger: Ledger, due: Due, state: LedgerState, present: Mapping[str, Any] | None
) -> bool:
    """Whether a release was published before the newer one that is there; one that was not can no longer be."""
    if present is None:
        return False
    known = state.charge_of(str(present["release_id"]))
    if known is not None and known.sequence < due.charge.sequence:  # the ledger only grows: that stays so
        return False
    try:
        check_order(ledger.state(), due.charge, present, due.sink)
    except ConflictError:
        if tables.published_version(spark, due.sink, due.charge.entry.release_id) is None:
            raise
        return True
    return False


def check_order(state: LedgerState, charge: Written[Charge], present: Mapping[str, Any], sink: TableRef) -> None:
    """Checks that what a sink holds was not charged after a release that is to be published there.

    Raises:
        ConflictError: If it was.
    """
    other = state.charge_of(str(present["release_id"]))
    if other is not None and other.sequence > charge.sequence:
        raise ConflictError(
            f"a newer release ({present['release_id']}) is published there already",
            where=str(sink),
            mend="this release is too late and its charge is spent; a new release id is a new release and a new charge",
            final=True,
        )
