from __future__ import annotations

import math
from decimal import Decimal

import pytest
from helpers import COUNT, MEAN, SUM, UNITS, release_spec
from hypothesis import given
from hypothesis import strategies as st
from queries import plain_sum, total_in

from dp_spark.aggregates.query import PRIVACY_ID_COUNT, ROW_COUNT, Query, Values, centred_sum, count_of_column
from dp_spark.errors import SpecError
from dp_spark.plan.planning import weighted_queries


def weights_of(*aggregates: dict[str, object], selection: Decimal | None = None) -> dict[Query, Decimal]:
    return weighted_queries(
        release_spec(aggregates=list(aggregates)).aggregates,
        selection=None if selection is None else (PRIVACY_ID_COUNT, selection),
    )


def test_a_mean_is_a_count_of_its_own_column_and_a_centred_sum() -> None:
    (mean,) = release_spec(aggregates=[MEAN]).aggregates
    assert mean.queries() == (
        count_of_column(Values("value")),
        centred_sum(Values("value"), 0.0, 100.0),
    )


def test_each_simple_aggregate_is_one_query() -> None:
    spec = release_spec(aggregates=[UNITS, COUNT, {**COUNT, "name": "c", "column": "value"}, SUM])
    assert [aggregate.queries() for aggregate in spec.aggregates] == [
        (PRIVACY_ID_COUNT,),
        (ROW_COUNT,),
        (count_of_column(Values("value")),),
        (plain_sum("value", -10.0, 30.0),),
    ]


def test_the_same_query_is_drawn_once_with_the_largest_weight() -> None:
    count_of_value = {"function": "count", "name": "values", "column": "value", "weight": Decimal(3)}
    weights = weights_of({**MEAN, "weight": Decimal(2)}, count_of_value)
    assert weights == {
        count_of_column(Values("value")): Decimal(3),
        centred_sum(Values("value"), 0.0, 100.0): Decimal(2),
    }
    assert weights_of(count_of_value, {**MEAN, "weight": Decimal(2)}) == weights


def test_sums_with_other_bounds_or_columns_are_other_queries() -> None:
    assert len(weights_of(SUM, {**SUM, "name": "b", "max_value": 31}, {**SUM, "name": "c", "column": "other"})) == 3


def test_selection_and_a_requested_privacy_id_count_are_the_same_draw() -> None:
    assert weights_of({**UNITS, "weight": Decimal(5)}, selection=Decimal(2)) == {PRIVACY_ID_COUNT: Decimal(5)}
    assert weights_of({**UNITS, "weight": Decimal(1)}, selection=Decimal(2)) == {PRIVACY_ID_COUNT: Decimal(2)}


def test_selection_is_a_query_even_when_no_count_is_requested() -> None:
    assert weights_of(COUNT, selection=Decimal(7)) == {PRIVACY_ID_COUNT: Decimal(7), ROW_COUNT: Decimal(1)}
    assert weights_of(COUNT) == {ROW_COUNT: Decimal(1)}


def test_bad_clipping_bounds_are_named_by_their_aggregate() -> None:
    (aggregate,) = release_spec(aggregates=[{**SUM, "min_value": 0, "max_value": 1e-300}]).aggregates
    with pytest.raises(SpecError, match="the clipping bounds are out of range") as caught:
        aggregate.queries()
    assert caught.value.where == "aggregates.total"


@given(
    st.sampled_from([(0, 100), (-3, 7), (0.5, 99.75), (0, 0.1), (0, 1e7), (-(2.0**40), 1.0), (1e12, 1e12 + 1), (0, 2.0**70)]),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1) | st.integers(-100, 100),
)
def test_the_low_bits_of_whole_numbers_are_zero(limits: tuple[float, float], mean: bool, value: int) -> None:
    total = total_in(centred_sum(Values("x"), *limits) if mean else plain_sum("x", *limits))
    assert total.term(total.lattice.to_integer(float(value))) % 2**total.zero_bits == 0


@pytest.mark.parametrize("limits", [(0, 100), (-3, 7), (0.5, 99.75), (0, 1e7), (-(2.0**40), 1.0), (1e12, 1e12 + 1)])
@pytest.mark.parametrize("mean", [False, True])
def test_no_more_low_bits_of_whole_numbers_are_zero(mean: bool, limits: tuple[float, float]) -> None:
    total = total_in(centred_sum(Values("x"), *limits) if mean else plain_sum("x", *limits))
    numbers = [-(2.0**63), 2.0**63, *(math.ceil(limits[0]) + more for more in range(4))]
    common = math.gcd(*(total.term(total.lattice.to_integer(number)) for number in numbers))
    assert common & -common == 2**total.zero_bits


REDUCED = {**MEAN, "per_unit": "sum", "where": 'x = "a, b)"'}


def test_labels_tell_conditions_and_reductions_and_stay_as_they_are() -> None:
    of_some = {"where": "days >= 0"}
    asked = [
        {**UNITS, **of_some, "column": "value"},
        {**COUNT, **of_some},
        {**COUNT, "name": "c", "column": "value", **of_some},
    ]
    labels = [query.label for query in weights_of(*asked, REDUCED, {**SUM, "per_unit": "max"}, {**SUM, "name": "s", **of_some})]
    assert labels == [
        'privacy_id_count{"column":"value","where":"days >= 0"}',
        'count{"where":"days >= 0"}',
        'count_of_column{"column":"value","where":"days >= 0"}',
        'privacy_id_count{"column":"value","where":"x = \\"a, b)\\""}',
        'centred_sum{"bounds":[0.0,100.0],"column":"value","per_unit":"sum","where":"x = \\"a, b)\\""}',
        'sum{"bounds":[-10.0,30.0],"column":"value","per_unit":"max"}',
        'sum{"bounds":[-10.0,30.0],"column":"value","where":"days >= 0"}',
    ]


def test_units_with_a_value_are_counted_by_one_draw_whatever_their_values_come_to() -> None:
    means = [{**MEAN, "name": how, "per_unit": how} for how in ("sum", "mean", "max")]
    counted = {**UNITS, "column": "value", "weight": Decimal(3)}
    weights = weights_of(*means, counted)
    assert len(weights) == 4
    assert weights[count_of_column(Values("value", None, "sum"))] == 3
    assert all(query.once_per_unit for query in weights)


def test_labels_tell_queries_apart() -> None:
    labels = [query.label for query in weights_of(UNITS, COUNT, {**COUNT, "name": "c", "column": "value"}, SUM, MEAN)]
    assert labels == [
        "privacy_id_count",
        "count",
        "count_of_column(value)",
        "sum(value, -10.0, 30.0)",
        "centred_sum(value, 0.0, 100.0)",
    ]
