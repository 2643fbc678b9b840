"""The ledger's rules for raises, groups, publications and seals, and what a changed chain must never hide; no JVM."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from datetime import UTC
from decimal import Decimal
from typing import Any

import pytest
from chains import WHERE, Chain, account, gaussian, laplace, wanted
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dp_spark.errors import BudgetError, ConflictError, DamageError
from dp_spark.ledger.entries import Opening
from dp_spark.ledger.rows import CORRECTION, PUBLISHED, Row, Seal
from dp_spark.ledger.same_file import check_comparable, is_correction
from dp_spark.ledger.state import LedgerState
from dp_spark.privacy.accountants.account import Account
from dp_spark.privacy.accountants.base import Cost
from dp_spark.privacy.accountants.conversion import zcdp_from_budget
from dp_spark.privacy.events import Event, events_to_json


def check(state: LedgerState, dataset: str, *events: Event, unit: str = '["id"]') -> None:
    state.check_charge(wanted(state, dataset, *events, unit=unit))


def spent(state: LedgerState) -> dict[str, Decimal]:
    return {name: found.spent.amount for name, found in state.accounts.items()}


# --- raises ----------------------------------------------------------------------------------------------------------


def raised() -> Chain:
    chain = Chain().open("a", account("1")).charge("a", "r1", laplace("0.9"))
    return chain.open("a", account("2", "0"), reason="second year")


def test_the_new_totals_count_and_what_was_spent_stays() -> None:
    state = raised().state()
    assert state.account("a").account == account("2")
    assert spent(state) == {"a": Decimal("0.9")}
    assert [charge.entry.release_id for charge in state.account("a").charges] == ["r1"]


def test_a_raise_lets_a_refused_charge_fit() -> None:
    before, after = Chain(raised().entries[:2]).state(), raised().state()
    with pytest.raises(BudgetError, match=r"needs (epsilon|rho)"):
        check(before, "a", laplace("1.1"))
    check(after, "a", laplace("1.1"))
    with pytest.raises(BudgetError, match=r"needs (epsilon|rho)"):
        check(after, "a", laplace("1.1"), laplace("1e-30"))
    with pytest.raises(BudgetError, match="protects the unit"):
        check(after, "a", laplace("0.1"), unit="row")


def test_no_total_may_fall_and_the_accountant_stays() -> None:
    state = Chain().open("a", account("1")).open("z", account("1", "1e-6")).state()
    for dataset, total in {
        "a": [account("0.999999999999999999999999999999"), Account.open(Decimal(2), Decimal("1e-6"), "zcdp")],
        "z": [account("1", "1e-7"), account("0.9", "1e-6"), account("5", "0"), account("5", "9e-7")],
    }.items():
        for changed in total:
            with pytest.raises(BudgetError, match="only raised"):
                state.check_raise(dataset, changed)
    state.check_raise("a", account("1"))
    state.check_raise("a", Account.open(Decimal(1), Decimal("1e-9"), "basic"))
    state.check_raise("z", account("1", "2e-6"))


def test_a_raise_needs_an_account() -> None:
    with pytest.raises(BudgetError, match="no budget was opened"):
        raised().state().check_raise("b", account("5"))


def test_a_raise_of_a_zcdp_account_buys_rho_anew() -> None:
    old, new = zcdp_from_budget(Decimal(1), Decimal("1e-6")), zcdp_from_budget(Decimal(2), Decimal("1e-6"))
    chain = Chain().open("z", account("1", "1e-6")).charge("z", "r1", gaussian(old), accountant="zcdp")
    chain.open("z", account("2", "1e-6"), reason="more")
    found = chain.state().account("z")
    assert (found.account.rho, found.spent.amount) == (new, old)
    check(chain.state(), "z", gaussian(new - old))
    with pytest.raises(BudgetError, match=r"needs (epsilon|rho)"):
        check(chain.state(), "z", gaussian(new - old), gaussian(Decimal("1e-30")))


@pytest.mark.parametrize(
    "add",
    [
        lambda chain: chain.open("a", account("1.9"), reason="less"),
        lambda chain: chain.open("a", account("3")),
        lambda chain: chain.open("a", account("3"), reason=""),
        lambda chain: chain.open("a", account("3", "1e-6"), reason="another accountant"),
        lambda chain: chain.open("a", account("3"), group="g", reason="another group"),
    ],
    ids=["lower", "no reason", "empty reason", "accountant", "group"],
)
def test_a_raise_that_is_none_is_damage(add: Callable[[Chain], Chain]) -> None:
    add(raised()).damaged("opens the account of a again")


def test_a_later_raise_does_not_heal_what_was_overspent_before_it() -> None:
    chain = Chain().open("a", account("1")).charge("a", "r1", laplace("1.1"))
    chain.open("a", account("2"), reason="afterwards").damaged("at entry 2 the account of a has spent more")
    sound = Chain().open("a", account("1")).open("a", account("2"), reason="before").charge("a", "r1", laplace("1.1"))
    assert spent(sound.state()) == {"a": Decimal("1.1")}


# --- groups ----------------------------------------------------------------------------------------------------------


def grouped() -> Chain:
    chain = Chain().open("a", account("1"), group="g").open("b", account("0.5"), group="g")
    return chain.open("c", account("0.2")).open("d", account("0.2"), group="h")


def test_a_charge_to_one_member_counts_in_all() -> None:
    chain = grouped().charge("a", "r1", laplace("0.1")).charge("b", "r2", laplace("0.2"), laplace("0.05"))
    state = chain.state()
    assert spent(state) == {"a": Decimal("0.35"), "b": Decimal("0.35"), "c": Decimal(0), "d": Decimal(0)}
    for name, own in {"a": ["r1"], "b": ["r2"]}.items():
        assert [charge.entry.release_id for charge in state.account(name).charges] == ["r1", "r2"]
        assert [charge.release_id for charge in state.account(name).own_charges] == own


def test_a_charge_is_refused_when_any_member_cannot_bear_it() -> None:
    chain = grouped()
    for index in range(5):
        chain.charge("a", f"r{index}", laplace("0.1"))
    state = chain.state()
    assert spent(state)["b"] == Decimal("0.5")
    for dataset in ("a", "b"):
        with pytest.raises(BudgetError, match="too little is left of the budget of b"):
            check(state, dataset, laplace("1e-30"))
    for dataset in ("c", "d"):
        check(state, dataset, laplace("0.2"))
    chain.charge("a", "more", laplace("1e-30")).damaged("the account of b has spent more")


def test_a_raise_of_one_member_is_not_enough_for_another() -> None:
    chain = grouped().charge("a", "r1", laplace("0.5")).open("b", account("0.7"), group="g", reason="more")
    check(chain.state(), "a", laplace("0.2"))
    with pytest.raises(BudgetError, match="too little is left of the budget of b"):
        check(chain.state(), "a", laplace("0.21"))
    assert spent(chain.state())["b"] == Decimal("0.5")


def test_a_member_that_joins_later_starts_with_what_the_group_has_spent() -> None:
    chain = grouped().charge("a", "r1", laplace("0.3"))
    with pytest.raises(BudgetError, match="already spent more"):
        chain.state().check_open(Opening("e", account("0.2999999999999999999999999999"), "g", None))
    chain.state().check_open(Opening("e", account("0.2"), "h", None))
    chain.state().check_open(Opening("e", account("0.2"), None, None))
    chain.state().check_open(Opening("e", account("0.3"), "g", None))
    joined = Chain(chain.entries).open("e", account("0.3"), group="g")
    assert spent(joined.state())["e"] == Decimal("0.3")
    with pytest.raises(BudgetError, match="too little is left of the budget of e"):
        check(joined.state(), "a", laplace("0.1"))
    Chain(chain.entries).open("e", account("0.2"), group="g").damaged("the account of e has spent more")


def test_the_members_of_a_group_have_one_accountant() -> None:
    with pytest.raises(BudgetError, match="accounts of the group g are basic") as caught:
        grouped().state().check_open(Opening("e", account("1", "1e-6"), "g", None))
    assert (caught.value.where, caught.value.mend) == ("--accountant", "open it with --accountant basic")
    grouped().state().check_open(Opening("e", account("1", "1e-6"), "i", None))
    Chain(grouped().entries).open("e", account("1", "1e-6"), group="g").damaged()


def test_a_zcdp_group_sums_rho_and_delta() -> None:
    rho = zcdp_from_budget(Decimal(1), Decimal("1e-6"))
    chain = Chain().open("a", account("1", "1e-6"), group="g").open("b", account("1", "1e-6"), group="g")
    chain.charge("a", "r1", gaussian(rho / 2, "2e-7"), accountant="zcdp")
    assert chain.state().account("b").spent == Cost("rho", (rho / 2).normalize(), Decimal("2e-7"))
    check(chain.state(), "b", gaussian(rho - rho / 2, "3e-7"))
    with pytest.raises(BudgetError, match=r"needs (epsilon|rho)"):
        check(chain.state(), "b", gaussian(Decimal(0), "3.1e-7"))


def test_each_member_has_a_unit_and_a_source_of_its_own() -> None:
    state = grouped().charge("a", "r1", laplace("0.1"), unit='["id"]').state()
    check(state, "b", laplace("0.1"), unit="row")
    with pytest.raises(BudgetError, match="protects the unit"):
        check(state, "a", laplace("0.1"), unit="row")
    with pytest.raises(BudgetError, match="one source has one budget"):
        state.check_charge(wanted(state, "b", laplace("0.1"), source="/data/a"))


# --- publications, charges, seals ------------------------------------------------------------------------------------


def published() -> Chain:
    return grouped().charge("a", "r1", laplace("0.1")).publish("a", "r1").charge("b", "r2", laplace("0.1"))


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (lambda chain: chain.publish("a", "r9"), "publication without a charge"),
        (lambda chain: chain.publish("a", None), "cannot be read"),
        (lambda chain: chain.publish("a", "r1"), "publication without a charge of its own"),
        (lambda chain: chain.publish("a", "r2"), None),
        (lambda chain: chain.publish("nobody", "r2"), "belongs to no account"),
        (lambda chain: chain.add(PUBLISHED, "b", release_id="r2"), None),
        (lambda chain: chain.add(PUBLISHED, "b", release_id="r2", events="nope"), None),
        (lambda chain: chain.charge("a", "r1", laplace("0.1")), "charged before"),
        (lambda chain: chain.charge("b", "r1", laplace("0.1")), "charged before"),
        (lambda chain: chain.charge("b", "r3", laplace("-0.1")), None),
        (lambda chain: chain.charge("b", "r3", laplace("0.1", "-1e-9")), None),
        (lambda chain: chain.charge("b", "r3", laplace("1e-500")), None),
        (lambda chain: chain.charge("b", "r3", laplace("Infinity")), None),
        (lambda chain: chain.charge("b", "r3", laplace("NaN")), None),
        (lambda chain: chain.charge("b", "r3", events="[" * 100_000), None),
        (lambda chain: chain.charge("b", "r3", laplace("0.1"), sequence=None), None),
        (lambda chain: chain.charge("b", "r3", laplace("0.1"), release_id=None), "cannot be read"),
        (lambda chain: chain.charge("b", "r3", laplace("0.1"), privacy_unit=None), "cannot be read"),
        (lambda chain: chain.charge("b", "r3", laplace("0.1"), source=None), "cannot be read"),
        (lambda chain: chain.charge("b", "r3", laplace("0.1"), file_digest=None), "cannot be read"),
        (lambda chain: chain.charge("b", "r3", laplace("0.1"), accountant="mine"), "cannot be read"),
        (lambda chain: chain.charge("b", "r3", laplace("0.1"), epsilon="-1"), "cannot be read"),
    ],
    ids=[
        "never charged", "no release", "published twice", "of another account", "no account", "no place", "unreadable place",
        "charged twice", "charged to another", "negative", "negative delta", "too fine", "infinite", "not a number",
        "too deep", "no sequence", "no release", "no unit", "no source", "no file", "no accountant", "negative guarantee",
    ],
)  # fmt: skip
def test_an_entry_that_dp_spark_would_not_write_is_damage(add: Callable[[Chain], Chain], message: str | None) -> None:
    assert published().state().next_sequence == 8
    add(published()).damaged(message)


def test_seals_that_fit_are_fine() -> None:
    chain = published()
    chain.state().check_seals([], "nobody")
    chain.state().check_seals([entry.seal for entry in chain.entries], "the outbox")


@pytest.mark.parametrize("at", [-1, 0, 1, 7, 8, 1000])
def test_a_seal_that_the_ledger_does_not_hold_is_damage(at: int) -> None:
    for entries in (published().entries, []):
        with pytest.raises(DamageError, match="the outbox has seen") as caught:
            LedgerState(entries, where=WHERE).check_seals([Seal(at, "sha256:other")], "the outbox")
        assert caught.value.where == WHERE


def test_a_cut_or_replaced_end_breaks_the_seal() -> None:
    chain = published()
    last = chain.entries[-1]
    for entries in (chain.entries[:-1], [*chain.entries[:-1], replace(last, who="you")]):
        state = LedgerState(entries, where=WHERE)
        with pytest.raises(DamageError):
            state.check_seals([last.seal], "the witness")


@pytest.mark.parametrize("name", ["epsilon", "who"])
def test_the_sound_part_ends_before_the_first_damage(name: str) -> None:
    """An entry that was changed is not part of it, though only the next entry's digest shows the change."""
    entries = published().entries
    for position in range(len(entries) - 1):
        broken = [*entries[:position], replace(entries[position], **dict[str, Any]({name: "9"})), *entries[position + 1 :]]
        assert LedgerState.sound_part(reversed(broken), where=WHERE).rows == tuple(entries[:position])


