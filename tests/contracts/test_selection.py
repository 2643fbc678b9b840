"""What every selection strategy of the registry must keep, with the noise of every mechanism.

A strategy that releases no counts is tried beside them: what is here must hold for any, not for thresholding alone.
"""

from __future__ import annotations

import itertools
import json
import math
import warnings
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from charges import NAMES, counting, currency_of
from strategies import Silent

from dp_spark.errors import DpSparkError
from dp_spark.plan.planning import SELECTION_QUERIES
from dp_spark.privacy.events import Event
from dp_spark.privacy.integers import one_for_each
from dp_spark.privacy.mechanisms import drawing, measurements
from dp_spark.privacy.mechanisms.registry import MechanismName
from dp_spark.privacy.selection.base import Selection, Shown
from dp_spark.privacy.selection.registry import SELECTIONS, UNNAMED, described, strategy_of

Strategy = type[Selection]
STRATEGIES: list[Strategy] = [*SELECTIONS.values(), Silent]
over_strategies = pytest.mark.parametrize("strategy", STRATEGIES)
#: Every strategy with the noise that can pay for it in its own currency.
over_all = pytest.mark.parametrize(
    ("strategy", "name"),
    [(strategy, name) for strategy in STRATEGIES for name in NAMES if currency_of(name) in strategy.currencies],
)
over_pre_thresholds = pytest.mark.parametrize("pre_threshold", [1, 20])


def selection(
    strategy: Strategy, name: MechanismName, charge: str = "0.5", l0: int = 4, delta: str = "1e-6", pre_threshold: int = 1
) -> Selection:
    return strategy.calibrate(counting(name, charge, l0), Decimal(delta), pre_threshold)


def positions(shown: Shown) -> list[int]:
    assert shown.positions.dtype == np.int64
    return shown.positions.tolist()


def odds(event: Event, units: int) -> float:
    """How often a key with so many units is shown, from what an event stores and the definition of the noise alone."""
    assert event.threshold is not None
    if units < (event.pre_threshold or 1):
        return 0.0
    power = {"laplace": lambda x: abs(x) / event.scale, "gaussian": lambda x: x * x / (2 * event.scale**2)}[event.mechanism]
    most = event.truncated_at or int(60 * event.scale) + 2
    weights = {x: math.exp(-power(x)) for x in range(-most, most + 1)}
    return math.fsum(p for x, p in weights.items() if units + x >= event.threshold) / math.fsum(weights.values())


def test_the_registry_names_every_strategy_as_itself() -> None:
    assert {name: strategy.name for name, strategy in SELECTIONS.items()} == {name: name for name in SELECTIONS}
    assert UNNAMED in SELECTIONS


@over_all
def test_the_event_carries_delta_and_the_charge_of_the_noise(strategy: Strategy, name: MechanismName) -> None:
    noise = counting(name, "0.5", 4)
    found = strategy.calibrate(noise, Decimal("1e-6"))
    event = found.noise.event
    assert (event.query, event.delta) == (strategy.query, Decimal("1e-6"))
    assert (event.mechanism, event.scale, event.epsilon, event.rho) == (
        noise.event.mechanism,
        noise.event.scale,
        noise.event.epsilon,
        noise.event.rho,
    )
    assert found.noise.sensitivity == noise.sensitivity
    assert SELECTION_QUERIES[strategy.query].once_per_unit, "a unit moves a count by one at most"


@over_all
def test_a_smaller_delta_than_the_least_is_never_calibrated(strategy: Strategy, name: MechanismName) -> None:
    noise = counting(name, "0.5", 4)
    least = strategy.least_delta(noise)
    assert 0 < least < Decimal("1e-12")
    with pytest.raises(AssertionError, match=r"for so small a delta|has so small a delta"):
        strategy.calibrate(noise, least / 2)


