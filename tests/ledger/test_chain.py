"""Appending to the chain of entries, where the table behind it is a list that can lose a row or let a rival in first."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from chains import account

from dp_spark.errors import ConflictError
from dp_spark.ledger import chain as module
from dp_spark.ledger.chain import Chain
from dp_spark.ledger.entries import Opening, row_of
from dp_spark.ledger.rows import EPOCH, Row
from dp_spark.ledger.state import LedgerState
from dp_spark.tables.delta import TableRef

Merge = Callable[[list[Row], Row], int]


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> Callable[[Merge], Chain]:
    def chain(merge: Merge) -> Chain:
        rows: list[Row] = []

        def merge_rows(_: Any, __: Any, frame: pa.Table, key: str) -> int:
            assert key == "sequence"
            [added] = frame.to_pylist()
            return merge(rows, Row.of(added))

        monkeypatch.setattr(module, "local_lock", lambda _: contextlib.nullcontext())
        monkeypatch.setattr(module, "merge_rows", merge_rows)
        monkeypatch.setattr(module.time, "sleep", lambda _: None)
        monkeypatch.setattr(Chain, "rows", lambda _: list(rows))
        monkeypatch.setattr(Chain, "check_history", lambda _: None)
        spark: Any = SimpleNamespace(createDataFrame=lambda table: table)
        return Chain(spark, TableRef(None, "a.b.ledger"))  # no witness and no lock, as on a shared store

    return chain


def guarded(rows: list[Row], row: Row) -> int:
    """MERGE, guarded on the sequence number."""
    if any(other.sequence == row.sequence for other in rows):
        return 0
    rows.append(row)
    return 1


def opening(dataset: str) -> Opening:
    return Opening(dataset, account("1"), None, None)


def decide(state: LedgerState) -> Opening:
    state.check_open(opening("mine"))
    return opening("mine")


def test_an_entry_that_cannot_be_read_back_is_not_believed(chain: Callable[[Merge], Chain]) -> None:
    with pytest.raises(ConflictError, match="kept writing"):
        chain(lambda *_: 1).append(decide, None)
    assert list(chain(lambda *_: 1).append(decide, None, read_back=False).accounts) == ["mine"]
    with pytest.raises(ConflictError, match="kept writing"):
        chain(lambda *_: 0).append(decide, None, read_back=False)


def test_a_rival_that_comes_first_is_decided_on_anew(chain: Callable[[Merge], Chain]) -> None:
    """The number is the rival's, whose entry is not taken for one's own."""
    seen: list[int] = []

    def merge(rows: list[Row], row: Row) -> int:
        if not rows:
            first = {"sequence": 1, "previous_digest": row.previous_digest, "at": EPOCH, "who": "rival"}
            rows.append(row_of(opening("theirs"), **first))  # type: ignore[arg-type]
        return guarded(rows, row)

    def counted(state: LedgerState) -> Opening:
        seen.append(len(state.entries))
        return decide(state)

    for read_back in (True, False):
        seen.clear()
        state = chain(merge).append(counted, LedgerState((), where="a.b.ledger"), read_back=read_back)
        assert (seen, list(state.accounts)) == ([0, 1], ["theirs", "mine"])
        assert [row.sequence for row in state.rows] == [1, 2]