def test_the_sound_part_ends_before_what_overspends_and_a_sound_ledger_is_all_sound() -> None:
    entries = published().entries
    overspent = Chain(entries).charge("a", "r3", laplace("0.4")).publish("a", "r3")
    for given_entries in (overspent.entries, entries):
        state = LedgerState.sound_part(given_entries, where=WHERE)
        assert state.rows == tuple(entries)
        assert spent(state)["b"] == Decimal("0.2")


# --- whatever is done in order is sound, and no change of it stays hidden --------------------------------------------

NAMES = ("a", "b", "c")
TOTALS = (account("1"), account("0.3"), account("2"), account("1", "1e-6"), account("2", "1e-6"))
EVENTS = (laplace("0.1"), laplace("0.25"), gaussian(Decimal("0.001"), "1e-8"), gaussian(Decimal("0.02")))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.sampled_from(NAMES), st.sampled_from(TOTALS), st.sampled_from((None, "g", "h"))),
        st.tuples(st.just("charge"), st.sampled_from(NAMES), st.sampled_from(EVENTS), st.sampled_from(('["id"]', "row"))),
        st.tuples(st.just("raise"), st.sampled_from(NAMES), st.sampled_from(TOTALS), st.just("why")),
        st.tuples(st.just("publish"), st.sampled_from(NAMES), st.integers(1, 12), st.none()),
    ),
    min_size=1,
    max_size=12,
)


