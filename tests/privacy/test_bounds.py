"""Brute force: with and without one privacy unit, a query's vector moves by at most the stated sensitivity."""

from __future__ import annotations

import pytest
from dp_spark.aggregates.queries import Query, QueryKind
from hypothesis import given
from hypothesis import strategies as st

from dp_spark.privacy.bounds import ContributionBounds, Sensitivity
from dp_spark.privacy.lattice import Lattice
from dp_spark.privacy.noise_grid import to_grid

PARTITIONS = 5
LATTICES = [
    Lattice(-3.0, 5.0, 0), Lattice(-7.0, 2.0, 0), Lattice(0.0, 5.0, 0), Lattice(-9.0, -2.0, 0), Lattice(4.0, 9.0, 0),
    Lattice(0.0, 3.0, -2), Lattice(-9.0, 6.0, -2, 3),
]  # fmt: skip
Row = tuple[int, int, int | None]  # unit, partition, lattice value or null


def vector(query: Query, rows: list[Row]) -> list[int]:
    """The definition of each query, one integer per partition."""
    result = []
    for partition in range(PARTITIONS):
        here = [(unit, value) for unit, where, value in rows if where == partition]
        values = [value for _, value in here if value is not None]
        match query.kind:
            case QueryKind.PRIVACY_ID_COUNT:
                result.append(len({unit for unit, _ in here}))
            case QueryKind.COUNT:
                result.append(len(here))
            case QueryKind.COUNT_OF_COLUMN:
                result.append(len(values))
            case QueryKind.SUM:
                result.append(sum(values))
            case QueryKind.CENTRED_SUM:
                assert query.lattice is not None
                result.append(sum(value - query.lattice.midpoint for value in values))
    return result


def query_of(kind: QueryKind, lattice: Lattice) -> Query:
    if kind in (QueryKind.SUM, QueryKind.CENTRED_SUM):
        return Query(kind, "value", lattice)
    return Query(kind, "value" if kind is QueryKind.COUNT_OF_COLUMN else None)


def change(query: Query, others: list[Row], unit_rows: list[Row], bits: int = 0) -> list[int]:
    """What one unit's rows change in what noise is added to: exact sums on a grid of steps of 2^bits."""
    both, without = (vector(query, rows) for rows in (others + unit_rows, others))
    return [to_grid(a, bits) - to_grid(b, bits) for a, b in zip(both, without, strict=True)]


def sizes(moved: list[int]) -> Sensitivity:
    return Sensitivity(sum(x != 0 for x in moved), sum(map(abs, moved)), sum(x * x for x in moved), max(abs(x) for x in moved))


def within(moved: Sensitivity, limits: Sensitivity) -> bool:
    return (
        moved.l0 <= limits.l0 and moved.l1 <= limits.l1 and moved.l2_squared <= limits.l2_squared and moved.linf <= limits.linf
    )


@st.composite
def unit_rows(draw: st.DrawFn, bounds: ContributionBounds, lattice: Lattice, unit: int) -> list[Row]:
    values = st.none() | st.integers(lattice.lower, lattice.upper) | st.sampled_from([lattice.lower, lattice.upper])
    chosen = draw(st.sets(st.integers(0, PARTITIONS - 1), max_size=bounds.max_partitions_contributed))
    rows: list[Row] = []
    for partition in sorted(chosen):
        for value in draw(st.lists(values, min_size=1, max_size=bounds.max_contributions_per_partition)):
            rows.append((unit, partition, value))
    return rows


BOUNDS = st.builds(ContributionBounds, st.integers(1, 4), st.integers(1, 4))


@pytest.mark.parametrize("kind", list(QueryKind))
@given(data=st.data(), bounds=BOUNDS, lattice=st.sampled_from(LATTICES))
def test_one_unit_never_moves_a_query_further(
    kind: QueryKind, data: st.DataObject, bounds: ContributionBounds, lattice: Lattice
) -> None:
    query = query_of(kind, lattice)
    others = data.draw(unit_rows(bounds, lattice, 1)) + data.draw(unit_rows(bounds, lattice, 2))
    mine = data.draw(unit_rows(bounds, lattice, 0))
    bits = data.draw(st.integers(0, 5)) if query.lattice is not None else 0
    assert within(sizes(change(query, others, mine, bits)), bounds.sensitivity(query).rounded(bits))


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("kind", list(QueryKind))
def test_the_sensitivity_is_attained(kind: QueryKind, m: int, k: int, lattice: Lattice) -> None:
    """On the lattice, and on every coarser grid, whatever others have: brute force over what lies in each partition."""
    query = query_of(kind, lattice)
    exact = ContributionBounds(k, m).sensitivity(query)
    odd = lattice.lower + (lattice.lower - query.centre + 1) % 2  # some number of these has any remainder
    for bits in range(5) if query.lattice is not None else [0]:
        attained = []
        for value in (lattice.lower, lattice.upper):
            for others in range(2**bits + 1):
                rows: list[Row] = [(1 + n, partition, odd) for n in range(others) for partition in range(k)]
                unit: list[Row] = [(0, partition, value) for partition in range(k) for _ in range(m)]
                moved = sizes(change(query, rows, unit, bits))
                assert within(moved, exact.rounded(bits))
                attained.append(moved)
        assert exact.rounded(bits) in attained, bits
