"""Brute force: with and without one privacy unit, a vector over all partitions moves by at most the stated sensitivity.

Of any query: how much a row changes, how many integers it touches and how many there are is drawn. What the aggregates'
own queries change is in ``tests/contracts/test_aggregates.py``.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp_spark.privacy.bounds import ContributionBounds
from dp_spark.privacy.noise_grid import to_grid

PARTITIONS = 5


@dataclass(frozen=True)
class Vector:
    """A query of several integers for each partition, such as bins or the levels of a tree."""

    change: int
    touched: int
    width: int
    once_per_unit: bool = False


Row = tuple[int, tuple[int, ...]]  # partition, and what it adds to each of the partition's integers


def sizes(moved: list[int]) -> tuple[int, int, int]:
    return sum(map(abs, moved)), sum(x * x for x in moved), max(abs(x) for x in moved)


def moved_by(query: Vector, others: list[Row], mine: list[Row], bits: int) -> list[int]:
    """What one unit's rows change in what noise is added to: exact sums on a grid of steps of 2^bits."""

    def vector(rows: list[Row]) -> list[int]:
        sums = [[0] * query.width for _ in range(PARTITIONS)]
        for partition, terms in rows:
            sums[partition] = [total + term for total, term in zip(sums[partition], terms, strict=True)]
        return to_grid(np.array(sums, dtype=object), bits).ravel().tolist()

    return [a - b for a, b in zip(vector(others + mine), vector(others), strict=True)]


