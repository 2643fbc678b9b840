from __future__ import annotations

import math
import statistics
import warnings
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dp_spark.errors import DpSparkError
from dp_spark.privacy import mechanisms
from dp_spark.privacy.bounds import Sensitivity
from dp_spark.privacy.events import Event
from dp_spark.privacy.mechanisms import (
    Mechanism,
    MechanismName,
    calibrate,
    epsilon_within,
    noise_half_width,
    noise_stddev,
    quantile,
    root_up,
    upper_tail,
)

NAMES: list[MechanismName] = ["laplace", "gaussian"]
SCALES = [0.05, 0.3, 1.0, 2.5, 9.9, 10.1, 30.0]
SENSITIVITIES = st.builds(
    lambda k, per_partition: Sensitivity(k, k * per_partition, k * per_partition**2, per_partition),
    st.integers(1, 10**4),
    st.integers(1, 2**22) | st.just(1),
)
CHARGES = st.decimals(min_value="1e-6", max_value=50, places=12).filter(bool) | st.sampled_from(
    [Decimal(1) / 3, Decimal("0.1"), Decimal("1e-9"), Decimal("0.9999999999999999999999999999")]
)


def direct(name: MechanismName, scale: float) -> dict[int, float]:
    """The probabilities of discrete noise, by summing its weights."""
    reach = int(60 * scale) + 60
    power = (lambda x: abs(x) / scale) if name == "laplace" else (lambda x: x * x / (2 * scale * scale))
    weights = {x: math.exp(-power(x)) for x in range(-reach, reach + 1)}
    whole = math.fsum(weights.values())
    return {x: weight / whole for x, weight in weights.items()}


def mechanism(name: MechanismName, charge: str = "0.5", sensitivity: Sensitivity | None = None) -> Mechanism:
    found = sensitivity or Sensitivity(1, 1, 1, 1)
    if name == "laplace":
        return calibrate(name, "count", found, epsilon=Decimal(charge))
    return calibrate(name, "count", found, rho=Decimal(charge))


@given(SENSITIVITIES, CHARGES)
def test_laplace_costs_at_most_its_epsilon_and_wastes_nothing(sensitivity: Sensitivity, epsilon: Decimal) -> None:
    found = calibrate("laplace", "q", sensitivity, epsilon=epsilon)
    assert Fraction(sensitivity.l1) / Fraction(found.scale) <= Fraction(epsilon)
    assert Fraction(found.scale) <= Fraction(sensitivity.l1) / Fraction(epsilon) * (1 + Fraction(1, 10**9))
    assert (found.event.epsilon, found.event.rho, found.event.delta) == (epsilon, None, 0)


@given(SENSITIVITIES, CHARGES)
def test_gaussian_costs_at_most_its_rho_and_wastes_nothing(sensitivity: Sensitivity, rho: Decimal) -> None:
    found = calibrate("gaussian", "q", sensitivity, rho=rho)
    squared = Fraction(found.scale) ** 2
    assert Fraction(sensitivity.l2_squared) / (2 * squared) <= Fraction(rho)
    assert squared <= Fraction(sensitivity.l2_squared) / (2 * Fraction(rho)) * (1 + Fraction(1, 10**9))
    assert (found.event.epsilon, found.event.rho, found.event.delta) == (None, rho, 0)


@given(SENSITIVITIES, CHARGES)
def test_laplace_in_a_zcdp_account_costs_half_its_squared_epsilon(sensitivity: Sensitivity, rho: Decimal) -> None:
    found = calibrate("laplace", "q", sensitivity, rho=rho)
    assert found.event.epsilon is not None
    assert found.event.rho == rho
    assert Fraction(found.event.epsilon) ** 2 / 2 <= Fraction(rho)
    assert Fraction(found.event.epsilon) ** 2 / 2 >= Fraction(rho) * (1 - Fraction(1, 10**20))
    assert Fraction(sensitivity.l1) / Fraction(found.scale) <= Fraction(found.event.epsilon)


@given(CHARGES)
def test_epsilon_within_rounds_down(rho: Decimal) -> None:
    found = epsilon_within(rho)
    assert Fraction(found) ** 2 <= 2 * Fraction(rho) < Fraction(found.next_plus()) ** 2


