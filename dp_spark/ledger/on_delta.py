"""Ledgers and outboxes of a session: their stores are Delta tables."""

from __future__ import annotations

from pyspark.sql import SparkSession

from dp_spark.ledger.outbox import Outbox, outbox_of
from dp_spark.ledger.table import Ledger
from dp_spark.tables.delta_store import DeltaStore
from dp_spark.tables.refs import TableRef


def ledger_at(spark: SparkSession, ref: TableRef) -> Ledger:
    """The ledger in a Delta table, there or not."""
    return Ledger(DeltaStore(spark, ref))


def outbox_at(spark: SparkSession, ledger: TableRef) -> Outbox:
    """The outbox in the Delta table beside a ledger, there or not."""
    return Outbox(DeltaStore(spark, outbox_of(ledger)), ledger)


def books_at(spark: SparkSession, ledger: TableRef) -> tuple[Ledger, Outbox]:
    """Both."""
    return ledger_at(spark, ledger), outbox_at(spark, ledger)
