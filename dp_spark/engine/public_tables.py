"""Tables that everybody may know, held on the driver once read: the right side of joins, and tables of partition keys.

They are read before anything is charged, and only what was read and checked is used afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import DataFrame, SparkSession

from dp_spark.engine.sources import open_checked
from dp_spark.errors import SourceError
from dp_spark.spark.errors import SPARK_ERRORS, condition
from dp_spark.spec.release_spec import Source

#: More public rows than this belong into the source itself, prepared beforehand.
MAX_PUBLIC_ROWS = 2_000_000


def collect_public(spark: SparkSession, source: Source, *, where: str, types: Mapping[str, str] | None = None) -> DataFrame:
    """Reads a public table once; the frame returned holds the very rows that were read.

    Raises:
        SourceError: If it cannot be read, or has more than ``MAX_PUBLIC_ROWS`` rows.
    """
    frame = open_checked(spark, source, where=where, types=types)
    schema = frame.schema
    try:
        table = frame.limit(MAX_PUBLIC_ROWS + 1).toArrow()
    except SPARK_ERRORS as error:
        raise SourceError(
            f"the public table cannot be read ({condition(error)})", where=where, mend="check its header and its types"
        ) from None
    if table.num_rows > MAX_PUBLIC_ROWS:
        raise SourceError(f"the public table has more than {MAX_PUBLIC_ROWS} rows", where=where, mend="make it smaller")
    return spark.createDataFrame(table, schema=schema)
