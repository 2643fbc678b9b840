from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import checkout
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chains import Chain, account, gaussian, laplace, wanted

from dp_spark.errors import BudgetError, DamageError, SpecError
from dp_spark.ledger.entries import Charge, Entry, Opening, Publication, check_release_id, entry_of, row_of
from dp_spark.ledger.rows import CHARGE, GENESIS, OPEN, PUBLISHED, Row, Seal
from dp_spark.ledger.state import LedgerState
from dp_spark.privacy.accountants.account import Account
from dp_spark.privacy.accountants.base import Cost
from dp_spark.privacy.accountants.conversion import zcdp_from_budget
from dp_spark.privacy.events import Event


def book() -> Chain:
    found = Chain().open("a", account("1.0")).open("b", account("2", "1e-6"))
    found.charge("a", "r1", laplace("0.1")).publish("a", "r1")
    found.charge("b", "r2", gaussian(Decimal("0.001")), source="/data/b", accountant="zcdp", rho="0.001")
    return found.charge("a", "r3", laplace("0.2"), reason="again").publish("b", "r2")


def damaged(entries: list[Row]) -> None:
    with pytest.raises(DamageError) as caught:
        LedgerState(entries, where="warehouse/ledger")
    assert caught.value.where == "warehouse/ledger"


def test_a_sound_ledger_is_read_in_any_order() -> None:
    entries = book().entries
    state = LedgerState(list(reversed(entries)), where="w")
    assert state.rows == tuple(entries)
    assert state.next_sequence == 8
    assert state.last_digest == entries[-1].digest
    assert state.account("a").spent == Cost("epsilon", Decimal("0.3"), Decimal(0))
    assert state.account("b").spent == Cost("rho", Decimal("0.001"), Decimal(0))
    assert [charge.entry.release_id for charge in state.account("a").charges] == ["r1", "r3"]
    assert state.account("b").account == Account.open(Decimal(2), Decimal("1e-6"))


def test_an_empty_ledger_starts_the_chain() -> None:
    state = LedgerState([], where="w")
    assert (state.last_digest, state.next_sequence, state.accounts) == (GENESIS, 1, {})


def test_a_release_is_found_by_kind() -> None:
    state = book().state()
    charge, publication = state.charge_of("r1"), state.publication_of("r1")
    assert charge is not None
    assert publication is not None
    assert (charge.sequence, publication.release_id, publication.sink) == (3, "r1", "/out/r1")
    assert state.charge_of("r3") is not None
    assert state.publication_of("r3") is None
    assert state.charge_of("nope") is None


FLIPS: dict[str, Callable[[Any], Any]] = {
    "entry": lambda value: PUBLISHED if value == CHARGE else CHARGE,
    "sequence": lambda value: value + 100,
    "at": lambda value: value + timedelta(microseconds=1),
    "previous_digest": lambda value: value[:-1] + ("1" if value[-1] == "0" else "0"),
}


@pytest.mark.parametrize("field", [item.name for item in fields(Row)])
def test_a_changed_field_of_any_entry_is_damage(field: str) -> None:
    entries = book().entries
    flip = FLIPS.get(field, lambda value: f"{value or ''}1")
    for position in range(len(entries) - 1):  # a change of the last entry is seen when the next one is written
        changed = replace(entries[position], **{field: flip(getattr(entries[position], field))})
        damaged([*entries[:position], changed, *entries[position + 1 :]])


@pytest.mark.parametrize("field", ["sequence", "previous_digest"])
def test_the_last_entry_must_follow_its_predecessor(field: str) -> None:
    entries = book().entries
    damaged([*entries[:-1], replace(entries[-1], **{field: FLIPS[field](getattr(entries[-1], field))})])


@pytest.mark.parametrize("field", [item.name for item in fields(Row)])
def test_the_digest_covers_every_field(field: str) -> None:
    for entry in book().entries:
        flip = FLIPS.get(field, lambda value: f"{value or ''}1")
        assert replace(entry, **{field: flip(getattr(entry, field))}).digest != entry.digest


def test_the_digest_tells_null_from_empty_and_does_not_depend_on_the_zone() -> None:
    entry = book().entries[0]
    assert replace(entry, reason="").digest != replace(entry, reason=None).digest
    assert replace(entry, reason="", who="x").digest != replace(entry, reason="x", who="").digest
    assert replace(entry, at=entry.at.astimezone(None)).digest == entry.digest


