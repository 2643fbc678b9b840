"""The outbox: the first draw under a release id is the only one there ever is; on a store in memory."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from memory_books import MemoryBooks, manifest, setting
from memory_store import Table

from dp_spark.errors import ConflictError, DamageError
from dp_spark.ledger.outbox import Draw, Outbox, outbox_of
from dp_spark.ledger.rows import Seal
from dp_spark.tables.refs import TableRef
from dp_spark.tables.store import StoreError

PAID = Seal(2, "sha256:charge")


def draw(release_id: str, *values: int) -> Draw:
    return Draw(pa.table({"n": pa.array(values, pa.int64())}), manifest(release_id))


@pytest.fixture
def books(tmp_path: Path) -> MemoryBooks:
    made = MemoryBooks(tmp_path)
    made.outbox().create()
    return made


@pytest.fixture
def outbox(books: MemoryBooks) -> Outbox:
    return books.outbox()


def test_it_lies_beside_the_ledger() -> None:
    assert outbox_of(TableRef("/data/ledger", None)) == TableRef("/data/ledger_outbox", None)
    assert outbox_of(TableRef(None, "a.b.ledger")) == TableRef(None, "a.b.ledger_outbox")


def test_what_is_not_there_is_none(outbox: Outbox, tmp_path: Path) -> None:
    assert outbox.find("unknown") is None
    nowhere = MemoryBooks(tmp_path / "nowhere").outbox()
    assert nowhere.find("r1") is None
    assert nowhere.seals() == {}
    assert list(nowhere.of_dataset("d")) == []


def test_the_first_draw_stays(books: MemoryBooks) -> None:
    outbox = books.outbox()
    first = outbox.commit(draw("r1", 1, 2, 3), PAID)
    second = books.outbox().commit(draw("r1", 7, 8, 9), PAID)
    assert first.rows["n"].to_pylist() == second.rows["n"].to_pylist() == [1, 2, 3]
    outbox.create()
    found = outbox.find("r1")
    assert found is not None
    assert found.rows["n"].to_pylist() == [1, 2, 3]
    assert books.draws.rows["release_id"].to_pylist() == ["r1"]


def test_a_draw_that_came_first_is_the_one_that_is_given_back(books: MemoryBooks) -> None:
    """It is committed between the look at the table and the commit, on a shared store."""
    ref = TableRef(None, "a.b.ledger")
    outbox, rival = (Outbox(books.memory.at(outbox_of(ref)), ref) for _ in range(2))
    outbox.create()

    def first() -> None:
        books.memory.before_commit = lambda: None
        rival.commit(draw("r1", 1), PAID)

    books.memory.before_commit = first
    assert outbox.commit(draw("r1", 2), PAID).rows["n"].to_pylist() == [1]


def test_a_draw_is_never_believed_unseen(books: MemoryBooks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memory_store.MemoryStore.insert", lambda *_: 1)
    with pytest.raises(ConflictError, match="kept writing to the outbox"):
        books.outbox().commit(draw("r1", 1), PAID)


def test_an_outbox_that_cannot_be_written_is_told_with_the_condition_alone(
    books: MemoryBooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> int:
        raise StoreError("SOME_CONDITION")

    monkeypatch.setattr("memory_store.MemoryStore.insert", broken)
    with pytest.raises(DamageError, match=r"the outbox cannot be written \(SOME_CONDITION\)") as caught:
        books.outbox().commit(draw("r1", 1), PAID)
    assert caught.value.__suppress_context__


def test_a_guard_is_asked_before_each_attempt_and_another_files_draw_is_not_taken_for_ones_own(outbox: Outbox) -> None:
    def refuse() -> None:
        raise ConflictError("the parsing was corrected")

    with pytest.raises(ConflictError, match="was corrected"):
        outbox.commit(draw("guarded", 1), PAID, refuse)
    assert outbox.find("guarded") is None
    outbox.check_undrawn("guarded")
    outbox.commit(Draw(draw("guarded", 1).rows, manifest("guarded") | {"file_digest": "one"}), PAID)
    with pytest.raises(ConflictError, match="another parsing"):
        outbox.commit(Draw(draw("guarded", 2).rows, manifest("guarded") | {"file_digest": "two"}), PAID)
    with pytest.raises(ConflictError, match="another parsing") as caught:
        outbox.check_undrawn("guarded")
    assert caught.value.final


def test_release_ids_are_kept_apart(outbox: Outbox) -> None:
    outbox.commit(draw("a", 1), PAID)
    outbox.commit(draw("b", 2), PAID)
    assert [outbox.draw_of(name).rows["n"].to_pylist() for name in ("a", "b")] == [[1], [2]]
    assert sorted(found.manifest["release_id"] for found in outbox.of_dataset("d")) == ["a", "b"]
    assert list(outbox.of_dataset("e")) == []
    assert outbox.seals() == {"a": PAID, "b": PAID}


def test_every_type_comes_back_as_it_was(outbox: Outbox) -> None:
    rows = pa.table(
        {
            "text": pa.array(["ä\n\x00'\"", None], pa.string()),
            "flag": pa.array([True, None], pa.bool_()),
            "tiny": pa.array([-128, 127], pa.int8()),
            "short": pa.array([-(2**15), 2**15 - 1], pa.int16()),
            "int": pa.array([None, 2**31 - 1], pa.int32()),
            "long": pa.array([-(2**63), 2**63 - 1], pa.int64()),
            "amount": pa.array([Decimal("-1.50"), None], pa.decimal128(10, 2)),
            "day": pa.array([dt.date(1, 1, 1), dt.date(9999, 12, 31)], pa.date32()),
            "at": pa.array([dt.datetime(2024, 1, 1, tzinfo=dt.UTC), None], pa.timestamp("us", tz="UTC")),
            "local": pa.array([dt.datetime(2024, 1, 1), None], pa.timestamp("us")),
            "value": pa.array([-0.0, float("inf")], pa.float64()),
        }
    )
    outbox.commit(Draw(rows, manifest("types")), PAID)
    found = outbox.find("types")
    assert found is not None
    assert found.rows.equals(rows)
    assert found.rows.schema == rows.schema
    assert found.manifest == manifest("types")
    empty = rows.slice(0, 0)
    assert outbox.commit(Draw(empty, manifest("empty")), PAID).rows.equals(empty)


DAMAGE: dict[str, Callable[[Table], object]] = {
    "no payload": lambda table: table.update(lambda _: True, setting(payload=None)),
    "empty payload": lambda table: table.update(lambda _: True, setting(payload=b"")),
    "cut off": lambda table: table.update(lambda _: True, lambda row: {"payload": row["payload"][:200]}),
    "other rows": lambda table: table.update(lambda _: True, setting(payload=draw("whole", 7).payload)),
    "twice": lambda table: table.add(table.rows),
    "other manifest": lambda table: table.update(lambda _: True, lambda row: {"manifest": row["manifest"].replace("d", "e")}),
    "no manifest": lambda table: table.update(lambda _: True, setting(manifest=None)),
    "no digest": lambda table: table.update(lambda _: True, setting(digest=None)),
    "other digest": lambda table: table.update(lambda _: True, setting(digest="sha256:x")),
}


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_draw_that_is_not_whole_is_damage(books: MemoryBooks, change: Callable[[Table], object]) -> None:
    """Nothing instead of the rows, too little, or the same draw twice: never a draw that is not there yet."""
    books.outbox().commit(draw("whole", *range(50)), PAID)
    change(books.draws)
    with pytest.raises(DamageError, match="the draw of whole was changed"):
        books.outbox().find("whole")


def test_a_draw_that_is_gone_is_damage_to_who_needs_it(outbox: Outbox) -> None:
    with pytest.raises(DamageError, match="the draw of r1 is gone"):
        outbox.draw_of("r1")


def test_an_outbox_that_cannot_be_read_is_damage(books: MemoryBooks) -> None:
    books.outbox().commit(draw("gone", 1), PAID)
    books.draws.unreadable = True
    for use in (lambda: books.outbox().find("gone"), books.outbox().seals, lambda: list(books.outbox().of_dataset("d"))):
        with pytest.raises(DamageError, match="the outbox cannot be read"):
            use()
