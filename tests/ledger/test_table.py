"""The ledger: exact budgets, a checked chain of entries, and rivals that cannot overspend."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from release_helpers import Outcome, Place, snapshot

from dp_spark.errors import BudgetError, ConflictError, DamageError, SpecError
from dp_spark.ledger import chain
from dp_spark.ledger.entries import Charge, check_release_id
from dp_spark.ledger.rows import EPOCH, GENESIS, Row
from dp_spark.ledger.state import LedgerState
from dp_spark.ledger.table import Ledger
from dp_spark.ledger.witness import Witness
from dp_spark.privacy.accountants.account import Account
from dp_spark.privacy.events import Event, events_from_json
from dp_spark.tables.refs import TableRef

COLUMNS = {
    "entry": "string",
    "dataset": "string",
    "sequence": "bigint",
    "release_id": "string",
    "file_digest": "string",
    "accountant": "string",
    "privacy_unit": "string",
    "source": "string",
    "events": "string",
    "epsilon": "string",
    "delta": "string",
    "rho": "string",
    "reason": "string",
    "at": "timestamp",
    "who": "string",
    "previous_digest": "string",
}


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


@pytest.fixture(scope="module")
def one_unit(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """A ledger with one account of epsilon 1, after ten charges of 0.1."""
    ledger = Ledger(spark, TableRef(str(tmp_path_factory.mktemp("ten") / "ledger"), None))
    state = ledger.open("visits", Account.open(Decimal(1), Decimal(0)), "approved by the board")
    for number in range(10):
        state = charge(ledger, f"r{number}")
        assert state.account("visits").spent.amount == Decimal("0.1") * (number + 1)
    return ledger


def copy_of(ledger: Ledger, folder: Path) -> Ledger:
    shutil.copytree(str(ledger.ref.path), folder / "ledger")
    assert ledger.chain.witness.path is not None
    shutil.copy(ledger.chain.witness.path, folder)
    return Ledger(ledger.spark, TableRef(str(folder / "ledger"), None))


# --- exact budgets ---------------------------------------------------------------------------------------------------


def test_ten_charges_of_a_tenth_fit_and_the_eleventh_does_not(one_unit: Ledger) -> None:
    before, files = one_unit.state(), snapshot(Path(str(one_unit.ref.path)))
    assert before.account("visits").spent.amount == Decimal(1)
    assert len(before.account("visits").charges) == 10
    for more in ("0.1", "0.000000000000000000000000000001"):
        with pytest.raises(BudgetError) as caught:
            charge(one_unit, "r10", more)
        assert caught.value.exit_code == 3
    assert one_unit.state().entries == before.entries
    assert snapshot(Path(str(one_unit.ref.path))) == files


def test_a_release_is_charged_once(one_unit: Ledger) -> None:
    before = one_unit.state()
    assert charge(one_unit, "r3").entries == before.entries


def test_a_release_id_belongs_to_one_file(one_unit: Ledger) -> None:
    with pytest.raises(BudgetError, match="different release file"):
        charge(one_unit, "r3", file_digest="sha256:other")


def test_the_table_is_what_the_design_says(one_unit: Ledger, spark: SparkSession) -> None:
    frame = spark.read.format("delta").load(str(one_unit.ref.path))
    assert {item.name: item.dataType.simpleString() for item in frame.schema} == COLUMNS
    assert frame.columns == list(COLUMNS)
    properties = {row["key"]: row["value"] for row in spark.sql(f"SHOW TBLPROPERTIES {one_unit.ref.sql}").collect()}
    assert properties["delta.appendOnly"] == "true"
    assert properties["delta.isolationLevel"] == "Serializable"
    rows = frame.orderBy("sequence").toArrow().to_pylist()
    assert [row["entry"] for row in rows] == ["open"] + ["charge"] * 10
    assert [row["sequence"] for row in rows] == list(range(1, 12))
    assert rows[0]["previous_digest"] == GENESIS
    assert (rows[0]["epsilon"], rows[0]["accountant"], rows[0]["reason"]) == ("1", "basic", "approved by the board")
    assert events_from_json(rows[1]["events"]) == (laplace("0.1"),)
    assert rows[1]["release_id"] == "r0"


def test_an_append_only_ledger_refuses_updates_and_deletes(one_unit: Ledger, spark: SparkSession) -> None:
    for statement in ("DELETE FROM {} WHERE sequence = 3", "UPDATE {} SET epsilon = '0' WHERE sequence = 3"):
        with pytest.raises(Exception, match=r"(?i)append"):
            spark.sql(statement.format(one_unit.ref.sql))


def test_a_zcdp_account_sums_rho_and_selection_delta(place: Place) -> None:
    ledger = place.book()
    rho = ledger.state().account("gauss").account.rho
    assert rho is not None
    whole = Event("count", "gaussian", 3.0, None, rho)
    half_delta = Event("privacy_id_count", "gaussian", 3.0, None, Decimal(0), Decimal("0.000005"), 20)
    state = charge(ledger, "r1", dataset="gauss", events=(whole, half_delta))
    entry = state.charge_of("r1")
    assert entry is not None
    assert entry.row.rho is not None
    assert Decimal(entry.row.rho) == rho
    for event in (
        Event("count", "gaussian", 3.0, None, Decimal("1e-30")),
        Event("s", "gaussian", 3.0, None, Decimal(0), Decimal("1e-40")),
    ):
        with pytest.raises(BudgetError):
            charge(ledger, "r2", dataset="gauss", events=(event,))
    with pytest.raises(BudgetError, match="cannot add up"):
        charge(ledger, "r3", events=(Event("count", "gaussian", 3.0, None, Decimal(1)),))


# --- accounts --------------------------------------------------------------------------------------------------------


def test_an_account_is_opened_once(place: Place) -> None:
    before = place.entries()
    with pytest.raises(BudgetError, match="account already"):
        place.book().open("visits", Account.open(Decimal(100), Decimal(0)))
    assert place.entries() == before


def test_two_datasets_share_a_ledger_and_not_a_budget(place: Place) -> None:
    ledger = place.book()
    charge(ledger, "r1", "0.25", dataset="poor")
    with pytest.raises(BudgetError):
        charge(ledger, "r2", "0.1", dataset="poor")
    state = charge(ledger, "r3", "0.1", dataset="visits")
    assert state.account("poor").spent.amount == Decimal("0.25")
    assert state.account("visits").spent.amount == Decimal("0.1")


def test_the_first_charge_pins_the_unit_and_the_source(place: Place) -> None:
    ledger = place.book()
    charge(ledger, "r1")
    for unit in ('["patient","ward"]', '["ward"]', '"row"'):
        with pytest.raises(BudgetError, match="protects the unit"):
            charge(ledger, "r2", privacy_unit=unit)
    for source in ("/data/visits", "/data/visits/2024", "/data"):
        with pytest.raises(BudgetError, match="one source has one budget"):
            charge(ledger, "r2", dataset="rich", source=source)
    state = charge(ledger, "r2", source="/data/more-visits")
    assert [charged.entry.release_id for charged in state.account("visits").charges] == ["r1", "r2"]
    charge(ledger, "r3", dataset="rich", source="/data/visits2")


def test_there_is_no_budget_without_an_account(place: Place, tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="no budget was opened"):
        charge(place.book(), "r1", dataset="unknown")
    with pytest.raises(BudgetError, match="there is no ledger"):
        Ledger(place.spark, TableRef(str(tmp_path / "nowhere"), None)).state()


# --- rivals ----------------------------------------------------------------------------------------------------------


def test_a_stale_state_is_read_again(place: Place) -> None:
    stale = place.book().state()
    charge(place.book(), "first")
    state = charge(place.book(), "second", known=stale)
    assert [entry.sequence for entry in state.entries] == list(range(1, len(state.entries) + 1))
    assert [row.release_id for row in state.rows[-2:]] == ["first", "second"]


def test_a_stale_state_never_overspends(place: Place) -> None:
    stale = place.book().state()
    charge(place.book(), "first", "0.2", dataset="poor")
    with pytest.raises(BudgetError):
        charge(place.book(), "second", "0.2", dataset="poor", known=stale)
    assert place.kinds() == [("charge", "first")]


def test_a_stale_state_does_not_charge_a_release_twice(place: Place) -> None:
    stale = place.book().state()
    charge(place.book(), "first")
    charge(place.book(), "first", known=stale)
    assert place.kinds() == [("charge", "first")]


def test_a_stale_state_does_not_unpin_the_unit(place: Place) -> None:
    stale = place.book().state()
    charge(place.book(), "first")
    with pytest.raises(BudgetError, match="protects the unit"):
        charge(place.book(), "second", privacy_unit='"row"', known=stale)


@pytest.mark.slow
def test_rivals_without_the_file_lock_get_a_sequence_of_their_own(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a shared store, where no lock stands in front: Delta alone must keep the chain whole."""
    monkeypatch.setattr(chain, "local_lock", lambda ref: contextlib.nullcontext())
    monkeypatch.setattr(Witness, "remember", lambda self, seal: None)
    stale = place.book().state()
    failures: list[BaseException] = []

    def rival(number: int) -> None:
        try:
            charge(place.book(), f"r{number}", "0.1", dataset="poor", known=stale)
        except (BudgetError, ConflictError) as error:
            failures.append(error)

    threads = [threading.Thread(target=rival, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = place.book().state()
    charged = [row.release_id for row in state.rows if row.entry == "charge"]
    assert len(charged) == len(set(charged)) == 2, "0.25 bears two charges of 0.1"
    assert len(failures) == 1
    assert isinstance(failures[0], BudgetError)


def test_publication_is_written_down_once(place: Place) -> None:
    ledger = place.book()
    made = charge(ledger, "r1").charge_of("r1")
    assert made is not None
    ledger.mark_published(made.entry.published("/sink", 4, "sha256:d"))
    state = ledger.mark_published(made.entry.published("/sink", 5, "sha256:e"))
    assert state.publication_of("r1") == made.entry.published("/sink", 4, "sha256:d")
    assert json.loads(state.rows[-1].events) == {"sink": "/sink", "version": 4, "draw": "sha256:d"}
    assert place.kinds() == [("charge", "r1"), ("published", "r1")]


# --- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {} SET epsilon = '1000' WHERE sequence = 1",
        "UPDATE {} SET dataset = 'other' WHERE sequence = 3",
        "UPDATE {} SET events = '[]' WHERE sequence = 5",
        "UPDATE {} SET at = at + INTERVAL 1 MICROSECOND WHERE sequence = 7",
        "UPDATE {} SET who = null WHERE sequence = 8",
        "UPDATE {} SET entry = 'refund' WHERE sequence = 11",
        "UPDATE {} SET events = '[{{}}]' WHERE sequence = 11",
        "UPDATE {} SET sequence = sequence + 20 WHERE sequence > 9",
        "DELETE FROM {} WHERE sequence = 1",
        "DELETE FROM {} WHERE sequence = 6",
        "INSERT INTO {0} SELECT * FROM {0} WHERE sequence = 11",
    ],
)
def test_a_changed_ledger_is_damage(
    one_unit: Ledger, spark: SparkSession, tmp_path: Path, cli: Callable[..., Outcome], statement: str
) -> None:
    ledger = copy_of(one_unit, tmp_path)
    spark.sql(f"ALTER TABLE {ledger.ref.sql} SET TBLPROPERTIES ('delta.appendOnly' = 'false')")
    spark.sql(statement.format(ledger.ref.sql))
    with pytest.raises(DamageError):
        ledger.state()
    with pytest.raises(DamageError):
        charge(ledger, "more", "0.000001")
    outcome = cli("budget", "show", "--ledger", ledger.ref.path, "--json")
    assert (outcome.code, outcome.document["error"]["code"]) == (6, "damaged")


