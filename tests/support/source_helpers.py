"""A small source and the steps behind it, for the tests of sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from helpers import release_spec
from pyspark.sql import DataFrame, SparkSession

from dp_spark.engine.preprocess import apply_steps, check_steps
from dp_spark.engine.sources import open_source
from dp_spark.spec.release_spec import Source

COLUMNS = {"id": pa.int32(), "test": pa.string(), "value": pa.float64()}
ROWS = [(1, "a", 1.5), (2, "b", None), (3, None, -4.0)]
SCHEMA = {"id": "int", "test": "string", "value": "double"}
DERBY = "org.apache.derby.jdbc.EmbeddedDriver"


def source(**keys: Any) -> Source:
    return Source.model_validate(keys)


def opened(spark: SparkSession, **keys: Any) -> DataFrame:
    return open_source(spark, source(**keys), where="source")


def steps(spark: SparkSession, frame: DataFrame, *preprocess: Mapping[str, Any], **more: Any) -> DataFrame:
    """A frame after the steps of a release file, which are checked first."""
    spec = release_spec(preprocess=list(preprocess), **more)
    check_steps(spec)
    return apply_steps(spark, frame, spec)
