from __future__ import annotations

import warnings
from dataclasses import replace
from decimal import Decimal
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dp_spark.errors import DpSparkError
from dp_spark.privacy import mechanisms
from dp_spark.privacy.bounds import Sensitivity
from dp_spark.privacy.mechanisms import MechanismName, calibrate
from dp_spark.privacy.selection import Selection, calibrate_selection, selection_delta

NAMES: list[MechanismName] = ["laplace", "gaussian"]


def tail(name: MechanismName, scale: float, at_least: int) -> mpmath.mpf:
    """P[noise >= at_least] in high precision, from the definition of the noise."""
    with mpmath.workdps(60):
        s = mpmath.mpf(scale)
        if name == "laplace":
            if at_least <= 0:
                return 1 - tail(name, scale, 1 - at_least)
            return mpmath.exp(-at_least / s) / (1 + mpmath.exp(-1 / s))
        reach = int(45 * scale) + 5
        weights = {x: mpmath.exp(-(x * x) / (2 * s * s)) for x in range(reach + 1)}
        whole = 2 * mpmath.fsum(weights.values()) - 1
        return mpmath.fsum(weights[abs(x)] for x in range(max(at_least, -reach), reach + 1)) / whole


def exact_delta(name: MechanismName, scale: float, l0: int, threshold: int) -> mpmath.mpf:
    with mpmath.workdps(60):
        return 1 - (1 - tail(name, scale, threshold - 1)) ** l0


def selection(name: MechanismName, charge: str, l0: int, delta: str) -> Selection:
    sensitivity = Sensitivity(l0, l0, l0, 1)
    if name == "laplace":
        return calibrate_selection(calibrate(name, "privacy_id_count", sensitivity, epsilon=Decimal(charge)), Decimal(delta))
    return calibrate_selection(calibrate(name, "privacy_id_count", sensitivity, rho=Decimal(charge)), Decimal(delta))


def with_scale(name: MechanismName, scale: float, threshold: int, l0: int = 1) -> Selection:
    found = selection(name, "0.5", l0, "1e-6").noise
    return Selection(replace(found, event=replace(found.event, scale=scale, threshold=threshold)))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(NAMES),
    st.floats(min_value=0.7, max_value=25.0),
    st.sampled_from([1, 2, 4, 100, 10_000]),
    st.floats(0.1, 24.0),
)
def test_selection_delta_is_never_below_the_exact_formula(name: MechanismName, scale: float, l0: int, reach: float) -> None:
    threshold = 2 + int(reach * scale if name == "laplace" else min(reach, 7.0) * scale)
    found, exact = selection_delta(name, scale, l0, threshold), exact_delta(name, scale, l0, threshold)
    assert found >= exact
    if name == "laplace":  # OpenDP computes 1 - p in doubles, which costs up to an ulp of 1 for each partition
        assert found <= exact * (1 + mpmath.mpf("1e-6")) + l0 * 2.0**-51


@pytest.mark.parametrize(("scale", "l0", "threshold"), [(3.0, 1, 12), (3.2, 4, 15), (11.5, 100, 70)])
def test_selection_delta_of_a_laplace_is_the_exact_formula(scale: float, l0: int, threshold: int) -> None:
    exact = exact_delta("laplace", scale, l0, threshold)
    assert exact <= selection_delta("laplace", scale, l0, threshold) <= exact * (1 + mpmath.mpf("1e-6"))


def test_selection_delta_of_a_gaussian_is_at_most_that_of_one_lower() -> None:
    for scale, l0, threshold in [(1.0, 1, 6), (3.2, 4, 15), (11.5, 100, 70), (25.0, 10_000, 150)]:
        assert selection_delta("gaussian", scale, l0, threshold) <= exact_delta("gaussian", scale, l0, threshold - 1)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(NAMES),
    st.sampled_from(["0.05", "0.1", "0.5", "1", "3"]),
    st.sampled_from([1, 3, 50]),
    st.sampled_from(["1e-3", "1e-6", "1e-8", "0.03"]),
)
def test_the_threshold_fits_and_one_lower_does_not(name: MechanismName, charge: str, l0: int, delta: str) -> None:
    found = selection(name, charge, l0, delta)
    scale = found.noise.scale
    with mpmath.workdps(40):
        assert exact_delta(name, scale, l0, found.threshold) <= mpmath.mpf(delta)
        assert selection_delta(name, scale, l0, found.threshold - 1) > mpmath.mpf(delta)
        if name == "laplace":
            assert exact_delta(name, scale, l0, found.threshold - 1) > mpmath.mpf(delta) * (1 - mpmath.mpf("1e-6"))


def test_the_gaussian_threshold_is_at_most_one_above_the_lowest_that_fits() -> None:
    """OpenDP bounds the discrete tail by the continuous one (docs/adr/0003), which costs at most one count."""
    found = selection("gaussian", "0.05", 1, "1e-6")
    assert exact_delta("gaussian", found.noise.scale, 1, found.threshold) <= mpmath.mpf("1e-6")
    assert exact_delta("gaussian", found.noise.scale, 1, found.threshold - 2) > mpmath.mpf("1e-6")


