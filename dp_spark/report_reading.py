"""What a report is made from: a published table's manifest and rows, and the account in the ledger that paid for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession

from dp_spark import tables
from dp_spark.budget_history import BudgetHistory, budget_history
from dp_spark.errors import ConflictError, DamageError
from dp_spark.ledger import Ledger
from dp_spark.session import bookkeeping, settings
from dp_spark.spark_errors import SPARK_ERRORS
from dp_spark.tables import TableRef


def read_release(spark: SparkSession, ref: TableRef) -> tuple[dict[str, Any], pa.Table]:
    """The manifest and the rows of a published table, of one and the same release.

    Raises:
        SourceError: If it is no published table.
        ConflictError: If another release was published there meanwhile.
        DamageError: If its rows cannot be read.
    """
    manifest = tables.require_manifest(spark, ref)
    version = tables.newest_version(spark, ref)
    with bookkeeping(spark), settings(spark, {"spark.sql.session.timeZone": manifest["timezone"]}):
        try:
            rows = tables.read_rows(spark, ref, version)
        except SPARK_ERRORS:
            raise DamageError(
                "the table's rows cannot be read", where=str(ref), mend="ask the publisher for a fresh copy of the table"
            ) from None
    if tables.require_manifest(spark, ref) != manifest:
        raise ConflictError("another release was published there meanwhile", where=str(ref), mend="run the same command again")
    return manifest, rows


def read_history(spark: SparkSession, ledger: TableRef, manifest: Mapping[str, Any]) -> BudgetHistory:
    """The account that paid for a release, over time.

    Raises:
        SpecError: If the ledger was not charged for it. SourceError: there is no ledger. DamageError: it is damaged.
    """
    with bookkeeping(spark):
        return budget_history(Ledger(spark, ledger).state(), manifest)
