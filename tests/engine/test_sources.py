"""Opening sources: every format, metadata only, and no option that reads, repeats or rejects by value."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chispa import assert_df_equality
from frames import frame_of, tuples
from helpers import release_spec
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T
from source_helpers import DERBY, ROWS, SCHEMA, opened

from dp_spark.engine.columns import require_key, require_numeric
from dp_spark.engine.providers import provider_of
from dp_spark.errors import SourceError, SpecError
from dp_spark.spark.errors import SPARK_ERRORS
from dp_spark.spark.settings import RELEASE_SETTINGS, settings

pytestmark = pytest.mark.books_in_memory

# --- every format -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["delta", "parquet", "orc"])
def test_formats_with_a_schema_of_their_own(spark: SparkSession, visits: DataFrame, tmp_path: Path, kind: str) -> None:
    path = str(tmp_path / "visits")
    visits.write.format(kind).save(path)
    assert_df_equality(opened(spark, format=kind, path=path), visits, ignore_row_order=True)


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_formats_that_are_read_by_the_files_schema(spark: SparkSession, visits: DataFrame, tmp_path: Path, kind: str) -> None:
    path = str(tmp_path / "visits")
    visits.write.format(kind).option("header", "true").save(path)
    found = opened(spark, format=kind, path=path, schema=SCHEMA)
    assert_df_equality(found, visits, ignore_row_order=True)


def test_csv_options_reach_the_reader(spark: SparkSession, tmp_path: Path) -> None:
    path = tmp_path / "visits.csv"
    path.write_text("1;x y\n2;z\n")
    options = {"Header": False, "sep": ";"}
    found = opened(spark, format="csv", path=str(path), schema={"id": "int", "a.b": "string"}, options=options)
    assert tuples(found) == [(1, "x y"), (2, "z")]
    assert found.columns == ["id", "a.b"]


def test_relative_paths_are_those_of_the_current_directory(
    spark: SparkSession, visits: DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visits.write.parquet(str(tmp_path / "here" / "visits"))
    monkeypatch.chdir(tmp_path / "here")
    assert len(tuples(opened(spark, format="parquet", path="visits"))) == 3


@pytest.mark.parametrize("kind", ["delta", "parquet"])
def test_catalog_tables_by_name(spark: SparkSession, visits: DataFrame, schema: str, kind: str) -> None:
    visits.write.format(kind).saveAsTable(f"{schema}.visits")
    for name in (f"{schema}.visits", f"spark_catalog.{schema}.visits"):
        assert_df_equality(opened(spark, table=name), visits, ignore_row_order=True)


def test_an_external_table_is_a_table(spark: SparkSession, visits: DataFrame, schema: str, tmp_path: Path) -> None:
    visits.write.option("path", str(tmp_path / "outside")).format("delta").saveAsTable(f"{schema}.visits")
    assert len(tuples(opened(spark, table=f"{schema}.visits"))) == 3


def test_jdbc_tables(spark: SparkSession, visits: DataFrame) -> None:
    url = "jdbc:derby:memory:wards;create=true"
    visits.write.jdbc(url, "visits", mode="overwrite", properties={"driver": DERBY})
    found = opened(spark, format="jdbc", options={"url": url, "dbtable": "visits", "driver": DERBY})
    assert sorted(tuples(found)) == ROWS
    assert dict(found.dtypes) == {"id": "int", "test": "string", "value": "double"}
    with pytest.raises(SourceError) as caught:
        opened(spark, format="jdbc", options={"url": url, "dbtable": "nowhere", "driver": DERBY, "password": "pw-4711"})
    assert "4711" not in str(caught.value)
    assert "derby" not in str(caught.value), "option values reach no error"


# --- what cannot be opened --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["delta", "parquet", "orc", "csv", "json"])
def test_a_missing_path_is_a_source_error(spark: SparkSession, tmp_path: Path, kind: str) -> None:
    keys: dict[str, Any] = {"format": kind, "path": str(tmp_path / "nowhere")}
    if kind in ("csv", "json"):
        keys["schema"] = SCHEMA
    with pytest.raises(SourceError, match=f"cannot be opened as {kind}") as caught:
        _ = opened(spark, **keys).schema
    assert caught.value.exit_code == 4
    assert caught.value.where == "source"
    assert caught.value.mend


def test_the_wrong_format_and_an_empty_folder_are_source_errors(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "text.csv").write_text("id\n4711\n")
    (tmp_path / "empty").mkdir()
    for kind, name in (("parquet", "text.csv"), ("orc", "text.csv"), ("delta", "empty"), ("parquet", "empty")):
        with pytest.raises(SourceError) as caught:
            opened(spark, format=kind, path=str(tmp_path / name))
        assert "4711" not in str(caught.value)


def test_a_missing_table_is_a_source_error(spark: SparkSession) -> None:
    for name in ("nowhere", "no_schema.nowhere", "no_catalog.no_schema.nowhere"):
        with pytest.raises(SourceError, match="cannot be opened"):
            opened(spark, table=name)


def test_views_are_refused_of_every_kind(spark: SparkSession, visits: DataFrame, schema: str) -> None:
    visits.write.format("parquet").saveAsTable(f"{schema}.visits")
    spark.sql(f"CREATE VIEW {schema}.newest AS SELECT * FROM {schema}.visits LIMIT 1")
    visits.createOrReplaceTempView("a_temp_view")
    visits.createOrReplaceGlobalTempView("a_global_view")
    spark.sql(f"CREATE OR REPLACE TEMP VIEW another_view AS SELECT * FROM {schema}.visits")
    try:
        for name in (f"{schema}.newest", "a_temp_view", "global_temp.a_global_view", "another_view"):
            with pytest.raises(SourceError, match=r"not a plain table|cannot be opened") as caught:
                opened(spark, table=name)
            assert caught.value.where == "source"
        with pytest.raises(SourceError, match=r"VIEW.*name the table under the view"):
            opened(spark, table=f"{schema}.newest")
    finally:
        for name in ("a_temp_view", "another_view"):
            spark.catalog.dropTempView(name)
        spark.catalog.dropGlobalTempView("a_global_view")


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_csv_and_json_need_a_schema(spark: SparkSession, visits: DataFrame, tmp_path: Path, kind: str) -> None:
    visits.write.format(kind).save(str(tmp_path / "visits"))
    with pytest.raises(SpecError, match="needs a schema") as caught:
        opened(spark, format=kind, path=str(tmp_path / "visits"))
    assert caught.value.where == "source.schema"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("kind", ["nonsense", "int, other string", "int comment 'x'", "string) --", "decimal(99,0)"])
def test_a_schema_holds_types_and_nothing_else(spark: SparkSession, tmp_path: Path, kind: str) -> None:
    (tmp_path / "x.csv").write_text("a,b\n")
    with pytest.raises(SpecError, match=r"source\.schema") as caught:
        opened(spark, format="csv", path=str(tmp_path / "x.csv"), schema={"a": kind, "b": "int"})
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "option",
    [
        "inferSchema",
        "INFERSCHEMA",
        "samplingRatio",
        "query",
        "prepareQuery",
        "sessionInitStatement",
        "badRecordsPath",
        "path",
        "hint",
        "maxCharsPerColumn",
        "maxColumns",
        "unescapedQuoteHandling",
        "readChangeFeed",
        "basePath",
        "predicates",
    ],
)
def test_options_that_read_values_or_change_rows_are_refused(option: str) -> None:
    with pytest.raises(SpecError, match="is refused") as caught:
        release_spec(source={"format": "csv", "path": "x", "schema": SCHEMA, "options": {option: "true"}})
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"format": "csv", "path": "x", "options": {"mode": "failfast"}}, "the mode must be one of"),
        ({"format": "csv", "path": "x", "options": {"sep": ";", "SEP": ","}}, "an option is given twice"),
        ({"format": "jdbc", "options": {"url": "jdbc:x", "dbtable": "(select 1) t"}}, "dbtable must be a plain table name"),
        ({"format": "jdbc", "options": {"url": "jdbc:x"}}, "needs the options url and dbtable"),
        ({"format": "jdbc", "path": "x", "options": {"url": "jdbc:x", "dbtable": "t"}}, "a jdbc source has options, no path"),
        ({"format": "delta", "path": "x", "schema": {"a": "int"}}, "schema is for csv and json"),
        ({"table": "a.b", "options": {"versionAsOf": "1"}}, "has either a table, or a format with a path"),
        ({"table": "a.b", "path": "x"}, "has either a table, or a format with a path"),
        ({"format": "delta"}, "a delta source needs a path"),
        ({"path": "x"}, "needs a table, or a format with a path"),
    ],
)
def test_contradictory_sources_are_refused(broken: Mapping[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        release_spec(source=dict(broken))


# --- columns in the wrong place ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["b,a", "a,c", "a,b,c"])
@pytest.mark.parametrize("select", ["a", "b"])
def test_a_header_that_disagrees_with_the_schema_never_gives_another_column(
    spark: SparkSession, tmp_path: Path, header: str, select: str
) -> None:
    (tmp_path / "x.csv").write_text(f"{header}\n1,2{',3' * (header.count(',') - 1)}\n")
    found = opened(spark, format="csv", path=str(tmp_path / "x.csv"), schema={"a": "int", "b": "int"})
    try:
        values = tuples(found.select(select))
    except SPARK_ERRORS:
        return
    assert values == [({"a": 1, "b": 2}[select],)], "read only where the column is in its place"
    assert header.split(",")[{"a": 0, "b": 1}[select]] == select


@pytest.mark.parametrize("option", ["enforceSchema", "enforceschema"])
def test_no_option_switches_the_check_of_the_header_off(spark: SparkSession, tmp_path: Path, option: str) -> None:
    (tmp_path / "x.csv").write_text("b,a\n1,2\n")
    try:
        found = opened(
            spark, format="csv", path=str(tmp_path / "x.csv"), schema={"a": "int", "b": "int"}, options={option: True}
        )
        values = tuples(found)
    except (SpecError, *SPARK_ERRORS, ValueError):
        return
    assert values == [(2, 1)]


# --- no value is read -------------------------------------------------------------------------------------------------


def jobs_of(spark: SparkSession, **keys: Any) -> tuple[int, DataFrame]:
    """How many Spark jobs opening and checking takes, and the frame."""
    context, group = spark.sparkContext, str(uuid.uuid4())
    context.setJobGroup(group, group)
    try:
        frame = opened(spark, **keys)
        require_key(frame, "id", where="privacy_unit")
        require_numeric(frame, "value", where="aggregates.x")
        _ = frame.withColumn("more", F.expr("value + 1")).schema
        return len(context.statusTracker().getJobIdsForGroup(group)), frame
    finally:
        context.setLocalProperty("spark.jobGroup.id", None)


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_opening_and_checking_csv_and_json_runs_no_job(spark: SparkSession, tmp_path: Path, kind: str) -> None:
    """What the file holds is not even looked at: garbage opens like data."""
    path = tmp_path / "garbage"
    path.write_bytes(bytes(range(256)) * 9)
    number, frame = jobs_of(spark, format=kind, path=str(path), schema=SCHEMA)
    assert number == 0
    assert frame.columns == list(SCHEMA)


@pytest.mark.parametrize("kind", ["parquet", "delta"])
def test_opening_parquet_and_delta_reads_no_data_page(
    spark: SparkSession, visits: DataFrame, tmp_path: Path, kind: str
) -> None:
    """The pages are gone, the footer with the schema is there: opening and checking works, reading does not."""
    path = tmp_path / "visits"
    visits.write.format(kind).save(str(path))
    for file in path.glob("*.parquet"):
        data = bytearray(file.read_bytes())
        footer = int.from_bytes(data[-8:-4], "little") + 8
        data[4:-footer] = bytes(len(data) - footer - 4)
        file.write_bytes(data)
        (path / f".{file.name}.crc").unlink()
    number, frame = jobs_of(spark, format=kind, path=str(path))
    assert number <= 1, "at most the one that reads a footer"
    with pytest.raises(SPARK_ERRORS):
        tuples(frame)


# --- tables of a catalog: the provider decides ------------------------------------------------------------------------


def test_only_tables_whose_rows_are_those_of_their_files_are_read(
    spark: SparkSession, visits: DataFrame, schema: str, tmp_path: Path
) -> None:
    """The catalog calls all of them MANAGED or EXTERNAL."""
    plain, url = str(tmp_path / "plain"), "jdbc:derby:memory:hidden;create=true"
    visits.write.parquet(plain)
    visits.write.jdbc(url, "visits", mode="overwrite", properties={"driver": DERBY})
    query = "(select case when exists (select * from visits) then 1 else 0 end as id from sysibm.sysdummy1) x"
    made = {
        "query": f"USING jdbc OPTIONS (url '{url}', dbtable '{query}', driver '{DERBY}')",
        "lines": f"(id INT) USING csv OPTIONS (path '{plain}', inferSchema 'true', mode 'FAILFAST')",
        "documents": f"(id INT) USING json LOCATION '{plain}'",
        "words": f"(value STRING) USING text LOCATION '{plain}'",
        "skipping": f"(id INT) USING parquet OPTIONS (path '{plain}', ignoreCorruptFiles 'true')",
        "merging": f"(id INT) USING parquet OPTIONS (path '{plain}', mergeSchema 'true')",
    }
    refused = {
        "query": "format: jdbc with the options url and dbtable", "lines": "format: csv with its path and a schema",
        "documents": "format: json with its path and a schema", "words": "a Delta table made of it",
        "skipping": "by format: parquet and path",
    }  # fmt: skip
    for name, definition in made.items():
        spark.sql(f"CREATE TABLE {schema}.{name} {definition}")
    for name, mend in refused.items():
        with pytest.raises(SourceError) as caught:
            opened(spark, table=f"{schema}.{name}")
        assert (caught.value.exit_code, caught.value.where) == (4, "source")
        assert mend in caught.value.mend, name
    assert opened(spark, table=f"{schema}.merging").count() == 3
    # A table of a database's catalog: its type says MANAGED, and it has no provider.
    catalog = "spark.sql.catalog.ward_database"
    spark.conf.set(catalog, "org.apache.spark.sql.execution.datasources.v2.jdbc.JDBCTableCatalog")
    spark.conf.set(f"{catalog}.url", url)
    spark.conf.set(f"{catalog}.driver", DERBY)
    with pytest.raises(SourceError, match="an unknown provider") as caught:
        opened(spark, table="ward_database.APP.VISITS")
    assert "format: jdbc where it is a database's" in caught.value.mend


@pytest.mark.parametrize(
    ("about", "problem"),
    [
        ({}, "an unknown provider"),
        ({"Provider": "iceberg"}, "the provider iceberg"),
        ({"Provider": "hive"}, "the provider hive"),
        ({"Provider": "delta", "# Row Filter": ""}, "a row filter"),
        ({"Provider": "delta", "Column Masks": ""}, "a row filter or a column mask"),
        ({"Provider": "ORC", "Storage Properties": "[modifiedAfter=2020-01-01]"}, "the option modifiedAfter is refused"),
        ({"Provider": "parquet", "Storage Properties": "[mergeSchema=true, ignoreMissingFiles=true]"}, "ignoreMissingFiles"),
        ({"Provider": "parquet", "Storage Properties": "[pathGlobFilter=x=1, y, readChangeFeed=true]"}, "readChangeFeed"),
    ],
)
def test_a_provider_is_judged_by_what_the_catalog_says(about: dict[str, str], problem: str) -> None:
    with pytest.raises(SourceError, match=problem):
        provider_of("a.b", about, where="source")


@pytest.mark.parametrize(
    "about",
    [
        {"Provider": "delta", "Type": "MANAGED", "Storage Properties": "[serialization.format=1]", "Table Properties": "[a=b]"},
        {"Provider": "parquet", "Storage Properties": "[serialization.format=1, path=/x]", "Location": "/x"},
        {"Provider": "orc"},
    ],
)
def test_a_plain_table_passes(about: dict[str, str]) -> None:
    assert provider_of("a.b", about, where="source") == about["Provider"]


# --- names that a reader of files takes for patterns ------------------------------------------------------------------


def test_a_folder_is_read_whatever_signs_its_name_holds(spark: SparkSession, visits: DataFrame, tmp_path: Path) -> None:
    visits.write.parquet(str(tmp_path / "a1"))
    visits.limit(1).write.partitionBy("test").parquet(str(tmp_path / "parts"))
    visits.limit(2).write.format("delta").save(str(tmp_path / "lake"))
    for name in ("a[1]", "b{c}", "d*", "e?", "f\\g", "h%20 i", "[x"):
        shutil.copytree(tmp_path / "parts", tmp_path / name)
        shutil.copytree(tmp_path / "lake", tmp_path / f"delta{name}")
        found = opened(spark, format="parquet", path=str(tmp_path / name))
        assert (len(found.inputFiles()), set(found.columns)) == (1, {"id", "test", "value"}), name
        assert opened(spark, format="delta", path=str(tmp_path / f"delta{name}")).columns == visits.columns, name
    assert len(tuples(found)) == 1
    (tmp_path / "dxy").mkdir()
    assert opened(spark, format="parquet", path=f"{tmp_path}/[a]?").count() == 3, "a wildcard where nothing has this name"


def test_a_path_that_only_a_reader_would_understand_is_refused(spark: SparkSession, visits: DataFrame, tmp_path: Path) -> None:
    visits.write.parquet(str(tmp_path / "data" / "people"))
    for path in ("da\\ta/people", "data/{people,people}", "{data/people,x}"):
        with pytest.raises(SpecError, match="exactly this name") as caught:
            opened(spark, format="parquet", path=f"{tmp_path}/{path}")
        assert (caught.value.exit_code, caught.value.where) == (2, "source.path")


@pytest.mark.parametrize("way", ["link", "wildcard", "partition", "table"])
def test_no_way_leads_to_the_files_of_a_delta_table(
    spark: SparkSession, visits: DataFrame, schema: str, tmp_path: Path, way: str
) -> None:
    lake = tmp_path / "lake"
    visits.write.format("delta").save(str(lake))
    keys: dict[str, Any] = {"format": "parquet", "path": f"{tmp_path}/{way}"}
    if way == "link":
        (tmp_path / way).mkdir()
        for file in lake.glob("*.parquet"):
            (tmp_path / way / file.name).symlink_to(file)
    elif way == "wildcard":
        keys["path"] = f"{tmp_path}/la*/*.parquet"
    elif way == "partition":
        (tmp_path / way).mkdir()
        (tmp_path / way / "p=1").symlink_to(lake)
    else:
        spark.sql(f"CREATE TABLE {schema}.parts (id INT, p INT) USING parquet PARTITIONED BY (p)")
        spark.sql(f"ALTER TABLE {schema}.parts ADD PARTITION (p = 1) LOCATION '{lake}'")
        keys = {"table": f"{schema}.parts"}
    with pytest.raises(SourceError, match=r"is a Delta table, not parquet|cannot be opened as parquet"):
        opened(spark, **keys)


# --- columns that Spark cannot read -----------------------------------------------------------------------------------

NUMBERS = pa.array([1, 2, 3], pa.int64())
UNREADABLE_COLUMNS = {
    "ns": NUMBERS.cast(pa.timestamp("ns")), "ns_utc": NUMBERS.cast(pa.timestamp("ns", tz="UTC")),
    "half": pa.array([1.0, 2.0, 3.0]).cast(pa.float16()),
    "time_us": NUMBERS.cast(pa.time64("us")), "time_ns": NUMBERS.cast(pa.time64("ns")),
    "time_ms": NUMBERS.cast(pa.int32()).cast(pa.time32("ms")), "wide": NUMBERS.cast(pa.decimal256(50, 0)),
    "nested": pa.array([{"t": 1}] * 3, pa.struct([("t", pa.timestamp("ns"))])),
    "listed": pa.array([[1]] * 3, pa.list_(pa.time64("us"))),
}  # fmt: skip


def test_a_column_that_spark_cannot_read_is_in_nobodys_way(spark: SparkSession, tmp_path: Path) -> None:
    """Not used, it is left out; the other columns have the types that Spark gives them elsewhere."""
    others = {
        "id": pa.array([1, 2, 3], pa.int32()), "u8": pa.array([1, 2, 3], pa.uint8()), "u64": pa.array([1, 2, 3], pa.uint64()),
        "dec": NUMBERS.cast(pa.decimal128(21, 2)), "day": pa.array([1, 2, 3], pa.int32()).cast(pa.date32()),
        "us": NUMBERS.cast(pa.timestamp("us")),
        "utc": NUMBERS.cast(pa.timestamp("us", tz="UTC")), "word": pa.array(["a", "b", None]).dictionary_encode(),
        "raw": pa.array([b"a"] * 3), "list": pa.array([[1]] * 3), "rec": pa.array([{"a.b": 1}] * 3), "x y": pa.array([0.5] * 3),
    }  # fmt: skip
    (tmp_path / "plain").mkdir()
    (tmp_path / "both" / "p=x").mkdir(parents=True)
    pq.write_table(pa.table(others), tmp_path / "plain" / "f.parquet")
    pq.write_table(pa.table({**UNREADABLE_COLUMNS, **others}), tmp_path / "both" / "p=x" / "f g.parquet")
    plain = opened(spark, format="parquet", path=str(tmp_path / "plain"))
    found = opened(spark, format="parquet", path=str(tmp_path / "both"))
    assert found.dtypes == [*plain.dtypes, ("p", "string")]
    assert found.drop("p").toArrow().to_pylist() == plain.toArrow().to_pylist()
    for name in ("ns", "HALF", "time_us", "nested"):
        with pytest.raises(SourceError, match=r"has the type .* of Parquet, which Spark cannot read") as caught:
            require_key(found, name, where="group_by")
        assert caught.value.exit_code == 4
    with pytest.raises(SourceError, match="there is no column nowhere"):
        require_key(found, "nowhere", where="group_by")


def test_the_mends_for_such_columns_work(spark: SparkSession, tmp_path: Path) -> None:
    names = ["ns", "ns_utc", "half", "time_us", "time_ms", "listed"]  # the others do not survive pandas itself
    df: Any = pa.table({"id": NUMBERS, **{name: UNREADABLE_COLUMNS[name] for name in names}}).to_pandas()
    df.to_parquet(tmp_path / "before.parquet")
    before = opened(spark, format="parquet", path=str(tmp_path / "before.parquet"))
    options: dict[str, Any] = {}
    for name in names:
        with pytest.raises(SourceError, match="Spark cannot read") as caught:
            require_key(before, name, where="group_by")
        mend = caught.value.mend.partition(": ")[2]
        if mend.startswith("df.to_parquet(path, "):
            options |= {"coerce_timestamps": "us", "allow_truncated_timestamps": True}
            assert mend == "df.to_parquet(path, coerce_timestamps='us', allow_truncated_timestamps=True)"
        else:
            exec(mend, {"df": df})
    df[names].to_parquet(tmp_path / "after.parquet", **options)
    after = spark.read.parquet(str(tmp_path / "after.parquet"))
    assert dict(after.dtypes) == {
        "ns": "timestamp_ntz", "ns_utc": "timestamp", "half": "float",
        "time_us": "string", "time_ms": "string", "listed": "string",
    }  # fmt: skip


# --- what a value must not decide -------------------------------------------------------------------------------------


def test_a_line_of_many_separators_and_a_long_text_fail_nothing(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(f"id,test\n1,a\n2{',' * 30_000}\n3,{'b' * 200_000}\n")
    found = opened(spark, format="csv", path=str(tmp_path / "x.csv"), schema={"id": "int", "test": "string"})
    assert sorted(row[0] for row in tuples(found.select("id"))) == [1, 2, 3]


def test_the_name_of_a_folder_decides_no_type(spark: SparkSession, tmp_path: Path) -> None:
    """code=X9 beside code=1 may be one user's only row; the type of the released key must not tell."""
    with settings(spark, RELEASE_SETTINGS):
        kinds = []
        for number, code in enumerate(("2", "X9")):
            path = tmp_path / str(number)
            for name in ("1", code):
                frame_of(spark, {"id": pa.int32()}, [(1,)]).write.parquet(f"{path}/code={name}")
            kinds.append(opened(spark, format="parquet", path=str(path)).schema["code"].dataType)
    assert kinds == [T.StringType(), T.StringType()]


@pytest.mark.parametrize("inside", ["", "/part"])
def test_a_delta_table_is_not_read_as_its_files(spark: SparkSession, visits: DataFrame, tmp_path: Path, inside: str) -> None:
    """Its folder holds removed rows, too."""
    visits.write.format("delta").save(str(tmp_path / "visits"))
    (tmp_path / "visits" / "part").mkdir()
    with pytest.raises(SourceError, match="is a Delta table"):
        opened(spark, format="parquet", path=f"{tmp_path}/visits{inside}")
