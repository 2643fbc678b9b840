"""What can be seen on Spark Connect alone; ``test_connect`` runs it, on the one server of a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from release_helpers import WARDS, Outcome, Place, write_delta

from dp_spark.ledger.outbox import Draw
from dp_spark.spark.errors import SPARK_ERRORS, condition
from dp_spark.tables.delta_store import DeltaStore
from dp_spark.tables.refs import TableRef
from dp_spark.tables.store import RivalError, StoreError

#: What a message of a value that does not fit quotes.
SECRET = "SECRETVALUE4711"


def command(*arguments: object) -> Outcome:
    """The command line in a process of its own, on the server of this one."""
    done = subprocess.run(
        [sys.executable, "-m", "dp_spark", *map(str, arguments)],
        capture_output=True, text=True, check=False, env={**os.environ, "SPARK_REMOTE": "sc://localhost"},
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return Outcome(done.returncode, done.stdout, done.stderr)


def test_the_session_is_of_spark_connect(spark: SparkSession) -> None:
    assert type(spark).__module__ == "pyspark.sql.connect.session"


def test_a_release_its_replay_and_a_refusal(place: Place, cli: Callable[..., Outcome]) -> None:
    """What every run of the suite sees of Connect, in one process."""
    first, second = (cli("run", place.file(), "--release-id", "r1", "--json") for _ in range(2))
    assert [first.code, second.code] == [0, 0], first.err + second.err
    assert [first.document["status"], second.document["status"]] == ["published", "already_published"]
    assert place.kinds() == [("charge", "r1"), ("published", "r1")]
    assert place.sink_rows() == place.drawn("r1").rows.to_pylist()
    assert {row["ward"] for row in place.sink_rows()} == set(WARDS)
    refused = cli("run", place.file(dataset="poor", sink={"path": f"{place.sink}2"}), "--release-id", "r2", "--json")
    assert (refused.code, refused.error["code"]) == (3, "budget_refused")
    assert place.kinds() == [("charge", "r1"), ("published", "r1")]


def test_the_command_line_is_a_client_of_a_server(place: Place) -> None:
    file = place.file()
    first, second = (command("run", file, "--release-id", "r1", "--json") for _ in range(2))
    assert [first.code, second.code] == [0, 0], first.err
    assert [first.document["status"], second.document["status"]] == ["published", "already_published"]
    assert first.document["rows"] == len(place.sink_rows()) == 3
    assert place.kinds() == [("charge", "r1"), ("published", "r1")]
    refused = command("run", place.file(dataset="poor", sink={"path": f"{place.sink}2"}), "--release-id", "r2", "--json")
    assert (refused.code, refused.error["code"]) == (3, "budget_refused")


def test_a_client_says_nothing_of_a_value_that_does_not_fit(place: Place, spark: SparkSession) -> None:
    """Connect's exceptions hold the server's message, the query's context and the stack trace."""
    source = write_delta(spark, place.folder / "source", [{"patient": "p", "ward": "er", "note": SECRET}])
    frame = spark.read.format("delta").load(str(source)).select(F.col("note").cast("int"))
    spark.conf.set("spark.sql.ansi.enabled", "true")
    with pytest.raises(SPARK_ERRORS, match=SECRET) as caught:
        frame.collect()
    assert condition(caught.value) == "CAST_INVALID_INPUT"
    for path in source.glob("*.parquet"):
        path.write_bytes(SECRET.encode() * 99)
        (source / f".{path.name}.crc").unlink(missing_ok=True)
    outcome = command("run", place.file(source={"format": "delta", "path": str(source)}), "--release-id", "r1")
    assert outcome.code == 4
    assert SECRET not in outcome.out + outcome.err
    assert "dp-spark: source: reading and aggregating the source failed (" in outcome.err


def test_rivals_that_delta_refuses_are_known_as_such(spark: SparkSession, tmp_path: Path) -> None:
    """Connect knows no class of Delta's exceptions: a conflict is told by its condition or its text."""
    store, added, refused = DeltaStore(spark, TableRef(str(tmp_path / "table"), None)), pa.table({"n": [1]}), list[StoreError]()
    store.create(added.schema, {})

    def rival() -> None:
        for _ in range(3):
            try:
                store.insert(added, "n")
            except StoreError as error:
                refused.append(error)

    for _ in range(4):
        threads = [threading.Thread(target=rival) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if refused:
            break
        store = DeltaStore(spark, TableRef(f"{store.ref.path}-more", None))
        store.create(added.schema, {})
    assert refused, "no two rivals met"
    assert all(isinstance(error, RivalError) for error in refused), refused
    assert store.read(["n"]).num_rows == 1


def test_a_draw_of_more_than_one_message_comes_back_whole(place: Place) -> None:
    """130 MiB: more than a message of gRPC may hold, in one value of the outbox."""
    rows = pa.table({"ward": pa.array(range(130 * 2**20 // 8), pa.int64())})
    outbox = place.outbox()
    outbox.create()
    stored = outbox.commit(
        Draw(rows, {"format": "dp_spark.manifest/1", "release_id": "big", "dataset": "visits"}), place.entries()[0].seal
    )
    assert stored.rows.equals(rows)


def test_settings_of_the_server_are_those_of_the_local_session(spark: SparkSession) -> None:
    assert spark.conf.get("spark.databricks.delta.snapshotPartitions") == "2"
    assert spark.conf.get("spark.sql.shuffle.partitions") == "32"
