"""Whoever changes, cuts off or puts back a ledger or an outbox is found out by who reads both; on stores in memory.

``system/test_damage`` does the same to real files, a case of each kind, with whole runs.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from memory_books import MemoryBooks, at, setting

from dp_spark.errors import DamageError
from dp_spark.ledger.books import read_books
from dp_spark.ledger.chain import Chain
from dp_spark.ledger.outbox import _digest, outbox_of
from dp_spark.ledger.rows import Row
from dp_spark.ledger.state import LedgerState
from dp_spark.ledger.table import Ledger
from dp_spark.ledger.verification import Verification, verify
from dp_spark.privacy.accountants.account import Account

Damage = Callable[[MemoryBooks], object]


def read(books: MemoryBooks) -> tuple[LedgerState, frozenset[str]]:
    """What every run does first."""
    return read_books(books.ledger(), books.outbox())


def verified(books: MemoryBooks) -> Verification:
    """``budget verify``; no sink is there, so no session is needed."""
    session: Any = None
    return verify(session, books.ledger(), books.outbox())


def found_out(books: MemoryBooks) -> str:
    """The next run finds it before it does anything, and so do who looks and who verifies. Returns what the run is told."""
    before = [len(table.versions) for table in books.memory.tables.values()]
    with pytest.raises(DamageError) as caught:
        read(books)
    assert caught.value.exit_code == 6
    assert caught.value.mend
    assert verified(books).damage
    assert [len(table.versions) for table in books.memory.tables.values()] == before
    return str(caught.value)


def put_back(books: MemoryBooks) -> None:
    """An older copy of the ledger's files: their history says nothing of it."""
    del books.entries.versions[5:]


def test_sound_books_are_sound(scene: MemoryBooks) -> None:
    state, drawn = read(scene)
    assert (len(state.rows), drawn) == (6, {"r0", "r1"})
    found = verified(scene)
    assert (found.damage, found.unfinished, found.verified, found.unreachable) == ((), (), (), ("r0", "r1"))


# --- the ledger ------------------------------------------------------------------------------------------------------

LEDGER_DAMAGE: dict[str, tuple[str, Damage]] = {
    "last entry deleted": ("ends at entry 5", lambda books: books.entries.delete(at(6))),
    "last entry updated": ("is not the one", lambda books: books.entries.update(at(6), setting(who="x"))),
    "last place updated": ("entry 6", lambda books: books.entries.update(at(6), setting(events="[]"))),
    "no sequence": ("cannot be read", lambda books: books.entries.update(at(5), setting(sequence=None))),
    "no time": ("cannot be read", lambda books: books.entries.update(at(5), setting(at=None))),
    "too late a time": ("cannot be read", lambda books: books.entries.update(at(6), setting(at=900000000000000000))),
    "no text": ("cannot be read", lambda books: books.entries.update(at(6), setting(who=b"\xff"))),
    "restored": ("ends at entry 4", lambda books: books.entries.restore(4)),
    "older copy put back": ("ends at entry 4", put_back),
    "unreadable": ("the ledger cannot be read", lambda books: setattr(books.entries, "unreadable", True)),
    "witness unreadable": ("witness cannot be read", lambda books: books.witness.write_text("{}")),
}


@pytest.mark.parametrize(("message", "damage"), LEDGER_DAMAGE.values(), ids=LEDGER_DAMAGE.keys())
def test_a_damaged_ledger_is_found_out(scene: MemoryBooks, message: str, damage: Damage) -> None:
    damage(scene)
    assert message in found_out(scene)


WITHOUT_WITNESS: dict[str, tuple[str, Damage]] = {
    "charge deleted": ("broken at sequence 5", lambda books: books.entries.delete(at(5))),
    "charge updated": ("broken at sequence 6", lambda books: books.entries.update(at(5), setting(events="[]"))),
    "restored": ("ends at entry 4", lambda books: books.entries.restore(4)),
    "older copy put back": ("ends at entry 4", put_back),
}


@pytest.mark.parametrize(("message", "damage"), WITHOUT_WITNESS.values(), ids=WITHOUT_WITNESS.keys())
def test_without_a_witness_the_outbox_knows_what_was_paid(
    scene: MemoryBooks, monkeypatch: pytest.MonkeyPatch, message: str, damage: Damage
) -> None:
    """The charge of a draw is missed even by a ledger that ends before it, and whatever its history tells."""
    damage(scene)
    scene.witness.unlink()
    found_out(scene)
    monkeypatch.setattr(Chain, "check_history", lambda _: None)
    told = found_out(scene)
    assert message in told
    assert (f"the outbox {outbox_of(scene.ref)}" in told) == message.startswith("ends")


@pytest.mark.parametrize("word", ["UPDATE", "DELETE", "RESTORE", "WRITE", "TRUNCATE", "a word of a later Delta"])
def test_without_a_witness_a_changed_last_entry_is_found_in_the_history(scene: MemoryBooks, word: str) -> None:
    scene.entries.put(word, scene.entries.rows)
    assert [item.message for item in verified(scene).damage] == [f"the ledger was changed by {word} in version 7 of its table"]
    assert read(scene)[0].rows, "with a witness the history is for verify"
    scene.witness.unlink()
    assert f"changed by {word} in version 7" in found_out(scene)


