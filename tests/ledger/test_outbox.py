"""The outbox: the first draw under a release id is the only one there ever is."""

from __future__ import annotations

import datetime as dt
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from dp_spark.errors import ConflictError, DamageError
from dp_spark.ledger import outbox as outbox_module
from dp_spark.ledger.outbox import Draw, Outbox, in_pieces
from dp_spark.ledger.rows import Seal
from dp_spark.tables.refs import TableRef


def manifest(release_id: str) -> dict[str, Any]:
    return {"format": "dp_spark.manifest/1", "release_id": release_id, "dataset": "d", "charge": {"sequence": 2}}


PAID = Seal(2, "sha256:charge")


def draw(release_id: str, *values: int) -> Draw:
    return Draw(pa.table({"n": pa.array(values, pa.int64())}), manifest(release_id))


@pytest.fixture(scope="module")
def outbox(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Outbox:
    made = Outbox(spark, TableRef(str(tmp_path_factory.mktemp("outbox") / "ledger"), None))
    made.create()
    return made


def test_it_lies_beside_the_ledger(spark: SparkSession) -> None:
    assert Outbox(spark, TableRef("/data/ledger", None)).ref == TableRef("/data/ledger_outbox", None)
    assert Outbox(spark, TableRef(None, "a.b.ledger")).ref == TableRef(None, "a.b.ledger_outbox")


def test_what_is_not_there_is_none(outbox: Outbox, spark: SparkSession, tmp_path: Path) -> None:
    assert outbox.find("unknown") is None
    assert Outbox(spark, TableRef(str(tmp_path / "ledger"), None)).find("r1") is None


def test_the_first_draw_stays(outbox: Outbox) -> None:
    first = outbox.commit(draw("r1", 1, 2, 3), PAID)
    second = outbox.commit(draw("r1", 7, 8, 9), PAID)
    assert first.rows["n"].to_pylist() == second.rows["n"].to_pylist() == [1, 2, 3]
    outbox.create()
    found = outbox.find("r1")
    assert found is not None
    assert found.rows["n"].to_pylist() == [1, 2, 3]
    assert outbox.spark.read.format("delta").load(str(outbox.ref.path)).where("release_id = 'r1'").count() == 1


def test_a_guard_is_asked_before_each_attempt_and_another_files_draw_is_not_taken_for_ones_own(outbox: Outbox) -> None:
    def refuse() -> None:
        raise ConflictError("the parsing was corrected")

    with pytest.raises(ConflictError, match="was corrected"):
        outbox.commit(draw("guarded", 1), PAID, refuse)
    assert outbox.find("guarded") is None
    outbox.check_undrawn("guarded")
    outbox.commit(Draw(draw("guarded", 1).rows, manifest("guarded") | {"file_digest": "one"}), PAID)
    with pytest.raises(ConflictError, match="another parsing"):
        outbox.commit(Draw(draw("guarded", 2).rows, manifest("guarded") | {"file_digest": "two"}), PAID)
    with pytest.raises(ConflictError, match="another parsing") as caught:
        outbox.check_undrawn("guarded")
    assert caught.value.final


def test_release_ids_are_kept_apart(outbox: Outbox) -> None:
    outbox.commit(draw("a", 1), PAID)
    outbox.commit(draw("b", 2), PAID)
    assert [outbox.find(name).rows["n"].to_pylist() for name in ("a", "b")] == [[1], [2]]  # type: ignore[union-attr]


def test_every_type_comes_back_as_it_was(outbox: Outbox) -> None:
    rows = pa.table(
        {
            "text": pa.array(["ä\n\x00'\"", None], pa.string()),
            "flag": pa.array([True, None], pa.bool_()),
            "tiny": pa.array([-128, 127], pa.int8()),
            "short": pa.array([-(2**15), 2**15 - 1], pa.int16()),
            "int": pa.array([None, 2**31 - 1], pa.int32()),
            "long": pa.array([-(2**63), 2**63 - 1], pa.int64()),
            "amount": pa.array([Decimal("-1.50"), None], pa.decimal128(10, 2)),
            "day": pa.array([dt.date(1, 1, 1), dt.date(9999, 12, 31)], pa.date32()),
            "at": pa.array([dt.datetime(2024, 1, 1, tzinfo=dt.UTC), None], pa.timestamp("us", tz="UTC")),
            "local": pa.array([dt.datetime(2024, 1, 1), None], pa.timestamp("us")),
            "value": pa.array([-0.0, float("inf")], pa.float64()),
        }
    )
    outbox.commit(Draw(rows, manifest("types")), PAID)
    found = outbox.find("types")
    assert found is not None
    assert found.rows.equals(rows)
    assert found.rows.schema == rows.schema
    assert found.manifest == manifest("types")
    empty = rows.slice(0, 0)
    assert outbox.commit(Draw(empty, manifest("empty")), PAID).rows.equals(empty)


def test_a_long_draw_is_read_in_pieces_that_a_message_holds(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "_PIECE", 100)
    stored = outbox.commit(draw("long", *range(500)), PAID)
    assert stored.rows["n"].to_pylist() == list(range(500))
    frame = outbox.spark.read.format("delta").load(str(outbox.ref.path)).where("release_id = 'long'")
    pieces = [len(row["piece"]) for row in in_pieces(frame).toArrow().to_pylist()]
    assert max(pieces) == 100
    assert sum(pieces) == len(stored.payload)


@pytest.mark.parametrize("size", [100, 32 * 2**20])
@pytest.mark.parametrize("payload", ["null", "x''", "payload", "substring(payload, 1, 200)"])
def test_a_draw_that_is_not_whole_is_damage(
    outbox: Outbox, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, payload: str, size: int
) -> None:
    """Nothing instead of the rows, too little, or the same draw twice: never a draw that is not there yet."""
    monkeypatch.setattr(outbox_module, "_PIECE", size)
    other = Outbox(spark, TableRef(str(tmp_path / "ledger"), None))
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
    properties = {row["key"]: row["value"] for row in spark.sql(f"SHOW TBLPROPERTIES {outbox.ref.sql}").collect()}
    assert properties["delta.appendOnly"] == "true"
    assert properties["delta.isolationLevel"] == "Serializable"
    logs = "".join(path.read_text() for path in (Path(str(outbox.ref.path)) / "_delta_log").glob("*.json"))
    for statistic in ("minValues", "maxValues"):
        for piece in logs.split(statistic)[1:]:
            assert "dataset" not in piece[:80]
            assert "payload" not in piece[:80]


def test_an_outbox_that_cannot_be_read_is_damage(outbox: Outbox, spark: SparkSession, tmp_path: Path) -> None:
    outbox.commit(draw("gone", 1), PAID)
    shutil.copytree(str(outbox.ref.path), tmp_path / "ledger_outbox")
    for path in (tmp_path / "ledger_outbox").glob("*.parquet"):
        path.unlink()
    with pytest.raises(DamageError):
        Outbox(spark, TableRef(str(tmp_path / "ledger"), None)).find("gone")
