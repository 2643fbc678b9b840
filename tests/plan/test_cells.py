from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from helpers import COUNT, MEAN, PUBLIC, SUM, UNITS, release_spec
from queries import released_table

from dp_spark.plan.planning import ReleasePlan, plan_release

UNIT = 2**16  # [0, 100] around 50: 50 * 2^16 <= 2^22 < 50 * 2^17
KEYS = pa.table({"test": ["a", "b", "c"]})


def plan(*aggregates: dict[str, Any], epsilon: int = 1) -> ReleasePlan:
    bounds = {"max_partitions_contributed": 1, "max_contributions_per_partition": 1}
    changes = {"partitions": PUBLIC, "budget": {"epsilon": Decimal(epsilon)}, "contribution_bounds": bounds}
    return plan_release(release_spec(**changes, aggregates=list(aggregates)), "basic", 3)


def laplace_stddev(scale: float) -> float:
    ratio = math.exp(-1 / scale)
    return math.sqrt(2 * ratio) / (1 - ratio)


def mean_of(counts: list[int], sums: list[int], epsilon: int = 1) -> tuple[list[float], list[float | None]]:
    found = plan(MEAN, epsilon=epsilon)
    count, total = found.spec.aggregates[0].queries()
    keys = pa.table({"test": [str(index) for index in range(len(counts))]})
    table = released_table(found, keys, {count: counts, total: sums})
    return table["average"].to_pylist(), table["average_stddev"].to_pylist()


def test_a_mean_is_the_midpoint_plus_the_noisy_quotient() -> None:
    values, stddevs = mean_of([100, 100, 50], [1000 * UNIT, -1000 * UNIT, 0])
    assert values == [60.0, 40.0, 50.0]
    # Two queries at epsilon 0.5 each: the count's scale is 2, the sum's 50 / 0.5 = 100 in the column's unit.
    sigma_n, sigma_s = laplace_stddev(2.0), math.sqrt(2) * 100
    expected = [math.hypot(sigma_s, 10 * sigma_n) / 100, math.hypot(sigma_s, 10 * sigma_n) / 100, sigma_s / 50]
    assert stddevs == pytest.approx(expected, rel=1e-6)
    assert expected[0] == pytest.approx(1.4416, abs=1e-3)


def test_a_mean_is_clamped_to_its_bounds() -> None:
    values, _ = mean_of([10, 10, 10], [10**6 * UNIT, -(10**6) * UNIT, 500 * UNIT])
    assert values == [100.0, 0.0, 100.0]


def test_a_noisy_count_below_one_counts_as_one() -> None:
    values, stddevs = mean_of([0, -7, 1], [20 * UNIT, 20 * UNIT, 20 * UNIT])
    assert values == [70.0, 70.0, 70.0]
    assert stddevs == [None, None, None]


def test_a_mean_has_no_stddev_below_three_stddevs_of_its_count() -> None:
    limit = 3 * laplace_stddev(2.0)
    assert 8 < limit < 9
    _, stddevs = mean_of([8, 9, 1_000_000], [0, 0, 0])
    assert stddevs[0] is None
    assert stddevs[1] == pytest.approx(math.sqrt(2) * 100 / 9, rel=1e-6)
    assert stddevs[2] is not None


def test_an_empty_partition_has_no_stddev_however_small_the_noise() -> None:
    _, stddevs = mean_of([0, 1], [0, 0], epsilon=10_000)
    assert stddevs[0] is None
    assert stddevs[1] == pytest.approx(math.sqrt(2) * 0.01, rel=1e-3)


def test_columns_are_keys_then_each_aggregate_with_its_stddev() -> None:
    found = plan(UNITS, SUM, COUNT, MEAN)
    noisy = {query: [1, -2, 3] for aggregate in found.spec.aggregates for query in aggregate.queries()}
    keys = pa.table({"test": pa.array(["a", "b", None]), "year": pa.array([1, 2, 3], pa.int16())})
    table = released_table(found, keys, noisy)
    names = [aggregate.name for aggregate in found.spec.aggregates]
    assert table.column_names == ["test", "year"] + [part for name in names for part in (name, f"{name}_stddev")]
    assert table.select(["test", "year"]).equals(keys)
    types = {name: str(table.schema.field(name).type) for name in table.column_names}
    assert types == {
        "test": "string", "year": "int16", "patients": "int64", "patients_stddev": "double", "total": "double",
        "total_stddev": "double", "rows": "int64", "rows_stddev": "double", "average": "double", "average_stddev": "double",
    }  # fmt: skip


def test_counts_are_the_noisy_integers_and_their_noise_is_the_same_in_each_row() -> None:
    found = plan(COUNT)
    (query,) = found.mechanisms
    table = released_table(found, KEYS, {query: [2**53 + 1, 0, -5]})
    assert table["rows"].to_pylist() == [2**53 + 1, 0, -5]
    assert table["rows_stddev"].to_pylist() == [laplace_stddev(1.0)] * 3


def test_sums_are_scaled_to_the_columns_unit() -> None:
    found = plan(SUM)  # [-10, 30]: 30 * 2^17 <= 2^22 < 30 * 2^18
    (query,) = found.mechanisms
    table = released_table(found, KEYS, {query: [2**17, -(2**18), 2**16]})
    assert table["total"].to_pylist() == [1.0, -2.0, 0.5]
    assert table["total_stddev"].to_pylist() == pytest.approx([math.sqrt(2) * 30] * 3, rel=1e-6)


def test_no_rows_make_an_empty_table_of_the_same_shape() -> None:
    found = plan(COUNT, MEAN)
    noisy: dict[Any, list[int]] = {query: [] for query in found.mechanisms}
    table = released_table(found, KEYS.slice(0, 0), noisy)
    assert table.num_rows == 0
    assert [str(field.type) for field in table.schema] == ["string", "int64", "double", "double", "double"]
