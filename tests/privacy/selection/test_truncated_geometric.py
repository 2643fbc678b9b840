from __future__ import annotations

import itertools
import math
from collections import Counter
from decimal import Decimal
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from charges import counting, mechanism
from hypothesis import given, settings
from hypothesis import strategies as st

from dp_spark.errors import DpSparkError, SpecError
from dp_spark.privacy.bounds import Sensitivity
from dp_spark.privacy.integers import one_for_each
from dp_spark.privacy.mechanisms.base import Mechanism
from dp_spark.privacy.mechanisms.registry import MECHANISMS
from dp_spark.privacy.selection.thresholding import Thresholding
from dp_spark.privacy.selection.truncated_geometric import (
    TruncatedGeometric,
    delta_of_each,
    largest_noise,
    least_radius,
)

DIGITS = 120


def selection(charge: str = "0.5", l0: int = 4, delta: str = "1e-6", pre_threshold: int = 1) -> TruncatedGeometric:
    return TruncatedGeometric.calibrate(counting("laplace", charge, l0), Decimal(delta), pre_threshold)


def noise(scale: float, radius: int) -> dict[int, mpmath.mpf]:
    """The probabilities of the noise, from its definition."""
    weights = {x: mpmath.exp(-abs(x) / mpmath.mpf(scale)) for x in range(-radius, radius + 1)}
    whole = mpmath.fsum(weights.values())
    return {x: weight / whole for x, weight in weights.items()}


def shown(scale: float, radius: int) -> list[mpmath.mpf]:
    """P[n + X > r] for n = 0, 1, ..., 2 r + 2."""
    weights = noise(scale, radius)
    return [mpmath.fsum(p for x, p in weights.items() if n + x > radius) for n in range(2 * radius + 3)]


def hockey_stick(one: list[mpmath.mpf], other: list[mpmath.mpf], ratio: mpmath.mpf) -> mpmath.mpf:
    """The least delta with which one distribution is bounded by e^epsilon times another."""
    return mpmath.fsum(max(p - ratio * q, mpmath.mpf(0)) for p, q in zip(one, other, strict=True))


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["0.01", "0.1", "0.5", "1", "3"]),
    st.sampled_from([1, 2, 7, 40]),
    st.sampled_from(["0.2", "1e-3", "1e-6", "1e-9", "1e-15"]),
)
def test_delta_is_kept_and_one_less_would_not_keep_it(charge: str, l0: int, delta: str) -> None:
    found = selection(charge, l0, delta)
    scale, radius = found.noise.scale, found.radius
    with mpmath.workdps(DIGITS):
        assert Fraction(l0) / Fraction(scale) <= Fraction(charge)
        assert 1 - (1 - _largest(scale, radius)) ** l0 <= mpmath.mpf(delta)
        if radius > max(1, math.ceil(scale / 8)):
            assert 1 - (1 - _largest(scale, radius - 1)) ** l0 > mpmath.mpf(delta)


def _largest(scale: float, radius: int) -> mpmath.mpf:
    """P[X = r], summed as a geometric series: only its first terms are added one by one."""
    q = mpmath.exp(-1 / mpmath.mpf(scale))
    return q**radius / (1 + 2 * q * (1 - q**radius) / (1 - q))


@pytest.mark.parametrize(("scale", "radius"), [(1.0, 1), (2.5, 3), (3.2, 40), (0.05, 2), (100.0, 700), (1e6, 5)])
def test_the_probability_of_the_largest_noise_is_the_definitions_rounded_up(scale: float, radius: int) -> None:
    with mpmath.workdps(DIGITS):
        assert mpmath.almosteq(noise(scale, radius)[radius], _largest(scale, radius), rel_eps=mpmath.mpf("1e-100"))
    with mpmath.workdps(300):
        found = mpmath.mpf(str(largest_noise(scale, radius)))
        assert _largest(scale, radius) <= found <= _largest(scale, radius) * (1 + mpmath.mpf("1e-100"))


