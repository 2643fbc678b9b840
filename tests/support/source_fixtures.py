"""The fixtures of the tests of sources: a plugin of those modules (``pytest_plugins``)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from frames import frame_of
from pyspark.sql import DataFrame, SparkSession
from source_helpers import COLUMNS, ROWS


@pytest.fixture
def visits(spark: SparkSession) -> DataFrame:
    return frame_of(spark, COLUMNS, ROWS).coalesce(1)


@pytest.fixture
def schema(spark: SparkSession, tmp_path: Path) -> Iterator[str]:
    """A catalog schema of the test's own, whose tables lie under tmp_path."""
    spark.sql(f"CREATE SCHEMA wards LOCATION '{tmp_path / 'wards'}'")
    yield "wards"
    spark.sql("DROP SCHEMA wards CASCADE")
