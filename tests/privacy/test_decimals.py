from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp_spark.privacy.decimals import exact_half, split, sum_exactly


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


def test_half_of_a_delta_is_exact() -> None:
    delta = Decimal("0." + 59 * "3")
    assert sum_exactly([exact_half(delta)] * 2) == delta
