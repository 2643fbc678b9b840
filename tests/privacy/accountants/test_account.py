from __future__ import annotations

from decimal import Decimal

import pytest
from chains import gaussian, laplace

from dp_spark.errors import BudgetError, SpecError
from dp_spark.privacy.accountants.account import Account, pays_for
from dp_spark.privacy.accountants.base import Cost
from dp_spark.privacy.accountants.conversion import zcdp_from_budget, zcdp_to_epsilon
from dp_spark.privacy.accountants.registry import cost_of
from dp_spark.privacy.decimals import split, sum_exactly
from dp_spark.privacy.events import Event


def test_ten_charges_of_a_tenth_fit_and_the_eleventh_does_not() -> None:
    account = Account.open(Decimal("1.0"), Decimal(0))
    spent = cost_of([], "basic")
    for _ in range(10):
        spent = spent.plus(cost_of([laplace("0.1")], "basic"))
        assert account.bears(spent)
    assert spent == Cost("epsilon", Decimal("1.0"), Decimal(0))
    assert account.remaining_display(spent) == (0, 0)
    assert not account.bears(spent.plus(cost_of([laplace("0.1")], "basic")))
    assert not account.bears(spent.plus(cost_of([laplace("1e-40")], "basic")))


def test_a_basic_account_sums_deltas_too() -> None:
    account = Account.open(Decimal(1), Decimal("1e-6"), "basic")
    assert account.rho is None
    assert account.bears(cost_of([laplace("0.5", "5e-7"), laplace("0.5", "5e-7")], "basic"))
    assert not account.bears(cost_of([laplace("0.5", "5e-7"), laplace("0.5", "5.1e-7")], "basic"))
    assert account.spent_display(cost_of([laplace("0.25", "1e-7")], "basic")) == (Decimal("0.25"), Decimal("1e-7"))
    assert account.remaining_display(cost_of([laplace("0.25", "1e-7")], "basic")) == (Decimal("0.75"), Decimal("9e-7"))


def test_the_accountant_follows_delta_unless_named() -> None:
    assert Account.open(Decimal(1), Decimal(0)).accountant == "basic"
    assert Account.open(Decimal(1), Decimal("1e-6")).accountant == "zcdp"
    assert Account.open(Decimal(1), Decimal("1e-6"), "basic").accountant == "basic"


def test_a_zcdp_account_needs_a_delta() -> None:
    with pytest.raises(SpecError) as caught:
        Account.open(Decimal(1), Decimal(0), "zcdp")
    assert caught.value.where == "--delta"


def test_a_release_that_asks_for_exactly_what_was_opened_fits_once() -> None:
    epsilon, delta = Decimal("1.0"), Decimal("1e-6")
    account = Account.open(epsilon, delta)
    rho = zcdp_from_budget(epsilon, delta)
    shares = split(rho, [Decimal(1), Decimal(2), Decimal(4)])
    whole = cost_of([gaussian(shares[0], "5e-7"), *(gaussian(share) for share in shares[1:])], "zcdp")
    assert whole == Cost("rho", rho, Decimal("5e-7"))
    assert account.bears(whole)
    assert account.remaining_display(whole) == (0, 0)
    assert account.spent_display(whole) == (epsilon, delta)
    assert not account.bears(whole.plus(cost_of([gaussian("1e-30")], "zcdp")))
    assert not account.bears(whole.plus(cost_of([gaussian("0", "1e-30")], "zcdp")))


def test_zcdp_charges_with_public_keys_use_rho_only() -> None:
    account = Account.open(Decimal(1), Decimal("1e-6"))
    assert account.rho is not None
    half = cost_of([gaussian(account.rho / 2)], "zcdp")
    epsilon, delta = account.remaining_display(half)
    assert delta == Decimal("1e-6")
    assert Decimal("0.5") < epsilon < 1
    assert account.bears(half.plus(half))
    assert not account.bears(half.plus(half).plus(cost_of([gaussian("1e-12")], "zcdp")))


@pytest.mark.parametrize("share", ["0.01", "0.37", "0.99"])
def test_the_epsilon_shown_as_spent_is_that_of_the_rho_spent_or_more(share: str) -> None:
    account = Account.open(Decimal(2), Decimal("1e-6"))
    spent = Cost("rho", account.total.amount * Decimal(share), Decimal(0))
    assert float(account.spent_display(spent)[0]) >= zcdp_to_epsilon(spent.amount, Decimal("5e-7")) * (1 - 1e-12)


def test_selection_gets_half_of_a_zcdp_accounts_delta_and_no_more() -> None:
    account = Account.open(Decimal(1), Decimal("1e-6"))
    assert account.bears(Cost("rho", Decimal(0), Decimal("5e-7")))
    assert not account.bears(Cost("rho", Decimal(0), Decimal("5.0000000000000000000000000000000001e-7")))


def test_laplace_events_cost_their_rho_in_a_zcdp_account_and_their_epsilon_in_a_basic_one() -> None:
    event = Event("count", "laplace", 1.0, Decimal("0.2"), Decimal("0.02"), Decimal("1e-9"), 40)
    assert cost_of([event, event], "zcdp") == Cost("rho", Decimal("0.04"), Decimal("2e-9"))
    assert cost_of([event, event], "basic") == Cost("epsilon", Decimal("0.4"), Decimal("2e-9"))


def test_every_draw_needs_a_charge_of_its_own() -> None:
    one, other = laplace("0.1"), laplace("0.2")
    assert pays_for([one, other, one], [one, one, other])
    assert not pays_for([one], [])
    assert not pays_for([one, other, one], [one, other])
    assert not pays_for([one, other], [one, one])
    assert not pays_for([], [one])
    assert not pays_for([one], [laplace("0.1", "1e-9")])


def test_a_stored_budget_of_399_digits_is_added_up_and_a_longer_one_is_refused_in_words() -> None:
    """Earlier versions took such budgets; the next release died of them."""
    account = Account.open(Decimal("1." + 397 * "0" + "1"), Decimal(0))
    spent = Cost("epsilon", Decimal("0.1"), Decimal(0))
    assert account.remaining_display(spent)[0] == Decimal("0.9" + 396 * "0" + "1")
    assert sum_exactly(split(account.epsilon, [Decimal(1)] * 3)) == account.epsilon
    with pytest.raises(BudgetError, match="digits"):
        sum_exactly([Decimal(1), Decimal("1e-999999999")])