@given(st.integers(1, 10**40))
def test_square_roots_round_up_and_by_no_more_than_one_double(square: int) -> None:
    root = root_up(square)
    assert Fraction(math.nextafter(root, 0.0)) ** 2 < square <= Fraction(root) ** 2


def test_an_event_is_named_by_its_query_and_mechanism() -> None:
    event = calibrate("laplace", "sum(value, 0.0, 1.0)", Sensitivity(1, 2, 4, 2), epsilon=Decimal(1)).event
    assert (event.query, event.mechanism, event.scale, event.threshold) == ("sum(value, 0.0, 1.0)", "laplace", 2.0, None)


def test_gaussian_noise_needs_a_rho_and_laplace_some_charge() -> None:
    with pytest.raises(DpSparkError, match="epsilon"):
        calibrate("gaussian", "q", Sensitivity(1, 1, 1, 1), epsilon=Decimal(1))
    with pytest.raises(DpSparkError):
        calibrate("laplace", "q", Sensitivity(1, 1, 1, 1))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "value",
    [7231.0, True, np.int64(7231), np.int32(7231), 1e30, math.nan, None, "7231", Decimal(7231)],
    ids=repr,
)  # fmt: skip
def test_what_is_not_an_int_is_refused_without_being_shown(name: MechanismName, value: Any) -> None:
    found = mechanism(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DpSparkError) as caught:
            found.draw([3, value, 4])
    assert type(caught.value) is DpSparkError
    assert str(value) not in str(caught.value)
    assert "7231" not in str(caught.value)
    assert not isinstance(caught.value.__cause__, Exception)


@pytest.mark.parametrize("bits", [0, 3, 22])
@pytest.mark.parametrize("name", NAMES)
def test_exact_sums_of_any_size_are_drawn_in_steps_of_the_grid(name: MechanismName, bits: int) -> None:
    exact = Sensitivity(1, 2**bits, 4**bits, 2**bits)
    found = calibrate(name, "sum", exact, epsilon=Decimal(100) if name == "laplace" else None, rho=Decimal(100), grid_bits=bits)
    assert found.sensitivity == Sensitivity(1, 1, 1, 1)
    values = [0, 5 << bits, -(7 << bits), 2**62 << bits, 2**84 << bits, -(2**90)]
    drawn, _ = found.draw(values)
    assert all(type(value) is int for value in drawn)
    assert drawn == pytest.approx([0, 5, -7, 2**62, 2**62, -(2**62)], abs=3)


@pytest.mark.parametrize("name", NAMES)
def test_the_largest_sums_leave_room_for_the_largest_noise(name: MechanismName) -> None:
    drawn, _ = Mechanism(name, Sensitivity(1, 1, 1, 1), Event("q", name, 2.0**57, Decimal(1), Decimal(1))).draw([2**70] * 400)
    assert min(drawn) < 2**62 < max(drawn) < 2**63 - 1


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_vector_is_empty(name: MechanismName) -> None:
    found = mechanism(name)
    assert found.draw([]) == ([], found.event)


@pytest.mark.parametrize("name", NAMES)
def test_each_call_draws_anew_and_each_cell_has_its_own_noise(name: MechanismName) -> None:
    found = mechanism(name, "0.001")
    first, event = found.draw([1000] * 50)
    second, _ = found.draw([1000] * 50)
    assert event == found.event
    assert first != second
    assert len(set(first)) > 10
    assert len(first) == 50


@pytest.mark.parametrize("name", NAMES)
def test_a_long_vector_keeps_its_order_and_no_two_of_its_parts_have_the_same_noise(
    name: MechanismName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mechanisms, "_CHUNK", 100)
    values = [index * 10**12 for index in range(-500, 550)] + [0]
    drawn, _ = mechanism(name, "0.001").draw(values)
    noise = [noisy - value for noisy, value in zip(drawn, values, strict=True)]
    assert max(abs(item) for item in noise) < 10**9, "each value has its own noise, and nobody else's"
    parts = {tuple(noise[start : start + 100]) for start in range(0, 1000, 100)}
    assert len(parts) == 10


@pytest.mark.parametrize("wrong", [7231.0, None])
def test_a_long_vector_is_checked_whole_before_any_of_it_is_drawn(wrong: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mechanisms, "_CHUNK", 10)
    monkeypatch.setattr(mechanisms, "_measurement", None)
    with pytest.raises(DpSparkError, match="64-bit"):
        Mechanism("laplace", Sensitivity(1, 1, 1, 1), Event("q", "laplace", 1.0, Decimal(1), None)).draw([1] * 99 + [wrong])


