"""Parquet files with columns of types that Spark cannot read: the other columns can be."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession
from pyspark.sql import types as T

from dp_spark.places.paths import resolve

#: Where a schema's fields say which other columns their files have: column -> type.
UNREADABLE = "dp_spark.unreadable"


def readable_schema(spark: SparkSession, file: str) -> T.StructType | None:
    """The columns of a local Parquet file that Spark can read, or None where that does not help; reads its footer only.

    Spark gives up on a whole file for one column of nanoseconds, times of day, half floats or the like, used or not.
    The types are those that Spark itself finds in a file of the other columns.

    Args:
        spark: The session.
        file: The file, as a path.
    """
    try:
        found = pq.ParquetFile(resolve(file))
        old_times = {
            column.path for column in map(found.schema.column, range(len(found.schema))) if column.physical_type == "INT96"
        }
        fields = [
            item.with_type(pa.timestamp("us", tz="UTC")) if item.name in old_times else item for item in found.schema_arrow
        ]
    except (OSError, pa.ArrowException):
        return None
    unreadable = {item.name: str(item.type) for item in fields if _is_unreadable(item.type)}
    kept = [item for item in fields if item.name not in unreadable]
    if not unreadable or not kept:
        return None
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.parquet"
        pq.write_table(pa.schema(kept).empty_table(), empty)
        schema = spark.read.parquet(f"file:{empty}").schema
    return T.StructType([_marked(item, unreadable) for item in schema.fields])


def _marked(item: T.StructField, unreadable: dict[str, str]) -> T.StructField:
    return T.StructField(item.name, item.dataType, True, {**(item.metadata or {}), UNREADABLE: unreadable})


def _is_unreadable(kind: pa.DataType) -> bool:
    if pa.types.is_decimal(kind):
        return bool(kind.precision > 38)
    if pa.types.is_timestamp(kind):
        return bool(kind.unit == "ns")
    if pa.types.is_time(kind) or pa.types.is_float16(kind) or isinstance(kind, pa.BaseExtensionType):
        return True
    return any(_is_unreadable(kind.field(index).type) for index in range(kind.num_fields))


def mend_of(kind: str, name: str) -> str:
    """How a column of a type that Spark cannot read is written so that it can be; ``df`` is what pandas or pyarrow wrote.

    >>> mend_of("halffloat", "x")
    "write it as another type: df['x'] = df['x'].astype('float32')"
    """
    if kind.startswith("timestamp[ns"):
        return "write it in microseconds: df.to_parquet(path, coerce_timestamps='us', allow_truncated_timestamps=True)"
    as_type = "float32" if kind == "halffloat" else "string"
    return f"write it as another type: df['{name}'] = df['{name}'].astype('{as_type}')"
