from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dp_spark.errors import SpecError
from dp_spark.places.identities import covers_source, joined_identities, same_source, split_identities
from dp_spark.places.paths import fixed_part, is_local, pattern_of, resolve, spark_path
from dp_spark.places.stores import overlap, unsafe_store

NAMES = st.text("abcXYZ019._-= ", min_size=1, max_size=6) | st.sampled_from([".", "..", "year=2024"])
PARTS = st.lists(NAMES, min_size=1, max_size=5).map("/".join)
AUTHORITIES = st.from_regex(r"\A[a-z0-9]{1,6}(:[0-9]{2,4})?\Z")
REMOTE = st.builds(
    lambda scheme, authority, tail, end: f"{scheme}://{authority}/{tail}{end}",
    st.sampled_from(["s3a", "S3A", "hdfs", "abfss", "gs"]), AUTHORITIES, PARTS, st.sampled_from(["", "/"]),
)  # fmt: skip
LOCAL = st.builds(
    lambda start, tail, end: start + tail + end,
    st.sampled_from(["", "/", "./", "file:///", "file:/", "/tmp//"]), PARTS, st.sampled_from(["", "/", "//"]),
)  # fmt: skip


@given(LOCAL | REMOTE)
@example("/")
@example("s3a://bucket")
@example("s3a://bucket/a//b")
def test_resolve_is_idempotent(path: str) -> None:
    assert resolve(resolve(path)) == resolve(path)


@given(LOCAL)
def test_a_resolved_local_path_is_absolute_and_plain(path: str) -> None:
    found = resolve(path)
    assert found.startswith("/")
    assert "//" not in found
    assert not {".", ".."} & set(found.split("/"))
    assert not found.endswith("/") or found == "/"


@given(REMOTE)
def test_a_resolved_remote_path_keeps_its_authority(path: str) -> None:
    scheme, _, rest = path.partition("://")
    found = resolve(path)
    assert found.startswith(f"{scheme.lower()}://{rest.split('/')[0]}")
    assert not {".", ".."} & set(found.split("/"))
    assert not found.endswith("/")


@given(LOCAL | REMOTE, LOCAL | REMOTE)
def test_overlap_is_symmetric(one: str, other: str) -> None:
    one, other = resolve(one), resolve(other)
    assert overlap(one, other) == overlap(other, one)
    assert overlap(one, one)


@given(LOCAL | REMOTE, st.from_regex(r"\A[a-z]{1,5}\Z"))
def test_a_folder_overlaps_what_is_inside_it_and_not_its_neighbour(path: str, name: str) -> None:
    folder = resolve(f"{path}/x/{name}")
    assert overlap(folder, f"{folder}/inside")
    assert not overlap(folder, f"{folder}1")
    assert not overlap(f"{folder}/a", f"{folder}/b")


def test_relative_paths_and_links_resolve_to_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.chdir(tmp_path)
    real = str((tmp_path / "real").resolve())
    assert resolve("link") == resolve("./real/") == resolve(f"file://{real}") == resolve(f"{real}/../link") == real


@pytest.mark.parametrize(
    ("path", "local"),
    [("x", True), ("/x", True), ("file:/x", True), ("FILE:///x", True), ("s3a://b/x", False), ("hdfs:///x", False)],
)  # fmt: skip
def test_is_local(path: str, local: bool) -> None:
    assert is_local(path) is local


@pytest.mark.parametrize(
    ("path", "fixed"),
    [
        ("/data/*/x", "/data"),
        ("/data/ev*", "/data"),
        ("/data/year=?/x", "/data"),
        ("/data/{a,b}", "/data"),
        ("/data/[ab]/c", "/data"),
        ("/data/x", "/data/x"),
        ("s3a://b/p/q*/r", "s3a://b/p"),
    ],
)
def test_fixed_part_is_above_the_first_wildcard(path: str, fixed: str) -> None:
    assert fixed_part(path) == fixed


@pytest.mark.parametrize(
    ("path", "same"),
    [("s3a://b//x", "s3a://b/x"), ("s3a://b/x//y/", "s3a://b/x/y"), ("hdfs://nn:9000//data/./x", "hdfs://nn:9000/data/x")],
)
def test_two_spellings_of_one_remote_folder_are_one_name(path: str, same: str) -> None:
    assert resolve(path) == resolve(same)


@pytest.mark.parametrize("scheme", ["dbfs", "gs"])
@pytest.mark.parametrize("slashes", ["/", "///"])
def test_the_first_folder_is_not_taken_for_an_authority(scheme: str, slashes: str) -> None:
    assert resolve(f"{scheme}:{slashes}mnt/lake/x/") == f"{scheme}:///mnt/lake/x"