def follow(steps: Sequence[tuple[str, str, Any, Any]]) -> Chain:
    """Does what the checks allow, as the ledger does; every state on the way must be sound."""
    chain = Chain()
    for index, (kind, dataset, what, more) in enumerate(steps):
        state = chain.state()
        with contextlib.suppress(BudgetError):
            if kind == "open":
                state.check_open(Opening(dataset, what, more, None))
                chain.open(dataset, what, group=more)
            elif kind == "raise":
                state.check_raise(dataset, what)
                chain.open(dataset, what, group=state.account(dataset).group, reason=more)
            elif kind == "charge":
                check(state, dataset, what, unit=more)
                accountant = state.account(dataset).account.accountant
                chain.charge(dataset, f"r{index}", what, unit=more, accountant=accountant)
            else:
                made = state.charge_of(f"r{what}")
                if made is not None and state.publication_of(f"r{what}") is None:
                    chain.publish(made.entry.dataset, made.entry.release_id)
    return chain


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_what_the_checks_allow_is_never_damage(steps: list[tuple[str, str, Any, Any]]) -> None:
    state = follow(steps).state()
    for found in state.accounts.values():
        assert found.account.bears(found.spent)
        mates = [item for item in state.accounts.values() if found.group is not None and item.group == found.group]
        assert all(item.spent == found.spent for item in mates)
    state.check_seals([entry.seal for entry in state.entries], "all that saw it")