@pytest.mark.slow
@pytest.mark.parametrize("scale_of", [Sensitivity(1, 1, 1, 1), Sensitivity(4, 40, 400, 10)], ids=["small", "large"])
@pytest.mark.parametrize("name", NAMES)
def test_the_noise_drawn_has_the_variance_that_is_stated(name: MechanismName, scale_of: Sensitivity) -> None:
    found = mechanism(name, "0.3", scale_of)
    size = 40_000
    drawn, _ = found.draw([500] * size)
    noise = [value - 500 for value in drawn]
    # The relative error of a sample variance is sqrt((kurtosis - 1) / size): 1.2 % at most; a scale off by 20 % is off by 36 %.
    assert statistics.pvariance(noise, 0) == pytest.approx(found.stddev**2, rel=0.07)
    assert abs(statistics.fmean(noise)) < 6 * found.stddev / math.sqrt(size)
    width = found.half_width
    within = sum(abs(value) <= width for value in noise) / size
    expected = sum(p for x, p in direct(name, found.scale).items() if abs(x) <= width)
    assert within == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", SCALES)
def test_stddev_is_that_of_the_discrete_noise(name: MechanismName, scale: float) -> None:
    exact = math.sqrt(math.fsum(x * x * p for x, p in direct(name, scale).items()))
    assert noise_stddev(name, scale) == pytest.approx(exact, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize(("name", "ratio"), [("laplace", math.sqrt(2)), ("gaussian", 1.0)])
def test_stddev_of_a_large_scale_is_the_continuous_one(name: MechanismName, ratio: float) -> None:
    assert noise_stddev(name, 1e9) == pytest.approx(ratio * 1e9, rel=1e-12)
    assert mechanism(name, "0.5").stddev == noise_stddev(name, mechanism(name, "0.5").scale)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", SCALES)
def test_upper_tail_is_the_sum_of_the_probabilities(name: MechanismName, scale: float) -> None:
    probabilities = direct(name, scale)
    for at_least in [-40, -3, -1, 0, 1, 2, 3, 7, 40]:
        exact = math.fsum(p for x, p in probabilities.items() if x >= at_least)
        assert upper_tail(name, scale, at_least) == pytest.approx(exact, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("at_least", [-2500, 0, 1, 1500, 6000])
def test_upper_tail_of_a_large_gaussian_agrees_with_the_sum(at_least: int) -> None:
    exact = math.fsum(p for x, p in direct("gaussian", 1500.0).items() if x >= at_least)
    assert upper_tail("gaussian", 1500.0, at_least) == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", SCALES)
def test_half_width_is_the_least_that_holds_95_percent(name: MechanismName, scale: float) -> None:
    probabilities = direct(name, scale)
    width = noise_half_width(name, scale)

    def within(limit: float) -> float:
        return math.fsum(p for x, p in probabilities.items() if abs(x) <= limit)

    assert within(width) >= 0.95 - 1e-12
    assert width == 0 or within(width - 1) < 0.95


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("tail", [0.5, 0.3, 0.05, 0.025, 1e-6])
def test_quantile_is_the_least_integer_with_that_tail(name: MechanismName, scale: float, tail: float) -> None:
    check_quantile(name, scale, tail)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tail", [0.7, 0.95])
def test_quantile_below_the_median_is_negative(name: MechanismName, tail: float) -> None:
    check_quantile(name, 30.0, tail)


def check_quantile(name: MechanismName, scale: float, tail: float) -> None:
    probabilities = direct(name, scale)
    width = quantile(name, scale, tail)

    def above(limit: int) -> float:
        return math.fsum(p for x, p in probabilities.items() if x > limit)

    assert above(width) <= tail * (1 + 1e-12)
    assert above(width - 1) > tail * (1 - 1e-12)


@settings(max_examples=25)
@given(st.sampled_from(NAMES), st.floats(min_value=0.2, max_value=1e6), st.integers(0, 10**6))
def test_tails_are_symmetric_and_fall(name: MechanismName, scale: float, at: int) -> None:
    assert upper_tail(name, scale, -at) == pytest.approx(1 - upper_tail(name, scale, at + 1))
    assert upper_tail(name, scale, at) >= upper_tail(name, scale, at + 1)
