from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from helpers import COUNT, MEAN, PUBLIC, SUM, UNITS, release_spec
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import Silent

from dp_spark.aggregates.query import PRIVACY_ID_COUNT, ROW_COUNT
from dp_spark.errors import SpecError
from dp_spark.plan.planning import ReleasePlan, effective_bounds, plan_release
from dp_spark.privacy.accountants.account import Account
from dp_spark.privacy.accountants.conversion import zcdp_from_budget
from dp_spark.privacy.bounds import ContributionBounds
from dp_spark.privacy.integers import one_for_each
from dp_spark.privacy.mechanisms.tails import noise_half_width, noise_stddev
from dp_spark.privacy.selection.registry import SELECTIONS, UNNAMED

PURE = {"budget": {"epsilon": Decimal("1.0")}, "partitions": PUBLIC}
ROW_UNIT: dict[str, Any] = {"privacy_unit": {"row": True}, "contribution_bounds": None}


def plan(accountant: Any, public_keys: int | None = None, **changes: Any) -> ReleasePlan:
    return plan_release(release_spec(**changes), accountant, public_keys)


def kinds(found: ReleasePlan) -> list[str]:
    return [query.label.partition("(")[0] for query in found.mechanisms]


def test_more_sets_of_bins_than_spark_can_group_by_are_refused() -> None:
    """Beyond 64 columns Spark refuses, which would be after the charge; at 64 it numbers them with the sign bit."""

    def asked(number: int) -> list[dict[str, Any]]:
        bins = {"function": "histogram", "column": "value", "edges": [0, 1]}
        return [{**bins, "name": f"h{index}", "where": f"days > {index}"} for index in range(number)]

    assert len(plan("basic", 3, **PURE, aggregates=asked(59)).queries) == 59
    assert len(plan("basic", 3, **PURE, aggregates=[{**asked(1)[0], "name": f"h{index}"} for index in range(70)]).queries) == 1
    with pytest.raises(SpecError, match="60 different sets of bins beside 1 keys") as caught:
        plan("basic", 3, **PURE, aggregates=asked(60))
    assert (caught.value.where, caught.value.mend) == ("aggregates", "ask for at most 59 of them in one release")


def test_a_query_that_two_aggregates_need_is_drawn_once_with_the_larger_weight() -> None:
    values = {"function": "count", "name": "values", "column": "value", "weight": Decimal(3)}
    found = plan("basic", 3, **PURE, aggregates=[MEAN, values])
    assert kinds(found) == ["count_of_column", "centred_sum"]
    assert [event.epsilon for event in found.events] == [Decimal("0.75"), Decimal("0.25")]


def test_a_mean_is_two_draws() -> None:
    found = plan("basic", 3, **PURE, aggregates=[MEAN])
    assert [event.epsilon for event in found.events] == [Decimal("0.5"), Decimal("0.5")]


@pytest.mark.parametrize("accountant", ["basic", "zcdp"])
def test_selection_and_a_requested_count_of_units_are_one_draw(accountant: str) -> None:
    found = plan(accountant, aggregates=[COUNT, UNITS])
    assert sorted(kinds(found)) == ["count", "privacy_id_count"]
    assert len(found.events) == 2
    assert found.selection is not None
    assert found.mechanisms[PRIVACY_ID_COUNT] is found.selection.noise
    selecting = [event for event in found.events if event.threshold is not None]
    assert selecting == [found.selection.noise.event]
    assert selecting[0].threshold == found.selection.threshold > 1
    assert [event.delta for event in found.events if event not in selecting] == [0]


@pytest.mark.parametrize("accountant", ["basic", "zcdp"])
def test_selection_is_charged_even_if_no_count_of_units_is_requested(accountant: str) -> None:
    with_count, without = plan(accountant, aggregates=[COUNT, UNITS]), plan(accountant, aggregates=[COUNT])
    assert set(without.events) == set(with_count.events)
    assert without.cost == with_count.cost


@pytest.mark.parametrize("accountant", ["basic", "zcdp"])
def test_where_selection_releases_no_counts_a_requested_count_of_units_is_a_draw_and_a_charge_of_its_own(
    accountant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SELECTIONS, UNNAMED, Silent)  # type: ignore[misc]
    without, both = plan(accountant, aggregates=[COUNT]), plan(accountant, aggregates=[COUNT, UNITS])
    assert [query.label for query in without.mechanisms] == ["count"]
    assert [query.label for query in both.mechanisms] == ["count", "privacy_id_count"]
    assert without.queries == both.queries == (PRIVACY_ID_COUNT, ROW_COUNT), "selection needs the exact counts in any case"
    for found, labels in ((without, ["count"]), (both, ["count", "privacy_id_count"])):
        assert [event.query for event in found.events] == ["privacy_id_count", *labels]
        assert [bool(event.delta) for event in found.events] == [True, *(False for _ in labels)]
        spec = found.spec.budget
        assert Account.open(spec.epsilon, spec.delta, found.accountant).total == found.cost
    amounts = [event.epsilon if accountant == "basic" else event.rho for event in both.events]
    assert max(amounts) - min(amounts) < Decimal("1e-9"), "three draws, three shares"


