"""One source has one identity, however it is written: otherwise it would have a second budget."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from frames import tuples
from pyspark.sql import DataFrame, SparkSession
from source_helpers import opened, source

from dp_spark.errors import SourceError, SpecError
from dp_spark.paths import same_source
from dp_spark.source_identity import source_identity, source_location

pytest_plugins = ("source_fixtures",)


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
    assert base.startswith("jdbc:")
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


def test_a_wildcard_that_leads_out_by_a_link_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    (tmp_path / "links").mkdir()
    assert identity(spark, format="parquet", path=f"{tmp_path}/links/*") == f"{os.path.realpath(tmp_path)}/links"
    (tmp_path / "links" / "e1").symlink_to(tmp_path / "events")
    with pytest.raises(SpecError, match="a link to another folder"):
        identity(spark, format="parquet", path=f"{tmp_path}/links/*")


def test_a_table_is_known_by_its_full_name(spark: SparkSession, schema: str) -> None:
    spark.sql(f"CREATE TABLE {schema}.visits (id INT) USING parquet")
    here = spark.catalog.currentDatabase()
    spark.catalog.setCurrentDatabase(schema)
    try:
        assert identity(spark, table="visits") == identity(spark, table=f"{schema}.visits")
    finally:
        spark.catalog.setCurrentDatabase(here)
