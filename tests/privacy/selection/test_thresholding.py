from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import mpmath
import pytest
from charges import NAMES, counting, mechanism
from hypothesis import given, settings
from hypothesis import strategies as st

from dp_spark.privacy.bounds import Sensitivity
from dp_spark.privacy.mechanisms.base import Mechanism
from dp_spark.privacy.mechanisms.registry import MechanismName
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


def selection(name: MechanismName, charge: str, l0: int, delta: str) -> Thresholding:
    return Thresholding.calibrate(counting(name, charge, l0), Decimal(delta))


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
    with pytest.raises(AssertionError, match="privacy units"):
        Thresholding.calibrate(noise, Decimal("1e-6"))
