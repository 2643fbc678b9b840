from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dp_spark.privacy.mechanisms.registry import MechanismName
from dp_spark.privacy.mechanisms.tails import noise_half_width, noise_stddev, quantile, upper_tail

NAMES: list[MechanismName] = ["laplace", "gaussian"]
SCALES = [0.05, 0.3, 1.0, 2.5, 9.9, 10.1, 30.0]


def direct(name: MechanismName, scale: float) -> dict[int, float]:
    """The probabilities of discrete noise, by summing its weights."""
    reach = int(60 * scale) + 60
    power = (lambda x: abs(x) / scale) if name == "laplace" else (lambda x: x * x / (2 * scale * scale))
    weights = {x: math.exp(-power(x)) for x in range(-reach, reach + 1)}
    whole = math.fsum(weights.values())
    return {x: weight / whole for x, weight in weights.items()}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", SCALES)
def test_stddev_is_that_of_the_discrete_noise(name: MechanismName, scale: float) -> None:
    exact = math.sqrt(math.fsum(x * x * p for x, p in direct(name, scale).items()))
    assert noise_stddev(name, scale) == pytest.approx(exact, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize(("name", "ratio"), [("laplace", math.sqrt(2)), ("gaussian", 1.0)])
def test_stddev_of_a_large_scale_is_the_continuous_one(name: MechanismName, ratio: float) -> None:
    assert noise_stddev(name, 1e9) == pytest.approx(ratio * 1e9, rel=1e-12)


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
