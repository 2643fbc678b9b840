"""Public partition keys: listed or in a public table, checked before the charge, and in their released order."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.types import to_arrow_schema

from dp_spark.engine.columns import readable_key, require_key
from dp_spark.engine.public_tables import collect_public
from dp_spark.engine.typed_literals import constant_of_type
from dp_spark.errors import SpecError
from dp_spark.published.cells import key_text, python_value
from dp_spark.schema.moments import Moment
from dp_spark.spec.release_spec import PublicPartitions, Source

#: The internal column with a key's position in the released order.
POSITION = "__dp_spark_position"


@dataclass(frozen=True)
class PublicKeys:
    """Public partition keys, in their released order.

    Attributes:
        table: One row per key, the group_by columns under their own types.
        digest: SHA-256 of the keys, for the release file's digest.
    """

    table: pa.Table
    schema: T.StructType
    digest: str

    def frame(self, spark: SparkSession) -> DataFrame:
        """The keys with their position in ``table``, to be joined with the rows; nullable where one of them is null."""
        numbered = self.table.append_column(POSITION, pa.array(range(self.table.num_rows), pa.int32()))
        fields = [
            T.StructField(field.name, field.dataType, self.table.column(index).null_count > 0)
            for index, field in enumerate(self.schema.fields)
        ]
        return spark.createDataFrame(numbered, schema=T.StructType([*fields, T.StructField(POSITION, T.IntegerType(), False)]))


def public_keys(spark: SparkSession, public: PublicPartitions, types: Mapping[str, T.DataType], timezone: str) -> PublicKeys:
    """The public partition keys of a release.

    Args:
        spark: The session; for listed values, only timestamps without a zone need it.
        public: What the release file says about them.
        types: The group_by columns with their types in the preprocessed source.
        timezone: The release's time zone, in which a listed timestamp without one is read.

    Raises:
        SpecError: If a key has the wrong type, or is listed twice.
        SourceError: If the table of keys cannot be read.
    """
    schema = T.StructType([T.StructField(name, kind, True) for name, kind in types.items()])
    if public.values is not None:
        columns = [
            _without_moments(spark, [_convert(value, item) for value in public.values[item.name]], timezone, item)
            for item in schema.fields
        ]
        rows = list(itertools.product(*columns))
        arrays = [list(values) for values in zip(*rows, strict=True)]
        table = pa.Table.from_arrays(
            [pa.array(values, item.type) for values, item in zip(arrays, to_arrow_schema(schema), strict=True)],
            names=schema.names,
        )
        where = "partitions.public.values"
    else:
        assert public.source is not None
        table, where = _keys_of_table(spark, public.source, schema), "partitions.public.source"
    shown = list(zip(*([python_value(value) for value in item] for item in table.columns), strict=True))
    seen: set[Any] = set()
    for row, identity in zip(shown, zip(*map(_identities, table.columns), strict=True), strict=True):
        if identity in seen:
            raise SpecError(f"the key {_shown(row)} is listed twice", where=where, mend="list each key once")
        seen.add(identity)
    text = "\n".join(sorted(map(repr, shown)))
    return PublicKeys(table, schema, hashlib.sha256(text.encode()).hexdigest())


def _identities(keys: pa.ChunkedArray) -> list[Any]:
    """Values that are equal where the keys are: of a day's two times 01:30 Python would say that they are one."""
    if pa.types.is_date32(keys.type):
        keys = keys.cast(pa.int32())
    elif pa.types.is_timestamp(keys.type):
        keys = keys.cast(pa.int64())
    return list(keys.to_pylist())


def _keys_of_table(spark: SparkSession, source: Source, schema: T.StructType) -> pa.Table:
    where = "partitions.public.source"
    types = {item.name: item.dataType.simpleString() for item in schema.fields}
    frame = collect_public(spark, source, where=where, types=types)
    for item in schema.fields:
        found = require_key(frame, item.name, where=where)
        if found != item.dataType:
            raise SpecError(
                f"the column {item.name} is {found.simpleString()} there and {item.dataType.simpleString()} in the source",
                where=where,
                mend="give the keys the type of the source's column",
            )
    table = frame.select(*(readable_key(frame, name).alias(name) for name in schema.names)).toArrow()
    if table.num_rows == 0:
        raise SpecError("has no keys", where=where, mend="list at least one key")
    if source.format in ("csv", "json"):
        for item in schema.fields:  # a field that does not parse becomes null there, so a null is a mismatch
            if table.column(item.name).null_count:
                raise SpecError(
                    f"a key of {item.name} is empty or not of type {item.dataType.simpleString()}",
                    where=where,
                    mend="mend the file",
                )
    return table


def _shown(row: Sequence[Any]) -> str:
    return "(" + ", ".join(map(key_text, row)) + ")"  # public keys may be named


def _without_moments(spark: SparkSession, values: Sequence[Any], timezone: str, item: T.StructField) -> list[Any]:
    """Values as Arrow takes them: moments as numbers. Which instant a time on a wall is, Spark says, as for the source."""
    if isinstance(item.dataType, T.TimestampType):
        walls = [value.text for value in values if isinstance(value, Moment) and value.kind == "timestamp_ntz"]
        instants = iter(_instants(spark, walls, timezone) if walls else [])
        values = [next(instants) if isinstance(value, Moment) and value.kind == "timestamp_ntz" else value for value in values]
    return [value.number if isinstance(value, Moment) else value for value in values]


def _instants(spark: SparkSession, texts: Sequence[str], timezone: str) -> list[int]:
    wall = F.col("wall").cast("timestamp_ntz")
    instant = F.convert_timezone(F.lit(timezone), F.lit("UTC"), wall).alias("instant")
    found = spark.createDataFrame(pa.table({"wall": pa.array(texts, pa.string())})).select(instant).toArrow()
    return list(found.column("instant").cast(pa.int64()).to_pylist())


def _convert(value: Any, item: T.StructField) -> Any:
    kind = item.dataType
    converted = constant_of_type(value, kind)
    if value is not None and converted is None:
        raise SpecError(
            f"{key_text(value)} is not a value of type {kind.simpleString()}, the type of {item.name}",
            where=f"partitions.public.values.{item.name}",
            mend=f"write values of type {kind.simpleString()}",
        )
    return converted
