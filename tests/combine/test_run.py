"""Combining published tables through Spark: what is read, what is refused, and the one commit that is made."""

from __future__ import annotations

import datetime as dt
import decimal
import math
import re
import runpy
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from checkout import ROOT
from combine_helpers import ALL, party, plan
from helpers import COUNT
from pyspark.sql import SparkSession
from release_helpers import Outcome, put_garbage, restore, snapshot

from benchmarks.combining import GUIDE, SITES, measure, run_sides, table
from dp_spark.cli import main
from dp_spark.combine import run as combine_module
from dp_spark.combine.agreement import Party
from dp_spark.combine.arithmetic import combine_rows
from dp_spark.combine.manifest import Users
from dp_spark.combine.run import combine
from dp_spark.errors import ConflictError, SpecError
from dp_spark.manifest import confidence_intervals, read_manifest
from dp_spark.tables import delta as tables
from dp_spark.tables import sink as sinks
from dp_spark.tables.refs import TableRef

PRIVATE = plan(*ALL, partitions={"private": {}})
PARTIES = {
    "north": party(PRIVATE, ["a", "b", None], {item: [900, 800, 700] for item in PRIVATE.mechanisms}, label="north"),
    "south": party(PRIVATE, ["b", "c"], {item: [300, 200] for item in PRIVATE.mechanisms}, label="south", sequence=9),
}


def ref(path: Path) -> TableRef:
    return TableRef(str(path), None)