def test_truncated_geometric_is_drawn_and_paid_for_beside_a_requested_count_of_units() -> None:
    selecting = {"private": {"strategy": "truncated_geometric", "pre_threshold": 20, "weight": Decimal(2)}}
    found = plan("basic", partitions=selecting, aggregates=[COUNT, UNITS])
    chosen, rows, units = found.events
    assert [event.query for event in found.events] == ["privacy_id_count", "count", "privacy_id_count"]
    assert [event.epsilon for event in found.events] == [Decimal("0.5"), Decimal("0.25"), Decimal("0.25")]
    assert (chosen.pre_threshold, chosen.threshold) == (20, 20 + (chosen.truncated_at or 0))
    assert {(event.delta, event.threshold, event.pre_threshold, event.truncated_at) for event in (rows, units)} == {
        (0, None, None, None)
    }
    assert (found.cost.amount, found.cost.delta) == (1, Decimal("1e-6"))


@pytest.mark.parametrize("mechanism", ["auto", "laplace", "gaussian"])
def test_a_zcdp_account_refuses_truncated_geometric(mechanism: str) -> None:
    with pytest.raises(SpecError) as caught:
        plan("zcdp", partitions={"private": {"strategy": "truncated_geometric"}}, noise={"mechanism": mechanism})
    assert caught.value.where == "partitions.private.strategy"
    assert caught.value.mend == "use threshold, or open a basic account"
    assert plan("zcdp", partitions={"private": {"strategy": "threshold"}}, noise={"mechanism": mechanism}).selection is not None


def test_selection_has_its_own_weight() -> None:
    found = plan("basic", partitions={"private": {"weight": Decimal(3)}})
    assert found.selection is not None
    assert found.selection.noise.event.epsilon == Decimal("0.75")


def test_selection_gets_all_of_delta_in_a_basic_account_and_half_in_a_zcdp_one() -> None:
    for accountant, delta in (("basic", "1e-6"), ("zcdp", "5e-7")):
        found = plan(accountant)
        assert found.selection is not None
        assert found.selection.noise.event.delta == Decimal(delta)
        assert found.cost.delta == Decimal(delta)


@pytest.mark.parametrize(("accountant", "mechanism"), [("basic", "laplace"), ("zcdp", "laplace"), ("zcdp", "gaussian")])
@pytest.mark.parametrize("l0", [1, 2, 40, 1_000_000])
def test_a_delta_that_no_threshold_has_is_refused_with_the_smallest_that_one_has(
    accountant: str, mechanism: str, l0: int
) -> None:
    bounds = {"max_partitions_contributed": l0, "max_contributions_per_partition": 1}
    asked: dict[str, Any] = {"contribution_bounds": bounds, "noise": {"mechanism": mechanism}}
    with pytest.raises(SpecError, match="too small for private partitions") as caught:
        plan(accountant, **asked, budget={"epsilon": Decimal(1), "delta": Decimal("1e-17")})
    assert caught.value.where == "budget.delta"
    least = Decimal(caught.value.mend.partition("delta of ")[2].partition(" ")[0])
    assert plan(accountant, **asked, budget={"epsilon": Decimal(1), "delta": least}).selection is not None
    with pytest.raises(SpecError, match="too small for private"):
        plan(accountant, **asked, budget={"epsilon": Decimal(1), "delta": least / 3})


def test_an_epsilon_whose_threshold_is_beyond_64_bits_is_refused() -> None:
    with pytest.raises(SpecError, match="beyond 64 bits") as caught:
        plan("basic", budget={"epsilon": Decimal("1e-20"), "delta": Decimal("1e-6")})
    assert caught.value.where == "budget.epsilon"


