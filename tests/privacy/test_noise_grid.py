"""The grid of the noise: what rounding a sum once does to it and to its sensitivity, and how fine the grid is."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from helpers import PUBLIC, release_spec
from hypothesis import given
from hypothesis import strategies as st
from queries import centred, manifest_of, plain_sum, released_table, total_in

from dp_spark.aggregates.query import Query
from dp_spark.manifest import confidence_intervals
from dp_spark.plan.planning import plan_release
from dp_spark.privacy.bounds import ContributionBounds
from dp_spark.privacy.integers import one_for_each
from dp_spark.privacy.lattice import join, split
from dp_spark.privacy.noise_grid import LARGEST_SUM, grid_bits, to_grid

QUERIES = [
    build("x", low, high)
    for low, high in ((0.0, 1e7), (0.0, 1.0), (-7.3, 0.001), (0.05, 0.3), (1000.0, 1001.0), (1e12, 1e12 + 1), (-1.0, 1.0))
    for build in (plain_sum, centred)
]
BOUNDS = st.builds(ContributionBounds, st.integers(1, 10**6), st.integers(1, 10**6)) | st.sampled_from(
    [ContributionBounds(1, 1), ContributionBounds(4, 2), ContributionBounds(10**6, 10**6)]
)
CHARGES = st.decimals(min_value="1e-6", max_value="1e9", places=6).filter(bool) | st.sampled_from(
    [Decimal("1e-6"), Decimal(1), Decimal("1e9")]
)


@given(st.integers(-(2**84), 2**84) | st.integers(-100, 100), st.integers(0, 70), st.integers(0, 2**70))
def test_rounding_moves_a_sum_by_half_a_step_and_parts_two_by_no_more_than_their_distance(
    value: int, bits: int, distance: int
) -> None:
    step = 2**bits
    found, other = to_grid(one_for_each([value, value + distance]), bits).ravel().tolist()
    assert 0 <= other - found <= -(-distance // step)
    if abs(value) < LARGEST_SUM * step:
        assert abs(found * step - value) * 2 <= step
    else:
        assert found == math.copysign(1, value) * LARGEST_SUM


def test_a_sum_is_rounded_alike_wherever_it_lies() -> None:
    """Half to even would part 2 and 6 by two steps of 4, although they are one apart."""
    assert to_grid(one_for_each(range(-8, 9)), 2).ravel().tolist() == [-2] * 2 + [-1] * 4 + [0] * 4 + [1] * 4 + [2] * 3


@given(st.sampled_from(QUERIES), BOUNDS, CHARGES, st.sampled_from(["basic", "laplace", "gaussian"]))
def test_noise_and_sums_fit_in_64_bits_and_rounding_is_invisible(
    query: Query, bounds: ContributionBounds, charge: Decimal, kind: str
) -> None:
    exact = bounds.sensitivity(query)
    epsilon, rho = (charge, None) if kind == "basic" else (None, charge)
    bits = grid_bits(exact, query.change, epsilon=epsilon, rho=rho, norm=2 if kind == "gaussian" else 1)
    drawn = exact.rounded(bits)
    per_row = Fraction(query.change, 2**bits)
    scale = math.sqrt(drawn.l2_squared / (2 * charge)) if kind == "gaussian" else drawn.l1 / math.sqrt(2 * charge)
    scale = float(drawn.l1 / charge) if kind == "basic" else scale
    assert drawn.l1 <= 2**48
    assert scale <= 2**57 * (1 + 1e-3) or drawn.linf == 1
    assert per_row <= 2**32
    assert per_row <= 2**22 or scale < 2**13, "2^40 rows fit, unless the noise is so small that a finer grid is needed"
    # Half a step is invisible beside the noise of every charge that protects anybody, and of any other nearly.
    assert 0.5 / scale <= 2**-11 or (charge > 1000 and (bits == 0 or 0.5 / scale < 0.25)) or query.change <= 2**22
    # The grid costs no noise that could be seen: ceil(linf / step) exceeds linf / step by less than one.
    assert drawn.linf * 2**bits < exact.linf * (1 + 1e-4)
    if exact.l1 / charge < 2**79:
        assert drawn.linf * 2**bits < exact.linf * (1 + 1e-6) or per_row < 2**21


def test_ordinary_bounds_have_the_noise_and_the_grid_that_they_always_had() -> None:
    """So what an earlier version charged for, this one draws."""
    for low, high, exponent in ((0.0, 100.0, -15), (0.0, 500.0, -13), (-10.0, 30.0, -17)):
        query = plain_sum("x", low, high)
        exact = ContributionBounds(4, 2).sensitivity(query)
        bits = grid_bits(exact, query.change, epsilon=Decimal(1), norm=1)
        assert total_in(query).lattice.exponent + bits == exponent
        assert exact.rounded(bits).l1 == 8 * high * 2.0**-exponent


# --- small values below a large bound ---------------------------------------------------------------------------------


def coverage(value: float, rows: int, *, high: float, epsilon: str, accountant: str, draws: int = 2000) -> dict[str, float]:
    """How often the released intervals cover the exact sum and mean of ``rows`` equal values."""
    clipped = {"column": "x", "min_value": 0, "max_value": high}
    spec = release_spec(
        group_by=["test"],
        partitions=PUBLIC,
        contribution_bounds={"max_partitions_contributed": 1, "max_contributions_per_partition": 1},
        aggregates=[{"function": "sum", "name": "total", **clipped}, {"function": "mean", "name": "average", **clipped}],
        budget={"epsilon": Decimal(epsilon), "delta": Decimal("1e-6") if accountant == "zcdp" else Decimal(0)},
    )
    plan = plan_release(spec, accountant, 3)  # type: ignore[arg-type]
    noisy = {}
    for query, mechanism in plan.mechanisms.items():
        exact = rows
        if query.on_grid:
            # What Spark does, row by row, and what the driver joins.
            high_limb, low_limb = split(total_in(query).term(total_in(query).lattice.to_integer(value)))
            exact = join(int(np.full(rows, high_limb).sum()), int(np.full(rows, low_limb).sum()))
        noisy[query] = mechanism.draw(one_for_each([exact] * draws))[0].ravel().tolist()
    import pyarrow as pa

    table = released_table(plan, pa.table({"test": pa.array(range(draws))}), noisy)
    manifest = manifest_of(plan, release_id="r", file_digest="d", sequence=1, at="2026-01-01")
    found = {}
    for name, truth in (("total", value * rows), ("average", value)):
        cells, stddevs = table[name].to_pylist(), table[f"{name}_stddev"].to_pylist()
        intervals = confidence_intervals(manifest, name, cells, stddevs)
        assert all(interval is not None for interval in intervals)
        found[name] = sum(low <= truth <= top for low, top in intervals) / draws  # type: ignore[misc]
    return found


@pytest.mark.parametrize(
    ("value", "rows", "high", "epsilon", "accountant"),
    [
        (1.0, 200_000, 1e7, "420000", "basic"),  # a stddev of about 100 beside a sum of 200,000
        (1.1, 200_001, 1e7, "60000000", "basic"),  # a stddev below 1
        (0.3, 999_999, 1e7, "2", "basic"),
        (2.7, 150_001, 1e9, "50000", "zcdp"),
        (1e-3, 300_000, 12_345.678, "9", "zcdp"),
    ],
)
def test_intervals_cover_sums_and_means_of_small_values_below_a_large_bound(
    value: float, rows: int, high: float, epsilon: str, accountant: str
) -> None:
    error = 4 * math.sqrt(0.95 * 0.05 / 2000)
    for name, share in coverage(value, rows, high=high, epsilon=epsilon, accountant=accountant).items():
        assert share >= 0.95 - error, name
        assert share <= 0.95 + error or name == "average", "an interval is no wider than it says"
