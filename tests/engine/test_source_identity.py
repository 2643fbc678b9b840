"""One source has one identity, however it is written: otherwise it would have a second budget."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from frames import frame_of, tuples
from helpers import release_spec
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from source_helpers import opened, source

from dp_spark.engine.source_identity import folders_outside, source_identity, source_location
from dp_spark.engine.units import require_units
from dp_spark.errors import SourceError, SpecError
from dp_spark.places.identities import same_source, split_identities

pytestmark = pytest.mark.books_in_memory

PARQUET = {"id": pa.int32(), "patient": pa.string()}


def identity(spark: SparkSession, **keys: Any) -> str:
    return source_identity(spark, source(**keys))


def test_a_path_has_one_identity_however_it_is_written(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data" / "visits"
    folder.mkdir(parents=True)
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "above").symlink_to(folder.parent)
    monkeypatch.chdir(tmp_path)
    written = [
        str(folder), f"{folder}/", f"{folder.parent}//visits", f"{folder}/../visits", f"file:{folder}", f"file://{folder}",
        "data/visits", "./data/visits/", "link", str(tmp_path / "above" / "visits"),
    ]  # fmt: skip
    assert {identity(spark, format="delta", path=path) for path in written} == {os.path.realpath(folder)}
    assert identity(spark, format="parquet", path="link") == os.path.realpath(folder), "whatever it is read as"
    assert identity(spark, format="delta", path="data/other") != os.path.realpath(folder)


def test_a_wildcard_is_the_folder_above_it(spark: SparkSession, tmp_path: Path) -> None:
    for pattern in ("year=*", "year=*/part-?.parquet", "[ab]", "{a,b}/c"):
        assert identity(spark, format="parquet", path=f"{tmp_path}/visits/{pattern}") == f"{os.path.realpath(tmp_path)}/visits"


@pytest.mark.parametrize("folder", ["plain", "with space", "per%cent"])
def test_a_table_and_its_path_are_one_source(
    spark: SparkSession, visits: DataFrame, schema: str, tmp_path: Path, folder: str
) -> None:
    path = tmp_path / folder
    visits.limit(1).write.option("path", str(path)).format("parquet").saveAsTable(f"{schema}.outside")
    by_path = identity(spark, format="parquet", path=str(path))
    assert by_path == os.path.realpath(path)
    for name in (f"{schema}.outside", f"{schema.upper()}.Outside", f"spark_catalog.{schema}.outside"):
        assert identity(spark, table=name) == by_path
    assert source_location(spark, source(table=f"{schema}.outside")) == by_path


def test_a_table_with_a_column_named_location_is_where_its_files_are(
    spark: SparkSession, visits: DataFrame, schema: str, tmp_path: Path
) -> None:
    for name in ("Location", "location", "# Detailed Table Information"):
        visits.limit(1).selectExpr(f"test AS `{name}`").write.mode("overwrite").format("parquet").option(
            "overwriteSchema", "true"
        ).saveAsTable(f"{schema}.places")
        assert identity(spark, table=f"{schema}.places") == f"{os.path.realpath(tmp_path)}/wards/places"


def test_a_version_of_a_delta_table_is_the_same_source(spark: SparkSession, visits: DataFrame, tmp_path: Path) -> None:
    """Delta reads /path@v0 as version 0 of /path: one source has one budget, whatever version is read."""
    path = str(tmp_path / "visits")
    visits.write.format("delta").save(path)
    try:
        rows = tuples(opened(spark, format="delta", path=f"{path}@v0"))
    except (SourceError, SpecError):
        return  # refusing it is as good
    assert len(rows) == 3
    assert identity(spark, format="delta", path=f"{path}@v0") == identity(spark, format="delta", path=path)


def test_a_missing_table_is_known_by_its_name(spark: SparkSession) -> None:
    assert identity(spark, table="Main.Gold.Visits") == "table:main.gold.visits"
    assert source_location(spark, source(table="Main.Gold.Visits")) is None


def test_a_jdbc_source_is_known_by_address_and_table_and_shows_no_option(spark: SparkSession) -> None:
    def of(url: str, dbtable: str = "visits", **more: str) -> str:
        return identity(spark, format="jdbc", options={"url": url, "dbtable": dbtable, **more})

    base = of("jdbc:postgresql://host-4711/ward")
    assert {identity.partition(":")[0] for identity in split_identities(base)} == {"jdbc", "db"}
    for part in ("4711", "ward", "visits", "postgresql"):
        assert part not in base
    assert of("jdbc:postgresql://host-4711/ward?user=me&password=secret", user="me", password="secret") == base
    assert of("jdbc:postgresql://host-4711/ward;create=true", "VISITS", fetchsize="10") == base
    assert of("jdbc:postgresql://HOST-4711:5432/ward/") == base
    assert of("jdbc:sqlserver://h;databaseName=a") != of("jdbc:sqlserver://h;databaseName=b")
    for qualified in ("public.visits", "ward.public.visits"):
        assert same_source(of("jdbc:postgresql://host-4711/ward", qualified), base)
    others = {of("jdbc:postgresql://host-4711/other"), of("jdbc:postgresql://host-4711/ward", "people"), base}
    assert len(others) == 3
    options = {"URL": "jdbc:postgresql://host-4711/ward", "dbTable": "visits"}
    assert identity(spark, format="jdbc", options=options) == base
    assert source_location(spark, source(format="jdbc", options=options)) is None


@pytest.mark.parametrize("spelled", ["@v0", "@V0", "@v0/", "@v0/.", "@V17//", "@20240101000000000"])
def test_every_spelling_of_a_version_is_the_table(spark: SparkSession, tmp_path: Path, spelled: str) -> None:
    path = str(tmp_path / "visits")
    assert identity(spark, format="delta", path=f"{path}{spelled}") == identity(spark, format="delta", path=path)


def as_read(spark: SparkSession, **keys: Any) -> list[str]:
    """The identities of a source as a run finds them, without the test's folder."""
    found = split_identities(source_identity(spark, source(**keys), opened(spark, **keys)))
    return [item.replace(os.path.realpath("."), "") for item in found]