@pytest.mark.parametrize(
    ("changes", "public_keys", "bounds"),
    [
        ({}, None, (4, 2)),
        ({}, 3, (3, 2)),
        ({}, 4, (4, 2)),
        ({}, 100, (4, 2)),
        ({"privacy_unit": ["a", "b"]}, 1, (1, 2)),
        (ROW_UNIT, None, (1, 1)),
        (ROW_UNIT, 9, (1, 1)),
        ({"group_by": []}, None, (1, 2)),
        ({"group_by": [], "contribution_bounds": {"max_contributions_per_partition": 7}}, None, (1, 7)),
        (ROW_UNIT | {"group_by": []}, None, (1, 1)),
        (ROW_UNIT | {"contribution_bounds": {"max_contributions": 1}}, None, (1, 1)),
        ({"contribution_bounds": {"max_contributions": 5}}, None, (5, 5, 5)),
        ({"contribution_bounds": {"max_contributions": 5}}, 3, (3, 5, 5)),
        ({"contribution_bounds": {"max_contributions": 5, "max_partitions_contributed": 9}}, 7, (5, 5, 5)),
        ({"contribution_bounds": {"max_contributions": 5, "max_contributions_per_partition": 2}}, None, (5, 2, 5)),
        ({"group_by": [], "contribution_bounds": {"max_contributions": 5}}, None, (1, 5, 5)),
        (
            {"group_by": [], "contribution_bounds": {"max_contributions": 5, "max_contributions_per_partition": 9}},
            None,
            (1, 5, 5),
        ),
    ],
)
def test_the_bounds_in_force(changes: dict[str, Any], public_keys: int | None, bounds: tuple[int, ...]) -> None:
    spec = release_spec(**changes)
    assert effective_bounds(spec, public_keys) == ContributionBounds(*bounds)
    assert plan_release(spec, "zcdp", public_keys).bounds == ContributionBounds(*bounds)


def test_mechanisms_are_calibrated_to_the_bounds_in_force() -> None:
    for keys, scale in ((1, 2.0), (3, 6.0), (50, 8.0)):
        (event,) = plan("basic", keys, **PURE).events
        assert event.scale == scale
    (global_count,) = plan("basic", None, group_by=[], partitions=None, budget={"epsilon": Decimal(1)}).events
    assert global_count.scale == 2.0


def test_an_empty_group_by_selects_nothing() -> None:
    found = plan("zcdp", None, group_by=[])
    assert found.selection is None
    assert kinds(found) == ["count"]
    assert found.cost.delta == 0


@pytest.mark.parametrize(
    ("accountant", "mechanism", "drawn"),
    [("basic", "auto", "laplace"), ("basic", "laplace", "laplace"), ("zcdp", "auto", "gaussian"),
     ("zcdp", "laplace", "laplace"), ("zcdp", "gaussian", "gaussian")],
)  # fmt: skip
def test_the_mechanism_follows_the_account(accountant: str, mechanism: str, drawn: str) -> None:
    found = plan(accountant, noise={"mechanism": mechanism}, aggregates=[COUNT, MEAN])
    assert {event.mechanism for event in found.events} == {drawn}
    for event in found.events:
        assert (event.rho is not None) == (accountant == "zcdp")
        assert (event.epsilon is not None) == (drawn == "laplace")


def test_a_basic_account_refuses_gaussian_noise() -> None:
    with pytest.raises(SpecError) as caught:
        plan("basic", noise={"mechanism": "gaussian"})
    assert caught.value.where == "noise.mechanism"


def test_a_zcdp_account_refuses_a_release_without_delta() -> None:
    with pytest.raises(SpecError) as caught:
        plan("zcdp", 3, **PURE)
    assert caught.value.where == "budget.delta"


WEIGHTS = st.decimals(min_value="0.1", max_value=9, places=1)


@settings(max_examples=15, deadline=None)
@given(st.lists(WEIGHTS, min_size=4, max_size=4), st.sampled_from(["0.3", "1", "0.7000001"]), st.booleans())
def test_the_whole_cost_is_the_declared_budget_exactly(weights: list[Decimal], epsilon: str, private: bool) -> None:
    aggregates = [{**item, "weight": weight} for item, weight in zip((COUNT, UNITS, MEAN, SUM), weights, strict=True)]
    changes: dict[str, Any] = {
        "aggregates": aggregates,
        "budget": {"epsilon": Decimal(epsilon), "delta": Decimal("1e-6")},
        "partitions": {"private": {"weight": weights[0]}} if private else PUBLIC,
    }
    keys = None if private else 3
    basic, zcdp = plan("basic", keys, **changes), plan("zcdp", keys, **changes)
    assert (basic.cost.currency, basic.cost.amount) == ("epsilon", Decimal(epsilon))
    assert basic.cost.delta == (Decimal("1e-6") if private else 0)
    rho = zcdp_from_budget(Decimal(epsilon), Decimal("1e-6"))
    assert (zcdp.cost.currency, zcdp.cost.amount) == ("rho", rho)
    assert zcdp.cost.delta == (Decimal("5e-7") if private else 0)
    assert sum(Fraction(event.rho or 0) for event in zcdp.events) == Fraction(rho)
    for found in (basic, zcdp):
        account = Account.open(Decimal(epsilon), Decimal("1e-6"), found.accountant)
        assert account.bears(found.cost)
        assert not account.bears(found.cost.plus(found.cost))