def test_the_digest_of_an_entry_never_changes() -> None:
    stored = (
        '{"accountant":"basic","at":1704110400123456,"dataset":"a","delta":"0","entry":"open","epsilon":"1.0","events":"[]",'
        '"file_digest":null,"previous_digest":"sha256:' + 64 * "0" + '","privacy_unit":null,"reason":null,"release_id":null,'
        '"rho":null,"sequence":1,"source":null,"who":"me"}'
    )
    assert Chain().add(OPEN, "a", epsilon="1.0").entries[0].digest == "sha256:" + hashlib.sha256(stored.encode()).hexdigest()


def test_a_removed_entry_is_damage_wherever_it_stood_but_at_the_end() -> None:
    entries = book().entries
    for position in range(len(entries) - 1):
        damaged([*entries[:position], *entries[position + 1 :]])
        damaged(entries[position + 1 :])


def test_a_removed_entry_is_damage_even_if_the_rest_is_numbered_anew() -> None:
    entries = book().entries
    for position in range(len(entries) - 1):
        kept = [*entries[:position], *entries[position + 1 :]]
        damaged([replace(entry, sequence=index) for index, entry in enumerate(kept, start=1)])


def test_reordered_or_repeated_entries_are_damage() -> None:
    entries = book().entries
    for one in range(len(entries) - 1):
        swapped = list(entries)
        swapped[one], swapped[one + 1] = (
            replace(entries[one + 1], sequence=one + 1),
            replace(entries[one], sequence=one + 2),
        )
        damaged(swapped)
        damaged([*entries, entries[one]])


@pytest.mark.parametrize("kind", ["refund", "", "OPEN", "Charge"])
def test_an_unknown_kind_is_damage(kind: str) -> None:
    damaged(book().add(kind, "a").entries)


def test_an_entry_without_an_account_is_damage() -> None:
    damaged(book().charge("c", "r9", laplace("0.1")).entries)


def test_an_over_spent_account_is_damage() -> None:
    damaged(book().charge("a", "r4", laplace("0.70000000000000000000000000001")).entries)
    assert book().charge("a", "r4", laplace("0.7")).state().account("a").spent.amount == 1
    damaged(book().charge("b", "r5", gaussian(Decimal(2)), source="/data/b").entries)
    damaged(book().charge("b", "r5", gaussian(Decimal(0), "5.1e-7"), source="/data/b").entries)


@pytest.mark.parametrize("events", ["", "nope", "{}", "[{}]", "[1]", '[{"query": "x"}]', "null"])
def test_unreadable_events_are_damage(events: str) -> None:
    damaged(book().add(CHARGE, "a", events=events).entries)


@pytest.mark.parametrize("changes", [{"epsilon": "much"}, {"delta": ""}, {"epsilon": "NaN"}, {"accountant": "foo"}])
def test_an_unreadable_account_is_damage(changes: dict[str, Any]) -> None:
    damaged(Chain().add(OPEN, "a", **({"epsilon": "1", "delta": "0"} | changes)).entries)


def test_a_second_opening_of_the_same_account_is_damage() -> None:
    damaged(book().open("a", account("1000")).entries)


def test_an_event_that_the_account_cannot_add_up_is_not_free() -> None:
    with pytest.raises((DamageError, BudgetError)):
        book().charge("a", "r4", gaussian(Decimal("0.1"))).state()


def test_an_account_must_be_opened_once() -> None:
    state = book().state()
    with pytest.raises(BudgetError) as caught:
        state.account("nope")
    assert "nope" in caught.value.message
    assert "budget open" in caught.value.mend
    with pytest.raises(BudgetError, match="already"):
        state.check_open(Opening("a", Account.open(Decimal(1), Decimal(0)), None, None))
    state.check_open(Opening("c", Account.open(Decimal(1), Decimal(0)), None, None))


def charge(state: LedgerState, dataset: str = "a", *events: Event, unit: str = '["id"]', source: str = "/data/a") -> None:
    state.check_charge(wanted(state, dataset, *(events or (laplace("0.1"),)), unit=unit, source=source))


def test_what_fits_is_borne_and_nothing_more() -> None:
    state = book().state()
    charge(state, "a", laplace("0.7"))
    charge(state, "a", laplace("0.3"), laplace("0.4"))
    for events in (
        [laplace("0.7000000000000000000000000000000001")],
        [laplace("0.4"), laplace("0.4")],
        [laplace("0.1", "1e-9")],
    ):
        with pytest.raises(BudgetError, match=r"needs (epsilon|rho)"):
            charge(state, "a", *events)


