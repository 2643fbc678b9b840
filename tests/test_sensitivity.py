"""Brute force: with and without one privacy unit, a query's vector moves by at most the stated sensitivity."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp_spark.lattice import Lattice
from dp_spark.queries import Query, QueryKind
from dp_spark.sensitivity import ContributionBounds, sensitivity_of

PARTITIONS = 5
LATTICES = [
    Lattice(-3.0, 5.0, 0), Lattice(-7.0, 2.0, 0), Lattice(0.0, 5.0, 0), Lattice(-9.0, -2.0, 0), Lattice(4.0, 9.0, 0),
    Lattice(0.0, 3.0, -2),
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


def change(query: Query, others: list[Row], unit_rows: list[Row]) -> list[int]:
    return [a - b for a, b in zip(vector(query, others + unit_rows), vector(query, others), strict=True)]


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
    moved = change(query, others, data.draw(unit_rows(bounds, lattice, 0)))
    limits = sensitivity_of(query, bounds)
    assert sum(x != 0 for x in moved) <= limits.l0
    assert sum(abs(x) for x in moved) <= limits.l1
    assert sum(x * x for x in moved) <= limits.l2_squared
    assert max(abs(x) for x in moved) <= limits.linf


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("kind", list(QueryKind))
def test_the_sensitivity_is_attained(kind: QueryKind, m: int, k: int, lattice: Lattice) -> None:
    query = query_of(kind, lattice)
    limits = sensitivity_of(query, ContributionBounds(k, m))
    attained = set()
    for value in (lattice.lower, lattice.upper):
        moved = change(query, [(1, 0, value)], [(0, partition, value) for partition in range(k) for _ in range(m)])
        attained.add((sum(x != 0 for x in moved), sum(map(abs, moved)), sum(x * x for x in moved), max(map(abs, moved))))
    assert (limits.l0, limits.l1, limits.l2_squared, limits.linf) in attained
