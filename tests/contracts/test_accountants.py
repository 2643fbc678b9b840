"""What every accountant of the registry must keep: prices add up exactly, and an account bears its total and nothing more."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any, get_args

import pytest
from charges import CHARGED, ONE
from hypothesis import given, settings
from hypothesis import strategies as st

from dp_spark.errors import BudgetError
from dp_spark.privacy.accountants.account import Account
from dp_spark.privacy.accountants.base import Cost
from dp_spark.privacy.accountants.registry import ACCOUNTANTS, AccountantName, cost_of
from dp_spark.privacy.decimals import decimal_text
from dp_spark.privacy.events import Event
from dp_spark.privacy.mechanisms.registry import MechanismName, calibrate

NAMES = list(ACCOUNTANTS)
DECIMALS = st.decimals(min_value=0, max_value=1000, places=30)  # more digits than the default context has
#: Of an event with both prices each accountant takes its own.
EVENTS = st.lists(st.builds(Event, st.just("q"), st.just("laplace"), st.just(1.0), DECIMALS, DECIMALS, DECIMALS), max_size=8)
ULP = Decimal("1e-40")
over_all = pytest.mark.parametrize("name", NAMES)


def opened(name: AccountantName) -> Account:
    return Account.open(Decimal("1.1"), Decimal("1e-6"), name)


@over_all
def test_the_registry_names_every_accountant_as_itself(name: AccountantName) -> None:
    assert ACCOUNTANTS[name].name == opened(name).accountant == name
    assert ACCOUNTANTS[name].currency in [currency for _, currency in CHARGED]
    assert get_args(AccountantName) == tuple(ACCOUNTANTS), "the command line offers these"


@over_all
@given(EVENTS, EVENTS)
def test_prices_add_up_exactly(name: AccountantName, one: list[Event], other: list[Event]) -> None:
    accountant = ACCOUNTANTS[name]
    prices = [accountant.price(event) for event in one + other]
    assert {price.currency for price in prices} <= {accountant.currency}
    total = cost_of(one, name).plus(cost_of(other, name))
    assert total == cost_of(one + other, name)
    assert Fraction(total.amount) == sum((Fraction(getattr(e, accountant.currency)) for e in one + other), Fraction(0))
    assert Fraction(total.delta) == sum((Fraction(event.delta) for event in one + other), Fraction(0))
    assert total.minus(cost_of(other, name)) == cost_of(one, name)


@over_all
@pytest.mark.parametrize(("mechanism", "currency"), CHARGED)
def test_every_mechanisms_event_has_a_price_or_is_refused(
    name: AccountantName, mechanism: MechanismName, currency: str
) -> None:
    charge: dict[str, Any] = {currency: Decimal("0.3")}
    event = calibrate(mechanism, "q", ONE, **charge).event
    accountant = ACCOUNTANTS[name]
    price = getattr(event, accountant.currency)
    if price is not None:
        assert accountant.price(event) == Cost(accountant.currency, price, Decimal(0))
        return
    with pytest.raises(BudgetError, match=name) as caught:
        accountant.cost([event])
    assert caught.value.mend


@over_all
def test_an_account_bears_its_total_and_not_one_ulp_more(name: AccountantName) -> None:
    account = opened(name)
    total = account.total
    assert account.bears(total)
    for more in (Cost(total.currency, ULP, Decimal(0)), Cost(total.currency, Decimal(0), ULP)):
        assert account.bears(total.minus(more))
        assert not account.bears(total.plus(more))


@over_all
def test_a_cost_in_another_currency_is_never_borne_nor_added(name: AccountantName) -> None:
    account = opened(name)
    other: Any = "rho" if account.total.currency == "epsilon" else "epsilon"
    small = Cost(other, Decimal("1e-9"), Decimal(0))
    assert not account.bears(small)
    with pytest.raises(BudgetError, match="two currencies"):
        account.total.plus(small)


@over_all
def test_the_whole_budget_is_shown_as_it_was_opened(name: AccountantName) -> None:
    account, nothing = opened(name), cost_of([], name)
    whole = (account.epsilon, account.delta)
    assert account.spent_display(account.total) == account.remaining_display(nothing) == whole
    assert account.spent_display(nothing) == account.remaining_display(account.total) == (0, 0)


@over_all
@settings(max_examples=12, deadline=None)
@given(st.decimals(min_value="0.001", max_value="0.999", places=3), st.decimals(min_value="0.001", max_value="1", places=3))
def test_what_is_shown_as_epsilon_grows_with_what_is_spent(name: AccountantName, share: Decimal, part: Decimal) -> None:
    account = opened(name)
    larger = Cost(account.total.currency, account.total.amount * share, account.total.delta * share)
    smaller = Cost(larger.currency, larger.amount * part, larger.delta * part)
    for display, most in ((account.spent_display, larger), (account.remaining_display, smaller)):
        least = smaller if most is larger else larger
        assert all(a <= b for a, b in zip(display(least), display(most), strict=True))
        assert all(a <= b for a, b in zip(display(most), (account.epsilon, account.delta), strict=True))
    up, down = (ACCOUNTANTS[name].as_epsilon(account, larger, up=way)[0] for way in (True, False))
    assert down <= up


@over_all
@settings(max_examples=6, deadline=None)
@given(st.decimals(min_value="0.01", max_value="0.99", places=2))
def test_asking_for_what_is_shown_as_remaining_fits(name: AccountantName, share: Decimal) -> None:
    account = opened(name)
    for delta in (Decimal(0), account.total.delta * share):
        spent = Cost(account.total.currency, account.total.amount * share, delta)
        release = Account.open(*account.remaining_display(spent), name)
        assert account.bears(spent.plus(release.total))
        if not delta:
            more = Cost(spent.currency, release.total.amount * Decimal("1.001"), delta)
            assert not account.bears(spent.plus(more)), "and what is shown is nearly all of it"


@over_all
def test_a_cost_is_described_in_its_currency(name: AccountantName) -> None:
    said = ACCOUNTANTS[name].describe(Cost(ACCOUNTANTS[name].currency, Decimal("0.125"), Decimal("0.25")))
    assert said.startswith(f"{ACCOUNTANTS[name].currency} 0.125, ")
    assert said.endswith("delta 0.25")


@over_all
def test_what_is_left_is_told_with_the_epsilon_and_delta_that_can_be_asked_for(name: AccountantName) -> None:
    account = opened(name)
    for spent in (cost_of([], name), account.total):
        epsilon, delta = account.remaining_display(spent)
        said = ACCOUNTANTS[name].describe_left(account, spent)
        assert said.endswith(f"epsilon {decimal_text(epsilon)}, delta {decimal_text(delta)}")
        assert said.startswith(f"{ACCOUNTANTS[name].currency} ")


@over_all
def test_people_are_told_what_adds_up(name: AccountantName) -> None:
    assert ACCOUNTANTS[name].currency in ACCOUNTANTS[name].adds_up
    assert ACCOUNTANTS[name].adds_up.endswith(".")
