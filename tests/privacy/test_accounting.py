from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import mpmath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dp_spark.errors import BudgetError, SpecError
from dp_spark.privacy.accounting import NOTHING, Account, Cost, cost_of, covers, zcdp_from_budget, zcdp_to_epsilon
from dp_spark.privacy.decimals import exact_half, split, sum_exactly
from dp_spark.privacy.events import Event

DECIMALS = st.decimals(min_value=0, max_value=1000, places=20)
BUDGETS = st.tuples(
    st.floats(-9, 7).map(lambda power: Decimal(repr(float(f"{2.0**power:.4g}")))),
    st.integers(2, 12).map(lambda places: Decimal(10) ** -places),
)


def basic(epsilon: str, delta: str = "0") -> Event:
    return Event("count", "laplace", 1.0, Decimal(epsilon), None, Decimal(delta))


def zcdp(rho: str | Decimal, delta: str = "0") -> Event:
    return Event("count", "gaussian", 1.0, None, Decimal(rho), Decimal(delta))


def exact_conversion(rho: float, delta: float) -> mpmath.mpf:
    """Canonne, Kamath and Steinke 2020, proposition 12, minimised over the order in high precision."""
    with mpmath.workdps(40):
        r, d = mpmath.mpf(rho), mpmath.mpf(delta)

        def at(log_order: mpmath.mpf) -> mpmath.mpf:
            less = mpmath.exp(log_order)  # the order, less 1
            order = 1 + less
            return order * r + mpmath.log(less / order) - mpmath.log(d * order) / less

        low, high = mpmath.mpf(-12), mpmath.mpf(25)
        golden = (mpmath.sqrt(5) - 1) / 2
        for _ in range(120):
            one, other = high - golden * (high - low), low + golden * (high - low)
            low, high = (low, other) if at(one) < at(other) else (one, high)
        return max(mpmath.mpf(0), at((low + high) / 2))


def gaussian_delta(epsilon: float, rho: float) -> mpmath.mpf:
    """The exact delta of a Gaussian mechanism that is rho-zCDP (Balle and Wang 2018, theorem 8)."""
    with mpmath.workdps(40):
        e, sigma = mpmath.mpf(epsilon), 1 / mpmath.sqrt(2 * mpmath.mpf(rho))
        return mpmath.ncdf(1 / (2 * sigma) - e * sigma) - mpmath.exp(e) * mpmath.ncdf(-1 / (2 * sigma) - e * sigma)


@settings(max_examples=40, deadline=None)
@given(st.floats(-12, 4).map(lambda power: 2.0**power), st.integers(3, 15).map(lambda places: 10.0**-places))
def test_conversion_is_an_upper_bound_within_one_percent(rho: float, delta: float) -> None:
    found = zcdp_to_epsilon(Decimal(rho), Decimal(repr(delta)))
    exact = exact_conversion(rho, delta)
    assert exact <= found <= exact * mpmath.mpf("1.01")


@settings(max_examples=60, deadline=None)
@given(st.floats(-44, 4).map(lambda power: 2.0**power), st.integers(3, 15).map(lambda places: 10.0**-places))
def test_conversion_holds_for_the_gaussian_mechanism_even_where_rho_is_tiny(rho: float, delta: float) -> None:
    assert gaussian_delta(zcdp_to_epsilon(Decimal(rho), Decimal(repr(delta))), rho) <= delta


@pytest.mark.parametrize(("rho", "delta"), [("1e-9", "1e-6"), ("1e-8", "1e-7"), ("1e-6", "1e-9"), ("0.001", "1e-6")])
def test_small_rho_is_not_wasted(rho: str, delta: str) -> None:
    loose = float(rho) + 2 * (float(rho) * float(-Decimal(delta).ln())) ** 0.5  # Bun and Steinke 2016, proposition 1.3
    assert zcdp_to_epsilon(Decimal(rho), Decimal(delta)) < loose


def test_nothing_spent_is_epsilon_zero() -> None:
    assert zcdp_to_epsilon(Decimal(0), Decimal("1e-6")) == 0.0


@settings(max_examples=10, deadline=None)
@given(BUDGETS)
def test_rho_of_a_budget_is_the_largest_that_converts_back_within_it(budget: tuple[Decimal, Decimal]) -> None:
    epsilon, delta = budget
    rho = zcdp_from_budget(epsilon, delta)
    assert zcdp_to_epsilon(rho, delta / 2) <= float(epsilon) < zcdp_to_epsilon(rho * Decimal("1.0001"), delta / 2)
    assert len(rho.as_tuple().digits) <= 15


