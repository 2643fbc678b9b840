"""Tables in buckets: Spark believes a file's name about its bucket, so bounding must not depend on where a file lies."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from release_helpers import Place

from dp_spark.engine.buckets import Buckets, in_buckets
from dp_spark.spec.release_spec import Source

pytestmark = pytest.mark.books_in_memory

NAME = "bucketed_visits"
MANY = {
    "dataset": "rich",
    "source": {"table": NAME},
    "contribution_bounds": {"max_partitions_contributed": 1, "max_contributions_per_partition": 1},
    "partitions": {"public": {"values": {"ward": ["er"]}}},
    "budget": {"epsilon": 1_000_000.0},
}


@pytest.fixture
def table(place: Place, spark: SparkSession) -> Iterator[Path]:
    """100 patients with ten visits to one ward each, in buckets of the patient; the folder of its files."""
    frame = spark.range(1000).select(F.concat(F.lit("p"), F.col("id") % 100).alias("patient"), F.lit("er").alias("ward"))
    frame.coalesce(1).write.bucketBy(4, "patient").format("parquet").saveAsTable(NAME)
    location = spark.sql(f"DESCRIBE TABLE EXTENDED {NAME}").where("col_name = 'Location'").collect()[0]["data_type"]
    yield Path(str(location).removeprefix("file:"))
    spark.sql(f"DROP TABLE {NAME}")
    shutil.rmtree(str(location).removeprefix("file:"), ignore_errors=True)


def buckets(spark: SparkSession, name: str = NAME, units: tuple[str, ...] = ("patient",)) -> Buckets | None:
    return Buckets.of(spark, Source.model_validate({"table": name}), units)


def test_buckets_are_used_where_they_keep_a_unit_together(spark: SparkSession, table: Path) -> None:
    assert buckets(spark) == Buckets(("patient",), 4)
    assert buckets(spark, units=("ward", "PATIENT")) == Buckets(("patient",), 4)
    assert buckets(spark, units=("ward",)) is None
    assert buckets(spark, units=()) is None


def test_a_table_that_cannot_be_described_may_be_in_buckets(spark: SparkSession, table: Path) -> None:
    assert in_buckets(spark, Source.model_validate({"table": NAME}))
    assert in_buckets(spark, Source.model_validate({"table": "no_such_table"}))
    assert not in_buckets(spark, Source.model_validate({"format": "parquet", "path": str(table)}))


@pytest.mark.slow
def test_a_release_counts_what_is_in_the_buckets(place: Place, table: Path) -> None:
    assert place.release("all", **MANY).rows is not None
    assert place.sink_rows()[0]["visits"] == pytest.approx(100, abs=0.5)


@pytest.mark.slow
def test_a_file_under_another_buckets_name_breaks_no_bound(place: Place, spark: SparkSession, table: Path) -> None:
    """Its patients would be in two tasks, and each would keep one visit of theirs."""
    for file in table.glob("part-*_00001.c000*.parquet"):
        for other in ("00000", "00002", "00003"):
            shutil.copy(file, table / file.name.replace("part-00000", "part-00001").replace("_00001.c000", f"_{other}.c000"))
    spark.catalog.refreshTable(NAME)
    place.release("misplaced", **MANY)
    assert place.sink_rows()[0]["visits"] == pytest.approx(100, abs=0.5)


@pytest.mark.slow
def test_an_external_table_with_another_number_of_buckets_breaks_no_bound(
    place: Place, spark: SparkSession, table: Path, tmp_path: Path
) -> None:
    """Spark takes the same files for buckets of another width, and reads them as it is told."""
    copy = tmp_path / "files"
    shutil.copytree(table, copy)
    first = next(copy.glob("part-*_00000.c000*.parquet"))
    shutil.copy(first, copy / first.name.replace("_00000.c000", "_00005.c000"))
    spark.sql(
        f"CREATE TABLE wrongly_{NAME} (patient STRING, ward STRING) USING parquet "
        f"CLUSTERED BY (patient) INTO 8 BUCKETS LOCATION '{copy.as_uri()}'"
    )
    try:
        assert buckets(spark, f"wrongly_{NAME}") is None
        place.release("external", **{**MANY, "source": {"table": f"wrongly_{NAME}"}})
        assert place.sink_rows()[0]["visits"] == pytest.approx(100, abs=0.5)
    finally:
        spark.sql(f"DROP TABLE wrongly_{NAME}")