@pytest.mark.parametrize("path", ["hdfs:///x", "hdfs:/x", "viewfs:/x", "HDFS:///x"])
def test_a_host_that_the_cluster_would_fill_in_is_asked_for(path: str) -> None:
    with pytest.raises(SpecError, match="without a host"):
        resolve(path)


@pytest.mark.parametrize(("path", "found"), [("/x", "dbfs:///x"), ("/dbfs/x", "dbfs:///x"), ("/mnt/a/../b", "dbfs:///mnt/b")])
def test_on_databricks_a_plain_path_is_in_dbfs(monkeypatch: pytest.MonkeyPatch, path: str, found: str) -> None:
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "17")
    assert resolve(path) == found == resolve(found) == resolve("dbfs:" + found.removeprefix("dbfs://"))
    assert resolve("file:/x") == "/x"


def test_spark_is_told_that_a_plain_path_is_on_this_machine() -> None:
    assert spark_path(resolve("/data/x")) == "file:/data/x"
    assert spark_path(resolve("S3A://b/x")) == "s3a://b/x"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("s3://b/x", "s3a://b/x/y"),
        ("s3n://b/x", "s3://b/x"),
        ("hdfs://NN:8020/x", "hdfs://nn:8020/x"),
        ("abfs://c@a.dfs.core.windows.net/x", "abfss://c@a.dfs.core.windows.net/x"),
        ("hdfs://nn:8020/x", "hdfs://nn/x"),
        ("webhdfs://nn:9870/x", "hdfs://nn/x/y"),
        ("wasbs://c@a.blob.core.windows.net/x", "abfss://c@a.dfs.core.windows.net/x"),
        ("wasb://c@A.blob.core.chinacloudapi.cn/x", "abfs://c@a.dfs.core.chinacloudapi.cn/x/y"),
        ("abfss://c@a.privatelink.dfs.core.windows.net/x", "abfss://c@a-secondary.dfs.core.windows.net/x"),
        ("hdfs://nn./x", "hdfs://nn/x"),
        ("webhdfs://nn.:9870/x", "hdfs://NN/x/y"),
        ("ofs://om.x.org.:9862/v", "ofs://om.x.org:9862/v/b"),
        ("wasbs://c@a.blob.core.windows.net./x", "abfss://c@a.dfs.core.windows.net/x"),
        ("abfss://c@a.dfs.core.windows.net:443/x", "abfss://c@a.dfs.core.windows.net/x"),
        ("/dbfs/mnt/x", "dbfs:///mnt/x"),
        ("/Volumes/a/b/c", "dbfs:///Volumes/a/b/c/d"),
        ("/dbfs/Volumes/a", "dbfs:///Volumes/a"),
        ("s3a://key:secret@b/x", "s3://b/x"),
        ('["/data/a", "/data/b"]', "/data/b/inside"),
        ('["/data/a", "/data/b"]', '["/data/c", "/data/b"]'),
        ('["jdbc:db:t", "db:a::t..d"]', "jdbc:db:t.schema"),
        ("db:a:p:t..d", "db:a::t.s.d"),
        ("table:a.`b.c`.t", "table:a.`b.c`.t"),
        ("jdbc:db:t", "jdbc:db:t.schema"),
        ("jdbc:db:t.schema.base", "jdbc:db:t.schema"),
        ("table:spark_catalog.a.t", "table:spark_catalog.a.t"),
    ],
)
def test_two_spellings_of_one_source_are_one(one: str, other: str) -> None:
    assert same_source(one, other)
    assert same_source(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("s3a://B/x", "s3a://b/x"),
        ("hdfs://nn/x", "hdfs://other/x"),
        ("ofs://om:9862/x", "ofs://om:9863/x"),
        ("jdbc:db:t", "jdbc:db:u"),
        ("jdbc:db:t", "jdbc:other:t"),
        ("jdbc:db:t.a", "jdbc:db:t.b"),
        ("table:c.a.t", "table:c.b.t"),
        ("/data/x", "s3a://data/x"),
        ("abfss://c@a.dfs.core.windows.net/x", "abfss://c@b.dfs.core.windows.net/x"),
        ("abfss://c@a.dfs.core.windows.net/x", "abfss://d@a.dfs.core.windows.net/x"),
        ("/dbfsx/y", "dbfs:///x/y"),
        ("/data/dbfs/x", "dbfs:///x"),
        ('["/data/a", "/data/b"]', '["/data/c", "/data/bc"]'),
        ("db:a:p:t..d", "db:a:q:t..d"),
        ("db:a:p:t..d", "db:a:p:t..e"),
        ("table:a.b", "/a.b"),
    ],
)
def test_other_sources_are_others(one: str, other: str) -> None:
    assert not same_source(one, other)