@settings(max_examples=60, deadline=None)
@given(st.decimals("1e-60", "0.999999", places=60), st.integers(1, 10**6))
def test_the_delta_of_each_key_is_rounded_down(delta: Decimal, keys: int) -> None:
    with mpmath.workdps(300):
        found, exact = mpmath.mpf(str(delta_of_each(delta, keys))), 1 - mpmath.root(1 - mpmath.mpf(str(delta)), keys)
        assert exact * (1 - mpmath.mpf("1e-100")) <= found <= exact


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-9, 2.0**62), st.decimals("1e-66", "0.9", places=66))
def test_the_radius_is_the_least_whatever_the_scale(scale: float, delta: Decimal) -> None:
    radius = least_radius(scale, delta)
    with mpmath.workdps(400):
        assert _largest(scale, radius) <= mpmath.mpf(str(delta))
        assert radius == 1 or _largest(scale, radius - 1) > mpmath.mpf(str(delta))


@pytest.mark.parametrize(("charge", "delta"), [("0.5", "1e-3"), ("2", "1e-6"), ("0.05", "0.01"), ("5", "0.3")])
def test_the_loss_of_one_key_is_epsilon_and_delta_and_both_are_attained(charge: str, delta: str) -> None:
    """Both neighbours, both outcomes, every number of units, from the definition of the noise."""
    found = selection(charge, 1, delta)
    scale, radius = found.noise.scale, found.radius
    with mpmath.workdps(DIGITS):
        ratio, odds = mpmath.exp(mpmath.mpf(charge)), shown(scale, radius)
        losses = [
            hockey_stick([a, 1 - a], [b, 1 - b], ratio)
            for one, other in itertools.pairwise(odds)
            for a, b in ((one, other), (other, one))
        ]
        edge = noise(scale, radius)[radius]
        assert max(losses) <= edge * (1 + mpmath.mpf("1e-50")) <= mpmath.mpf(delta)
        assert max(losses) >= edge * (1 - mpmath.mpf("1e-50")), "a lonely key is shown as often as that"
        assert odds[0] == 0
        assert mpmath.almosteq(odds[2 * radius + 1], 1)
        # A little less epsilon is not kept: in the middle neighbours differ by all of it.
        less = mpmath.exp(mpmath.mpf(charge) * mpmath.mpf("0.999"))
        assert max(hockey_stick([b, 1 - b], [a, 1 - a], less) for a, b in itertools.pairwise(odds)) > edge * (
            1 + mpmath.mpf("1e-9")
        )


@pytest.mark.parametrize(("charge", "delta"), [("1", "0.05"), ("3", "1e-3"), ("6", "1e-4")])
def test_the_loss_of_two_keys_together_is_epsilon_and_delta(charge: str, delta: str) -> None:
    """Every pair of numbers of units, and one unit that counts in both or in one."""
    found = selection(charge, 2, delta)
    with mpmath.workdps(50):
        odds, ratio = shown(found.noise.scale, found.radius), mpmath.exp(mpmath.mpf(charge))

        def joint(first: int, second: int) -> list[mpmath.mpf]:
            return [a * b for a in (odds[first], 1 - odds[first]) for b in (odds[second], 1 - odds[second])]

        counts = range(len(odds) - 1)
        worst = max(
            hockey_stick(*pair, ratio)
            for i, j in itertools.product(counts, counts)
            for pair in itertools.permutations((joint(i, j), joint(i + 1, j + 1)))
        )
        alone = 1 - (1 - odds[1]) ** 2
        assert worst <= alone * (1 + mpmath.mpf("1e-30")) <= mpmath.mpf(delta)
        assert worst >= alone * (1 - mpmath.mpf("1e-30"))


