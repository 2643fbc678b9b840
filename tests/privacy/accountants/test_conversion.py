from __future__ import annotations

from decimal import Decimal

import mpmath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dp_spark.privacy.accountants.conversion import zcdp_from_budget, zcdp_to_epsilon

BUDGETS = st.tuples(
    st.floats(-9, 7).map(lambda power: Decimal(repr(float(f"{2.0**power:.4g}")))),
    st.integers(2, 12).map(lambda places: Decimal(10) ** -places),
)


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
