"""Our own tables: a sink that can destroy nothing, and one atomic commit that carries nothing but the release."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from checkout import GOLDEN
from frames import frame_of
from pyspark.sql import SparkSession

from dp_spark.errors import ConflictError, SpecError
from dp_spark.manifest import MANIFEST_PROPERTY, to_json
from dp_spark.spec.release_spec import Location
from dp_spark.tables.delta import exists, location_of, published_version, read_manifest, read_rows, require_manifest
from dp_spark.tables.first_commit import is_commit_of
from dp_spark.tables.leftovers import checksums
from dp_spark.tables.refs import TableRef
from dp_spark.tables.sink import check_sink, publish

pytestmark = pytest.mark.books_in_memory

COUNT = {"name": "rows", "function": "count", "column": None, "mechanism": "laplace", "queries": ["count"]}


def manifest(release_id: str = "release-1", **changes: Any) -> dict[str, Any]:
    base = {"format": "dp_spark.manifest/1", "name": "visits", "dataset": "nafld", "release_id": release_id}
    return base | {"charge": {"sequence": 2}, "group_by": ["g"], "aggregates": [COUNT]} | changes


def released(keys: list[Any], values: list[int], kind: pa.DataType | None = None) -> pa.Table:
    columns = [pa.array(keys, kind or pa.string()), pa.array(values, pa.int64()), pa.array([1.5] * len(keys), pa.float64())]
    return pa.Table.from_arrays(columns, names=["g", "rows", "rows_stddev"])


ROWS = released(["b", None, "a"], [20, -3, 10])


@pytest.fixture
def sink(tmp_path: Path) -> TableRef:
    return TableRef.of(Location(path=str(tmp_path / "release")))


@pytest.fixture(scope="module")
def published(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> TableRef:
    """One release that the tests below look at and do not change."""
    ref = TableRef.of(Location(path=str(tmp_path_factory.mktemp("published") / "release")))
    publish(spark, ref, ROWS, manifest(), -1)
    return ref


def log(ref: TableRef, version: int = 0) -> dict[str, list[dict[str, Any]]]:
    """The actions of one commit by kind."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in (Path(str(ref.path)) / "_delta_log" / f"{version:020}.json").read_text().splitlines():
        for kind, action in json.loads(line).items():
            found.setdefault(kind, []).append(action)
    return found


def versions(ref: TableRef) -> list[int]:
    return sorted(int(file.stem) for file in (Path(str(ref.path)) / "_delta_log").glob("*.json"))


# --- where a release may go -------------------------------------------------------------------------------------------