@pytest.fixture(scope="module")
def published(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two parties' private releases, north and south, and one of other bounds, other."""
    folder = tmp_path_factory.mktemp("published")
    other = party(plan(COUNT, partitions={"private": {}}, timezone="Asia/Tokyo"), ["a"])
    for name, given in {**PARTIES, "other": other}.items():
        sinks.publish(spark, ref(folder / name), given.rows, given.manifest, -1)
    return folder


@pytest.mark.slow
def test_a_combination_from_end_to_end(
    spark: SparkSession, published: Path, tmp_path: Path, cli: Callable[..., Outcome]
) -> None:
    north, south, sink = published / "north", published / "south", tmp_path / "both"
    before = snapshot(published)
    arguments = ("--sink", sink, "--users", "overlapping", "--json")
    first = cli("combine", north, south, *arguments)
    assert first.code == 0, first.err
    document = first.document
    assert (document["status"], document["version"], document["rows"], document["partial_rows"]) == ("published", 0, 4, 3)
    assert document["guarantee"]["epsilon"] == "2"
    assert [item["release_id"] for item in document["inputs"]] == ["r-north", "r-south"]

    rows = spark.read.format("delta").load(str(sink)).toArrow()
    assert rows.to_pylist() == sorted(combine_rows(list(PARTIES.values())).to_pylist(), key=lambda row: str(row["test"] or ""))
    assert {row["test"]: (row["rows"], row["parties"]) for row in rows.to_pylist()} == {
        None: (700, 1), "a": (900, 1), "b": (1100, 2), "c": (200, 1),
    }  # fmt: skip
    manifest = read_manifest(sink)
    assert manifest["guarantee"]["composition"] == "sequential"
    intervals = confidence_intervals(manifest, "rows", rows["rows"].to_pylist(), rows["rows_stddev"].to_pylist())
    assert all(interval is not None for interval in intervals)
    properties = spark.sql(f"DESCRIBE DETAIL delta.`{sink}`").collect()[0]["properties"]
    assert properties["delta.enableChangeDataFeed"] == properties["delta.enableDeletionVectors"] == "false"
    comments = {field.name: field.metadata.get("comment", "") for field in spark.read.format("delta").load(str(sink)).schema}
    assert "counted once in each" in comments["patients"]
    assert "parties' releases" in comments["parties"]

    again = cli("combine", south, north, *arguments).document  # in whatever order
    assert again == {**document, "status": "already_published"}
    assert [version for version, _ in tables.operations(spark, ref(sink))] == [0]
    assert snapshot(published) == before

    shown = cli("show", sink)
    assert shown.code == 0, shown.err
    for words in (
        "a combination of nafld + nafld",
        "Combines    r-north of nafld: epsilon 1",
        "at each party",
        "see rows_stddev",
    ):
        assert words in shown.out
    assert "Charged" not in shown.out
    page = cli("show", sink, "--html", tmp_path / "x.html", "--json")
    assert (page.code, page.error["mend"]) == (2, "make one of each release it came from")
    people = cli("combine", north, south, *arguments[:-1])
    assert "Already published, and the same:" in people.out
    assert "3 of 4 rows cover fewer than all 2 parties" in people.out
    assert "warning" not in people.err

    # A release is never published over it, and it is no party of another combination.
    with pytest.raises(SpecError, match="the release in the sink is of another dataset"):
        sinks.check_sink(spark, ref(sink), "nafld", {})
    nested = cli("combine", north, sink, "--sink", tmp_path / "nested", "--users", "disjoint", "--json")
    assert (nested.code, nested.error["message"]) == (4, "is a combination already")
    # A later combination of other facts replaces it, as a new version.
    replaced = cli("combine", north, south, "--sink", sink, "--users", "disjoint", "--json").document
    assert (replaced["status"], replaced["version"], replaced["guarantee"]["epsilon"]) == ("published", 1, "1")
    assert read_manifest(sink)["release_id"] == replaced["release_id"] != document["release_id"]


@pytest.mark.slow
def test_what_is_refused_with_which_exit_code(
    spark: SparkSession, published: Path, tmp_path: Path, cli: Callable[..., Outcome]
) -> None:
    north, south, sink = published / "north", published / "south", tmp_path / "both"
    copy = tmp_path / "copy"
    shutil.copytree(north, copy)
    foreign = tmp_path / "foreign"
    spark.range(2).write.format("delta").save(str(foreign))  # like a ledger or an outbox: a Delta table without a manifest
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "notes.txt").write_text("kept")
    before = snapshot(published)

    def refused(*arguments: object, at: object = sink) -> tuple[int, str, str]:
        outcome = cli("combine", *arguments, "--sink", at, "--users", "disjoint", "--json")
        return outcome.code, outcome.error["message"], outcome.error["where"]

    assert refused(north) == (2, "needs two releases or more", "RELEASE")
    assert refused(north, copy)[0::2] == (2, str(copy))
    assert refused(north, tmp_path / "nothing") == (4, "there is no Delta table", str(tmp_path / "nothing"))
    assert refused(north, foreign)[:2] == (4, "this table carries no dp-spark manifest")
    code, message, where = refused(north, published / "other")
    assert (code, where) == (4, f"{north}, {published / 'other'}")
    assert f"timezone is UTC in {north}, Asia/Tokyo in {published / 'other'}" in message
    assert "aggregates.average is" in message
    assert not sink.exists()

    assert refused(north, south, at=north) == (2, f"the sink is the release {north}, or inside or above it", "--sink")
    assert refused(north, south, at=published)[0] == 2
    assert refused(north, south, at=copy)[:2] == (2, "the release in the sink is of another dataset (nafld)")
    assert refused(north, south, at=foreign)[:2] == (2, "the sink is a table that is not a release")
    assert refused(north, south, at=foreign / "inside") == (2, "the sink is inside a Delta table", "--sink")
    assert refused(north, south, at=tmp_path / "files")[:2] == (2, "the sink holds files that are not a release")
    assert cli("combine", north, south, "--sink", sink, "--json").code == 2  # --users has no default
    assert cli("combine", north, south, "--sink", sink, "--users", "maybe", "--json").code == 2
    kept = put_garbage(copy)
    try:
        code, message, where = refused(copy, south)
        assert (code, where) == (6, str(copy))
        assert "the release cannot be read" in message
    finally:
        restore(kept)
    assert snapshot(published) == before
    assert not sink.exists()


@pytest.mark.slow
def test_a_combined_table_that_somebody_wrote_to_is_made_again(
    spark: SparkSession, published: Path, tmp_path: Path, cli: Callable[..., Outcome]
) -> None:
    arguments = (published / "north", published / "south", "--sink", tmp_path / "both", "--users", "disjoint", "--json")
    first = cli("combine", *arguments).document
    rows = tables.read_rows(spark, ref(tmp_path / "both"), 0)
    spark.sql(f"INSERT INTO delta.`{tmp_path / 'both'}` SELECT * FROM delta.`{tmp_path / 'both'}` LIMIT 1")
    again = cli("combine", *arguments).document
    assert again == {**first, "version": 2}
    assert spark.read.format("delta").load(str(tmp_path / "both")).toArrow().equals(rows)
    kept = put_garbage(tmp_path / "both")
    try:
        broken = cli("combine", *arguments)
        assert (broken.code, broken.error["where"]) == (6, str(tmp_path / "both"))
    finally:
        restore(kept)