def test_only_plain_s3_is_warned_about() -> None:
    assert "DynamoDB" in unsafe_store("s3://b/x")
    assert [unsafe_store(path) for path in ("/x", "gs://b/x", "hdfs://nn/x", "abfss://c@a/x", "")] == [""] * 5


@pytest.mark.parametrize(
    "path", ["/a/{b,c}", "/a/{b,../../c}", "da\\ta/people", "s3a://b/x\\*", "/a/[b]/{c}", "s3a://b/{x,y}", "/a/b}"]
)
def test_what_a_reader_would_interpret_and_we_do_not_is_refused(path: str) -> None:
    with pytest.raises(SpecError, match="only where a local folder has exactly this name") as caught:
        pattern_of(resolve(path), where="source.path")
    assert (caught.value.exit_code, caught.value.where) == (2, "source.path")


def test_a_folder_that_is_there_is_meant_as_it_is_written(tmp_path: Path) -> None:
    for name in ("a[1]", "b{c}", "d*", "e?", "f\\g", "plain"):
        (tmp_path / name).mkdir()
        told = pattern_of(resolve(str(tmp_path / name)), where="x").removeprefix(os.path.realpath(tmp_path))
        assert re.sub(r"\\(.)", r"\1", told) == f"/{name}", "Hadoop takes what follows a backslash as it is"
        assert not re.search(r"(?<!\\)[*?\[\]{}]", told)
        assert fixed_part(resolve(str(tmp_path / name))) == f"{os.path.realpath(tmp_path)}/{name}"
        below = resolve(f"{tmp_path}/{name}/year=*")
        assert pattern_of(below, where="x").endswith(f"{told}/year=*")
        assert fixed_part(below) == f"{os.path.realpath(tmp_path)}/{name}"


def test_the_home_folder_is_the_shells(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert resolve("~/data/x") == f"{os.path.realpath(tmp_path)}/data/x"
    assert resolve("~") == os.path.realpath(tmp_path)
    with pytest.raises(SpecError, match="no such home folder") as caught:
        resolve("~nobody_4711/x")
    assert caught.value.mend == "write ./~nobody_4711/x for a folder of this name"
    assert resolve("./~nobody_4711/x") == f"{os.path.realpath(tmp_path)}/~nobody_4711/x"


@given(st.lists(st.sampled_from(["/a", "s3a://b/[x]", 'table:a.`"`', "jdbc:1:2", 'x"]', "é"]), min_size=1, unique=True))
def test_identities_are_one_text_and_come_back(identities: list[str]) -> None:
    text = joined_identities(identities)
    assert split_identities(text) == tuple(identities)
    assert (text == identities[0]) == (len(identities) == 1), "a single one is as earlier versions wrote it"


@pytest.mark.parametrize("text", ["[", "[]", "[1]", '["a", null]'])
def test_what_is_no_list_of_identities_is_said_to_be(text: str) -> None:
    with pytest.raises(ValueError, match=r"no list of identities|Expecting value"):
        split_identities(text)


def test_what_does_not_begin_like_a_list_is_one_identity() -> None:
    assert split_identities('{"a": 1}]') == ('{"a": 1}]',)


@pytest.mark.parametrize(
    ("charged", "now", "covered"),
    [
        ("/a", "/a", True),
        ('["/a", "/b"]', '["/a", "/b"]', True),
        ('["/a", "/b"]', "/a", True),
        ('["/a", "/b"]', '["/a", "/b/c"]', True),
        ("/a", '["/a", "/b"]', False),
        ("/a", "/a/b", False),
        ("/a/b", "/a", False),
        ('["/a", "/b"]', "/b", False),
        ("jdbc:1:2", '["jdbc:1:2", "db:3:4:5"]', True),
        ("jdbc:1:2", '["jdbc:9:2", "db:3:4:5"]', False),
        ("table:a.b", "table:a.b", True),
        ("table:a.b", '["table:a.b", "/c"]', False),
    ],
)
def test_a_charge_goes_on_where_no_folder_came_to_be_added(charged: str, now: str, covered: bool) -> None:
    assert covers_source(charged, now) is covered
