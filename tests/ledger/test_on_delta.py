"""Ledger and outbox on their real store: a case of each kind; ``contracts/test_stores`` says what the other tests rely on."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from memory_books import charge, laplace, manifest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from release_helpers import Outcome, Place, snapshot

from dp_spark.errors import BudgetError, ConflictError, DamageError
from dp_spark.ledger import chain
from dp_spark.ledger.on_delta import ledger_at, outbox_at
from dp_spark.ledger.outbox import Draw, Outbox
from dp_spark.ledger.rows import GENESIS, Seal
from dp_spark.ledger.table import Ledger
from dp_spark.ledger.witness import Witness
from dp_spark.privacy.accountants.account import Account
from dp_spark.privacy.events import events_from_json
from dp_spark.spark.errors import SPARK_ERRORS
from dp_spark.tables import delta_store
from dp_spark.tables.refs import TableRef

COLUMNS = {
    "entry": "string",
    "dataset": "string",
    "sequence": "bigint",
    "release_id": "string",
    "file_digest": "string",
    "accountant": "string",
    "privacy_unit": "string",
    "source": "string",
    "events": "string",
    "epsilon": "string",
    "delta": "string",
    "rho": "string",
    "reason": "string",
    "at": "timestamp",
    "who": "string",
    "previous_digest": "string",
}
OUTBOX_COLUMNS = {
    "release_id": "string",
    "dataset": "string",
    "charge_sequence": "bigint",
    "charge_digest": "string",
    "manifest": "string",
    "payload": "binary",
    "digest": "string",
    "at": "timestamp",
}
PAID = Seal(2, "sha256:charge")


def draw(release_id: str, *values: int) -> Draw:
    return Draw(pa.table({"n": pa.array(values, pa.int64())}), manifest(release_id))


@pytest.fixture(scope="module")
def spent(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """A ledger with one account of epsilon 0.3, after three charges of 0.1."""
    ledger = ledger_at(spark, TableRef(str(tmp_path_factory.mktemp("spent") / "ledger"), None))
    ledger.open("visits", Account.open(Decimal("0.3"), Decimal(0)), "approved by the board")
    for number in range(3):
        state = charge(ledger, f"r{number}")
        assert state.account("visits").spent.amount == Decimal("0.1") * (number + 1)
    return ledger


@pytest.fixture(scope="module")
def outbox(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Outbox:
    made = outbox_at(spark, TableRef(str(tmp_path_factory.mktemp("outbox") / "ledger"), None))
    made.create()
    return made


def folder_of(books: Ledger | Outbox) -> Path:
    return Path(str(books.ref.path))


# --- the ledger ------------------------------------------------------------------------------------------------------


def test_three_charges_of_a_tenth_fit_and_the_fourth_does_not(spent: Ledger) -> None:
    before, files = spent.state(), snapshot(folder_of(spent))
    assert before.account("visits").spent.amount == Decimal("0.3")
    for more in ("0.1", "0.000000000000000000000000000001"):
        with pytest.raises(BudgetError) as caught:
            charge(spent, "r3", more)
        assert caught.value.exit_code == 3
    assert charge(spent, "r2").entries == before.entries, "a release is charged once"
    assert spent.state().entries == before.entries
    assert snapshot(folder_of(spent)) == files


def test_the_table_is_what_the_design_says(spent: Ledger, spark: SparkSession) -> None:
    frame = spark.read.format("delta").load(str(spent.ref.path))
    assert {item.name: item.dataType.simpleString() for item in frame.schema} == COLUMNS
    assert frame.columns == list(COLUMNS)
    properties = {row["key"]: row["value"] for row in spark.sql(f"SHOW TBLPROPERTIES {spent.ref.sql}").collect()}
    assert properties["delta.appendOnly"] == "true"
    assert properties["delta.isolationLevel"] == "Serializable"
    assert properties["delta.logRetentionDuration"] == "interval 36500 days"
    rows = frame.orderBy("sequence").toArrow().to_pylist()
    assert [row["entry"] for row in rows] == ["open"] + ["charge"] * 3
    assert [row["sequence"] for row in rows] == [1, 2, 3, 4]
    assert rows[0]["previous_digest"] == GENESIS
    assert (rows[0]["epsilon"], rows[0]["accountant"], rows[0]["reason"]) == ("0.3", "basic", "approved by the board")
    assert events_from_json(rows[1]["events"]) == (laplace("0.1"),)
    assert rows[1]["release_id"] == "r0"


def test_an_append_only_ledger_refuses_updates_and_deletes(spent: Ledger, spark: SparkSession) -> None:
    for statement in ("DELETE FROM {} WHERE sequence = 3", "UPDATE {} SET epsilon = '0' WHERE sequence = 3"):
        with pytest.raises(SPARK_ERRORS, match=r"(?i)append"):
            spark.sql(statement.format(spent.ref.sql))


@pytest.mark.parametrize(
    "statement", ["UPDATE {} SET who = null WHERE sequence = 3", "DELETE FROM {} WHERE sequence = 4"], ids=["middle", "last"]
)
def test_a_changed_ledger_is_damage(
    spent: Ledger, spark: SparkSession, tmp_path: Path, cli: Callable[..., Outcome], statement: str
) -> None:
    shutil.copytree(folder_of(spent), tmp_path / "ledger")
    assert spent.chain.witness.path is not None
    shutil.copy(spent.chain.witness.path, tmp_path)
    ledger = ledger_at(spark, TableRef(str(tmp_path / "ledger"), None))
    spark.sql(f"ALTER TABLE {ledger.ref.sql} SET TBLPROPERTIES ('delta.appendOnly' = 'false')")
    spark.sql(statement.format(ledger.ref.sql))
    with pytest.raises(DamageError):
        charge(ledger, "more", "0.000001")
    outcome = cli("budget", "show", "--ledger", ledger.ref.path, "--json")
    assert (outcome.code, outcome.document["error"]["code"]) == (6, "damaged")


def test_a_table_that_is_not_a_ledger_is_damage(spark: SparkSession, tmp_path: Path) -> None:
    spark.range(3).write.format("delta").save(str(tmp_path / "numbers"))
    with pytest.raises(DamageError, match="the ledger cannot be read"):
        ledger_at(spark, TableRef(str(tmp_path / "numbers"), None)).state()


@pytest.mark.slow
def test_rivals_without_the_file_lock_get_a_sequence_of_their_own(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a shared store, where no lock stands in front: Delta alone must keep the chain whole."""
    monkeypatch.setattr(chain, "local_lock", lambda ref: contextlib.nullcontext())
    monkeypatch.setattr(Witness, "remember", lambda self, seal: None)
    stale = place.book().state()
    failures: list[BaseException] = []

    def rival(number: int) -> None:
        try:
            charge(place.book(), f"r{number}", "0.1", dataset="poor", known=stale)
        except (BudgetError, ConflictError) as error:
            failures.append(error)

    threads = [threading.Thread(target=rival, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = place.book().state()
    charged = [row.release_id for row in state.rows if row.entry == "charge"]
    assert len(charged) == len(set(charged)) == 2, "0.25 bears two charges of 0.1"
    assert len(failures) == 1
    assert isinstance(failures[0], BudgetError)


# --- the outbox ------------------------------------------------------------------------------------------------------


def test_the_first_draw_stays_and_is_read_in_pieces_that_a_message_holds(
    outbox: Outbox, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delta_store, "_PIECE", 100)
    first = outbox.commit(draw("r1", *range(500)), PAID)
    second = outbox.commit(draw("r1", 7, 8, 9), PAID)
    assert first.rows["n"].to_pylist() == second.rows["n"].to_pylist() == list(range(500))
    frame = spark.read.format("delta").load(str(outbox.ref.path)).where("release_id = 'r1'")
    assert frame.count() == 1
    pieces = [len(row["payload"]) for row in delta_store.in_pieces(frame, ["payload"]).toArrow().to_pylist()]
    assert max(pieces) == 100
    assert sum(pieces) == len(first.payload)
    assert outbox.seals()["r1"] == PAID
    assert [found.digest for found in outbox.of_dataset("d") if found.manifest["release_id"] == "r1"] == [first.digest]


@pytest.mark.parametrize("payload", ["null", "payload"], ids=["none", "twice"])
def test_a_draw_that_is_not_whole_is_damage(outbox: Outbox, spark: SparkSession, tmp_path: Path, payload: str) -> None:
    """No rows, or the same draw twice: never a draw that is not there yet."""
    other = outbox_at(spark, TableRef(str(tmp_path / "ledger"), None))
    other.create()
    outbox.commit(draw("whole", *range(50)), PAID)
    rows = spark.read.format("delta").load(str(outbox.ref.path)).where("release_id = 'whole'")
    for _ in range(2 if payload == "payload" else 1):
        rows.withColumn("payload", F.expr(payload).cast("binary")).write.format("delta").mode("append").save(
            str(other.ref.path)
        )
    with pytest.raises(DamageError, match="the draw of whole was changed"):
        other.find("whole")


def test_it_is_private_append_only_and_without_statistics_of_the_payload(outbox: Outbox, spark: SparkSession) -> None:
    outbox.commit(draw("stats", 4), PAID)
    schema = spark.read.format("delta").load(str(outbox.ref.path)).schema
    assert {item.name: item.dataType.simpleString() for item in schema} == OUTBOX_COLUMNS
    properties = {row["key"]: row["value"] for row in spark.sql(f"SHOW TBLPROPERTIES {outbox.ref.sql}").collect()}
    assert properties["delta.appendOnly"] == "true"
    assert properties["delta.isolationLevel"] == "Serializable"
    logs = "".join(path.read_text() for path in (folder_of(outbox) / "_delta_log").glob("*.json"))
    for statistic in ("minValues", "maxValues"):
        for piece in logs.split(statistic)[1:]:
            assert "dataset" not in piece[:80]
            assert "payload" not in piece[:80]


def test_an_outbox_that_cannot_be_read_is_damage(outbox: Outbox, spark: SparkSession, tmp_path: Path) -> None:
    outbox.commit(draw("gone", 1), PAID)
    shutil.copytree(folder_of(outbox), tmp_path / "ledger_outbox")
    for path in (tmp_path / "ledger_outbox").glob("*.parquet"):
        path.unlink()
    with pytest.raises(DamageError, match="the outbox cannot be read"):
        outbox_at(spark, TableRef(str(tmp_path / "ledger"), None)).find("gone")
