from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp_spark.errors import SpecError
from dp_spark.privacy.grids import Edges, even_edges

BOUNDS = [(0.0, 1.0), (-3.0, 8.0), (0.05, 0.3), (1e9, 1e9 + 1), (-1e270, 1e270), (-1e-270, 1e-270)]


@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
@pytest.mark.parametrize("bins", [1, 10, 100, 1000])
def test_edges_of_equal_width_begin_and_end_at_the_bounds(bounds: tuple[float, float], bins: int) -> None:
    grid = even_edges(*bounds, bins)
    assert (grid.edges[0], grid.edges[-1], grid.bins) == (*bounds, bins)
    assert grid.is_even
    assert all(before < after for before, after in itertools.pairwise(grid.edges))
    for index, edge in enumerate(grid.edges):  # a bin has its beginning, and what is next below is in the one before
        assert grid.place(edge) == min(index + 1, bins)
        if index < bins:
            assert grid.place(math.nextafter(edge, -math.inf)) == index


@given(st.floats(allow_nan=False), st.sampled_from(BOUNDS), st.sampled_from([1, 10, 1000]))
def test_a_place_is_between_the_edges_that_hold_the_value(value: float, bounds: tuple[float, float], bins: int) -> None:
    grid = even_edges(*bounds, bins)
    place = grid.place(value)
    low = -math.inf if place == 0 else grid.edges[place - 1]
    high = math.inf if place > bins else grid.edges[place]
    assert low <= value
    assert value < high or (place == bins and value == bounds[1]) or value == math.inf


def test_a_decimal_edge_is_the_one_that_an_author_writes() -> None:
    assert even_edges(0.0, 1.0, 10).edges == tuple(index / 10 for index in range(11))
    assert Edges(tuple(index / 10 for index in range(11))).is_even
    assert not Edges((0.0, 0.1, 1.0)).is_even


def test_bins_that_doubles_cannot_part_are_refused() -> None:
    for bounds, bins in (((1e9, 1e9 + 1e-4), 1000), ((-1.7e308, 1.7e308), 10), ((0.0, 1e-300), 10)):
        with pytest.raises(SpecError):
            even_edges(*bounds, bins)
