"""The fixtures of the tests of sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@pytest.fixture
def visits(spark: SparkSession) -> DataFrame:
    """Three rows of a source."""
    from frames import frame_of
    from source_helpers import COLUMNS, ROWS

    return frame_of(spark, COLUMNS, ROWS).coalesce(1)
