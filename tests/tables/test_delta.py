"""What is not a release: a table without a manifest, or with one that is damaged."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from frames import frame_of
from pyspark.sql import SparkSession

from dp_spark.errors import DamageError, SourceError
from dp_spark.manifest import MANIFEST_PROPERTY
from dp_spark.tables.delta import read_manifest, require_manifest
from dp_spark.tables.refs import TableRef


@pytest.fixture
def sink(tmp_path: Path) -> TableRef:
    return TableRef(str(tmp_path / "release"), None)


def test_a_table_without_a_manifest_is_no_release(spark: SparkSession, tmp_path: Path, sink: TableRef) -> None:
    with pytest.raises(SourceError, match="no Delta table"):
        require_manifest(spark, sink)
    frame_of(spark, {"x": pa.int32()}, [(1,)]).write.format("delta").save(str(tmp_path / "other"))
    with pytest.raises(SourceError, match="no dp-spark manifest"):
        require_manifest(spark, TableRef(str(tmp_path / "other"), None))


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format": "dp_spark.manifest/99"}'])
def test_a_damaged_manifest_is_damage(spark: SparkSession, sink: TableRef, text: str) -> None:
    spark.sql(f"CREATE TABLE {sink.sql} (x INT) USING delta TBLPROPERTIES ('{MANIFEST_PROPERTY}' = '{text}')")
    with pytest.raises(DamageError) as caught:
        read_manifest(spark, sink)
    assert caught.value.exit_code == 6
