from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

import mpmath
import pytest
from charges import NAMES, counting, mechanism
from hypothesis import given, settings
from hypothesis import strategies as st

from dp_spark.aggregates.query import PRIVACY_ID_COUNT
from dp_spark.errors import DpSparkError
from dp_spark.privacy.bounds import Sensitivity
from dp_spark.privacy.integers import one_for_each
from dp_spark.privacy.mechanisms import drawing
from dp_spark.privacy.mechanisms.base import Mechanism
from dp_spark.privacy.mechanisms.registry import MechanismName
from dp_spark.privacy.selection.base import Shown
from dp_spark.privacy.selection.thresholding import Thresholding, threshold_delta


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


def selection(name: MechanismName, charge: str = "0.5", l0: int = 4, delta: str = "1e-6") -> Thresholding:
    return Thresholding.calibrate(counting(name, charge, l0), Decimal(delta))


def noisy(shown: Shown) -> list[int]:
    assert shown.counts is not None
    assert shown.counts.shape == (len(shown.positions), 1)
    return shown.counts.ravel().tolist()


def with_scale(name: MechanismName, scale: float, threshold: int, l0: int = 1) -> Thresholding:
    noise = counting(name, "0.5", l0)
    return Thresholding(replace(noise, event=replace(noise.event, scale=scale, threshold=threshold)))


def delta_at(name: MechanismName, scale: float, l0: int, threshold: int) -> float:
    return threshold_delta(with_scale(name, scale, threshold, l0).noise, threshold)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(NAMES),
    st.floats(min_value=0.7, max_value=25.0),
    st.sampled_from([1, 2, 4, 100, 10_000]),
    st.floats(0.1, 24.0),
)
def test_the_delta_is_never_below_the_exact_formula(name: MechanismName, scale: float, l0: int, reach: float) -> None:
    threshold = 2 + int(reach * scale if name == "laplace" else min(reach, 7.0) * scale)
    found, exact = delta_at(name, scale, l0, threshold), exact_delta(name, scale, l0, threshold)
    assert found >= exact
    if name == "laplace":  # OpenDP computes 1 - p in doubles, which costs up to an ulp of 1 for each partition
        assert found <= exact * (1 + mpmath.mpf("1e-6")) + l0 * 2.0**-51


@pytest.mark.parametrize(("scale", "l0", "threshold"), [(3.0, 1, 12), (3.2, 4, 15), (11.5, 100, 70)])
def test_the_delta_of_a_laplace_is_the_exact_formula(scale: float, l0: int, threshold: int) -> None:
    exact = exact_delta("laplace", scale, l0, threshold)
    assert exact <= delta_at("laplace", scale, l0, threshold) <= exact * (1 + mpmath.mpf("1e-6"))


def test_the_delta_of_a_gaussian_is_at_most_that_of_one_lower() -> None:
    for scale, l0, threshold in [(1.0, 1, 6), (3.2, 4, 15), (11.5, 100, 70), (25.0, 10_000, 150)]:
        assert delta_at("gaussian", scale, l0, threshold) <= exact_delta("gaussian", scale, l0, threshold - 1)


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
        assert delta_at(name, scale, l0, found.threshold - 1) > mpmath.mpf(delta)
        if name == "laplace":
            assert exact_delta(name, scale, l0, found.threshold - 1) > mpmath.mpf(delta) * (1 - mpmath.mpf("1e-6"))


def test_the_gaussian_threshold_is_at_most_one_above_the_lowest_that_fits() -> None:
    """OpenDP bounds the discrete tail by the continuous one (docs/adr/0003), which costs at most one count."""
    found = selection("gaussian", "0.05", 1, "1e-6")
    assert exact_delta("gaussian", found.noise.scale, 1, found.threshold) <= mpmath.mpf("1e-6")
    assert exact_delta("gaussian", found.noise.scale, 1, found.threshold - 2) > mpmath.mpf("1e-6")


def test_a_tiny_delta_or_more_partitions_raise_the_threshold() -> None:
    assert selection("laplace", "0.5", 1, "1e-9").threshold > selection("laplace", "0.5", 1, "1e-6").threshold
    assert selection("gaussian", "0.5", 9, "1e-6").threshold > selection("gaussian", "0.5", 1, "1e-6").threshold


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