@over_all
@over_pre_thresholds
@pytest.mark.parametrize("l0", [1, 5])
def test_the_keys_that_one_unit_brings_are_shown_no_more_often_than_delta_and_about_as_often(
    strategy: Strategy, name: MechanismName, l0: int, pre_threshold: int
) -> None:
    """One neighbour has l0 candidates with the fewest units, the other none of them: showing any tells them apart."""
    found, units, delta = selection(strategy, name, "0.1", l0, "0.05", pre_threshold), 4_000, 0.05
    shown = found.draw(one_for_each([pre_threshold] * (units * l0)))
    tell = len({position // l0 for position in positions(shown)})
    assert 0.3 * delta < tell / units < delta + 5 * math.sqrt(delta / units)
    below = found.draw(one_for_each([pre_threshold - 1] * (units * l0)))
    assert len(positions(below)) <= len(positions(shown)) + 5 * math.sqrt(units * l0 * delta), (
        "Spark drops them; nothing needs it"
    )


@over_all
@over_pre_thresholds
@pytest.mark.parametrize("l0", [1, 5])
@pytest.mark.parametrize("delta", ["0.05", "1e-6"])
def test_an_events_delta_is_that_of_the_keys_that_one_unit_brings_and_is_attained(
    strategy: Strategy, name: MechanismName, delta: str, l0: int, pre_threshold: int
) -> None:
    event = selection(strategy, name, "0.5", l0, delta, pre_threshold).noise.event
    assert event.threshold is not None

    def lost(by: Event) -> float:
        return -math.expm1(l0 * math.log1p(-odds(by, pre_threshold)))

    assert lost(event) <= float(delta) * (1 + 1e-9)
    lower = None if event.truncated_at is None else event.truncated_at - 2
    assert lost(replace(event, threshold=event.threshold - 2, truncated_at=lower)) > float(delta), "two lower does not keep it"


@over_all
@over_pre_thresholds
def test_keys_are_shown_as_often_as_the_event_says(strategy: Strategy, name: MechanismName, pre_threshold: int) -> None:
    found, size = selection(strategy, name, "0.5", 1, "0.05", pre_threshold), 5_000
    threshold = found.noise.event.threshold
    assert threshold is not None
    for units in (pre_threshold, threshold - 1, threshold, threshold + 2):
        often, exact = len(positions(found.draw(one_for_each([units] * size)))) / size, odds(found.noise.event, units)
        assert often == pytest.approx(exact, abs=6 * math.sqrt(exact * (1 - exact) / size) + 1e-9)


@over_pre_thresholds
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_unit_more_changes_the_odds_by_epsilon_and_delta(strategy: Strategy, pre_threshold: int) -> None:
    """Both neighbours, both outcomes, of a key with any number of units; both are attained."""
    event = selection(strategy, "laplace", "0.7", 1, "1e-3", pre_threshold).noise.event
    assert event.threshold is not None
    shown = [odds(event, units) for units in range(pre_threshold - 1, 2 * event.threshold + 30)]
    pairs = [
        pair
        for one, other in itertools.pairwise(shown)
        for pair in ((one, other), (other, one), (1 - one, 1 - other), (1 - other, 1 - one))
    ]
    assert max(p - math.exp(0.7) * q for p, q in pairs) == pytest.approx(shown[1], rel=1e-9)
    assert shown[1] <= 1e-3
    assert max(p - math.exp(0.69) * q for p, q in pairs) > shown[1] * 1.0001, "no smaller epsilon would do"


@over_all
@over_pre_thresholds
@pytest.mark.parametrize("probability", [0.01, 0.5, 0.95, 0.99])
def test_units_for_is_the_least_count_that_is_shown_that_often(
    strategy: Strategy, name: MechanismName, pre_threshold: int, probability: float
) -> None:
    found, size = selection(strategy, name, "2", pre_threshold=pre_threshold), 5_000
    assert found.curve()[probability] == found.units_for(probability)
    units = found.units_for(probability)
    enough, fewer = (len(positions(found.draw(one_for_each([count] * size)))) / size for count in (units, units - 1))
    slack = 5 * math.sqrt(probability * (1 - probability) / size)
    assert enough > probability - slack
    assert fewer < probability + slack


@over_all
def test_the_positions_of_what_is_shown_are_ascending_and_many_units_are_always_shown(
    strategy: Strategy, name: MechanismName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "_CHUNK", 100)
    counts = [1, 10_000, 1, 50_000] * 300
    found = selection(strategy, name)
    shown = found.draw(one_for_each(counts))
    assert shown.event == found.noise.event
    assert positions(shown) == [place for place, count in enumerate(counts) if count > 1]


@over_all
def test_noisy_counts_are_those_of_the_shown_keys_or_none_at_all(strategy: Strategy, name: MechanismName) -> None:
    counts = [index * 10**9 for index in range(1, 500)]
    found = selection(strategy, name, "0.01")
    shown, again = (found.draw(one_for_each(counts)).counts for _ in range(2))
    assert (shown is not None) == strategy.releases_counts
    if shown is not None and again is not None:
        assert (shown.shape, shown.dtype) == ((len(counts), 1), np.int64)
        assert np.abs(shown.ravel() - counts).max() < 10**6
        assert (shown != again).any(), "each call draws anew"


@over_all
def test_no_candidates_show_nothing(strategy: Strategy, name: MechanismName) -> None:
    found = selection(strategy, name)
    shown = found.draw(one_for_each([]))
    assert (positions(shown), shown.event) == ([], found.noise.event)
    assert (None if shown.counts is None else shown.counts.shape) == ((0, 1) if strategy.releases_counts else None)


@over_all
@pytest.mark.parametrize("value", [7231.0, True, np.int64(7231), 2**63, -(2**64), None, "7231"], ids=repr)
def test_what_is_not_a_64_bit_int_is_refused_without_being_shown(
    strategy: Strategy, name: MechanismName, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, wrong = selection(strategy, name), one_for_each([5, 7231])
    wrong[1, 0] = value
    monkeypatch.setattr(measurements, "thresholded", None)  # it is checked before OpenDP is asked
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # OpenDP warns with the whole input; a warning goes to stderr
        with pytest.raises(DpSparkError, match="no value is shown") as caught:
            found.draw(wrong)
    assert str(value) not in str(caught.value)


@over_all
def test_more_than_one_count_for_a_key_is_refused_without_being_shown(strategy: Strategy, name: MechanismName) -> None:
    for wrong in (np.full((3, 2), 7231, dtype=object), np.full(3, 7231, dtype=object), np.full((3, 1), 7231)):
        with pytest.raises(DpSparkError, match="no value is shown") as caught:
            selection(strategy, name).draw(wrong)
        assert "7231" not in str(caught.value)


@over_strategies
@over_pre_thresholds
def test_what_a_manifest_tells_can_be_read_again(
    strategy: Strategy, pre_threshold: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SELECTIONS, strategy.name, strategy)  # type: ignore[misc]
    found = selection(strategy, "laplace", pre_threshold=pre_threshold)
    told = json.loads(json.dumps(described(found)))
    assert told == described(found)
    assert told["selection"] == "private"
    assert strategy_of(told) is strategy
    assert strategy.is_described(told)
    with pytest.raises(LookupError):
        strategy.is_described({})
    joint = {"selection": "private", **strategy.combined([told, told])}
    assert json.loads(json.dumps(joint)) == joint
    for words in (found.in_short, *strategy.none_shown(told), strategy.shown_where(told), strategy.shown_where(joint)):
        assert words.strip()
        assert not words.endswith((".", "\n"))


@over_all
def test_a_pre_threshold_moves_every_count_by_as_much(strategy: Strategy, name: MechanismName) -> None:
    """A key is a candidate with tau units as it was with one, so all else is as it was with tau - 1 units less."""
    plain, later = (selection(strategy, name, pre_threshold=least) for least in (1, 31))
    assert (plain.pre_threshold, later.pre_threshold) == (1, 31)
    assert later.curve() == {probability: units + 30 for probability, units in plain.curve().items()}
    assert selection(strategy, name, "0.1", 1, "0.05", 20).units_for(0.01) == 20, "shown more often than that, and never below"
    before, after = plain.noise.event, later.noise.event
    assert before.threshold is not None
    assert after == replace(before, threshold=before.threshold + 30, pre_threshold=31)
    assert Event.from_dict(json.loads(json.dumps(after.to_dict()))) == after
    assert not {"pre_threshold", "truncated_at"} & replace(before, truncated_at=None).to_dict().keys(), "stored as it was"


def test_a_strategy_of_a_later_version_is_not_taken_for_thresholding() -> None:
    assert strategy_of({"selection": "private", "strategy": "silent", "threshold": 3}) is None
