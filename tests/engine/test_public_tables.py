"""A public table is read once, and only what was read is used."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from frames import frame_of, tuples
from pyspark.sql import SparkSession

from dp_spark.engine import public_tables
from dp_spark.engine.public_tables import collect_public
from dp_spark.errors import SourceError
from dp_spark.spark.settings import settings
from dp_spark.spec.release_spec import Source


def test_more_rows_than_the_limit_are_refused(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keys.csv").write_text("g\na\nb\nc\n")
    source = Source.model_validate({"format": "csv", "path": str(tmp_path / "keys.csv"), "schema": {"g": "string"}})
    monkeypatch.setattr(public_tables, "MAX_PUBLIC_ROWS", 3)
    assert len(tuples(collect_public(spark, source, where="here"))) == 3
    monkeypatch.setattr(public_tables, "MAX_PUBLIC_ROWS", 2)
    with pytest.raises(SourceError, match="more than 2 rows") as caught:
        collect_public(spark, source, where="here")
    assert caught.value.where == "here"


def test_what_was_collected_no_longer_depends_on_the_table(spark: SparkSession, tmp_path: Path) -> None:
    columns = {"g": pa.string(), "m": pa.timestamp("us", tz="UTC"), "d": pa.decimal128(6, 2), "x": pa.float64()}
    moment = dt.datetime(2024, 7, 1, tzinfo=dt.UTC)
    row = ("a", moment, Decimal("1.50"), None)
    frame_of(spark, columns, [row]).write.parquet(str(tmp_path / "public"))
    source = Source.model_validate({"format": "parquet", "path": str(tmp_path / "public")})
    with settings(spark, {"spark.sql.session.timeZone": "Asia/Tokyo"}):
        frame = collect_public(spark, source, where="here")
        for file in (tmp_path / "public").iterdir():
            file.unlink()
        assert frame.schema == frame_of(spark, columns, []).schema
        assert tuples(frame) == [row]
