"""The ledger's chain of entries as an append-only Delta table: read as a whole, appended to one entry at a time.

An entry is appended by a guarded MERGE on its sequence number and then read back: of two writers that saw the same
ledger one commits, and the other finds the number taken, or is refused by Delta's conflict detection, and looks
again. On a local path a file lock stands in front, as a local commit is not atomic between processes. docs/ledger.md
has the whole protocol.
"""

from __future__ import annotations

import getpass
import random
import time
from collections.abc import Callable
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from dp_spark.errors import ConflictError, DamageError
from dp_spark.ledger.entries import Entry, row_of
from dp_spark.ledger.rows import EPOCH, Row
from dp_spark.ledger.state import LedgerState
from dp_spark.ledger.witness import Witness
from dp_spark.tables.local_lock import local_lock
from dp_spark.tables.store import RivalError, Store, StoreError, damage

_TYPES = {"sequence": pa.int64(), "at": pa.timestamp("us", tz="UTC")}
#: The columns of the table; ``rows.Row`` says what is in them.
SCHEMA = pa.schema([(item.name, _TYPES.get(item.name, pa.string())) for item in fields(Row)])
# Every commit stays in the history: what was done to the table besides appending can be seen for ever.
_PROPERTIES = {"delta.logRetentionDuration": "interval 36500 days"}
#: What may happen to a ledger; whatever else its history names, such as DELETE or RESTORE, changed or removed entries.
_HARMLESS = frozenset(
    ("CREATE TABLE", "MERGE", "SET TBLPROPERTIES", "UPGRADE PROTOCOL", "OPTIMIZE", "VACUUM START", "VACUUM END")
)
_ATTEMPTS = 12


class Chain:
    """The table of one ledger's entries, with its witness.

    Args:
        store: The table.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.ref = store.ref
        self.witness = Witness(store.ref)

    def is_there(self) -> bool:
        """Whether there is a ledger.

        Raises:
            DamageError: If there was one, and is none any more.
        """
        if self.store.is_there():
            return True
        self.witness.check_never_there()
        return False

    def create(self) -> None:
        """Makes the table where there is none yet.

        Raises:
            DamageError: If there was one. SpecError: if it cannot be made there.
        """
        with local_lock(self.ref):
            if not self.is_there():
                self.store.create(SCHEMA, _PROPERTIES)

    def read(self) -> LedgerState:
        """The ledger now, checked.

        Raises:
            DamageError: If it is not what it must be, or no longer holds what a witness has seen.
        """
        seen = self.witness.seen()  # before the table: a rival's entry that comes in between is no damage
        state = LedgerState(self.rows(), where=str(self.ref))
        state.check_seals(seen, f"the file {self.witness.path}")
        if not seen:
            self.check_history()
        return state

    def rows(self) -> list[Row]:
        """All rows as they are stored, in any order, unchecked.

        Raises:
            DamageError: If they are no ledger's, or cannot be read.
        """
        with damage("the ledger cannot be read", where=self.ref, mend="check that it is a dp-spark ledger"):
            table = self.store.read(SCHEMA.names)
        try:
            # As a number: a time that was changed can be one that Python has no word for.
            table = table.set_column(SCHEMA.get_field_index("at"), "at", table["at"].cast(pa.int64()))
            return [Row.of({**row, "at": EPOCH + timedelta(microseconds=row["at"])}) for row in table.to_pylist()]
        except (KeyError, TypeError, ValueError, OverflowError):
            raise DamageError(
                "the table is not a ledger, or an entry cannot be read",
                where=str(self.ref),
                mend="name the ledger's own place, or restore it from a backup (docs/ledger.md)",
            ) from None

    def append(
        self, decide: Callable[[LedgerState], Entry | None], known: LedgerState | None, *, read_back: bool = True
    ) -> LedgerState:
        """Appends the entry that is decided on, in the state that it follows.

        Args:
            decide: The entry to append to a state, None where there is nothing to add; raises where it is refused.
            known: A state read a moment ago; if it is stale by now it is read again, and decided again.
            read_back: Whether an entry is believed only when it is read back, not already when MERGE counts it as inserted.

        Returns:
            The ledger with the entry.

        Raises:
            ConflictError: If other runs kept coming first. DamageError: if the ledger cannot be read or written.
        """
        with local_lock(self.ref):
            for attempt in range(_ATTEMPTS):
                state = known if known is not None and attempt == 0 else self.read()
                entry = decide(state)
                if entry is None:
                    return state
                row = _next_row(state, entry)
                inserted = self._insert(row)
                after = LedgerState((*state.rows, row), where=state.where) if inserted and not read_back else self.read()
                if after.rows[row.sequence - 1 : row.sequence] == (row,):
                    self.witness.remember(after.rows[-1].seal)
                    return after
                time.sleep(min(5.0, 0.1 * 2**attempt) * (0.5 + random.random()))  # noqa: S311 - jitter, not noise
        raise ConflictError("other runs kept writing to the ledger", where=str(self.ref), mend="run the same command again")

    def _insert(self, row: Row) -> int:
        """The number of rows that MERGE counts as inserted; 0 where a rival's commit came first."""
        try:
            return self.store.insert(pa.Table.from_pylist([asdict(row)], schema=SCHEMA), "sequence")
        except RivalError:
            return 0
        except StoreError:
            raise DamageError(
                "the ledger cannot be written",
                where=str(self.ref),
                mend="check that it is writable, then run the same command again",
            ) from None

    def check_history(self) -> None:
        """Checks that nothing but appending ever happened to the table.

        Raises:
            DamageError: If its history names anything else, such as a RESTORE to an older state.
        """
        with damage("the ledger's history cannot be read", where=self.ref):
            found = self.store.operations()
        for version, operation in found:
            if operation not in _HARMLESS:
                raise DamageError(
                    f"the ledger was changed by {operation} in version {version} of its table",
                    where=str(self.ref),
                    mend="find out who did it; put a backup of its files back (docs/ledger.md)",
                )


def _next_row(state: LedgerState, entry: Entry) -> Row:
    """The row that an entry becomes, after all that a state holds."""
    try:
        who = getpass.getuser()
    except (OSError, KeyError):
        who = "unknown"
    return row_of(entry, sequence=state.next_sequence, previous_digest=state.last_digest, at=datetime.now(UTC), who=who)
