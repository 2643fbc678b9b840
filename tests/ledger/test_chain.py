"""Appending to the chain of entries, where the table behind it can lose a row or let a rival in first."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest
from chains import account
from memory_store import Memory, MemoryStore

from dp_spark.errors import BudgetError, ConflictError, DamageError
from dp_spark.ledger import chain as module
from dp_spark.ledger.chain import SCHEMA, Chain
from dp_spark.ledger.entries import Opening
from dp_spark.ledger.state import LedgerState
from dp_spark.tables.refs import TableRef
from dp_spark.tables.store import RivalError, StoreError

Insert = Callable[[MemoryStore, pa.Table, str], int]


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> Callable[[Insert], Chain]:
    """A ledger whose store inserts so; without witness and lock, as on a shared store."""

    def chain(insert: Insert) -> Chain:
        monkeypatch.setattr(module.time, "sleep", lambda _: None)

        class Store(MemoryStore):
            def insert(self, rows: pa.Table, key: str) -> int:
                assert key == "sequence"
                return insert(MemoryStore(self.memory, self.ref), rows, key)

        made = Chain(Store(Memory(), TableRef(None, "a.b.ledger")))
        made.create()
        return made

    return chain


def opening(dataset: str) -> Opening:
    return Opening(dataset, account("1"), None, None)


def decide(state: LedgerState) -> Opening:
    state.check_open(opening("mine"))
    return opening("mine")


def lost(store: MemoryStore, rows: pa.Table, key: str) -> int:
    return 1


def refused(store: MemoryStore, rows: pa.Table, key: str) -> int:
    raise RivalError("DELTA_CONCURRENT_APPEND")


def test_an_entry_that_cannot_be_read_back_is_not_believed(chain: Callable[[Insert], Chain]) -> None:
    with pytest.raises(ConflictError, match="kept writing"):
        chain(lost).append(decide, None)
    assert list(chain(lost).append(decide, None, read_back=False).accounts) == ["mine"]
    for read_back in (True, False):
        for insert in (lambda *_: 0, refused):
            with pytest.raises(ConflictError, match="kept writing"):
                chain(insert).append(decide, None, read_back=read_back)


def test_an_entry_that_came_back_otherwise_is_not_believed(chain: Callable[[Insert], Chain]) -> None:
    """The number is taken, by an entry of the same kind: only all columns tell whose it is."""

    def swapped(store: MemoryStore, rows: pa.Table, key: str) -> int:
        theirs = rows.set_column(SCHEMA.get_field_index("who"), "who", pa.array(["somebody else"]))
        return store.insert(theirs, key)

    with pytest.raises(BudgetError, match="account already"):
        chain(swapped).append(decide, None)


@pytest.mark.parametrize("read_back", [True, False])
@pytest.mark.parametrize("told", [True, False])
def test_a_rival_that_comes_first_is_decided_on_anew(chain: Callable[[Insert], Chain], told: bool, read_back: bool) -> None:
    """The number is the rival's, whose entry is not taken for one's own; a store may say so, or insert nothing."""
    seen: list[int] = []

    def counted(state: LedgerState) -> Opening:
        seen.append(len(state.entries))
        return decide(state)

    def overtaken(store: MemoryStore, rows: pa.Table, key: str) -> int:
        if len(seen) == 1:
            Chain(store).append(lambda _: opening("theirs"), None)
            if told:
                raise RivalError("DELTA_CONCURRENT_APPEND")
        return store.insert(rows, key)

    state = chain(overtaken).append(counted, LedgerState((), where="a.b.ledger"), read_back=read_back)
    assert (seen, list(state.accounts)) == ([0, 1], ["theirs", "mine"])
    assert [row.sequence for row in state.rows] == [1, 2]


def test_a_ledger_that_cannot_be_written_is_told_without_a_word_of_the_store(chain: Callable[[Insert], Chain]) -> None:
    def broken(store: MemoryStore, rows: pa.Table, key: str) -> int:
        raise StoreError("SOME_CONDITION")

    with pytest.raises(DamageError, match="the ledger cannot be written") as caught:
        chain(broken).append(decide, None)
    assert "SOME_CONDITION" not in str(caught.value)
    assert caught.value.__suppress_context__
