"""A ledger and its outbox on stores in memory, with what tests write into them and do to them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from memory_store import Memory, MemoryStore, Table

from dp_spark.ledger.books import open_account
from dp_spark.ledger.entries import Charge
from dp_spark.ledger.outbox import Draw, Outbox, StoredDraw, outbox_of
from dp_spark.ledger.rows import Row
from dp_spark.ledger.state import LedgerState
from dp_spark.ledger.table import Ledger
from dp_spark.privacy.accountants.account import Account
from dp_spark.privacy.accountants.registry import AccountantName
from dp_spark.privacy.events import Event
from dp_spark.tables.refs import TableRef

#: dataset -> (epsilon, delta, accountant) of the accounts in every test's ledger.
ACCOUNTS: dict[str, tuple[str, str, AccountantName]] = {
    "visits": ("10", "0.001", "basic"),
    "gauss": ("10", "0.00001", "zcdp"),
    "rich": ("100000000", "0.5", "basic"),
    "poor": ("0.25", "0", "basic"),
}


class MemoryBooks:
    """The books in a folder: witness and lock are real files, the tables are in memory.

    Every ``ledger()`` and ``outbox()`` is another process's.
    """

    def __init__(self, folder: Path, memory: Memory | None = None) -> None:
        self.folder = folder
        self.memory = Memory() if memory is None else memory
        self.ref = TableRef(str(folder / "ledger"), None)

    def store(self, _spark: object, ref: TableRef) -> MemoryStore:
        """As ``DeltaStore`` is made."""
        return self.memory.at(ref)

    def ledger(self) -> Ledger:
        return Ledger(self.store(None, self.ref))

    def outbox(self) -> Outbox:
        return Outbox(self.store(None, outbox_of(self.ref)), self.ref)

    @property
    def entries(self) -> Table:
        """The ledger's table."""
        return self.memory.tables[self.ref]

    @property
    def draws(self) -> Table:
        """The outbox's table."""
        return self.memory.tables[outbox_of(self.ref)]

    @property
    def witness(self) -> Path:
        return self.folder / ".ledger.head"

    def copied(self, folder: Path) -> MemoryBooks:
        """The same in another folder, to be damaged."""
        folder.mkdir(parents=True, exist_ok=True)
        copy = MemoryBooks(folder)
        tables = self.memory.copy().tables
        for old, new in ((self.ref, copy.ref), (outbox_of(self.ref), outbox_of(copy.ref))):
            if old in tables:
                copy.memory.tables[new] = tables[old]
        if self.witness.exists():
            shutil.copy(self.witness, folder)
        return copy

    def open(
        self, dataset: str, epsilon: str, delta: str = "0", accountant: AccountantName | None = None, **more: Any
    ) -> LedgerState:
        account = Account.open(Decimal(epsilon), Decimal(delta), accountant)
        return open_account(self.ledger(), self.outbox(), dataset, account, **more)

    def opened(self) -> MemoryBooks:
        """With the accounts of ``ACCOUNTS``."""
        for dataset, (epsilon, delta, accountant) in ACCOUNTS.items():
            self.open(dataset, epsilon, delta, accountant)
        return self

    def charge(self, release_id: str, epsilon: str = "0.1", dataset: str = "visits", **changes: Any) -> LedgerState:
        return charge(self.ledger(), release_id, epsilon, dataset, **changes)

    def draw(self, release_id: str, dataset: str = "visits", rows: Iterable[int] = (1, 2, 3)) -> StoredDraw:
        """Draws a release that was charged."""
        charged = self.ledger().state().charge_of(release_id)
        assert charged is not None
        document = manifest(release_id, dataset) | {"name": f"{dataset}-by-ward", "charge": {"sequence": charged.sequence}}
        return self.outbox().commit(Draw(pa.table({"n": pa.array(rows, pa.int64())}), document), charged.seal)

    def publish(self, release_id: str, draw: StoredDraw) -> LedgerState:
        """Writes down that a draw is in a sink that is gone by now."""
        charged = self.ledger().state().charge_of(release_id)
        assert charged is not None
        return self.ledger().mark_published(charged.entry.published(str(self.folder / "gone"), 0, draw.digest))

    def release(self, release_id: str, epsilon: str = "0.1", dataset: str = "visits") -> LedgerState:
        """Charges, draws and publishes."""
        self.charge(release_id, epsilon, dataset)
        return self.publish(release_id, self.draw(release_id, dataset))

    def rows(self) -> tuple[Row, ...]:
        return self.ledger().state().rows

    def kinds(self) -> list[tuple[str, str | None]]:
        """(kind, release id) of every entry after the openings."""
        return [(row.entry, row.release_id) for row in self.rows() if row.entry != "open"]


class LoggedBooks(MemoryBooks):
    """Books whose tables leave a log on disk, as those of Delta do: a look at the folder finds them and sees a change."""

    def store(self, _spark: object, ref: TableRef) -> MemoryStore:
        return LoggedStore(self.memory, ref)


class LoggedStore(MemoryStore):
    """A store whose versions are files in a log; what they hold is in memory."""

    def create(self, schema: pa.Schema, properties: Mapping[str, str]) -> None:
        super().create(schema, properties)
        self._log()

    def insert(self, rows: pa.Table, key: str) -> int:
        inserted = super().insert(rows, key)
        self._log()
        return inserted

    def _log(self) -> None:
        assert self.ref.path is not None, "tables of a catalog are Delta's"
        folder = Path(self.ref.path) / "_delta_log"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{len(self.table.versions) - 1:020}.json").touch()


def manifest(release_id: str, dataset: str = "d") -> dict[str, Any]:
    return {"format": "dp_spark.manifest/1", "release_id": release_id, "dataset": dataset, "charge": {"sequence": 2}}


def laplace(epsilon: str) -> Event:
    return Event("count", "laplace", 20.0, Decimal(epsilon), None)


def charge(ledger: Ledger, release_id: str, epsilon: str = "0.1", dataset: str = "visits", **changes: Any) -> LedgerState:
    given: dict[str, Any] = {
        "dataset": dataset,
        "release_id": release_id,
        "file_digest": "sha256:f",
        "accountant": "zcdp" if dataset == "gauss" else "basic",
        "privacy_unit": '["patient"]',
        "source": f"/data/{dataset}",
        "events": (laplace(epsilon),),
        "unparsed": None,
        "epsilon": Decimal(epsilon),
        "delta": Decimal(0),
    }
    known = changes.pop("known", None)
    return ledger.charge(Charge(**{**given, **changes}), known)


def at(sequence: int) -> Callable[[Mapping[str, Any]], bool]:
    """The entry with this number."""
    return lambda row: row["sequence"] == sequence


def setting(**values: Any) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    """A change that sets columns."""
    return lambda _: values