def test_rho_grows_with_epsilon_and_with_delta() -> None:
    by_epsilon = [zcdp_from_budget(Decimal(e), Decimal("1e-6")) for e in ("0.0001", "0.01", "0.5", "1", "1.001", "8")]
    by_delta = [zcdp_from_budget(Decimal(1), Decimal(d)) for d in ("1e-12", "1e-9", "1e-6", "1e-3")]
    assert by_epsilon == sorted(set(by_epsilon))
    assert by_delta == sorted(set(by_delta))


def test_a_small_epsilon_buys_more_than_the_simple_bound_says() -> None:
    rho = zcdp_from_budget(Decimal("1e-4"), Decimal("1e-6"))
    loose = float(rho) + 2 * (float(rho) * 14.508657738524219) ** 0.5  # ln(1 / 5e-7)
    assert loose > 1e-4


def test_only_half_of_delta_is_for_the_conversion() -> None:
    rho = zcdp_from_budget(Decimal(1), Decimal("1e-6"))
    assert zcdp_to_epsilon(rho, Decimal("5e-7")) <= 1 < zcdp_to_epsilon(rho, Decimal("4.9e-7"))


@given(st.lists(st.decimals(min_value=-1000, max_value=1000, places=25), max_size=20))
def test_sums_are_exact(values: list[Decimal]) -> None:
    assert Fraction(sum_exactly(values)) == sum((Fraction(value) for value in values), Fraction(0))


@given(
    st.decimals(min_value="1e-12", max_value=1000, places=15),
    st.lists(st.decimals(min_value="0.001", max_value=1000, places=3), min_size=1, max_size=8),
)
def test_a_split_sums_exactly_and_follows_the_weights(total: Decimal, weights: list[Decimal]) -> None:
    shares = split(total, weights)
    assert len(shares) == len(weights)
    assert sum((Fraction(share) for share in shares), Fraction(0)) == Fraction(total)
    whole = sum(Fraction(weight) for weight in weights)
    for share, weight in zip(shares, weights, strict=True):
        assert Fraction(share) == pytest.approx(Fraction(total) * Fraction(weight) / whole, rel=1e-20)
    for share, weight in zip(shares[1:], weights[1:], strict=True):  # rounding never gives a later share too much
        assert 0 < Fraction(share) <= Fraction(total) * Fraction(weight) / whole


def test_ten_charges_of_a_tenth_fit_and_the_eleventh_does_not() -> None:
    account = Account.open(Decimal("1.0"), Decimal(0))
    spent = NOTHING
    for _ in range(10):
        spent = spent.plus(cost_of([basic("0.1")], "basic"))
        assert account.bears(spent)
    assert spent == Cost(Decimal("1.0"), Decimal(0), Decimal(0))
    assert account.remaining_display(spent) == (0, 0)
    assert not account.bears(spent.plus(cost_of([basic("0.1")], "basic")))
    assert not account.bears(spent.plus(cost_of([basic("1e-40")], "basic")))


def test_a_basic_account_sums_deltas_too() -> None:
    account = Account.open(Decimal(1), Decimal("1e-6"), "basic")
    assert account.rho is None
    assert account.bears(cost_of([basic("0.5", "5e-7"), basic("0.5", "5e-7")], "basic"))
    assert not account.bears(cost_of([basic("0.5", "5e-7"), basic("0.5", "5.1e-7")], "basic"))
    assert account.spent_display(cost_of([basic("0.25", "1e-7")], "basic")) == (Decimal("0.25"), Decimal("1e-7"))
    assert account.remaining_display(cost_of([basic("0.25", "1e-7")], "basic")) == (Decimal("0.75"), Decimal("9e-7"))


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
    whole = cost_of([zcdp(shares[0], "5e-7"), *(zcdp(share) for share in shares[1:])], "zcdp")
    assert whole == Cost(Decimal(0), rho, Decimal("5e-7"))
    assert account.bears(whole)
    assert account.remaining_display(whole) == (0, 0)
    assert account.spent_display(whole) == (epsilon, delta)
    assert not account.bears(whole.plus(cost_of([zcdp("1e-30")], "zcdp")))
    assert not account.bears(whole.plus(cost_of([zcdp("0", "1e-30")], "zcdp")))