def test_ten_tenths_fit_and_the_eleventh_does_not() -> None:
    found = Chain().open("a", account("1.0"))
    for index in range(10):
        charge(found.state(), "a", laplace("0.1"))
        found.charge("a", f"r{index}", laplace("0.1"))
    with pytest.raises(BudgetError, match=r"needs (epsilon|rho)"):
        charge(found.state(), "a", laplace("0.1"))


def test_a_release_that_asks_for_all_of_a_zcdp_account_fits() -> None:
    rho = zcdp_from_budget(Decimal(1), Decimal("1e-6"))
    state = Chain().open("z", account("1", "1e-6")).state()
    charge(state, "z", gaussian(rho, "5e-7"))
    with pytest.raises(BudgetError, match=r"needs (epsilon|rho)"):
        charge(state, "z", gaussian(rho, "5e-7"), gaussian(Decimal("1e-20")))


def test_a_refusal_says_what_was_requested_what_remains_and_how_to_mend_it() -> None:
    with pytest.raises(BudgetError) as caught:
        charge(book().state(), "a", laplace("0.75", "1e-9"))
    error = caught.value
    for word in ("needs epsilon 0.75, delta 0.000000001", "remaining epsilon 0.7, delta 0", " a: "):
        assert word in error.message
    assert error.mend
    assert error.where == "warehouse/ledger"
    assert error.exit_code == 3
    with pytest.raises(BudgetError) as caught:
        charge(book().state(), "a", laplace("0.75"))
    assert "at most epsilon 0.7 and delta 0" in caught.value.mend


def test_a_refusal_of_a_zcdp_account_shows_rho_and_epsilon() -> None:
    with pytest.raises(BudgetError) as caught:
        charge(book().state(), "b", gaussian(Decimal(3), "1e-7"), source="/data/b")
    for word in ("needs rho 3, selection delta 1e-7", "remaining rho 0.0", "epsilon 1.", "delta 0.000001"):
        assert word in caught.value.message


def test_what_the_mend_offers_fits() -> None:
    state = book().state()
    with pytest.raises(BudgetError) as caught:
        charge(state, "b", gaussian(Decimal(3), "1e-7"), source="/data/b")
    words = caught.value.mend.replace(",", "").split()
    epsilon, delta = (Decimal(words[words.index(name) + 1]) for name in ("epsilon", "delta"))
    charge(state, "b", gaussian(zcdp_from_budget(epsilon, delta), str(delta / 2)), source="/data/b")


def test_a_used_up_account_says_so() -> None:
    state = book().charge("a", "r4", laplace("0.7")).state()
    with pytest.raises(BudgetError) as caught:
        charge(state, "a", laplace("0.1"))
    assert "used up" in caught.value.mend


@pytest.mark.parametrize("unit", ['["ID"]', '["id","site"]', '["site"]', "row", ""])
def test_the_first_charge_pins_the_unit(unit: str) -> None:
    with pytest.raises(BudgetError, match="protects the unit") as caught:
        charge(book().state(), "a", unit=unit)
    assert caught.value.where == "privacy_unit"


def test_one_charge_is_enough_to_pin_the_unit_and_later_ones_do_not_move_the_pin() -> None:
    once = Chain().open("a", account("1.0")).charge("a", "r1", laplace("0.1"))
    with pytest.raises(BudgetError, match="protects the unit"):
        charge(once.state(), "a", unit="row")
    with pytest.raises(BudgetError, match="protects the unit"):
        charge(once.charge("a", "r2", laplace("0.1"), unit="row").state(), "a", unit="row")


def test_an_account_without_charges_takes_any_unit_and_each_account_has_its_own() -> None:
    state = book().open("c", account("1.0")).state()
    charge(state, "c", unit="row", source="/data/c")
    charge(state, "a", unit='["id"]', source="/data/other")


@pytest.mark.parametrize("source", ["/data/b", "/data/b/", "/data/b/part=1", "/data", "/"])
def test_a_source_that_another_account_was_charged_for_is_refused(source: str) -> None:
    with pytest.raises(BudgetError, match="another dataset") as caught:
        charge(book().state(), "a", source=source)
    assert caught.value.where == "dataset"
    assert "b" in caught.value.mend


