from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from charges import CHARGES, ONE, SENSITIVITIES
from hypothesis import given

from dp_spark.errors import DpSparkError
from dp_spark.privacy.bounds import Sensitivity
from dp_spark.privacy.mechanisms.laplace import Laplace, epsilon_within


@given(SENSITIVITIES, CHARGES)
def test_laplace_costs_at_most_its_epsilon_and_wastes_nothing(sensitivity: Sensitivity, epsilon: Decimal) -> None:
    found = Laplace.calibrate("q", sensitivity, epsilon=epsilon)
    assert Fraction(sensitivity.l1) / Fraction(found.scale) <= Fraction(epsilon)
    assert Fraction(found.scale) <= Fraction(sensitivity.l1) / Fraction(epsilon) * (1 + Fraction(1, 10**9))
    assert (found.event.epsilon, found.event.rho, found.event.delta) == (epsilon, None, 0)


@given(SENSITIVITIES, CHARGES)
def test_laplace_in_a_zcdp_account_costs_half_its_squared_epsilon(sensitivity: Sensitivity, rho: Decimal) -> None:
    found = Laplace.calibrate("q", sensitivity, rho=rho)
    assert found.event.epsilon is not None
    assert found.event.rho == rho
    assert Fraction(found.event.epsilon) ** 2 / 2 <= Fraction(rho)
    assert Fraction(found.event.epsilon) ** 2 / 2 >= Fraction(rho) * (1 - Fraction(1, 10**20))
    assert Fraction(sensitivity.l1) / Fraction(found.scale) <= Fraction(found.event.epsilon)


@given(CHARGES)
def test_epsilon_within_rounds_down(rho: Decimal) -> None:
    found = epsilon_within(rho)
    assert Fraction(found) ** 2 <= 2 * Fraction(rho) < Fraction(found.next_plus()) ** 2


def test_laplace_noise_needs_some_charge() -> None:
    with pytest.raises(DpSparkError, match="epsilon or a rho"):
        Laplace.calibrate("q", ONE)
