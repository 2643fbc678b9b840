"""One source has one budget, and is never public, whatever way leads to its files: whole runs, by their exit codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from release_helpers import Outcome, Place, snapshot

pytestmark = pytest.mark.books_in_memory

SCHEMA = "one_budget"


@pytest.fixture
def charged(place: Place, spark: SparkSession) -> Iterator[Path]:
    """A folder of Parquet files and a Delta table, both charged to the account ``visits``."""
    files = place.folder / "data" / "files"
    spark.read.format("delta").load(str(place.source)).drop("place").coalesce(1).write.parquet(str(files))
    place.release("r1", source={"format": "parquet", "path": str(files)}, sink={"path": f"{place.folder}/sink"})
    charge = place.book().state().charge_of("r1")
    assert charge is not None
    source = str(place.source)  # as earlier versions wrote it
    place.book().charge(replace(charge.entry, release_id="r2", file_digest="sha256:0", source=source))
    spark.sql(f"CREATE SCHEMA {SCHEMA} LOCATION '{place.folder}/schema'")
    yield files
    spark.sql(f"DROP SCHEMA {SCHEMA} CASCADE")


def other_ways(place: Place, spark: SparkSession, files: Path) -> dict[str, dict[str, Any]]:
    """Sources that read the charged files, each under another name."""
    folder, [file] = place.folder, files.glob("*.parquet")
    (folder / "links").mkdir()
    (folder / "links" / "in").symlink_to(files)
    (folder / "single").mkdir()
    (folder / "single" / "x.parquet").symlink_to(file)
    (folder / "parts").mkdir()
    (folder / "parts" / "p=1").symlink_to(files)
    columns = ", ".join(f"{name} {kind}" for name, kind in spark.read.parquet(str(files)).dtypes)
    spark.sql(f"CREATE TABLE {SCHEMA}.parts ({columns}, p STRING) USING parquet PARTITIONED BY (p)")
    spark.sql(f"ALTER TABLE {SCHEMA}.parts ADD PARTITION (p = '1') LOCATION '{files}'")
    spark.sql(f"CREATE TABLE {SCHEMA}.outside USING parquet LOCATION '{folder}/links/in'")
    spark.sql(f"CREATE TABLE delta.`{folder}/clone` SHALLOW CLONE delta.`{place.source}`")
    spark.sql(f"CREATE TABLE delta.`{folder}/cloned_clone` SHALLOW CLONE delta.`{folder}/clone`")
    return {
        "a link": {"format": "parquet", "path": f"{folder}/links/*"},
        "a link to a file": {"format": "parquet", "path": f"{folder}/single"},
        "a link as a partition": {"format": "parquet", "path": f"{folder}/parts"},
        "a wildcard": {"format": "parquet", "path": f"{folder}/d?ta/f[i]les"},
        "a partition's location": {"table": f"{SCHEMA}.parts"},
        "a table": {"table": f"{SCHEMA}.outside"},
        "a clone": {"format": "delta", "path": f"{folder}/clone"},
        "a clone of a clone": {"format": "delta", "path": f"{folder}/cloned_clone"},
    }


@pytest.mark.long
def test_every_way_to_charged_files_is_the_same_source(
    place: Place, spark: SparkSession, charged: Path, cli: Callable[..., Outcome]
) -> None:
    ways = other_ways(place, spark, charged)
    before = snapshot(place.ledger)
    apart = {"sink": {"path": f"{place.folder}_released"}}  # a wildcard's own place is all that is below its fixed part
    for way, source in ways.items():
        outcome = cli("run", place.file(dataset="rich", source=source, **apart), "--json")
        assert (outcome.code, outcome.error["code"]) == (3, "budget_refused"), way
        assert "another dataset (visits)" in outcome.error["message"], way
        # The rows of people as keys would be released as they are.
        keys = {"public": {"source": source}}
        outcome = cli("run", place.file(partitions=keys, **apart), "--json")
        assert outcome.code == 2, way
        assert "this table is protected, not public" in outcome.error["message"], way
    joined = [{"join": {"source": ways["a clone"], "on": ["ward"], "how": "left"}}]
    assert cli("run", place.file(preprocess=joined), "--json").code == 2
    for path in ("da\\ta/files", "{data,data}/files", "data/{files,nothing}"):
        source = {"format": "parquet", "path": f"{place.folder}/{path}"}
        assert cli("run", place.file(dataset="rich", source=source), "--json").code == 2
        assert cli("run", place.file(partitions={"public": {"source": source}}), "--json").code == 2
    assert snapshot(place.ledger) == before


@pytest.mark.slow
def test_an_account_goes_on_with_its_source_as_it_grows(
    place: Place, spark: SparkSession, monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Outcome]
) -> None:
    rows = spark.read.format("delta").load(str(place.source)).select("patient", "ward", "day").coalesce(1)
    own, far = place.folder / "own", place.folder / "far"
    rows.write.partitionBy("day").parquet(str(far))
    own.mkdir()
    (own / "day=0").symlink_to(far / "day=0")
    file = place.file(source={"format": "parquet", "path": str(own)})
    with monkeypatch.context() as patched:
        patched.setattr("dp_spark.release.draw.aggregation.collect", lambda *_: 1 / 0)
        assert cli("run", file, "--release-id", "r1", "--json").code == 1
    [charge] = [entry for entry in place.entries() if entry.entry == "charge"]
    assert charge.source == f'["{own.resolve()}", "{far.resolve()}"]'
    (own / "day=1").symlink_to(far / "day=1")  # more partitions and files came meanwhile
    rows.where("day = 0").drop("day").write.mode("append").parquet(str(far / "day=0"))
    elsewhere = place.folder / "elsewhere"
    rows.write.parquet(str(elsewhere))
    (own / "day=9").symlink_to(elsewhere)
    refused = cli("run", file, "--release-id", "r1", "--json")
    assert (refused.code, refused.error["message"]) == (3, "the release id r1 was charged for another source")
    apart = ("--set", f"sink.path={place.folder}/apart")
    assert cli("run", file, "--release-id", "r2", "--json", *apart).code == 0, "a new charge notes the new folder"
    (own / "day=9").unlink()
    done = cli("run", file, "--release-id", "r1", "--json")
    assert (done.code, done.document["status"]) == (0, "published")


@pytest.mark.slow
def test_a_sink_may_be_no_folder_of_the_source(place: Place, spark: SparkSession, cli: Callable[..., Outcome]) -> None:
    spark.sql(f"CREATE TABLE delta.`{place.folder}/clone` SHALLOW CLONE delta.`{place.own_source()}`")
    source = {"format": "delta", "path": f"{place.folder}/clone"}
    outcome = cli("run", place.file(source=source, sink={"path": f"{place.folder}/source/inside"}), "--json")
    assert (outcome.code, outcome.error["message"]) == (2, "the sink is the source, or inside or above it")


def test_a_strangers_file_in_the_sink_costs_nothing(place: Place, cli: Callable[..., Outcome]) -> None:
    """An empty log beside a file of the source: the file would stay in the folder that is handed on."""
    (place.sink / "_delta_log").mkdir(parents=True)
    [file, *_] = place.source.glob("part-*.parquet")
    (place.sink / file.name).write_bytes(file.read_bytes())
    before = snapshot(place.ledger)
    outcome = cli("run", place.file(), "--json")
    assert (outcome.code, outcome.error["message"]) == (2, "the sink holds files that are not a release")
    place.spark.range(1).write.format("delta").save(str(place.folder / "lake"))
    inside = cli("run", place.file(sink={"path": f"{place.folder}/lake/release"}), "--json")
    assert (inside.code, inside.error["message"]) == (2, "the sink is inside a Delta table")
    assert snapshot(place.ledger) == before