def test_the_guarantee_is_what_was_declared() -> None:
    found = plan("zcdp", 3, partitions=PUBLIC)
    assert (found.guarantee_epsilon, found.guarantee_delta) == (Decimal("1.0"), Decimal("1e-6"))
    assert plan("basic").guarantee_delta == Decimal("1e-6")
    assert plan("basic", 3, partitions=PUBLIC).guarantee_delta == 0


def test_a_plan_is_the_same_every_time() -> None:
    assert plan("zcdp").events == plan("zcdp").events
    assert plan("zcdp").selection == plan("zcdp").selection


def test_noise_is_told_in_the_aggregates_own_unit() -> None:
    found = plan("basic", 3, **PURE, aggregates=[SUM, COUNT])
    total, rows = found.spec.aggregates
    assert found.accuracy(total).stddev == pytest.approx(math.sqrt(2) * 3 * 2 * 30 / 0.5, rel=1e-6)
    assert found.accuracy(rows).stddev == noise_stddev("laplace", 12.0)
    assert found.accuracy(rows).half_width_95 == noise_half_width("laplace", 12.0)
    assert found.accuracy(rows).half_width_95_at is None


@pytest.mark.parametrize("accountant", ["basic", "zcdp"])
@pytest.mark.parametrize(("k", "m"), [(1, 1), (4, 2), (24, 16), (3000, 7)])
@pytest.mark.parametrize("bounds", [(0, 1e7), (-10, 30), (0.05, 0.3), (-7.3, 0.001), (1000, 1001), (0, 1e-9), (-1e200, 1e150)])
def test_the_noise_is_in_proportion_to_the_bounds_whatever_the_lattice(
    bounds: tuple[float, float], k: int, m: int, accountant: Any
) -> None:
    low, high = bounds
    clipped = {"min_value": low, "max_value": high}
    found = plan(
        accountant,
        aggregates=[{**SUM, **clipped}, {**MEAN, **clipped}],
        contribution_bounds={"max_partitions_contributed": k, "max_contributions_per_partition": m},
    )
    for query, mechanism in found.mechanisms.items():
        if query.on_grid:
            per_row = max(abs(low), abs(high)) if query.label.startswith("sum") else (high - low) / 2
            event = mechanism.event
            expected = math.sqrt(2) * k * m * per_row / float(event.epsilon or 1)
            if event.mechanism == "gaussian":
                expected = math.sqrt(k) * m * per_row / math.sqrt(2 * float(event.rho or 0))
            assert mechanism.stddev * found.granularity(query) == pytest.approx(expected, rel=1e-6)


def test_the_largest_bounds_and_the_smallest_epsilon_have_noise_that_can_be_drawn() -> None:
    """Up to where even a count's noise leaves 64 bits."""
    bounds = {"max_partitions_contributed": 10**6, "max_contributions_per_partition": 10**6}
    found = plan(
        "basic", 10**6, aggregates=[SUM], contribution_bounds=bounds, budget={"epsilon": Decimal("1e-6")}, partitions=PUBLIC
    )
    [(query, mechanism)] = found.mechanisms.items()
    assert mechanism.scale <= 2**57
    assert mechanism.stddev * found.granularity(query) == pytest.approx(math.sqrt(2) * 10**12 * 30 / 1e-6, rel=1e-4)
    drawn, _ = mechanism.draw(one_for_each([0, 2**84]))
    assert all(abs(value) < 2**63 - 1 for value in drawn)


def test_the_noise_of_a_mean_falls_with_the_number_of_values() -> None:
    found = plan("basic", 3, **PURE, aggregates=[MEAN])
    noise = found.accuracy(found.spec.aggregates[0])
    assert (noise.stddev, noise.half_width_95) == (None, None)
    assert noise.half_width_95_at is not None
    sum_stddev, count_stddev = math.sqrt(2) * 3 * 2 * 50 / 0.5, noise_stddev("laplace", 12.0)
    for size, half_width in noise.half_width_95_at.items():
        assert half_width == pytest.approx(
            math.log(20) / math.sqrt(2) * math.hypot(sum_stddev, 50 * count_stddev) / size, rel=1e-5
        )
    assert set(noise.half_width_95_at) == {100, 1_000, 10_000}
