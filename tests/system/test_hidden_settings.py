"""A platform that neither takes nor shows a setting: what depends on it is refused before the charge, the rest runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession
from release_helpers import Place

from dp_spark.errors import DpSparkError
from dp_spark.spark import settings as settings_module
from dp_spark.spark.settings import BUCKETING, PARTITION_TYPES, SHARED_EXPRESSIONS, check_held, settings

pytestmark = pytest.mark.books_in_memory

HIDDEN = (BUCKETING, PARTITION_TYPES, SHARED_EXPRESSIONS)
TABLE = "hidden_buckets"
MONTH = {"derive": {"month": "cast(date_trunc('month', to_date(note)) as string)"}}
DAY = [{"derive": {"seen": "'2026-03-04'"}}, {"cast": {"seen": "date"}}]
LATER = {"cast": {"seen": "timestamp"}}


@pytest.fixture
def hiding(monkeypatch: pytest.MonkeyPatch, spark: SparkSession) -> None:
    """Neither shows nor takes three settings, as managed platforms do."""
    conf = type(spark.conf)
    for name in ("get", "set", "unset"):
        monkeypatch.setattr(conf, name, _without(getattr(conf, name)))


def _without(original: Callable[..., Any]) -> Callable[..., Any]:
    def call(conf: object, key: str, *more: Any) -> Any:
        if key in HIDDEN:
            raise AnalysisException("the platform does not know it")
        return original(conf, key, *more)

    return call


def refused(place: Place, key: str, where: str, **changes: Any) -> None:
    before = place.entries()
    with pytest.raises(DpSparkError, match=f"neither lets {key} be set to false") as caught:
        place.release("hidden", **changes)
    assert caught.value.where == where
    assert caught.value.exit_code == 1
    assert place.entries() == before
    assert not place.sink.exists()


def test_a_table_in_buckets_is_refused(place: Place, hiding: None, spark: SparkSession) -> None:
    frame = spark.sql("SELECT 'p1' AS patient, 'er' AS ward, 1 AS weight")
    # Buckets of another column than the unit are of no use, and Spark reads by them all the same.
    frame.write.bucketBy(2, "weight").format("parquet").saveAsTable(TABLE)
    try:
        refused(place, BUCKETING, "source", source={"table": TABLE})
    finally:
        spark.sql(f"DROP TABLE {TABLE}")


def test_files_in_named_folders_are_refused(place: Place, hiding: None, tmp_path: Path, spark: SparkSession) -> None:
    spark.read.format("delta").load(str(place.source)).write.partitionBy("ward").parquet(str(tmp_path / "files"))
    refused(place, PARTITION_TYPES, "source", source={"format": "parquet", "path": str(tmp_path / "files")})


@pytest.mark.parametrize(
    ("steps", "where"),
    [([MONTH], "preprocess.0.derive.month"), ([*DAY, LATER], "preprocess.2.cast.seen")],
)
def test_steps_that_compute_times_are_refused(place: Place, hiding: None, steps: list[Mapping[str, Any]], where: str) -> None:
    refused(place, SHARED_EXPRESSIONS, where, preprocess=steps)


@pytest.mark.slow
def test_what_depends_on_none_of_them_is_released(place: Place, hiding: None) -> None:
    place.release("plain", preprocess=[*DAY, {"filter": "seen >= date '2026-01-01'"}])
    assert place.kinds()[-1] == ("published", "plain")


@pytest.mark.slow
@pytest.mark.parametrize("written", ["False", "FALSE"])
def test_a_setting_is_held_however_it_is_written(place: Place, spark: SparkSession, tmp_path: Path, written: str) -> None:
    spark.read.format("delta").load(str(place.source)).write.parquet(str(tmp_path / "files"))
    spark.conf.set(PARTITION_TYPES, written)
    try:
        place.release("written", source={"format": "parquet", "path": str(tmp_path / "files")})
    finally:
        spark.conf.unset(PARTITION_TYPES)


def test_what_is_taken_and_not_shown_is_believed(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_module, "_effective", lambda spark, key: None)
    with settings(spark, {BUCKETING: "false"}):
        check_held(spark, BUCKETING, "something depends", where="source", mend="do it")