@pytest.mark.slow
def test_the_order_of_the_arguments_does_not_matter_where_identities_are_equal(
    spark: SparkSession, tmp_path: Path, cli: Callable[..., Outcome]
) -> None:
    """Two organisations run one file on one day, each in a fresh ledger; what differs is the rest of the manifest."""
    for name, version, value in (("a", "4.1.1", 900), ("b", "4.0.5", 800)):
        given = party(PRIVATE, ["x", "y"], {item: [value, 700] for item in PRIVATE.mechanisms})
        own = {"libraries": {"pyspark": version}, "charge": {**given.manifest["charge"], "ledger": f"sha256:{name}"}}
        sinks.publish(spark, ref(tmp_path / name), given.rows, {**given.manifest, **own}, -1)
    more = ("--sink", tmp_path / "both", "--users", "disjoint", "--json")
    first = cli("combine", tmp_path / "a", tmp_path / "b", *more)
    again = cli("combine", tmp_path / "b", tmp_path / "a", *more)
    assert (first.code, again.document) == (0, {**first.document, "status": "already_published"}), first.out


def test_a_log_that_is_damaged_is_said_to_be(published: Path, tmp_path: Path, cli: Callable[..., Outcome]) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(published / "north", copy)
    log = copy / "_delta_log" / f"{0:020}.json"
    log.write_text(log.read_text()[:200])
    for checksum in (copy / "_delta_log").glob(".*.crc"):
        checksum.unlink()
    for command in (
        ("show", copy),
        ("show", copy, "--html", tmp_path / "x.html"),
        ("combine", copy, published / "south", "--sink", tmp_path / "both", "--users", "disjoint"),
    ):
        outcome = cli(*command, "--json")
        assert (outcome.code, outcome.error["where"]) == (6, str(copy)), outcome.out
        assert "cannot be read" in outcome.error["message"]


@pytest.mark.parametrize("name", ["lab-values.v2", "a`b.c", "prod-eu.gold.visits"])
def test_a_name_that_is_no_table_is_not_found(name: str, spark: SparkSession, cli: Callable[..., Outcome]) -> None:
    assert cli("show", name, "--json").code == 4


@pytest.mark.slow
def test_a_release_that_is_published_anew_while_it_is_read_is_not_mixed(
    spark: SparkSession, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(published / "north", copy)
    newer = party(PRIVATE, ["a"], label="newer", sequence=5)
    original = tables.read_rows

    def read_rows(session: SparkSession, table: TableRef, version: int) -> pa.Table:
        if table == ref(copy) and version == 0:
            sinks.publish(session, ref(copy), newer.rows, newer.manifest, 0)
        return original(session, table, version)

    monkeypatch.setattr(combine_module.tables, "read_rows", read_rows)
    with pytest.raises(ConflictError, match="published anew while it was read"):
        combine(spark, [ref(copy), ref(published / "south")], ref(tmp_path / "both"), Users.disjoint)
    assert not (tmp_path / "both").exists()
    combine(spark, [ref(copy), ref(published / "south")], ref(tmp_path / "both"), Users.disjoint)


@pytest.mark.slow
def test_keys_of_every_type_keep_their_type(spark: SparkSession, tmp_path: Path) -> None:
    keys = pa.table(
        {
            "flag": pa.array([True, None]),
            "small": pa.array([1, -1], pa.int16()),
            "price": pa.array([decimal.Decimal("1.20"), None], pa.decimal128(10, 2)),
            "day": pa.array([dt.date(2024, 2, 29), None]),
            "at": pa.array([dt.datetime(2024, 2, 29, 23, 30, tzinfo=dt.UTC), None], pa.timestamp("us", tz="UTC")),
            "local": pa.array([dt.datetime(2024, 2, 29, 23, 30), None], pa.timestamp("us")),
        }
    )
    found = plan(COUNT, group_by=keys.column_names, partitions={"private": {}}, timezone="America/New_York")
    for index, label in enumerate(("one", "two")):
        given = party(found, [None, None], label=label, sequence=index)
        columns = {**dict(zip(keys.column_names, keys.columns, strict=True)), "rows": given.rows["rows"]}
        given = Party(label, given.manifest, pa.table({**columns, "rows_stddev": given.rows["rows_stddev"]}))
        sinks.publish(spark, ref(tmp_path / label), given.rows, given.manifest, -1)
    zone = spark.conf.get("spark.sql.session.timeZone")
    result = combine(spark, [ref(tmp_path / "one"), ref(tmp_path / "two")], ref(tmp_path / "both"), Users.disjoint)
    assert spark.conf.get("spark.sql.session.timeZone") == zone
    assert result.rows["parties"].to_pylist() == [2, 2]
    one, both = (spark.read.format("delta").load(str(tmp_path / name)) for name in ("one", "both"))
    assert both.schema.fields[:6] == one.schema.fields[:6]
    order = keys.column_names
    assert both.select(order).toArrow().to_pylist() == one.select(order).toArrow().to_pylist()


def test_the_job_takes_the_same_arguments(
    spark: SparkSession, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(published / "north"), str(published / "south"), "--sink", str(tmp_path / "both"), "--users", "disjoint"]
    monkeypatch.setattr(sys, "argv", ["combine.py", *arguments])
    runpy.run_path(str(ROOT / "jobs" / "combine.py"), run_name="__main__")
    assert "Published" in capfd.readouterr().out
    monkeypatch.setattr(sys, "argv", ["combine.py", *arguments[1:]])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "jobs" / "combine.py"), run_name="__main__")
    assert stop.value.code == 2


