from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import pytest
from charges import CHARGES, ONE, SENSITIVITIES
from hypothesis import given
from hypothesis import strategies as st

from dp_spark.errors import DpSparkError
from dp_spark.privacy.bounds import Sensitivity
from dp_spark.privacy.mechanisms.gaussian import Gaussian, root_up


@given(SENSITIVITIES, CHARGES)
def test_gaussian_costs_at_most_its_rho_and_wastes_nothing(sensitivity: Sensitivity, rho: Decimal) -> None:
    found = Gaussian.calibrate("q", sensitivity, rho=rho)
    squared = Fraction(found.scale) ** 2
    assert Fraction(sensitivity.l2_squared) / (2 * squared) <= Fraction(rho)
    assert squared <= Fraction(sensitivity.l2_squared) / (2 * Fraction(rho)) * (1 + Fraction(1, 10**9))
    assert (found.event.epsilon, found.event.rho, found.event.delta) == (None, rho, 0)


@given(st.integers(1, 10**40))
def test_square_roots_round_up_and_by_no_more_than_one_double(square: int) -> None:
    root = root_up(square)
    assert Fraction(math.nextafter(root, 0.0)) ** 2 < square <= Fraction(root) ** 2


def test_gaussian_noise_needs_a_rho() -> None:
    with pytest.raises(DpSparkError, match="epsilon"):
        Gaussian.calibrate("q", ONE, epsilon=Decimal(1))