@pytest.mark.parametrize(
    "statement", ["UPDATE {} SET epsilon = '0', events = '[]' WHERE sequence = 11", "DELETE FROM {} WHERE sequence = 11"]
)
def test_a_changed_last_entry_is_damage(one_unit: Ledger, spark: SparkSession, tmp_path: Path, statement: str) -> None:
    """Nothing follows the last entry that holds its digest; taking it back would give budget back."""
    ledger = copy_of(one_unit, tmp_path)
    spark.sql(f"ALTER TABLE {ledger.ref.sql} SET TBLPROPERTIES ('delta.appendOnly' = 'false')")
    spark.sql(statement.format(ledger.ref.sql))
    with pytest.raises(DamageError):
        ledger.state()


def test_a_table_that_is_not_a_ledger_is_damage(spark: SparkSession, tmp_path: Path) -> None:
    spark.range(3).write.format("delta").save(str(tmp_path / "numbers"))
    with pytest.raises(DamageError):
        Ledger(spark, TableRef(str(tmp_path / "numbers"), None)).state()


# --- the pure rules --------------------------------------------------------------------------------------------------


def entry(kind: str, sequence: int, previous: str, **changes: Any) -> Row:
    given: dict[str, Any] = dict.fromkeys(("release_id", "file_digest", "privacy_unit", "source", "rho", "reason"))
    if kind != "open":
        given |= {"file_digest": "sha256:f", "privacy_unit": '["id"]', "source": "/data"}
    given |= {"events": "[]", "epsilon": "1", "delta": "0", "accountant": "basic", "who": "me", "at": EPOCH}
    return Row(**{**given, "entry": kind, "dataset": "d", "sequence": sequence, "previous_digest": previous, **changes})


def test_every_column_is_in_the_digest() -> None:
    plain = entry("open", 1, GENESIS)
    changes: dict[str, Any] = dict.fromkeys(COLUMNS, "x") | {"sequence": 2, "at": EPOCH.replace(microsecond=1)}
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