@pytest.mark.parametrize("source", ["/data/a", "/data/a/part=1", "/data/bb", "/data/c", "table:a.b", "s3a://x/data/b"])
def test_other_sources_are_not(source: str) -> None:
    charge(book().state(), "a", source=source)


def test_a_table_or_database_is_pinned_by_its_name() -> None:
    state = book().open("c", account("1.0")).charge("c", "r9", laplace("0.1"), source="table:cat.db.t").state()
    with pytest.raises(BudgetError, match="another dataset"):
        charge(state, "a", source="table:cat.db.t")
    charge(state, "a", source="table:cat.db.t2")
    charge(state, "c", source="table:cat.db.t")


@pytest.mark.parametrize("release_id", ["a", "2024-01-01", "a.b_c:d-e", "x" * 128])
def test_plain_release_ids_are_taken(release_id: str) -> None:
    assert check_release_id(release_id) == release_id


@pytest.mark.parametrize("release_id", ["", "x" * 129, "a b", "a/b", "a'b", "ä", "a\n", "²", "${x}"])
def test_other_release_ids_are_refused(release_id: str) -> None:
    with pytest.raises(SpecError) as caught:
        check_release_id(release_id)
    assert caught.value.where == "--release-id"


def again(row: Row, entry: Entry) -> Row:
    """The row that is written for an entry in the place of another."""
    place = {"sequence": row.sequence, "previous_digest": row.previous_digest, "at": row.at, "who": row.who}
    return row_of(entry, **place)  # type: ignore[arg-type]


def golden_rows() -> list[Row]:
    """The ledger that 0.1.0 wrote, in order."""
    table = pa.concat_tables(pq.read_table(file) for file in (checkout.GOLDEN / "0" / "ledger").glob("*.parquet"))
    at = table["at"].cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))
    rows = table.set_column(table.column_names.index("at"), "at", at).to_pylist()
    return sorted(map(Row.of, rows), key=lambda row: row.sequence)


def test_what_an_earlier_version_wrote_is_read_and_would_be_written_to_the_byte() -> None:
    rows = golden_rows()
    state = LedgerState(rows, where="golden")
    assert len(rows) == len(state.entries) > 10
    assert {type(written.entry) for written in state.entries} == {Opening, Charge, Publication}
    for written in state.entries:
        assert again(written.row, written.entry) == written.row
    head = json.loads((checkout.GOLDEN / "0" / ".ledger.head").read_text())
    state.check_seals([Seal(**head)], "the witness")


ABOUT = ("d", "r1", "sha256-2:f", "zcdp", '["id"]', "/data")
EITHER = Event("count", "laplace", 2.5, Decimal("0.1"), Decimal("0.005"), Decimal("1e-9"), 7)  # either accountant adds it up
PAID = Charge(*ABOUT, (EITHER,), None, Decimal("1.50"), Decimal("1e-6"))
ENTRIES = [
    Opening("d", Account.open(Decimal(1), Decimal(0)), None, None),
    Opening("d", Account.open(Decimal("2.5"), Decimal("1e-6")), "town", "more"),
    PAID,
    replace(PAID, accountant="basic", events=(EITHER, EITHER), unparsed="sha256-2:u"),
    PAID.corrected("sha256-2:g"),
    PAID.published("/out", 3, "sha256:d"),
]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: type(entry).__name__)
def test_every_field_of_an_entry_survives_its_row(entry: Entry) -> None:
    row = again(book().entries[0], entry)
    assert entry_of(row) == entry
    for item in fields(entry):
        flip = OTHER.get(item.name, lambda value: f"{value}1")
        other = replace(entry, **{item.name: flip(getattr(entry, item.name))})
        assert again(row, other) != row, item.name


OTHER: dict[str, Callable[[Any], Any]] = {
    "account": lambda value: replace(value, epsilon=value.epsilon + 1),
    "accountant": lambda value: "basic" if value == "zcdp" else "zcdp",
    "events": lambda value: (*value, *value),
    "version": lambda value: value + 1,
    "epsilon": lambda value: value + 1,
    "delta": lambda value: value / 2,
}


def test_a_row_is_read_from_a_table_with_more_columns() -> None:
    row = book().entries[2]
    assert Row.of({item.name: getattr(row, item.name) for item in fields(Row)} | {"added_later": 1}) == row