@pytest.mark.slow
def test_the_folders_of_all_files_are_identities(
    spark: SparkSession, visits: DataFrame, schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the files come to be read: by a link, a wildcard, a partition's location, a clone."""
    monkeypatch.chdir(tmp_path)
    visits.coalesce(1).write.parquet(f"{tmp_path}/src")
    [file] = Path("src").glob("*.parquet")
    Path("links").mkdir()
    Path("links/in").symlink_to(tmp_path / "src")
    Path("file").mkdir()
    Path("file/one.parquet").symlink_to(tmp_path / file)
    expected = {
        "links": ["/links", "/src"],
        "links/*": ["/links", "/src"],
        "file": ["/file", "/src"],
        "sr*": [""],
        "src": ["/src"],
    }
    for path, folders in expected.items():
        options = {"recursiveFileLookup": "true"} if path == "links" else {}
        assert as_read(spark, format="parquet", path=path, options=options) == folders, path
    spark.sql(f"CREATE TABLE {schema}.parts (id INT, p STRING) USING parquet PARTITIONED BY (p)")
    spark.sql(f"ALTER TABLE {schema}.parts ADD PARTITION (p = 'x') LOCATION '{tmp_path}/src'")
    assert as_read(spark, table=f"{schema}.parts") == ["/wards/parts", "/src"]

    visits.write.format("delta").partitionBy("test").save(f"{tmp_path}/lake")
    spark.sql(f"CREATE TABLE delta.`{tmp_path}/clone` SHALLOW CLONE delta.`{tmp_path}/lake`")
    assert as_read(spark, format="delta", path="clone") == ["/clone", "/lake"], "no test=a is told"
    assert as_read(spark, format="delta", path="lake") == ["/lake"]


def test_a_row_that_is_a_unit_is_read_once(spark: SparkSession, visits: DataFrame, schema: str, tmp_path: Path) -> None:
    """Rows that a link or a partition's location leads to twice would be two units."""
    rows = {"privacy_unit": {"row": True}, "contribution_bounds": None, "group_by": [], "partitions": None}
    one_by_one = visits.withColumn("part", F.col("id"))
    one_by_one.write.parquet(f"{tmp_path}/rows/a")
    one_by_one.write.partitionBy("part").saveAsTable(f"{schema}.parts", format="parquet")
    path, table = {"format": "parquet", "path": f"{tmp_path}/rows/*"}, {"table": f"{schema}.parts"}

    def check(keys: dict[str, Any], **changes: Any) -> None:
        require_units(opened(spark, **keys), release_spec(source=keys, **changes))

    check(path, **rows)
    check(table, **rows)
    (tmp_path / "rows" / "link").symlink_to(tmp_path / "rows" / "a")
    spark.sql(f"ALTER TABLE {schema}.parts ADD PARTITION (part = 9) LOCATION '{tmp_path}/wards/parts/part=3'")
    for keys, where in ((path, "source.path"), (table, "source.table")):
        with pytest.raises(SourceError, match="where each row is a privacy unit") as caught:
            check(keys, **rows)
        assert caught.value.where == where
        check(keys, privacy_unit="id")


def test_no_partition_of_a_source_is_told(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which patients have a folder is a private value, and so is how many files there are."""
    monkeypatch.chdir(tmp_path)
    frame_of(spark, PARQUET, [(1, "17"), (2, "18")]).coalesce(1).write.partitionBy("patient").parquet(f"{tmp_path}/far/away")
    Path("near").mkdir()
    for name in ("17", "18"):
        Path(f"near/patient={name}").symlink_to(tmp_path / f"far/away/patient={name}")
    first = as_read(spark, format="parquet", path="near")
    assert first == ["/near", "/far/away"]
    assert as_read(spark, format="parquet", path="far/away") == ["/far/away"]
    Path("near/patient=17").unlink()
    frame_of(spark, {"id": pa.int32()}, [(3,), (4,)]).repartition(2).write.mode("append").parquet(
        f"{tmp_path}/far/away/patient=18"
    )
    assert as_read(spark, format="parquet", path="near") == first


@pytest.mark.parametrize(
    ("own", "files", "outside"),
    [
        ("s3a://b/t", ["s3a://b/t/p=1/x", "s3://b/t/y"], []),
        ("s3a://b/a b", ["s3a://b/a%20b/x"], []),
        ("s3a://b/t", ["s3a://b/u/p=1/q=2/x", "s3a://b/u/p=2/x", "s3a://b/u/v/x"], ["s3a://b/u"]),
        ("abfss://c@a.dfs.core.windows.net/t", ["wasbs://c@a.blob.core.windows.net/t/x"], []),
        ("hdfs://nn:8020/t", ["hdfs://nn/t/x", "hdfs://nn/u/x"], ["hdfs://nn/u"]),
        ("table:a.b", ["hdfs://nn/u/x"], ["hdfs://nn/u"]),
        ("/nowhere/t", ["file:///nowhere/t/x", "file:/nowhere/tt/x"], ["/nowhere/tt"]),
    ],
)
def test_what_lies_in_the_sources_own_place_is_not_told_again(own: str, files: list[str], outside: list[str]) -> None:
    assert folders_outside(own, files, where="source") == outside


@pytest.mark.parametrize("file", ["s3a://b/p=1/x", "file:/p=1/x"])
def test_a_partition_at_the_root_of_a_store_is_no_place(file: str) -> None:
    """Everything else in that store would be the same source."""
    with pytest.raises(SourceError, match="at the root of a store"):
        folders_outside("s3a://c/t", [file], where="source")


def test_a_table_is_known_by_its_full_name(spark: SparkSession, schema: str) -> None:
    spark.sql(f"CREATE TABLE {schema}.visits (id INT) USING parquet")
    here = spark.catalog.currentDatabase()
    spark.catalog.setCurrentDatabase(schema)
    try:
        assert identity(spark, table="visits") == identity(spark, table=f"{schema}.visits")
    finally:
        spark.catalog.setCurrentDatabase(here)