@pytest.mark.parametrize("name", NAMES)
def test_the_event_carries_delta_and_threshold_and_the_noise_is_unchanged(name: MechanismName) -> None:
    found = selection(name, "0.5", 4, "1e-6")
    noise = selection(name, "0.5", 4, "1e-3").noise
    assert found.noise.event.delta == Decimal("1e-6")
    assert found.noise.event.threshold == found.threshold
    assert replace(found.noise.event, delta=Decimal(0), threshold=None) == replace(
        noise.event, delta=Decimal(0), threshold=None
    )


def test_a_tiny_delta_or_more_partitions_raise_the_threshold() -> None:
    assert selection("laplace", "0.5", 1, "1e-9").threshold > selection("laplace", "0.5", 1, "1e-6").threshold
    assert selection("gaussian", "0.5", 9, "1e-6").threshold > selection("gaussian", "0.5", 1, "1e-6").threshold


@pytest.mark.slow
@pytest.mark.parametrize(("name", "scale", "threshold"), [("laplace", 2.0, 3), ("gaussian", 2.0, 3), ("laplace", 1.0, 2)])
def test_lonely_keys_are_shown_as_often_as_the_formula_says(name: MechanismName, scale: float, threshold: int) -> None:
    # OpenDP's map at T is the delta of keeping counts above T; its measurement keeps those at T as well.
    found, size = with_scale(name, scale, threshold), 20_000
    shown, _ = found.draw([1] * size)
    expected = float(tail(name, scale, threshold - 1))
    assert len(shown) / size == pytest.approx(expected, abs=6 * (expected / size) ** 0.5)
    assert abs(float(tail(name, scale, threshold)) - expected) > 10 * (expected / size) ** 0.5
    assert min(shown.values()) == threshold


@pytest.mark.parametrize("name", NAMES)
def test_nothing_below_the_threshold_is_returned_and_positions_are_kept(name: MechanismName) -> None:
    found = with_scale(name, 3.0, 20)
    counts = [1, 20, 1_000, 19, 5_000, 18] * 100
    shown, event = found.draw(counts)
    assert event == found.noise.event
    assert list(shown) == sorted(shown)
    assert all(noisy >= 20 for noisy in shown.values())
    assert all(abs(noisy - counts[position]) < 200 for position, noisy in shown.items())
    assert {i for i, count in enumerate(counts) if count >= 1_000} <= set(shown)
    assert set(shown) < set(range(len(counts)))


@pytest.mark.parametrize("name", NAMES)
def test_many_candidates_keep_their_positions_and_have_noise_of_their_own(
    name: MechanismName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mechanisms, "_CHUNK", 100)
    counts = [index * 10**9 for index in range(1050)]
    shown, _ = selection(name, "0.01", 4, "1e-6").draw(counts)
    assert list(shown) == list(range(1, 1050)), "in order; the empty one is not shown"
    noise = [noisy - counts[position] for position, noisy in shown.items()]
    assert max(abs(item) for item in noise) < 10**6
    assert len({tuple(noise[start : start + 100]) for start in range(0, 1000, 100)}) == 10


@pytest.mark.parametrize("name", NAMES)
def test_each_call_draws_anew(name: MechanismName) -> None:
    found = selection(name, "0.01", 4, "1e-6")
    assert found.draw([100_000] * 30)[0] != found.draw([100_000] * 30)[0]


def test_no_candidates_show_nothing() -> None:
    found = selection("laplace", "0.5", 4, "1e-6")
    assert found.draw([]) == ({}, found.noise.event)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [7231.0, True, np.int64(7231), 2**63, -(2**64), None, "7231"], ids=repr)
def test_what_is_not_a_64_bit_int_is_refused_without_being_shown(name: MechanismName, value: Any) -> None:
    found = selection(name, "0.5", 4, "1e-6")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # OpenDP warns with the whole input; a warning goes to stderr
        with pytest.raises(DpSparkError) as caught:
            found.draw([5, value])
    assert str(value) not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("charge", ["0.02", "0.3", "2"])
@pytest.mark.parametrize("probability", [0.5, 0.95])
def test_units_for_is_the_least_count_that_is_shown_that_often(name: MechanismName, charge: str, probability: float) -> None:
    found = selection(name, charge, 2, "1e-6")
    units = found.units_for(probability)

    def shown(count: int) -> float:
        return float(tail(name, found.noise.scale, found.threshold - count))

    assert shown(units) >= probability - 1e-12
    assert shown(units - 1) < probability


def test_selection_needs_a_count_of_units() -> None:
    noise = calibrate("laplace", "count", Sensitivity(2, 4, 8, 2), epsilon=Decimal(1))
    with pytest.raises(AssertionError, match="privacy units"):
        calibrate_selection(noise, Decimal("1e-6"))
