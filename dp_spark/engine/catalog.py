"""What the catalog says about a table: its columns, its partitions, how it is stored."""

from __future__ import annotations

from pyspark.sql import SparkSession

from dp_spark.spark.errors import SPARK_ERRORS
from dp_spark.spec.release_spec import Source
from dp_spark.tables.refs import quoted_name


def describe(spark: SparkSession, name: str) -> tuple[set[str], dict[str, str]] | None:
    """The columns of a catalog table in lower case, and what the catalog says about it; None where it does not say."""
    try:
        rows = spark.sql(f"DESCRIBE TABLE EXTENDED {quoted_name(name)}").collect()
    except SPARK_ERRORS:
        return None
    names = [row["col_name"] for row in rows]
    header = "# Detailed Table Information"
    if header not in names:
        return None
    start = len(names) - names[::-1].index(header)  # a column may be called so, too
    return {name.lower() for name in names[:start]}, {row["col_name"]: row["data_type"] for row in rows[start:]}


def partition_columns(spark: SparkSession, source: Source) -> list[str]:
    """The columns that the partitions of a catalog table make, where the catalog says for each partition where it lies."""
    described = None if source.table is None else describe(spark, source.table)
    if source.table is None or (described is not None and described[1].get("Provider", "").lower() == "delta"):
        return []
    return [item.name for item in spark.catalog.listColumns(quoted_name(source.table)) if item.isPartition]