def test_an_absent_and_an_empty_sink_are_free(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("absent", "empty", "absent/deeper"):
        assert check_sink(spark, TableRef(str(tmp_path / name), None), "nafld", {}) is None


@pytest.mark.parametrize("content", ["notes.txt", ".hidden", "part.parquet", "folder/deep.csv"])
def test_a_sink_with_foreign_files_is_refused(spark: SparkSession, tmp_path: Path, content: str) -> None:
    file = tmp_path / "release" / content
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    for place in (tmp_path / "release", file):
        with pytest.raises(SpecError, match="holds files that are not a release") as caught:
            check_sink(spark, TableRef(str(place), None), "nafld", {})
        assert caught.value.where == "sink"
    assert file.read_text() == "mine"


@pytest.mark.slow
def test_a_foreign_delta_table_is_refused(spark: SparkSession, tmp_path: Path, schema: str) -> None:
    frame = frame_of(spark, {"x": pa.int32()}, [(1,)])
    frame.write.format("delta").save(str(tmp_path / "other"))
    frame.write.format("parquet").saveAsTable(f"{schema}.plain")
    spark.sql(f"CREATE VIEW {schema}.seen AS SELECT 1 AS x")
    for ref in (TableRef(str(tmp_path / "other"), None), TableRef(None, f"{schema}.plain"), TableRef(None, f"{schema}.seen")):
        with pytest.raises(SpecError, match="not a release"):
            check_sink(spark, ref, "nafld", {})


@dataclass(frozen=True)
class Drawn:
    """What the outbox holds."""

    rows: pa.Table
    manifest: dict[str, Any]


@pytest.fixture
def killed(spark: SparkSession, published: TableRef, tmp_path: Path) -> Path:
    """What a publisher of ROWS leaves that is killed before its commit, however far it came."""
    folder = tmp_path / "release"
    shutil.copytree(str(published.path), folder)
    [commit] = (folder / "_delta_log").glob("*.json")
    commit.rename(folder / "_delta_log" / f".{commit.name}.0a1b-2c.tmp")
    for other in (folder / "_delta_log").glob("*.crc"):
        other.unlink()
    (folder / "_delta_log" / "_staged_commits").mkdir(exist_ok=True)
    (folder / "part-00000-1b.c000.snappy.parquet").touch()
    (folder / ".part-00000-1b.c000.snappy.parquet.crc").write_bytes(b"crc\0\0\0\2\0")
    (folder / "part-00000-2b.c000.snappy.parquet").write_bytes(b"PAR1")
    return folder


def drawn() -> list[Drawn]:
    return [Drawn(released(["x"], [1]), manifest("release-0")), Drawn(ROWS, manifest())]


def test_what_a_killed_publisher_leaves_is_no_table_and_not_in_the_way(spark: SparkSession, killed: Path) -> None:
    sink = TableRef(str(killed), None)
    assert check_sink(spark, sink, "nafld", {}, drawn=drawn) is None
    with pytest.raises(SpecError, match="files that are not a release"):
        check_sink(spark, sink, "nafld", {}, drawn=lambda: drawn()[:1])  # its rows are nobody's draw
    (killed / "notes.txt").touch()
    with pytest.raises(SpecError, match="files that are not a release"):
        check_sink(spark, sink, "nafld", {}, drawn=drawn)


def planted(content: bytes) -> dict[str, bytes]:
    """A commit as someone changed it."""
    text, [ours] = content.decode(), [line for line in content.decode().splitlines() if '"add"' in line]
    changes = {
        "a line behind": f"{text}patient alice 17 hiv\n",
        "a line of JSON": text + '{"patient":"alice 17 hiv"}\n',
        "a field": text.replace('{"add":{', '{"add":{"patient":"alice",', 1),
        "a name twice": text.replace('"dataChange":', '"dataChange":"alice","dataChange":', 1),
        "a value": text.replace('"dataChange":true', '"dataChange":"alice"', 1),
        "a known name's value": text.replace('"description":null', '"description":"alice"', 1),
        "statistics": text.replace('\\"g\\":\\"b\\"', '\\"g\\":\\"alice\\"', 1),
        "a column of statistics": text.replace('\\"g\\":', '\\"h\\":1,\\"g\\":', 1),
        "a comment": text.replace("partition key", "alice hiv", 1),
        "a property": text.replace('"delta.enableChangeDataFeed":', '"alice":"true","delta.enableChangeDataFeed":', 1),
        "another manifest": text.replace('\\"sequence\\":2', '\\"sequence\\":3'),
        "a file": text.replace(json.loads(ours)["add"]["path"], "part-00000-alice-hiv.parquet", 1),
        "no metadata": "".join(line + "\n" for line in text.splitlines() if '"metaData"' not in line),
        "cut off": text[:-200],
        "no JSON": f"{MANIFEST_PROPERTY} release-1",
    }
    return {name: changed.encode() for name, changed in changes.items()}


def test_a_commit_is_a_draws_only_with_no_other_text(published: TableRef) -> None:
    content = (Path(str(published.path)) / "_delta_log" / f"{0:020}.json").read_bytes()
    assert is_commit_of(content, ROWS, manifest())
    assert not is_commit_of(content, ROWS, manifest("release-0"))
    for name, changed in planted(content).items():
        assert changed != content, name
        assert not is_commit_of(changed, ROWS, manifest()), name


@pytest.mark.parametrize("table", ["release", "second"])
def test_a_real_commit_is_a_draws(table: str) -> None:
    """Long texts are cut off in statistics; keys of other types are written in their own ways."""
    content = (GOLDEN / "0" / table / "_delta_log" / f"{0:020}.json").read_bytes()
    [metadata] = [json.loads(line)["metaData"] for line in content.splitlines() if b'"metaData"' in line]
    [file] = (GOLDEN / "0" / table).glob("*.parquet")
    assert is_commit_of(content, pq.read_table(file), json.loads(metadata["configuration"][MANIFEST_PROPERTY]))


def test_a_checksum_is_the_one_of_its_file(published: TableRef) -> None:
    [file] = Path(str(published.path)).glob("*.parquet")
    written = file.with_name(f".{file.name}.crc").read_bytes()
    assert checksums(file.read_bytes()) == written, "as Hadoop writes it"
    assert checksums(b"") == b"crc\0\0\0\2\0"


def test_a_log_and_files_without_content_ask_for_no_draw(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "release" / "_delta_log" / "_staged_commits").mkdir(parents=True)
    (tmp_path / "release" / "part-00000-1b.c000.snappy.parquet").touch()
    (tmp_path / "release" / ".part-00000-1b.c000.snappy.parquet.crc").touch()
    asked: list[int] = []
    assert check_sink(spark, TableRef(str(tmp_path / "release"), None), "nafld", {}, drawn=lambda: asked) is None  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize(
    "put",
    [
        "part-00000-private.c000.snappy.parquet", "part-00000-1b.c000.snappy.parquet", ".part-00000-private.parquet.crc",
        "_delta_log/people.csv",
        "_delta_log/_staged_commits/x", "_delta_log/.00000000000000000000.json.1b.tmp", "day=1/part-00000-1b.parquet",
        "part-00000-link.parquet",
        "empty_folder/", "commit's end", ".part-00000-1b.c000.snappy.parquet.crc",
    ],
)  # fmt: skip
def test_a_strangers_file_beside_an_empty_log_is_refused(spark: SparkSession, tmp_path: Path, killed: Path, put: str) -> None:
    """It would stay in the folder that is handed on, under whatever name it has."""
    frame_of(spark, {"name": pa.string()}, [("Ada",)]).coalesce(1).write.parquet(str(tmp_path / "private"))
    [private] = (tmp_path / "private").glob("*.parquet")
    place = killed / put
    if put.endswith("/"):
        place.mkdir()
    elif put.endswith(".crc") and place.exists():
        place.write_bytes(place.read_bytes() + b"Ada!")  # of an empty file; as long as a checksum of it could be
    elif put == "commit's end":
        [place] = (killed / "_delta_log").glob(".*.tmp")
        place.write_text(place.read_text() + "Ada")
    elif "link" in put:
        place.symlink_to(private)
    else:
        place.parent.mkdir(exist_ok=True)
        shutil.copy(private, place)
    with pytest.raises(SpecError, match="files that are not a release") as caught:
        check_sink(spark, TableRef(str(killed), None), "nafld", {}, drawn=drawn)
    assert (caught.value.exit_code, caught.value.where) == (2, "sink")
    assert "Ada" not in str(caught.value)
    assert place.exists()


def test_a_sink_inside_anothers_table_is_refused(spark: SparkSession, tmp_path: Path, schema: str) -> None:
    frame_of(spark, {"x": pa.int32()}, [(1,)]).write.format("delta").save(str(tmp_path / "lake"))
    spark.sql(f"CREATE SCHEMA {schema}_inside LOCATION '{tmp_path}/lake/deep'")
    (tmp_path / "link").symlink_to(tmp_path / "lake")
    places = [Location(path=f"{tmp_path}/{path}") for path in ("lake/deep/release", "link/release", "lake/x=1")]
    try:
        for place in [*places, Location(table=f"{schema}_inside.release")]:
            with pytest.raises(SpecError, match="the sink is inside a Delta table"):
                check_sink(spark, TableRef.of(place), "nafld", {})
        assert check_sink(spark, TableRef.of(Location(path=f"{tmp_path}/lake2/release")), "nafld", {}) is None
    finally:
        spark.sql(f"DROP SCHEMA {schema}_inside")


def test_a_table_that_is_not_there_yet_is_compared_by_where_it_will_be(
    spark: SparkSession, tmp_path: Path, schema: str
) -> None:
    ref = TableRef.of(Location(table=f"{schema}.Visits"))
    place = f"{os.path.realpath(tmp_path)}/wards/visits"
    assert location_of(spark, ref) == place
    with pytest.raises(SpecError, match="the sink is the source"):
        check_sink(spark, ref, "nafld", {"source": f'["/elsewhere", "{place}"]'})
    Path(place).mkdir(parents=True)
    (Path(place) / "people.csv").write_text("Ada")
    with pytest.raises(SpecError, match="files that are not a release"):
        check_sink(spark, ref, "nafld", {})


def test_a_release_of_the_same_dataset_is_accepted_and_of_another_refused(spark: SparkSession, published: TableRef) -> None:
    found = check_sink(spark, published, "nafld", {})
    assert found is not None
    assert found["release_id"] == "release-1"
    with pytest.raises(SpecError, match=r"another dataset \(nafld\)"):
        check_sink(spark, published, "credit", {})


@pytest.mark.parametrize("role", ["source", "ledger", "outbox"])
@pytest.mark.parametrize(
    ("place", "refused"),
    [
        ("data/kept", True), ("data/kept/inside/deep", True), ("data", True), (".", True), ("data/kept_not", False),
        ("data/other", False), ("elsewhere", False), ("data/link", True), ("data/link/inside", True),
        ("data/../data/kept", True),
    ],
)  # fmt: skip
def test_the_sink_is_never_what_must_be_kept_nor_inside_nor_above_it(
    spark: SparkSession, tmp_path: Path, role: str, place: str, refused: bool
) -> None:
    (tmp_path / "data" / "kept").mkdir(parents=True)
    (tmp_path / "data" / "link").symlink_to(tmp_path / "data" / "kept")
    ref = TableRef.of(Location(path=str(tmp_path / place)))
    apart = {"other": "/nowhere", role: os.path.realpath(tmp_path / "data" / "kept")}
    if not refused:
        assert check_sink(spark, ref, "nafld", apart) is None
        return
    with pytest.raises(SpecError, match=f"the sink is the {role}, or inside or above it") as caught:
        check_sink(spark, ref, "nafld", apart)
    assert caught.value.where == "sink"


@pytest.mark.parametrize("column", ["x", "Location"])
def test_a_table_by_name_is_compared_by_where_its_files_are(
    spark: SparkSession, tmp_path: Path, schema: str, column: str
) -> None:
    frame_of(spark, {column: pa.string()}, []).write.format("delta").saveAsTable(f"{schema}.ledger")
    ref = TableRef(None, f"{schema}.ledger")
    place = os.path.realpath(tmp_path / "wards" / "ledger")
    assert location_of(spark, ref) == place
    with pytest.raises(SpecError, match="the sink is the ledger"):
        check_sink(spark, ref, "nafld", {"ledger": place})
    with pytest.raises(SpecError, match="the sink is the ledger"):
        check_sink(spark, TableRef(place, None), "nafld", {"ledger": location_of(spark, ref)})


# --- the commit -------------------------------------------------------------------------------------------------------


def test_a_release_is_one_file_in_one_commit(published: TableRef) -> None:
    folder = Path(str(published.path))
    assert versions(published) == [0]
    assert len(list(folder.rglob("*.parquet"))) == 1
    assert len(log(published)["add"]) == 1
    assert len(log(published)["metaData"]) == 1


def test_rows_are_sorted_by_key_and_columns_keep_names_and_types(spark: SparkSession, published: TableRef) -> None:
    found = read_rows(spark, published, 0)
    assert found.to_pylist() == [
        {"g": None, "rows": -3, "rows_stddev": 1.5}, {"g": "a", "rows": 10, "rows_stddev": 1.5},
        {"g": "b", "rows": 20, "rows_stddev": 1.5},
    ]  # fmt: skip
    assert found.schema.types == ROWS.schema.types


def test_rows_are_sorted_by_all_keys_in_the_file_itself(spark: SparkSession, sink: TableRef) -> None:
    """Nothing of the order in which Spark found the keys is left."""
    shuffled = [(i * 7919 % 100, i * 31 % 10) for i in range(400)]
    columns = [pa.array([row[i] for row in shuffled], pa.int64()) for i in (0, 1)]
    publish(spark, sink, pa.Table.from_arrays(columns, names=["g", "h"]), manifest(group_by=["g", "h"], aggregates=[]), -1)
    found = [tuple(row.values()) for row in read_rows(spark, sink, 0).to_pylist()]
    assert found == sorted(shuffled)


def test_the_manifest_is_the_property_and_the_user_metadata_is_the_release_id(spark: SparkSession, published: TableRef) -> None:
    assert read_manifest(spark, published) == manifest()
    assert require_manifest(spark, published) == manifest()
    actions = log(published)
    assert actions["metaData"][0]["configuration"][MANIFEST_PROPERTY] == to_json(manifest())
    assert actions["commitInfo"][0]["userMetadata"] == "release-1"
    assert [(action["appId"], action["version"]) for action in actions["txn"]] == [("dp-spark/after--1", 1)]


def test_change_data_feed_and_deletion_vectors_are_off(spark: SparkSession, published: TableRef, sink: TableRef) -> None:
    defaults = "spark.databricks.delta.properties.defaults"
    names = (f"{defaults}.enableChangeDataFeed", f"{defaults}.enableDeletionVectors")
    for name in names:
        spark.conf.set(name, "true")
    try:
        publish(spark, sink, ROWS, manifest(), -1)
    finally:
        for name in names:
            spark.conf.unset(name)
    for ref in (published, sink):
        configuration = log(ref)["metaData"][0]["configuration"]
        assert configuration["delta.enableChangeDataFeed"] == "false"
        assert configuration["delta.enableDeletionVectors"] == "false"


def test_columns_carry_comments_from_the_manifest(spark: SparkSession, published: TableRef) -> None:
    comments = {row["col_name"]: row["comment"] for row in spark.sql(f"DESCRIBE TABLE {published.sql}").collect()}
    assert comments == {
        "g": "partition key",
        "rows": "count; with discrete laplace noise",
        "rows_stddev": "standard deviation of the noise in rows",
    }


def test_the_log_holds_only_released_values(published: TableRef) -> None:
    stats = json.loads(log(published)["add"][0]["stats"])
    assert stats == {
        "numRecords": 3,
        "minValues": {"g": "a", "rows": -3, "rows_stddev": 1.5},
        "maxValues": {"g": "b", "rows": 20, "rows_stddev": 1.5},
        "nullCount": {"g": 1, "rows": 0, "rows_stddev": 0},
    }
    metrics = log(published)["commitInfo"][0]["operationMetrics"]
    assert metrics["numOutputRows"] == "3"
    assert metrics["numFiles"] == "1"


@pytest.mark.parametrize("text", ["${HOME}", "${env:PATH} ${spark.app.name}", '`it\'s` "quoted" \\n é 🚲 -- ; %s'])
def test_a_manifest_survives_verbatim(spark: SparkSession, sink: TableRef, text: str) -> None:
    publish(spark, sink, ROWS, manifest(name=text), -1)
    assert read_manifest(spark, sink) == manifest(name=text)
    assert log(sink)["metaData"][0]["configuration"][MANIFEST_PROPERTY] == to_json(manifest(name=text))


@pytest.mark.parametrize("name", ["hourly-visits", "tokens", "password-resets", "secretary", "url-clicks"])
def test_a_manifest_survives_words_that_spark_redacts(spark: SparkSession, sink: TableRef, name: str) -> None:
    """SHOW TBLPROPERTIES hides a value in which spark.redaction.regex or "url" is found, even inside a word."""
    publish(spark, sink, ROWS, manifest(name=name), -1)
    assert read_manifest(spark, sink) == manifest(name=name)


KEY_TYPES = {
    "text": (pa.string(), ["", "é"]),
    "flag": (pa.bool_(), [False, True]),
    "tiny": (pa.int8(), [-128, 127]),
    "small": (pa.int16(), [-32768, 32767]),
    "whole": (pa.int32(), [-(2**31), 2**31 - 1]),
    "big": (pa.int64(), [-(2**63), 2**63 - 1]),
    "number": (pa.decimal128(38, 10), [Decimal("-0.0000000001"), Decimal("1234567890123456789012345678.0123456789")]),
    "day": (pa.date32(), [dt.date(1, 1, 1), dt.date(9999, 12, 31)]),
    "moment": (
        pa.timestamp("us", tz="UTC"),
        [dt.datetime(1900, 1, 1, tzinfo=dt.UTC), dt.datetime(2024, 7, 1, 12, 0, 0, 1, dt.UTC)],
    ),
    "local": (pa.timestamp("us"), [dt.datetime(1900, 1, 1), dt.datetime(2024, 7, 1, 12, 0, 0, 1)]),
}  # fmt: skip


def test_every_key_type_survives_with_its_nulls(spark: SparkSession, sink: TableRef) -> None:
    columns = [pa.array([None, *values], kind) for kind, values in KEY_TYPES.values()]
    rows = pa.Table.from_arrays(columns, names=list(KEY_TYPES))
    publish(spark, sink, rows, manifest(group_by=list(KEY_TYPES), aggregates=[]), -1)
    found = read_rows(spark, sink, 0)
    assert found.column_names == rows.column_names
    for name in rows.column_names:
        assert found.column(name).to_pylist() == rows.column(name).to_pylist(), name
    assert [str(kind) for kind in found.schema.types] == [str(kind) for kind in rows.schema.types]


def test_no_row_can_be_published_and_so_can_a_row_without_keys(spark: SparkSession, tmp_path: Path) -> None:
    empty, single = TableRef(str(tmp_path / "empty"), None), TableRef(str(tmp_path / "single"), None)
    publish(spark, empty, ROWS.slice(0, 0), manifest(), -1)
    found = read_rows(spark, empty, 0)
    assert found.num_rows == 0
    assert found.schema.types == ROWS.schema.types
    assert published_version(spark, empty, "release-1") == 0
    publish(spark, single, ROWS.slice(0, 1).select(["rows", "rows_stddev"]), manifest(group_by=[]), -1)
    assert read_rows(spark, single, 0).to_pylist() == [{"rows": 20, "rows_stddev": 1.5}]


# --- several commits --------------------------------------------------------------------------------------------------


def test_the_same_release_again_is_not_a_second_commit(spark: SparkSession, sink: TableRef) -> None:
    publish(spark, sink, ROWS, manifest(), -1)
    publish(spark, sink, released(["z"], [99]), manifest(), -1)
    assert versions(sink) == [0]
    assert read_rows(spark, sink, 0).num_rows == 3
    assert published_version(spark, sink, "release-1") == 0
    assert published_version(spark, sink, "release-2") is None


@pytest.mark.slow
def test_a_second_release_is_version_one_and_an_older_one_never_comes_back(spark: SparkSession, sink: TableRef) -> None:
    publish(spark, sink, ROWS, manifest(), -1)
    publish(spark, sink, released([5], [7], pa.int32()), manifest("release-2"), 0)
    assert versions(sink) == [0, 1]
    assert published_version(spark, sink, "release-1") == 0
    assert published_version(spark, sink, "release-2") == 1
    assert read_rows(spark, sink, 1).to_pylist() == [{"g": 5, "rows": 7, "rows_stddev": 1.5}]
    assert read_rows(spark, sink, 0).num_rows == 3, "what was published stays"
    with pytest.raises(ConflictError) as caught:  # the transaction of version -1 was committed already
        publish(spark, sink, ROWS, manifest(), -1)
    assert caught.value.exit_code == 5
    assert versions(sink) == [0, 1]
    assert read_manifest(spark, sink) == manifest("release-2")


def test_a_sink_in_a_schema_that_is_not_there_is_refused(spark: SparkSession) -> None:
    with pytest.raises(SpecError, match=r"there is no schema budget .*path: \./budget.table"):
        check_sink(spark, TableRef.parse("budget.table"), "nafld", {})


def test_a_release_by_table_name(spark: SparkSession, tmp_path: Path, schema: str) -> None:
    ref = TableRef.of(Location(table=f"{schema}.visits"))
    assert not exists(spark, ref)
    assert check_sink(spark, ref, "nafld", {"source": str(tmp_path / "source")}) is None
    publish(spark, ref, ROWS, manifest(), -1)
    assert exists(spark, ref)
    assert location_of(spark, ref) == os.path.realpath(tmp_path / "wards" / "visits")
    assert read_manifest(spark, ref) == manifest()
    assert published_version(spark, ref, "release-1") == 0
    assert [row["g"] for row in read_rows(spark, ref, 0).to_pylist()] == [None, "a", "b"]
