"""A published table as a recipient reads it; and what the publisher's ledger and outbox say of it."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession

from dp_spark.errors import ConflictError, DamageError
from dp_spark.ledger.books import read_books
from dp_spark.ledger.history import BudgetHistory, budget_history
from dp_spark.ledger.on_delta import books_at
from dp_spark.ledger.verification import verify_release
from dp_spark.manifest import columns_of
from dp_spark.spark.errors import translated
from dp_spark.spark.settings import bookkeeping, settings
from dp_spark.tables import delta as tables
from dp_spark.tables.refs import TableRef

_MEND = "ask the publisher for a fresh copy of the table"


def read_manifest(spark: SparkSession, ref: TableRef) -> dict[str, Any]:
    """The manifest of a published table.

    Raises:
        SourceError: If it is no published table. DamageError: if its log or its manifest cannot be read.
    """
    with translated(DamageError, "the release cannot be read", where=str(ref), mend=_MEND):
        manifest = tables.require_manifest(spark, ref)
    try:
        texts = [manifest[name] for name in ("name", "dataset", "release_id", "timezone")]
        texts += [*manifest["group_by"], *(column["name"] for column in columns_of(manifest))]
    except (LookupError, TypeError, ValueError, AttributeError):
        texts = [None]
    if not all(isinstance(text, str) for text in texts):
        raise DamageError("the manifest cannot be read", where=str(ref), mend=_MEND)
    return manifest


def read_release(spark: SparkSession, ref: TableRef, *, timezone: str | None = None) -> tuple[dict[str, Any], pa.Table]:
    """The manifest and the rows of a published table, of one and the same release.

    Args:
        spark: The session.
        ref: The table.
        timezone: The zone of its timestamps; the release's own by default.

    Raises:
        SourceError: If it is no published table.
        ConflictError: If another release was published there meanwhile.
        DamageError: If it cannot be read, or lacks a column that its manifest names.
    """
    manifest = read_manifest(spark, ref)
    with (
        translated(DamageError, "the release cannot be read", where=str(ref), mend=_MEND),
        bookkeeping(spark),
        settings(spark, {"spark.sql.session.timeZone": timezone or manifest["timezone"]}),
    ):
        version = tables.newest_version(spark, ref)
        rows = tables.read_rows(spark, ref, version)
        if tables.read_manifest(spark, ref) != manifest or tables.newest_version(spark, ref) != version:
            raise ConflictError("was published anew while it was read", where=str(ref), mend="run the same command again")
    for name in (column["name"] for column in columns_of(manifest)):
        if name not in rows.column_names:
            raise DamageError(f"the table lacks the column {name} that its manifest names", where=str(ref), mend=_MEND)
    return manifest, rows


def read_history(spark: SparkSession, ledger: TableRef, release: TableRef) -> BudgetHistory:
    """The account that paid for a release, over time.

    Raises:
        SpecError: If the ledger was not charged for it. BudgetError: there is no ledger.
        DamageError: It is damaged, or the table does not show what was drawn.
    """
    with bookkeeping(spark):
        book, outbox = books_at(spark, ledger)
        state, _ = read_books(book, outbox)
        history = budget_history(state, read_manifest(spark, release))
        verify_release(spark, outbox, state, release)
    return history
