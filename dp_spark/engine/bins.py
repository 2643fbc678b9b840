"""Which public bin a value is in, in Spark: by comparisons with the edges alone, as ``privacy.grids`` has it."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F

from dp_spark.engine.columns import is_number
from dp_spark.privacy.grids import Edges, Grid, Listed


def place_column(value: Column, grid: Grid) -> Column:
    """The place of a value (``Edges.place``, ``Listed.place``); null where it is null or NaN, or a text that is not listed.

    Args:
        value: A numeric column, or one of texts where the bins are texts.
        grid: The bins.
    """
    if isinstance(grid, Listed):
        place = F.array_position(F.array(*map(F.lit, grid.values)), value)
        return F.when(place > 0, place.cast("int"))
    double = value.cast("double")
    edges = F.array(*map(F.lit, grid.edges))
    inside = _guessed(double, edges, grid) if grid.is_even else _searched(double, edges, grid.bins)
    place = (
        F.when(double < F.lit(grid.edges[0]), F.lit(0))
        .when(double > F.lit(grid.edges[-1]), F.lit(grid.bins + 1))
        .when(double == F.lit(grid.edges[-1]), F.lit(grid.bins))
        .otherwise(inside)
    )
    # NaN is above all numbers to Spark, so it is set aside first.
    return F.when(is_number(double), place)


def _guessed(double: Column, edges: Column, grid: Edges) -> Column:
    """A division finds the bin, or the one before or behind (``even_edges`` sees to it); two comparisons say which."""
    first, last = grid.edges[0], grid.edges[-1]
    guess = F.floor((double - F.lit(first)) * F.lit(grid.bins / (last - first)))
    index = F.greatest(F.lit(0), F.least(guess.cast("int"), F.lit(grid.bins - 1)))
    below, above = double < F.get(edges, index), double >= F.get(edges, index + 1)
    return index + F.when(below, F.lit(0)).when(above, F.lit(2)).otherwise(F.lit(1))


def _searched(value: Column, edges: Column, bins: int) -> Column:
    """The number of edges that are not above the value, by bisection."""
    steps = [2**power for power in range((bins + 1).bit_length() - 1, -1, -1)]

    def halved(found: Column, step: Column) -> Column:
        edge = F.get(edges, found + step - 1)  # null behind the last one
        return found + F.when(value >= edge, step).otherwise(F.lit(0))

    return F.aggregate(F.array(*map(F.lit, steps)), F.lit(0), halved)


def place_of_integer(integer: Column, edges: tuple[int, ...]) -> Column:
    """The place of a lattice integer among edges that are such, too; the last bin has its end."""
    bins = len(edges) - 1
    literal = F.array(*(F.lit(edge).cast("bigint") for edge in edges))
    return F.when(integer == F.lit(edges[-1]), F.lit(bins)).otherwise(_searched(integer, literal, bins))
