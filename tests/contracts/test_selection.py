"""What every selection strategy of the registry must keep, with the noise of every mechanism."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from charges import NAMES, counting

from dp_spark.aggregates.query import PRIVACY_ID_COUNT
from dp_spark.errors import DpSparkError
from dp_spark.privacy.integers import one_for_each
from dp_spark.privacy.mechanisms import drawing, measurements
from dp_spark.privacy.mechanisms.registry import MechanismName
from dp_spark.privacy.selection.base import Selection, Shown
from dp_spark.privacy.selection.registry import SELECTIONS, SelectionName

KINDS = [(strategy, name) for strategy in SELECTIONS for name in NAMES]
over_all = pytest.mark.parametrize(("strategy", "name"), KINDS)


def selection(strategy: SelectionName, name: MechanismName, charge: str = "0.5", l0: int = 4, delta: str = "1e-6") -> Selection:
    return SELECTIONS[strategy].calibrate(counting(name, charge, l0), Decimal(delta))


def noisy(shown: Shown) -> list[int]:
    assert shown.counts is not None
    assert shown.counts.shape == (len(shown.positions), 1)
    return shown.counts.ravel().tolist()


def weights(name: MechanismName, scale: float) -> dict[int, float]:
    """The probabilities of the noise, from its definition."""
    power = {"laplace": lambda x: abs(x) / scale, "gaussian": lambda x: x * x / (2 * scale * scale)}[name]
    found = {x: math.exp(-power(x)) for x in range(-400, 401)}
    whole = math.fsum(found.values())
    return {x: weight / whole for x, weight in found.items()}


@over_all
@pytest.mark.parametrize("l0", [1, 3, 20])
@pytest.mark.parametrize("delta", ["0.05", "1e-3", "1e-6"])
def test_the_keys_that_one_unit_brings_are_shown_no_more_often_than_delta(
    strategy: SelectionName, name: MechanismName, l0: int, delta: str
) -> None:
    """One neighbour has l0 keys with one unit each, the other none of them: showing any of them tells the two apart."""
    found = selection(strategy, name, "2", l0, delta)
    alone = math.fsum(p for x, p in weights(name, found.noise.scale).items() if 1 + x >= found.threshold)
    any_shown = -math.expm1(l0 * math.log1p(-alone))
    assert any_shown <= float(delta)
    lower = math.fsum(p for x, p in weights(name, found.noise.scale).items() if 1 + x >= found.threshold - 2)
    assert -math.expm1(l0 * math.log1p(-lower)) > float(delta), "the threshold is at most one above the lowest"


@over_all
def test_lonely_keys_are_shown_as_often_as_that(strategy: SelectionName, name: MechanismName) -> None:
    found, size = selection(strategy, name, "2", 1, "0.05"), 20_000
    alone = math.fsum(p for x, p in weights(name, found.noise.scale).items() if 1 + x >= found.threshold)
    shown = found.draw(one_for_each([1] * size))
    assert len(shown.positions) / size == pytest.approx(alone, abs=6 * math.sqrt(alone / size))
    assert len(shown.positions) / size < 0.05
    assert min(noisy(shown)) == found.threshold


@over_all
def test_the_event_carries_delta_and_threshold_and_the_noise_is_unchanged(strategy: SelectionName, name: MechanismName) -> None:
    noise = counting(name, "0.5", 4)
    found = SELECTIONS[strategy].calibrate(noise, Decimal("1e-6"))
    assert found.query == noise.event.query == PRIVACY_ID_COUNT.label
    assert found.noise.event == replace(noise.event, delta=Decimal("1e-6"), threshold=found.threshold)
    assert replace(found.noise, event=noise.event) == noise
    assert found.least_delta(noise) < Decimal("1e-12")
    with pytest.raises(AssertionError):
        SELECTIONS[strategy].calibrate(noise, found.least_delta(noise) / 2)


@over_all
def test_nothing_below_the_threshold_is_shown_and_positions_are_kept(strategy: SelectionName, name: MechanismName) -> None:
    found = selection(strategy, name)
    low = found.threshold - 2
    counts = [1, low, 10_000, low, 50_000, low + 1] * 100
    shown = found.draw(one_for_each(counts))
    assert shown.event == found.noise.event
    positions = shown.positions.tolist()
    assert positions == sorted(set(positions))
    assert min(noisy(shown)) >= found.threshold
    assert all(abs(number - counts[place]) < 300 for place, number in zip(positions, noisy(shown), strict=True))
    assert {place for place, count in enumerate(counts) if count >= 10_000} <= set(positions) < set(range(len(counts)))


@over_all
def test_many_candidates_keep_their_positions_and_have_noise_of_their_own(
    strategy: SelectionName, name: MechanismName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "_CHUNK", 100)
    counts = [index * 10**9 for index in range(1050)]
    found = selection(strategy, name, "0.01")
    shown = found.draw(one_for_each(counts))
    assert shown.positions.tolist() == list(range(1, 1050)), "in order; the empty one is not shown"
    noise = [number - count for number, count in zip(noisy(shown), counts[1:], strict=True)]
    assert max(abs(item) for item in noise) < 10**6
    assert len({tuple(noise[start : start + 100]) for start in range(0, 1000, 100)}) == 10
    assert noisy(found.draw(one_for_each(counts))) != noisy(shown), "each call draws anew"


@over_all
def test_no_candidates_show_nothing(strategy: SelectionName, name: MechanismName) -> None:
    found = selection(strategy, name)
    shown = found.draw(one_for_each([]))
    assert (shown.positions.tolist(), noisy(shown), shown.event) == ([], [], found.noise.event)


@over_all
@pytest.mark.parametrize("value", [7231.0, True, np.int64(7231), 2**63, -(2**64), None, "7231"], ids=repr)
def test_what_is_not_a_64_bit_int_is_refused_without_being_shown(
    strategy: SelectionName, name: MechanismName, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, wrong = selection(strategy, name), one_for_each([5, 7231])
    wrong[1, 0] = value
    monkeypatch.setattr(measurements, "thresholded", None)  # it is checked before OpenDP is asked
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # OpenDP warns with the whole input; a warning goes to stderr
        with pytest.raises(DpSparkError) as caught:
            found.draw(wrong)
    assert str(value) not in str(caught.value)


@over_all
def test_more_than_one_count_for_a_key_is_refused_without_being_shown(strategy: SelectionName, name: MechanismName) -> None:
    for wrong in (np.full((3, 2), 7231, dtype=object), np.full(3, 7231, dtype=object), np.full((3, 1), 7231)):
        with pytest.raises(DpSparkError) as caught:
            selection(strategy, name).draw(wrong)
        assert "7231" not in str(caught.value)