def test_a_removed_ledger_is_not_made_anew(scene: MemoryBooks) -> None:
    del scene.memory.tables[scene.ref]
    ledger, ten = scene.ledger(), Account.open(Decimal(10), Decimal(0))
    for use in (
        lambda: read(scene),
        lambda: ledger.open("visits", ten),
        lambda: ledger.raise_budget("visits", ten, "x"),
    ):
        with pytest.raises(DamageError, match="has seen 6 entries of it") as caught:
            use()
        assert caught.value.where == str(scene.ref)
    with pytest.raises(DamageError):
        scene.charge("next")
    assert not ledger.chain.store.is_there()


def test_a_ledger_that_never_was_may_be_made(tmp_path: Path) -> None:
    books = MemoryBooks(tmp_path)
    assert list(books.open("visits", "1").accounts) == ["visits"]


def test_a_witness_that_is_an_entry_behind_is_no_damage(scene: MemoryBooks) -> None:
    """A run died between its commit and the witness."""
    before = scene.witness.read_bytes()
    scene.charge("r2")
    scene.witness.write_bytes(before)
    assert len(read(scene)[0].rows) == 7
    scene.charge("r3")
    assert len(read(scene)[0].rows) == 8


# --- the outbox ------------------------------------------------------------------------------------------------------


def every(**values: Any) -> Damage:
    return lambda books: books.draws.update(lambda _: True, setting(**values))


OUTBOX_DAMAGE: dict[str, tuple[str, Damage]] = {
    "no rows": ("r0 was published, but its draw is gone", lambda books: books.draws.delete(lambda _: True)),
    "one row less": (
        "r1 was published, but its draw is gone",
        lambda books: books.draws.delete(lambda row: row["release_id"] == "r1"),
    ),
    "other seal": ("is not the one that the outbox", every(charge_digest="sha256:x")),
    "no seal": ("no release id or no seal", every(charge_sequence=None, charge_digest=None)),
    "first seal": ("the outbox", every(charge_sequence=0)),
    "later seal": ("ends at entry 6", every(charge_sequence=7)),
    "other release": ("was published, but its draw is gone", every(release_id="r2")),
    "no release": ("no release id or no seal", every(release_id=None)),
    "gone": ("was published, but its draw is gone", lambda books: books.memory.tables.pop(outbox_of(books.ref))),
    "unreadable": ("the outbox cannot be read", lambda books: setattr(books.draws, "unreadable", True)),
}


@pytest.mark.parametrize(("message", "damage"), OUTBOX_DAMAGE.values(), ids=OUTBOX_DAMAGE.keys())
def test_an_outbox_that_lost_a_draw_is_found_by_every_run(scene: MemoryBooks, message: str, damage: Damage) -> None:
    damage(scene)
    assert message in found_out(scene)
    assert scene.outbox().store.is_there() == (outbox_of(scene.ref) in scene.memory.tables)


DRAW_DAMAGE: dict[str, Damage] = {
    "payload": every(payload=b"x"),
    "no payload": every(payload=None),
    "manifest": lambda books: books.draws.update(
        lambda _: True, lambda row: {"manifest": row["manifest"].replace("visits", "tests")}
    ),
    "no manifest": every(manifest=None),
    "no digest": every(digest=None),
    "digest": every(digest="sha256:x"),
}


@pytest.mark.parametrize("damage", DRAW_DAMAGE.values(), ids=DRAW_DAMAGE.keys())
def test_a_changed_draw_is_found_by_the_release_that_needs_it(scene: MemoryBooks, damage: Damage) -> None:
    damage(scene)
    assert len(read(scene)[0].rows) == 6, "other releases go on"
    with pytest.raises(DamageError, match="the draw of r1 was changed"):
        scene.outbox().draw_of("r1")
    assert {item.message for item in verified(scene).damage} == {
        f"{release_id}: the draw of {release_id} was changed" for release_id in ("r0", "r1")
    }


def test_a_changed_draw_with_a_digest_of_its_own_is_not_what_was_published(scene: MemoryBooks) -> None:
    """The ledger names the digest of what was published."""

    def forged(row: Any) -> dict[str, Any]:
        text = row["manifest"].replace("visits-by-ward", "visits")
        assert text != row["manifest"]
        return {"manifest": text, "digest": _digest(text, row["payload"])}

    scene.draws.update(lambda row: row["release_id"] == "r1", forged)
    assert scene.outbox().draw_of("r1").manifest["name"] == "visits"
    assert [item.message for item in verified(scene).damage] == ["r1: the draw is not the one that the ledger names"]


# --- what is no damage: a rival's commit between two looks --------------------------------------------------------------


def between(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Lets something happen once, after the outbox was read and before the ledger is."""
    original = Ledger.state

    def state(ledger: Any) -> LedgerState:
        monkeypatch.setattr(Ledger, "state", original)
        happens()
        return original(ledger)

    monkeypatch.setattr(Ledger, "state", state)


def test_a_release_that_is_published_meanwhile_is_no_damage(scene: MemoryBooks, monkeypatch: pytest.MonkeyPatch) -> None:
    between(monkeypatch, lambda: scene.release("r2"))
    state, drawn = read(scene)
    assert ("r2" in drawn, state.publication_of("r2") is not None) == (True, True)


def test_an_entry_between_witness_and_table_is_no_damage(scene: MemoryBooks, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Chain.rows

    def late(chain: Chain) -> list[Row]:
        monkeypatch.setattr(Chain, "rows", original)
        scene.charge("r2")
        return original(chain)

    monkeypatch.setattr(Chain, "rows", late)
    assert len(scene.ledger().state().rows) == 7