QUERIES = st.builds(
    lambda change, width, share, once: Vector(change, max(1, width * share // 4), width, once),
    st.integers(1, 9), st.integers(1, 5), st.integers(1, 4), st.booleans(),
)  # fmt: skip
BOUNDS = st.builds(ContributionBounds, st.integers(1, 4), st.integers(1, 4), st.none() | st.integers(1, 12))


def rows_of(random: Random, query: Vector, partitions: list[int], most: int, in_all: int | None = None) -> list[Row]:
    rows: list[Row] = []
    for partition in partitions:
        for _ in range(random.randint(1, most)):
            if in_all is not None and len(rows) == in_all:
                return rows
            touched = random.sample(range(query.width), random.randint(0, query.touched))
            terms = [random.randint(-query.change, query.change) if at in touched else 0 for at in range(query.width)]
            rows.append((partition, tuple(terms)))
    return rows


@given(st.randoms(use_true_random=False), QUERIES, BOUNDS, st.integers(0, 5))
def test_one_unit_never_moves_a_query_further(random: Random, query: Vector, bounds: ContributionBounds, bits: int) -> None:
    chosen = random.sample(range(PARTITIONS), bounds.max_partitions_contributed)
    of_each = 1 if query.once_per_unit else bounds.max_contributions_per_partition
    mine = rows_of(random, query, chosen, of_each, bounds.max_contributions)
    others = rows_of(random, query, list(range(PARTITIONS)), 3)
    moved = moved_by(query, others, mine, bits)
    limits = bounds.sensitivity(query).rounded(bits)
    l1, l2_squared, linf = sizes(moved)
    assert l1 <= limits.l1
    assert l2_squared <= limits.l2_squared
    assert linf <= limits.linf


def test_several_small_changes_are_each_rounded_up() -> None:
    """Three rows, each in another bin: what rounds their sum would say 1."""
    mine = [(0, (1, 0, 0)), (0, (0, 1, 0)), (0, (0, 0, 1))]
    assert sizes(moved_by(Vector(1, 1, 3), [(0, (1, 1, 1))], mine, 2))[0] == 3
    assert ContributionBounds(1, 3).sensitivity(Vector(1, 1, 3)).rounded(2).l1 == 3


@pytest.mark.parametrize(
    "query", [Vector(1, 1, 1, True), Vector(5, 1, 1), Vector(9, 1, 4), Vector(2, 3, 7), Vector(1, 2, 2, True)]
)
@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("c", [None, 1, 2, 5, 7, 100])
def test_the_sensitivity_is_attained(c: int | None, m: int, k: int, query: Vector) -> None:
    """On the lattice, and where c leaves room and a partition has one integer on every coarser grid, whatever others have."""
    bounds = ContributionBounds(k, m, c)
    exact = bounds.sensitivity(query)
    terms = (query.change,) * query.touched + (0,) * (query.width - query.touched)
    of_each = 1 if query.once_per_unit else m
    unit = [(partition, terms) for partition in range(k) for _ in range(of_each)][:c]  # full partitions, and one with the rest
    assert exact.l0 == min(k, c or k)
    for bits in range(5) if query.width == 1 else [0]:
        attained = []
        for others in range(2**bits):
            before = [(partition, (others,) * query.width) for partition in range(k)]
            attained.append(sizes(moved_by(query, before, unit, bits)))
        limits = exact.rounded(bits)
        if bits and c is not None and c < k * of_each:
            assert limits.l1 >= max(attained)[0]
        else:
            assert max(attained) == (limits.l1, limits.l2_squared, limits.linf), bits


def spreads(k: int, m: int, c: int) -> list[tuple[int, ...]]:
    """How many rows a unit can have in each of k partitions."""
    return [rows for rows in itertools.product(range(m + 1), repeat=k) if sum(rows) <= c]


@pytest.mark.parametrize(("k", "m", "c"), [(3, 4, 5), (4, 2, 3), (2, 5, 10), (4, 4, 4), (3, 3, 1)])
@pytest.mark.parametrize("change", [1, 5, 16, 33])
@pytest.mark.parametrize("bits", [0, 1, 2, 4])
def test_with_a_bound_on_all_rows_no_spread_of_them_moves_a_query_further(
    k: int, m: int, c: int, change: int, bits: int
) -> None:
    """All spreads, each partition rounded as badly as can be; the bound is not a step for each partition above them."""
    limits = ContributionBounds(k, m, c).sensitivity(Vector(change, 1, 1)).rounded(bits)
    moved = [[-(-change * rows >> bits) for rows in found] for found in spreads(k, m, c)]
    worst = max(map(sum, moved))
    assert worst <= limits.l1 < worst + k
    assert max(sum(value**2 for value in found) for found in moved) <= limits.l2_squared
    assert max(map(max, moved)) == limits.linf


@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 3000), st.integers(1, 2**44), st.integers(0, 44))
def test_more_bounds_never_make_a_query_more_sensitive(k: int, m: int, c: int, change: int, bits: int) -> None:
    query = Vector(change, 1, 1)
    without = ContributionBounds(k, m).sensitivity(query).rounded(bits)
    both, alone = (bounds.sensitivity(query).rounded(bits) for bounds in (
        ContributionBounds.of(k, m, c), ContributionBounds.of(None, None, c),
    ))  # fmt: skip
    for name in ("l0", "l1", "l2_squared", "linf"):
        assert getattr(both, name) <= min(getattr(without, name), getattr(alone, name))
    if c >= k * m:
        assert both == without


def test_bounds_that_are_not_given_count_as_the_one_on_all_rows() -> None:
    assert ContributionBounds.of(None, None, 7) == ContributionBounds(7, 7, 7)
    assert ContributionBounds.of(3, None, 7) == ContributionBounds(3, 7, 7)
    assert ContributionBounds.of(30, 2, 7) == ContributionBounds(7, 2, 7)
    assert ContributionBounds.of(3, 2, None) == ContributionBounds(3, 2)
    assert [ContributionBounds.of(3, 2, c).total for c in (5, 6, 7)] == [5, None, None]
    counted = ContributionBounds.of(None, None, 7).sensitivity(Vector(1, 1, 1, once_per_unit=True))
    assert (counted.l0, counted.l1, counted.l2_squared) == (7, 7, 7)  # an L2 of the root of c
    assert ContributionBounds.of(None, None, 7).sensitivity(Vector(2, 1, 1)).l2_squared == 4 * 49