@settings(max_examples=300, deadline=None)
@given(STEPS, st.data())
def test_a_changed_field_is_found_with_the_seal_of_the_last_entry(steps: list[Any], data: st.DataObject) -> None:
    entries = follow([("open", "a", TOTALS[0], None), ("charge", "a", EVENTS[0], "row"), *steps]).entries
    position = data.draw(st.integers(0, len(entries) - 1))
    name = data.draw(st.sampled_from([item.name for item in fields(Row)]))
    values: dict[str, st.SearchStrategy[Any]] = {"sequence": st.integers(-1, 20), "at": st.datetimes(timezones=st.just(UTC))}
    seen = st.sampled_from(sorted({str(getattr(entry, name)) for entry in entries}))
    value = data.draw(values.get(name, st.one_of(st.none(), st.text(max_size=5), seen)))
    assume(value != getattr(entries[position], name))
    changed = [*entries[:position], replace(entries[position], **{name: value}), *entries[position + 1 :]]
    with pytest.raises(DamageError):
        LedgerState(changed, where=WHERE).check_seals([entries[-1].seal], "the witness")


# --- corrections -----------------------------------------------------------------------------------------------------


def correctable() -> Chain:
    """An account with a charge whose parsing may be corrected, and one whose may not."""
    chain = Chain().open("a", account("1"))
    chain.charge("a", "text", file_digest="sha256-2:1", events=events_to_json([laplace("0.1")], "sha256-2:u"))
    return chain.charge("a", "table", laplace("0.2"), file_digest="sha256-2:t")