@pytest.mark.parametrize(("charge", "delta"), [("0.5", "1e-3"), ("2", "1e-6"), ("0.1", "1e-4")])
def test_no_selection_with_its_epsilon_and_delta_shows_a_key_more_often(charge: str, delta: str) -> None:
    """The recursion of Desfontaines and others: the most that each number of units can be shown."""
    found = selection(charge, 1, delta)
    with mpmath.workdps(DIGITS):
        odds, e = shown(found.noise.scale, found.radius), mpmath.exp(1 / mpmath.mpf(found.noise.scale))
        best, edge = mpmath.mpf(0), odds[1]
        for n, probability in enumerate(odds):
            assert mpmath.almosteq(probability, best, abs_eps=mpmath.mpf("1e-90")), n
            best = min(e * best + edge, 1 - (1 - best - edge) / e, mpmath.mpf(1))


def test_the_noise_that_is_drawn_has_this_distribution() -> None:
    found, size = selection("0.5", 1, "0.05"), 20_000
    drawn = Counter(found._truncated(size).tolist())
    exact = noise(found.noise.scale, found.radius)
    assert set(drawn) == set(exact), "all of it, and nothing beyond"
    for x, p in exact.items():
        assert abs(drawn[x] / size - float(p)) < 6 * math.sqrt(float(p) / size), x


def test_keys_are_shown_as_often_as_that() -> None:
    found, size = selection("2", 2, "0.01", 5), 8_000
    odds = shown(found.noise.scale, found.radius)
    for n in (1, 2, found.radius, found.radius + 1, 2 * found.radius):
        often = len(found.draw(one_for_each([n + 4] * size)).positions) / size
        assert abs(often - float(odds[n])) < 6 * math.sqrt(float(odds[n] * (1 - odds[n])) / size) + 1e-9, n


def test_without_units_above_the_pre_threshold_never_and_with_many_always() -> None:
    found = selection("2", 1, "0.3", 5)
    never, always = [4, 0, -1, -(2**63)], [4 + 2 * found.radius + 1, 2**40, 2**63 - 1]
    for _ in range(200):
        assert found.draw(one_for_each(never * 25 + always)).positions.tolist() == [100, 101, 102]


def test_a_delta_far_above_epsilon_does_not_draw_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    found, drawn = selection("1e-6", 1, "0.5"), []
    draw = Mechanism.draw

    def counted(self: Mechanism, values: np.ndarray) -> object:
        drawn.append(len(values))
        assert sum(drawn) < 20_000
        return draw(self, values)

    monkeypatch.setattr(Mechanism, "draw", counted)
    assert len(found.draw(one_for_each([2**40] * 1_000)).positions) == 1_000


def test_an_epsilon_whose_noise_is_beyond_64_bits_is_refused() -> None:
    with pytest.raises(SpecError, match="beyond 64 bits") as caught:
        selection("1e-20")
    assert caught.value.where == "budget.epsilon"


@pytest.mark.parametrize(
    "wrong",
    [
        mechanism("laplace", "1", Sensitivity(2, 2, 2, 1)),
        counting("laplace", "1", 2, linf=2),
        counting("gaussian", "1", 2),
        MECHANISMS["laplace"].calibrate("privacy_id_count", Sensitivity(2, 2, 2, 1), rho=Decimal(1)),
    ],
    ids=["count of rows", "two each", "gaussian", "paid in rho"],
)
def test_it_needs_laplace_noise_of_a_count_of_units_that_is_paid_in_epsilon(wrong: Mechanism) -> None:
    with pytest.raises(DpSparkError):
        TruncatedGeometric.calibrate(wrong, Decimal("1e-6"))


def test_a_key_needs_fewer_units_than_with_a_threshold() -> None:
    for charge, l0, delta in (("0.5", 4, "1e-6"), ("0.05", 100, "1e-9"), ("1", 1, "1e-5")):
        other = Thresholding.calibrate(counting("laplace", charge, l0), Decimal(delta))
        assert selection(charge, l0, delta).units_for(0.5) < other.units_for(0.5)
