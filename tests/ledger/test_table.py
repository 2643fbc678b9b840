"""The ledger: exact budgets, a checked chain of entries, and rivals that cannot overspend; on a store in memory.

``test_on_delta`` has a case of each kind on the real one.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from memory_books import MemoryBooks, at, laplace, setting
from memory_store import Table

from dp_spark.errors import BudgetError, ConflictError, DamageError, SpecError
from dp_spark.ledger.chain import SCHEMA
from dp_spark.ledger.entries import check_release_id
from dp_spark.ledger.rows import EPOCH, GENESIS, Row
from dp_spark.ledger.state import LedgerState
from dp_spark.privacy.events import Event, events_from_json
from dp_spark.tables.refs import TableRef

#: A ledger by name: no witness and no lock.
SHARED = TableRef(None, "a.b.ledger")


# --- exact budgets ---------------------------------------------------------------------------------------------------


def test_ten_charges_of_a_tenth_fit_and_the_eleventh_does_not(ten: MemoryBooks) -> None:
    before = ten.ledger().state()
    spent = before.account("visits")
    assert [charge.entry.epsilon for charge in spent.charges] == [Decimal("0.1")] * 10
    assert spent.spent.amount == Decimal(1)
    for more in ("0.1", "0.000000000000000000000000000001"):
        with pytest.raises(BudgetError) as caught:
            ten.charge("r10", more)
        assert caught.value.exit_code == 3
    assert ten.ledger().state().entries == before.entries
    assert len(ten.entries.versions) == 12, "a refusal commits nothing"


def test_each_charge_adds_up_exactly(tmp_path: Path) -> None:
    books = MemoryBooks(tmp_path)
    books.open("visits", "1")
    for number in range(10):
        state = books.charge(f"r{number}")
        assert state.account("visits").spent.amount == Decimal("0.1") * (number + 1)


def test_a_release_is_charged_once(ten: MemoryBooks) -> None:
    before = ten.ledger().state()
    assert ten.charge("r3").entries == before.entries
    assert len(ten.entries.versions) == 12


def test_a_release_id_belongs_to_one_file(ten: MemoryBooks) -> None:
    with pytest.raises(BudgetError, match="different release file"):
        ten.charge("r3", file_digest="sha256:other")


def test_the_rows_are_what_the_design_says(ten: MemoryBooks) -> None:
    rows = sorted(ten.entries.rows.to_pylist(), key=lambda row: int(row["sequence"]))
    assert [row["entry"] for row in rows] == ["open"] + ["charge"] * 10
    assert [row["sequence"] for row in rows] == list(range(1, 12))
    assert rows[0]["previous_digest"] == GENESIS
    assert (rows[0]["epsilon"], rows[0]["accountant"], rows[0]["reason"]) == ("1", "basic", "approved by the board")
    assert events_from_json(rows[1]["events"]) == (laplace("0.1"),)
    assert rows[1]["release_id"] == "r0"


def test_a_zcdp_account_sums_rho_and_selection_delta(books: MemoryBooks) -> None:
    rho = books.ledger().state().account("gauss").account.rho
    assert rho is not None
    whole = Event("count", "gaussian", 3.0, None, rho)
    half_delta = Event("privacy_id_count", "gaussian", 3.0, None, Decimal(0), Decimal("0.000005"), 20)
    state = books.charge("r1", dataset="gauss", events=(whole, half_delta))
    entry = state.charge_of("r1")
    assert entry is not None
    assert entry.row.rho is not None
    assert Decimal(entry.row.rho) == rho
    for event in (
        Event("count", "gaussian", 3.0, None, Decimal("1e-30")),
        Event("s", "gaussian", 3.0, None, Decimal(0), Decimal("1e-40")),
    ):
        with pytest.raises(BudgetError, match=r"needs (epsilon|rho)"):
            books.charge("r2", dataset="gauss", events=(event,))
    with pytest.raises(BudgetError, match="cannot add up"):
        books.charge("r3", events=(Event("count", "gaussian", 3.0, None, Decimal(1)),))


# --- accounts --------------------------------------------------------------------------------------------------------


def test_an_account_is_opened_once(books: MemoryBooks) -> None:
    before = books.rows()
    with pytest.raises(BudgetError, match="account already"):
        books.open("visits", "100")
    assert books.rows() == before


def test_two_datasets_share_a_ledger_and_not_a_budget(books: MemoryBooks) -> None:
    books.charge("r1", "0.25", dataset="poor")
    with pytest.raises(BudgetError, match=r"needs (epsilon|rho)"):
        books.charge("r2", "0.1", dataset="poor")
    state = books.charge("r3", "0.1", dataset="visits")
    assert state.account("poor").spent.amount == Decimal("0.25")
    assert state.account("visits").spent.amount == Decimal("0.1")


def test_the_first_charge_pins_the_unit_and_the_source(books: MemoryBooks) -> None:
    books.charge("r1")
    for unit in ('["patient","ward"]', '["ward"]', '"row"'):
        with pytest.raises(BudgetError, match="protects the unit"):
            books.charge("r2", privacy_unit=unit)
    for source in ("/data/visits", "/data/visits/2024", "/data"):
        with pytest.raises(BudgetError, match="one source has one budget"):
            books.charge("r2", dataset="rich", source=source)
    state = books.charge("r2", source="/data/more-visits")
    assert [charged.entry.release_id for charged in state.account("visits").charges] == ["r1", "r2"]
    books.charge("r3", dataset="rich", source="/data/visits2")


def test_there_is_no_budget_without_an_account(books: MemoryBooks, tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="no budget was opened"):
        books.charge("r1", dataset="unknown")
    with pytest.raises(BudgetError, match="there is no ledger"):
        MemoryBooks(tmp_path / "nowhere").ledger().state()
    assert not (tmp_path / "nowhere").exists()


# --- rivals ----------------------------------------------------------------------------------------------------------


def test_a_stale_state_is_read_again(books: MemoryBooks) -> None:
    stale = books.ledger().state()
    books.charge("first")
    state = books.charge("second", known=stale)
    assert [entry.sequence for entry in state.entries] == list(range(1, len(state.entries) + 1))
    assert [row.release_id for row in state.rows[-2:]] == ["first", "second"]


def test_a_stale_state_never_overspends(books: MemoryBooks) -> None:
    stale = books.ledger().state()
    books.charge("first", "0.2", dataset="poor")
    with pytest.raises(BudgetError, match=r"needs (epsilon|rho)"):
        books.charge("second", "0.2", dataset="poor", known=stale)
    assert books.kinds() == [("charge", "first")]


def test_a_stale_state_does_not_charge_a_release_twice(books: MemoryBooks) -> None:
    stale = books.ledger().state()
    books.charge("first")
    books.charge("first", known=stale)
    assert books.kinds() == [("charge", "first")]


def test_a_stale_state_does_not_unpin_the_unit(books: MemoryBooks) -> None:
    stale = books.ledger().state()
    books.charge("first")
    with pytest.raises(BudgetError, match="protects the unit"):
        books.charge("second", privacy_unit='"row"', known=stale)


def test_a_rival_whose_commit_comes_first_has_the_number(books: MemoryBooks) -> None:
    """It commits between the look at the table and the commit; the other decides again, on the state with its entry."""

    def rival() -> None:
        books.memory.before_commit = lambda: None
        # As on a shared store: in a local one the lock is held here.
        shared = books.copied(books.folder / "rival")
        shared.charge("theirs", "0.2", dataset="poor")
        books.memory.tables[books.ref].put("MERGE", shared.entries.rows)

    books.memory.before_commit = rival
    with pytest.raises(BudgetError, match="too little is left"):
        books.charge("mine", "0.1", dataset="poor")
    assert books.kinds() == [("charge", "theirs")]
    assert [word for _, word in books.ledger().chain.store.operations()][-1] == "MERGE"


@pytest.mark.parametrize("locked", [True, False], ids=["local", "shared"])
def test_rivals_get_a_sequence_of_their_own(books: MemoryBooks, monkeypatch: pytest.MonkeyPatch, locked: bool) -> None:
    """Eight threads want 0.1 of an account that bears two of them; without a lock the guard alone decides."""
    monkeypatch.setattr("dp_spark.ledger.chain.time.sleep", lambda _: None)
    if not locked:
        books.memory.tables[SHARED] = books.memory.tables[books.ref]
        monkeypatch.setattr(books, "ref", SHARED)
    stale = books.ledger().state()
    failures: list[BaseException] = []
    ready = threading.Barrier(8)

    def rival(number: int) -> None:
        ready.wait()
        try:
            books.charge(f"r{number}", "0.1", dataset="poor", known=stale)
        except (BudgetError, ConflictError) as error:
            failures.append(error)

    threads = [threading.Thread(target=rival, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = books.ledger().state()
    charged = [row.release_id for row in state.rows if row.entry == "charge"]
    assert len(charged) == len(set(charged)) == 2, "0.25 bears two charges of 0.1"
    assert [type(failure) for failure in failures] == [BudgetError] * 6


def test_publication_is_written_down_once(books: MemoryBooks) -> None:
    made = books.charge("r1").charge_of("r1")
    assert made is not None
    books.ledger().mark_published(made.entry.published("/sink", 4, "sha256:d"))
    state = books.ledger().mark_published(made.entry.published("/sink", 5, "sha256:e"))
    assert state.publication_of("r1") == made.entry.published("/sink", 4, "sha256:d")
    assert json.loads(state.rows[-1].events) == {"sink": "/sink", "version": 4, "draw": "sha256:d"}
    assert books.kinds() == [("charge", "r1"), ("published", "r1")]


# --- damage ----------------------------------------------------------------------------------------------------------

Damage = Callable[[Table], object]
CHANGES: dict[str, Damage] = {
    "more budget": lambda table: table.update(at(1), setting(epsilon="1000")),
    "other dataset": lambda table: table.update(at(3), setting(dataset="other")),
    "no events": lambda table: table.update(at(5), setting(events="[]")),
    "a microsecond later": lambda table: table.update(at(7), lambda row: {"at": row["at"] + 1}),
    "nobody": lambda table: table.update(at(8), setting(who=None)),
    "other kind": lambda table: table.update(at(11), setting(entry="refund")),
    "other events": lambda table: table.update(at(11), setting(events="[{}]")),
    "gap": lambda table: table.update(lambda row: row["sequence"] > 9, lambda row: {"sequence": row["sequence"] + 20}),
    "first deleted": lambda table: table.delete(at(1)),
    "one deleted": lambda table: table.delete(at(6)),
    "one twice": lambda table: table.add(table.rows.slice(table.rows.num_rows - 1)),
    "no time": lambda table: table.update(at(5), setting(at=None)),
    "too late a time": lambda table: table.update(at(5), setting(at=900000000000000000)),
    "no sequence": lambda table: table.update(at(5), setting(sequence=None)),
    "no text": lambda table: table.update(at(11), setting(who=b"\xff")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_ledger_is_damage(ten: MemoryBooks, change: Damage) -> None:
    change(ten.entries)
    before = len(ten.entries.versions)
    with pytest.raises(DamageError) as caught:
        ten.ledger().state()
    assert (caught.value.exit_code, caught.value.code) == (6, "damaged")
    with pytest.raises(DamageError):
        ten.charge("more", "0.000001")
    _, error = ten.ledger().examine()
    assert isinstance(error, DamageError)
    assert len(ten.entries.versions) == before


LAST: dict[str, Damage] = {
    "changed": lambda table: table.update(at(11), setting(epsilon="0", events="[]")),
    "deleted": lambda table: table.delete(at(11)),
    "restored": lambda table: table.restore(10),
}


@pytest.mark.parametrize("change", LAST.values(), ids=LAST.keys())
@pytest.mark.parametrize("seen", [True, False], ids=["witness", "history"])
def test_a_changed_last_entry_is_damage(ten: MemoryBooks, change: Damage, seen: bool) -> None:
    """Nothing follows the last entry that holds its digest; taking it back would give budget back."""
    change(ten.entries)
    if not seen:
        ten.witness.unlink()
    with pytest.raises(DamageError, match="has seen" if seen else "was changed by (UPDATE|DELETE|RESTORE) in version 12"):
        ten.ledger().state()


def test_upkeep_is_no_damage(ten: MemoryBooks) -> None:
    for word in ("OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES", "UPGRADE PROTOCOL"):
        ten.entries.put(word, ten.entries.rows)
    ten.witness.unlink()
    assert len(ten.ledger().state().entries) == 11


def test_a_table_that_is_not_a_ledger_is_damage(ten: MemoryBooks) -> None:
    ten.entries.put("WRITE", ten.entries.rows.select(["sequence"]))
    with pytest.raises(DamageError, match=r"cannot be read \(UNRESOLVED_COLUMN\)"):
        ten.ledger().state()


# --- the pure rules --------------------------------------------------------------------------------------------------


def entry(kind: str, sequence: int, previous: str, **changes: Any) -> Row:
    given: dict[str, Any] = dict.fromkeys(("release_id", "file_digest", "privacy_unit", "source", "rho", "reason"))
    if kind != "open":
        given |= {"file_digest": "sha256:f", "privacy_unit": '["id"]', "source": "/data"}
    given |= {"events": "[]", "epsilon": "1", "delta": "0", "accountant": "basic", "who": "me", "at": EPOCH}
    return Row(**{**given, "entry": kind, "dataset": "d", "sequence": sequence, "previous_digest": previous, **changes})


def test_every_column_is_in_the_digest() -> None:
    plain = entry("open", 1, GENESIS)
    changes: dict[str, Any] = dict.fromkeys(SCHEMA.names, "x") | {"sequence": 2, "at": EPOCH.replace(microsecond=1)}
    for name, value in changes.items():
        assert entry("open", 1, GENESIS).digest == plain.digest
        changed = Row(**{**vars(plain), name: value})
        assert changed.digest != plain.digest, name


def test_a_chain_that_overspent_is_damage() -> None:
    opened = entry("open", 1, GENESIS)
    events = '[{"query":"c","mechanism":"laplace","scale":"1","epsilon":"2","rho":null,"delta":"0","threshold":null}]'
    spent = entry("charge", 2, opened.digest, events=events, release_id="r")
    with pytest.raises(DamageError, match="spent more"):
        LedgerState([opened, spent], where="here")
    with pytest.raises(DamageError, match="no account"):
        LedgerState([entry("charge", 1, GENESIS, release_id="r")], where="here")
    with pytest.raises(DamageError, match="unknown kind"):
        LedgerState([opened, entry("refund", 2, opened.digest)], where="here")


@pytest.mark.parametrize("text", ["", "a b", "x" * 129, "../r", "r\n", "ü", "a/b", "r;drop"])
def test_bad_release_ids(text: str) -> None:
    with pytest.raises(SpecError):
        check_release_id(text)


def test_good_release_ids() -> None:
    for text in ("r1", "2024-01-01T00:00:00", "x" * 128, "A.b_c-1"):
        assert check_release_id(text) == text