@pytest.mark.parametrize(
    "noise", [mechanism("laplace", "1", Sensitivity(2, 2, 2, 1)), counting("laplace", "1", 2, linf=2)], ids=["count", "two"]
)
def test_selection_needs_a_count_of_units(noise: Mechanism) -> None:
    with pytest.raises(DpSparkError, match="privacy units"):
        Thresholding.calibrate(noise, Decimal("1e-6"))


def weights(name: MechanismName, scale: float) -> dict[int, float]:
    """The probabilities of the noise, from its definition."""
    power = {"laplace": lambda x: abs(x) / scale, "gaussian": lambda x: x * x / (2 * scale * scale)}[name]
    found = {x: math.exp(-power(x)) for x in range(-400, 401)}
    whole = math.fsum(found.values())
    return {x: weight / whole for x, weight in found.items()}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("l0", [1, 3, 20])
@pytest.mark.parametrize("delta", ["0.05", "1e-3", "1e-6"])
def test_the_keys_that_one_unit_brings_reach_the_threshold_no_more_often_than_delta(
    name: MechanismName, l0: int, delta: str
) -> None:
    """One neighbour has l0 keys with one unit each, the other none of them: showing any of them tells the two apart."""
    found = selection(name, "2", l0, delta)
    alone = math.fsum(p for x, p in weights(name, found.noise.scale).items() if 1 + x >= found.threshold)
    any_shown = -math.expm1(l0 * math.log1p(-alone))
    assert any_shown <= float(delta)
    lower = math.fsum(p for x, p in weights(name, found.noise.scale).items() if 1 + x >= found.threshold - 2)
    assert -math.expm1(l0 * math.log1p(-lower)) > float(delta), "the threshold is at most one above the lowest"


@pytest.mark.parametrize("name", NAMES)
def test_lonely_keys_are_shown_as_often_as_that(name: MechanismName) -> None:
    found, size = selection(name, "2", 1, "0.05"), 20_000
    alone = math.fsum(p for x, p in weights(name, found.noise.scale).items() if 1 + x >= found.threshold)
    shown = found.draw(one_for_each([1] * size))
    assert len(shown.positions) / size == pytest.approx(alone, abs=6 * math.sqrt(alone / size))
    assert len(shown.positions) / size < 0.05
    assert min(noisy(shown)) == found.threshold


@pytest.mark.parametrize("name", NAMES)
def test_the_event_carries_delta_and_threshold_and_the_noise_is_unchanged(name: MechanismName) -> None:
    noise = counting(name, "0.5", 4)
    found = Thresholding.calibrate(noise, Decimal("1e-6"))
    assert found.query == noise.event.query == PRIVACY_ID_COUNT.label
    assert found.noise.event == replace(noise.event, delta=Decimal("1e-6"), threshold=found.threshold)
    assert replace(found.noise, event=noise.event) == noise
    assert found.least_delta(noise) < Decimal("1e-12")
    with pytest.raises(AssertionError, match="no threshold has so small a delta"):
        Thresholding.calibrate(noise, found.least_delta(noise) / 2)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_below_the_threshold_is_shown_and_positions_are_kept(name: MechanismName) -> None:
    found = selection(name)
    low = found.threshold - 2
    counts = [1, low, 10_000, low, 50_000, low + 1] * 100
    shown = found.draw(one_for_each(counts))
    assert shown.event == found.noise.event
    positions = shown.positions.tolist()
    assert positions == sorted(set(positions))
    assert min(noisy(shown)) >= found.threshold
    assert all(abs(number - counts[place]) < 300 for place, number in zip(positions, noisy(shown), strict=True))
    assert {place for place, count in enumerate(counts) if count >= 10_000} <= set(positions) < set(range(len(counts)))


@pytest.mark.parametrize("name", NAMES)
def test_many_candidates_keep_their_positions_and_have_noise_of_their_own(
    name: MechanismName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "_CHUNK", 100)
    counts = [index * 10**9 for index in range(1050)]
    found = selection(name, "0.01")
    shown = found.draw(one_for_each(counts))
    assert shown.positions.tolist() == list(range(1, 1050)), "in order; the empty one is not shown"
    noise = [number - count for number, count in zip(noisy(shown), counts[1:], strict=True)]
    assert max(abs(item) for item in noise) < 10**6
    assert len({tuple(noise[start : start + 100]) for start in range(0, 1000, 100)}) == 10
    assert noisy(found.draw(one_for_each(counts))) != noisy(shown), "each call draws anew"