def correct(chain: Chain, digest: str | None, release: str = "text", **more: Any) -> Chain:
    given = {"source": "/data/a", "privacy_unit": '["id"]', "file_digest": digest, **more}
    return chain.add(CORRECTION, "a", release_id=release, **given)


def test_a_correction_costs_nothing_and_the_last_file_counts() -> None:
    chain = correct(correct(correctable(), "sha256-2:2"), "sha256-2:3")
    state = chain.publish("a", "text").state()
    assert state.digests_of("text") == ("sha256-2:1", "sha256-2:2", "sha256-2:3")
    assert state.digests_of("table") == ("sha256-2:t",)
    assert state.account("a").spent.amount == Decimal("0.3")
    assert [charge.entry.release_id for charge in state.account("a").charges] == ["text", "table"]
    charge = state.charge_of("text")
    assert charge is not None
    assert charge.entry.file_digest == "sha256-2:1"


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (lambda chain: correct(chain, "sha256-2:2", "never"), "not charged so"),
        (lambda chain: correct(chain, "sha256-2:2", source="/data/b"), "not charged so"),
        (lambda chain: correct(chain, "sha256-2:2", privacy_unit='"row"'), "not charged so"),
        (lambda chain: correct(chain, "sha256-2:2", accountant="zcdp"), "not charged so"),
        (lambda chain: correct(chain, "sha256-2:2", "table"), "not a correction of parsing"),
        (lambda chain: correct(chain, None), "not a correction of parsing"),
        (lambda chain: correct(chain, "sha256-2:2", epsilon="0.1"), "not a correction of parsing"),
        (lambda chain: correct(chain, "sha256-2:2", events=events_to_json([laplace("0.1")])), "not a correction of parsing"),
        (lambda chain: correct(chain.publish("a", "text"), "sha256-2:2"), "published before"),
        (lambda chain: chain.charge("a", "x", events='{"draws": 1, "unparsed": "u"}'), None),
        (lambda chain: chain.charge("a", "x", events='{"unparsed": "u"}'), None),
    ],
)
def test_a_correction_that_dp_spark_would_not_write_is_damage(add: Callable[[Chain], Chain], message: str | None) -> None:
    assert correct(correctable(), "sha256-2:2").state().next_sequence == 5
    add(correctable()).damaged(message)


def test_what_a_charged_release_may_go_on_with() -> None:
    state = correct(correctable(), "sha256-2:2").state()
    assert not is_correction(state, "text", "sha256-2:2", "sha256-2:u")
    assert is_correction(state, "text", "sha256-2:9", "sha256-2:u")
    with pytest.raises(ConflictError) as caught:
        is_correction(state, "text", "sha256-2:1", "sha256-2:u")
    assert caught.value.final
    for release, found, unparsed in (
        ("text", "sha256-2:9", "sha256-2:other"),
        ("text", "sha256-2:9", None),
        ("table", "sha256-2:9", "sha256-2:u"),
        ("table", "sha256-2:9", None),
    ):
        with pytest.raises(BudgetError, match="different release file"):
            is_correction(state, release, found, unparsed)


@pytest.mark.parametrize(
    ("stored", "version"),
    [("sha256:0", "before 0.1.0"), ("sha256-3:0", "later version"), ("md5:0", "later version"), (None, "later version")],
)
def test_a_digest_of_another_format_says_which_version_it_needs(stored: str | None, version: str) -> None:
    with pytest.raises(BudgetError, match=version) as caught:
        check_comparable("r1", stored)
    assert version in caught.value.mend
    assert "new release id" in caught.value.mend
    check_comparable("r1", "sha256-2:0")
