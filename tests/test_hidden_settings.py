"""A platform that neither takes nor shows a setting: what depends on it is refused before the charge, the rest runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from release_helpers import Place

from dp_spark import session
from dp_spark.errors import DpSparkError
from dp_spark.session import BUCKETING, PARTITION_TYPES, SHARED_EXPRESSIONS

pytest_plugins = ("release_fixtures",)

HIDDEN = (BUCKETING, PARTITION_TYPES, SHARED_EXPRESSIONS)
TABLE = "hidden_buckets"
MONTH = {"derive": {"month": "cast(date_trunc('month', to_date('2026-03-04')) as string)"}}
DAY = [{"derive": {"seen": "'2026-03-04'"}}, {"cast": {"seen": "date"}}]
LATER = {"cast": {"seen": "timestamp"}}


@pytest.fixture
def hiding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides three settings, as managed platforms do, and ignores what they are set to."""
    effective, put = session._effective, session._set

    def hide(spark: SparkSession, key: str) -> str | None:
        return None if key in HIDDEN else effective(spark, key)

    def refuse(spark: SparkSession, key: str, value: str, current: str | None) -> None:
        if key not in HIDDEN:
            put(spark, key, value, current)

    monkeypatch.setattr(session, "_effective", hide)
    monkeypatch.setattr(session, "_set", refuse)


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


def test_what_depends_on_none_of_them_is_released(place: Place, hiding: None) -> None:
    place.release("plain", preprocess=[*DAY, {"filter": "seen >= date '2026-01-01'"}])
    assert place.kinds()[-1] == ("published", "plain")
