"""What a small release costs besides its data: Delta commits, Spark jobs, and settings that are put back."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from release_helpers import Place

from dp_spark.ledger.books import open_account
from dp_spark.ledger.on_delta import books_at
from dp_spark.privacy.accountants.account import Account
from dp_spark.spark.settings import bookkeeping
from dp_spark.tables.refs import TableRef

#: The data itself takes four; the others read the books, MERGE into them three times, and read back what was written.
MOST_JOBS = 31


def commits(table: Path) -> int:
    return len(list((table / "_delta_log").glob("*.json")))


def jobs(spark: SparkSession) -> int:
    """How many Spark jobs there were: Spark numbers them, and forgets the oldest of a thousand."""
    return 1 + max(spark.sparkContext.statusTracker().getJobIdsForGroup(None))


@pytest.mark.slow
def test_a_release_is_four_commits_and_few_jobs(place: Place, spark: SparkSession) -> None:
    private = {"partitions": {"private": {}}, "budget": {"epsilon": 1.0, "delta": 1e-6}}
    place.release("first", **private)  # makes the sink
    tables = (place.ledger, place.outbox_path, place.sink)
    before, began = [commits(table) for table in tables], jobs(spark)
    place.release("second", **private)
    assert [commits(table) - old for table, old in zip(tables, before, strict=True)] == [2, 1, 1]
    assert 0 < jobs(spark) - began <= MOST_JOBS


@pytest.mark.parametrize("name", ["books", "b{oo}ks", "{added}"], ids=["plain", "braces", "our own placeholder"])
def test_opening_an_account_makes_the_outbox(spark: SparkSession, tmp_path: Path, name: str) -> None:
    open_account(*books_at(spark, TableRef(str(tmp_path / name), None)), "visits", Account.open(Decimal(1), Decimal(0)))
    assert commits(tmp_path / name) == 2
    assert commits(tmp_path / f"{name}_outbox") == 1


def test_the_session_has_its_own_settings_while_rows_are_read(spark: SparkSession) -> None:
    keys = ("spark.sql.adaptive.enabled", "spark.sql.shuffle.partitions")
    before = [spark.conf.get(key) for key in keys]
    with bookkeeping(spark):
        assert [spark.conf.get(key) for key in keys] == ["false", "1"]
    assert [spark.conf.get(key) for key in keys] == before
