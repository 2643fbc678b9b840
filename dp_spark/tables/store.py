"""What ledger and outbox need of the table behind them: whether it is there, its rows, inserting under a guard, its history.

The product has one store, ``delta_store.DeltaStore``. The protocol is here so that what ledger and outbox decide needs no
Spark: tests have a second one in memory, and ``tests/contracts/test_stores.py`` tests both in the same words.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import pyarrow as pa

from dp_spark.errors import DamageError
from dp_spark.tables.refs import TableRef


class StoreError(Exception):
    """A table cannot be read or written.

    Attributes:
        condition: The name of what went wrong, such as ``PATH_NOT_FOUND``; never a message, which can quote values.
    """

    def __init__(self, condition: str) -> None:
        super().__init__(condition)
        self.condition = condition


class RivalError(StoreError):
    """A commit was refused because a rival's came first; nothing was written."""


class Store(Protocol):
    """One table of ours, which is only ever appended to."""

    @property
    def ref(self) -> TableRef:
        """Where it is."""

    def is_there(self) -> bool:
        """Whether there is such a table."""

    def create(self, schema: pa.Schema, properties: Mapping[str, str]) -> None:
        """Makes the table, append-only and with serializable commits, where it is not there yet.

        Args:
            schema: Its columns; each may be null.
            properties: What Delta is told besides.

        Raises:
            SpecError: If it cannot be made there.
        """

    def read(self, columns: Sequence[str], where: tuple[str, str] | None = None) -> pa.Table:
        """The rows as they are stored, in any order; timestamps in microseconds, in any zone.

        Args:
            columns: The columns that are read.
            where: A column of text and the value that it has in the rows that are read; None reads all rows.

        Raises:
            StoreError: If they cannot be read.
        """

    def insert(self, rows: pa.Table, key: str) -> int:
        """Inserts those rows whose key is not in the table, in one commit.

        Args:
            rows: All columns of the table.
            key: The column that tells rows apart.

        Returns:
            How many were inserted.

        Raises:
            RivalError: If a rival's commit came first. StoreError: if they cannot be written; they may have been all the same.
        """

    def operations(self) -> list[tuple[int, str]]:
        """What was done to the table: (version, operation) in Delta's words, oldest first.

        Raises:
            StoreError: If its history cannot be read.
        """


@contextlib.contextmanager
def damage(message: str, *, where: TableRef, mend: str = "") -> Iterator[None]:
    """Turns a table that cannot be read in the block into damage, with the name of what went wrong.

    Raises:
        DamageError: If it cannot be read.
    """
    try:
        yield
    except StoreError as error:
        raise DamageError(f"{message} ({error.condition})", where=str(where), mend=mend) from None