def test_zcdp_charges_with_public_keys_use_rho_only() -> None:
    account = Account.open(Decimal(1), Decimal("1e-6"))
    assert account.rho is not None
    half = cost_of([zcdp(account.rho / 2)], "zcdp")
    epsilon, delta = account.remaining_display(half)
    assert delta == Decimal("1e-6")
    assert Decimal("0.5") < epsilon < 1
    assert account.bears(half.plus(half))
    assert not account.bears(half.plus(half).plus(cost_of([zcdp("1e-12")], "zcdp")))


def test_selection_gets_half_of_a_zcdp_accounts_delta_and_no_more() -> None:
    account = Account.open(Decimal(1), Decimal("1e-6"))
    assert account.bears(Cost(Decimal(0), Decimal(0), Decimal("5e-7")))
    assert not account.bears(Cost(Decimal(0), Decimal(0), Decimal("5.0000000000000000000000000000000001e-7")))


def test_costs_of_one_accountant_do_not_pass_in_the_other() -> None:
    assert not Account.open(Decimal(1), Decimal(0)).bears(Cost(Decimal(0), Decimal("0.01"), Decimal(0)))
    assert not Account.open(Decimal(1), Decimal("1e-6")).bears(Cost(Decimal("0.01"), Decimal(0), Decimal(0)))


def test_laplace_events_cost_their_rho_in_a_zcdp_account_and_their_epsilon_in_a_basic_one() -> None:
    event = Event("count", "laplace", 1.0, Decimal("0.2"), Decimal("0.02"), Decimal("1e-9"), 40)
    assert cost_of([event, event], "zcdp") == Cost(Decimal(0), Decimal("0.04"), Decimal("2e-9"))
    assert cost_of([event, event], "basic") == Cost(Decimal("0.4"), Decimal(0), Decimal("2e-9"))


@pytest.mark.parametrize(("event", "accountant"), [(zcdp("0.1"), "basic"), (basic("0.1"), "zcdp")])
def test_an_event_without_a_cost_is_refused(event: Event, accountant: str) -> None:
    with pytest.raises(BudgetError, match=accountant):
        cost_of([event], accountant)  # type: ignore[arg-type]


@settings(max_examples=6, deadline=None)
@given(st.decimals(min_value="0.01", max_value="0.99", places=2))
def test_asking_for_what_is_shown_as_remaining_fits(share: Decimal) -> None:
    account = Account.open(Decimal(2), Decimal("1e-6"))
    assert account.rho is not None
    spent = Cost(Decimal(0), account.rho * share, Decimal(0))
    epsilon, delta = account.remaining_display(spent)
    assert account.bears(spent.plus(Cost(Decimal(0), zcdp_from_budget(epsilon, delta), delta / 2)))
    shown, _ = account.spent_display(spent)
    assert float(shown) >= zcdp_to_epsilon(spent.rho, Decimal("5e-7")) * (1 - 1e-12)


@given(DECIMALS, DECIMALS, DECIMALS)
def test_costs_add_exactly(one: Decimal, two: Decimal, three: Decimal) -> None:
    total = Cost(one, two, three).plus(Cost(two, three, one))
    assert [Fraction(x) for x in (total.epsilon, total.rho, total.delta)] == [
        Fraction(one) + Fraction(two),
        Fraction(two) + Fraction(three),
        Fraction(three) + Fraction(one),
    ]


def test_every_draw_needs_a_charge_of_its_own() -> None:
    one, other = basic("0.1"), basic("0.2")
    assert covers([one, other, one], [one, one])
    assert covers([one], [])
    assert not covers([one, other], [one, one])
    assert not covers([], [one])
    assert not covers([one], [basic("0.1", "1e-9")])


def test_a_stored_budget_of_399_digits_is_added_up_and_a_longer_one_is_refused_in_words() -> None:
    """Earlier versions took such budgets; the next release died of them."""
    account = Account.open(Decimal("1." + 397 * "0" + "1"), Decimal(0))
    spent = Cost(Decimal("0.1"), Decimal(0), Decimal(0))
    assert account.remaining_display(spent)[0] == Decimal("0.9" + 396 * "0" + "1")
    assert sum_exactly(split(account.epsilon, [Decimal(1)] * 3)) == account.epsilon
    with pytest.raises(BudgetError, match="digits"):
        sum_exactly([Decimal(1), Decimal("1e-999999999")])


def test_half_of_a_delta_is_exact() -> None:
    delta = Decimal("0." + 59 * "3")
    assert sum_exactly([exact_half(delta)] * 2) == delta
