"""The store of ledger and outbox (``store.Store``): a Delta table, appended to by a guarded MERGE."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.types import from_arrow_schema

from dp_spark.errors import SpecError
from dp_spark.spark.errors import SPARK_ERRORS, condition, is_concurrent
from dp_spark.tables.delta import exists, operations, read
from dp_spark.tables.refs import TableRef
from dp_spark.tables.store import RivalError, StoreError

_PROPERTIES = {"delta.isolationLevel": "Serializable", "delta.appendOnly": "true"}
#: A client of Spark Connect takes messages of up to 128 MiB; a BINARY value can be longer, so it is read in pieces.
_PIECE = 32 * 2**20
#: Columns of the pieces besides those of the table.
_ROW, _NUMBER = "dp_spark row", "dp_spark number"


class DeltaStore:
    """A Delta table of ours.

    Args:
        spark: The session.
        ref: Where it is.
    """

    def __init__(self, spark: SparkSession, ref: TableRef) -> None:
        self._spark = spark
        self._ref = ref

    @property
    def ref(self) -> TableRef:
        """Where it is."""
        return self._ref

    def is_there(self) -> bool:
        """As ``Store.is_there``."""
        return exists(self._spark, self.ref)

    def create(self, schema: pa.Schema, properties: Mapping[str, str]) -> None:
        """As ``Store.create``."""
        if self.is_there():
            return
        columns = ", ".join(f"`{item.name}` {item.dataType.simpleString()}" for item in from_arrow_schema(schema).fields)
        told = ", ".join(f"'{name}' = '{value}'" for name, value in {**_PROPERTIES, **properties}.items())
        try:
            self._spark.sql(f"CREATE TABLE IF NOT EXISTS {self.ref.sql} ({columns}) USING delta TBLPROPERTIES ({told})")
        except SPARK_ERRORS as error:
            if not self.is_there():  # a rival that made it at the same moment did us a favour
                raise SpecError(
                    f"the table cannot be made ({condition(error)})",
                    where=str(self.ref),
                    mend="name a place that can be written",
                ) from None

    def read(self, columns: Sequence[str], where: tuple[str, str] | None = None) -> pa.Table:
        """As ``Store.read``."""
        with _told():
            frame = read(self._spark, self.ref)
            if where is not None:
                frame = frame.where(F.col(where[0]) == where[1])
            frame = frame.select(*columns)
            long = [item.name for item in frame.schema.fields if isinstance(item.dataType, T.BinaryType)]
            return _whole(in_pieces(frame, long).toArrow(), long).select(list(columns)) if long else frame.toArrow()

    def insert(self, rows: pa.Table, key: str) -> int:
        """As ``Store.insert``."""
        target = self.ref.sql.replace("{", "{{").replace("}", "}}")
        merge = f"MERGE INTO {target} AS present USING {{added}} AS added ON present.`{key}` = added.`{key}`"
        with _told():
            added = self._spark.createDataFrame(rows)
            done = self._spark.sql(f"{merge} WHEN NOT MATCHED THEN INSERT *", added=added).collect()
            return int(done[0]["num_inserted_rows"])

    def operations(self) -> list[tuple[int, str]]:
        """As ``Store.operations``."""
        with _told():
            return operations(self._spark, self.ref)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turns Spark's errors into the store's."""
    try:
        yield
    except SPARK_ERRORS as error:
        raise (RivalError if is_concurrent(error) else StoreError)(condition(error)) from None


def in_pieces(frame: DataFrame, long: Sequence[str]) -> DataFrame:
    """Each row as rows of which each has the next piece of the long columns, with the numbers of row and piece.

    Args:
        frame: Rows of a table.
        long: Its columns of type BINARY; a null one has null pieces.
    """
    lasts = [((F.octet_length(name) - 1) / _PIECE).cast("int") for name in long]
    rows = frame.withColumn(_ROW, F.monotonically_increasing_id())
    rows = rows.withColumn(_NUMBER, F.explode(F.sequence(F.lit(0), F.greatest(F.lit(0), *lasts))))
    return rows.withColumns({name: F.substring(name, F.col(_NUMBER) * _PIECE + 1, F.lit(_PIECE)) for name in long})


def _whole(pieces: pa.Table, long: Sequence[str]) -> pa.Table:
    """The rows that these are the pieces of."""
    rows, numbers = pieces[_ROW].to_pylist(), pieces[_NUMBER].to_pylist()
    order = sorted(range(len(rows)), key=lambda index: (rows[index], numbers[index]))
    first = pa.array([index for index in order if numbers[index] == 0], pa.int64())
    columns = {name: pieces[name].take(first) for name in pieces.column_names if name not in (*long, _ROW, _NUMBER)}
    for name in long:
        values, parts = pieces[name].to_pylist(), dict[int, list[Any]]()
        for index in order:
            parts.setdefault(rows[index], []).append(values[index])
        columns[name] = pa.array([None if None in found else b"".join(found) for found in parts.values()], pa.binary())
    return pa.table(columns)