@pytest.mark.slow
def test_a_table_by_name_is_combined_too(spark: SparkSession, published: Path, tmp_path: Path) -> None:
    name = f"combine_{tmp_path.name.replace('-', '_')}"
    spark.sql(f"CREATE TABLE {name} USING delta LOCATION '{published / 'north'}'")
    try:
        result = combine(spark, [TableRef(None, name), ref(published / "south")], ref(tmp_path / "both"), Users.disjoint)
        assert result.rows.num_rows == 4
        with pytest.raises(SpecError, match=f"the sink is the release {name}"):
            combine(spark, [TableRef(None, name), ref(published / "south")], ref(published / "north"), Users.disjoint)
    finally:
        spark.sql(f"DROP TABLE {name}")


# --- the guide, on real data -------------------------------------------------------------------------------------------


@pytest.mark.long
def test_the_walk_through_of_the_guide(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert [kind for kind, _ in snippets] == ["python", "yaml", "bash", "bash", "bash"]
    for kind, text in snippets:
        if kind == "python":
            exec(compile(text, str(GUIDE), "exec"), {})
        elif kind == "yaml":
            Path("release.yaml").write_text(text, encoding="utf-8")
        else:
            for line in text.splitlines():
                _run_line(line, monkeypatch)
    manifest = read_manifest(tmp_path / "combined")
    assert manifest["same_file"] is True
    assert (manifest["guarantee"]["epsilon"], manifest["guarantee"]["composition"]) == ("1", "parallel")
    rows = spark.read.format("delta").load(str(tmp_path / "combined")).toArrow()
    assert (rows.num_rows, set(rows["parties"].to_pylist())) == (40, {2})


def _run_line(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(line)
    while "=" in words[0]:
        monkeypatch.setenv(*words.pop(0).split("=", 1))
    assert words[0] == "dp-spark"
    assert main(words[1:]) == 0, line


@pytest.mark.long
def test_two_hospitals_have_the_noise_of_two(spark: SparkSession, tmp_path: Path) -> None:
    """On real data, end to end: 40 cells and 40 draws, so a root mean square is known to about 2 %."""
    sides, published = run_sides(spark, tmp_path)
    expected = combine_rows([sides[site].published for site in SITES]).sort_by([("test", "ascending"), ("year", "ascending")])
    assert published.rows.to_pylist() == expected.to_pylist()
    figures = measure(sides, 40)
    for name in ("patients", "measurements", "values", "total"):
        found = figures[name]
        assert found.noise[1] / found.noise[0] == pytest.approx(math.sqrt(2), rel=0.13), name
        assert found.stddev[1] / found.stddev[0] == pytest.approx(math.sqrt(2), rel=1e-3), name
        assert found.noise[1] == pytest.approx(found.stddev[1], rel=0.1), name
        assert found.whole[1] == pytest.approx(found.whole[0], rel=0.05), name  # nearly all of it is the bounds' bias
    [many] = [found for name, found in figures.items() if "values or more" in name]
    assert many.noise[1] / many.noise[0] == pytest.approx(math.sqrt(2), rel=0.3)
    # The published figures in the guide are a table of this very shape.
    assert [line.split("|")[1].strip() for line in table(figures).splitlines()[2:6]] == [
        "patients",
        "measurements",
        "values",
        "total",
    ]
