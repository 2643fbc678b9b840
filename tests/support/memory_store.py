"""The store of ledger and outbox in memory: what they decide is tested on it, without Spark, in milliseconds.

``tests/contracts/test_stores.py`` runs over it and over the Delta one. A ``Memory`` is the storage; stores at the same
place in it are as many processes with one table.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dp_spark.tables.refs import TableRef
from dp_spark.tables.store import RivalError, StoreError

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Version:
    """A version of a table: what made it, and the rows that it has."""

    operation: str
    rows: pa.Table


@dataclass
class Table:
    """A table, and what anybody who has its files can do to it."""

    versions: list[Version]
    unreadable: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def rows(self) -> pa.Table:
        return self.versions[-1].rows

    def put(self, operation: str, rows: pa.Table) -> None:
        self.versions.append(Version(operation, rows))

    def update(self, where: Callable[[dict[str, Any]], bool], change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
        rows = [{**row, **change(row)} if where(row) else row for row in self._listed()]
        self.put("UPDATE", self._as_stored(rows))

    def delete(self, where: Callable[[dict[str, Any]], bool]) -> None:
        self.put("DELETE", self._as_stored([row for row in self._listed() if not where(row)]))

    def add(self, rows: pa.Table) -> None:
        self.put("WRITE", pa.concat_tables([self.rows, rows]))

    def restore(self, version: int) -> None:
        self.put("RESTORE", self.versions[version].rows)

    def _listed(self) -> Rows:
        """Rows whose times are numbers, so that any can be written."""
        columns = [_number(column) for column in self.rows.columns]
        return list(pa.table(columns, names=self.rows.column_names).to_pylist())

    def _as_stored(self, rows: Rows) -> pa.Table:
        schema = self.rows.schema
        return pa.table([_column([row[item.name] for row in rows], item.type) for item in schema], schema=schema)


def _number(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_string(kind):  # bytes that are no text stay what they are, as in a Parquet file
        return pa.array([text.encode() if isinstance(text, str) else text for text in values], pa.binary()).view(pa.string())
    return pa.array(values, pa.int64()).cast(kind) if pa.types.is_timestamp(kind) else pa.array(values, kind)


@dataclass
class Memory:
    """Storage in memory.

    Attributes:
        tables: Its tables, by place.
        before_commit: Called between an insert's look at a table and its commit: here a rival can come first.
    """

    tables: dict[TableRef, Table] = field(default_factory=dict)
    before_commit: Callable[[], None] = lambda: None

    def at(self, ref: TableRef) -> MemoryStore:
        return MemoryStore(self, ref)

    def copy(self) -> Memory:
        """The same tables, to be changed without the others."""
        return Memory({ref: Table(list(table.versions), table.unreadable) for ref, table in self.tables.items()})


class MemoryStore:
    """A table in memory, as one process sees it (``store.Store``)."""

    def __init__(self, memory: Memory, ref: TableRef) -> None:
        self.memory = memory
        self._ref = ref

    @property
    def ref(self) -> TableRef:
        return self._ref

    @property
    def table(self) -> Table:
        """The table behind it."""
        return self.memory.tables[self.ref]

    def is_there(self) -> bool:
        return self.ref in self.memory.tables

    def create(self, schema: pa.Schema, properties: Mapping[str, str]) -> None:
        self.memory.tables.setdefault(self.ref, Table([Version("CREATE TABLE", schema.empty_table())]))

    def read(self, columns: Sequence[str], where: tuple[str, str] | None = None) -> pa.Table:
        rows = self._readable().rows
        if not {*columns, *([where[0]] if where else [])} <= {*rows.column_names}:
            raise StoreError("UNRESOLVED_COLUMN")
        if where is not None:
            rows = rows.filter(pc.equal(rows[where[0]], where[1]))
        return rows.select(list(columns))

    def insert(self, rows: pa.Table, key: str) -> int:
        table = self._readable()
        known = len(table.versions)
        there = {*table.rows[key].to_pylist()}
        added = rows.filter(pa.array([value is None or value not in there for value in rows[key].to_pylist()], pa.bool_()))
        self.memory.before_commit()
        with table.lock:
            if not added.num_rows:
                return 0
            if len(table.versions) != known:
                raise RivalError("DELTA_CONCURRENT_APPEND")
            table.put("MERGE", pa.concat_tables([table.rows, added.select(table.rows.column_names)]))
        return int(added.num_rows)

    def operations(self) -> list[tuple[int, str]]:
        return [(number, version.operation) for number, version in enumerate(self._there().versions)]

    def _there(self) -> Table:
        if not self.is_there():
            raise StoreError("DELTA_TABLE_NOT_FOUND")
        return self.table

    def _readable(self) -> Table:
        if self._there().unreadable:  # its data files are gone, its log is not
            raise StoreError("FAILED_READ_FILE")
        return self.table
