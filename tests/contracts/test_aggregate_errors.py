"""Every error that is told of an aggregate is that of its cells: drawn a few thousand times at moderate noise.

The noise is numpy's, of the shape and scale that the plan tells; the mechanisms' own contract is theirs.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from aggregate_cases import WHERE, Party, as_read, beside, exact, instances, limits_of, plan_of, text_of
from helpers import of_each_kind

from dp_spark.aggregates.base import Aggregate
from dp_spark.aggregates.given import CannotCombine, Noise
from dp_spark.aggregates.query import Bins, Query
from dp_spark.noise_width import error_width
from dp_spark.plan.cells import release_table
from dp_spark.plan.planning import ReleasePlan

DRAWS = 3000
#: Three standard errors of a share of 95 % below it.
COVERED = 0.95 - 3 * (0.95 * 0.05 / DRAWS) ** 0.5
#: A sampled stddev is within 2 % or so, of Laplace noise too; the first order and the grid are within as much.
NEAR = 0.07
#: Where in the clipping bounds the values lie: well off the middle, so that a count's noise matters; around it, where only a
#: spread's does; next to an end, where bounds on the error are almost attained; and apart, where a spread is large.
PLACES = {
    "off": (0.7, 0.8, 0.9, 1.0),
    "around": (0.3, 0.5, 0.5, 0.7),
    "end": (0.9, 1.0, 1.0, 0.9),
    "apart": (0.0, 1 / 3, 2 / 3, 1.0),
}

Accountants = Literal["basic", "zcdp"]
#: What a condition leaves and how a unit's rows come to a value is no matter of noise; and a tree of a thousand leaves errs as
#: one of a hundred does, and takes ten times as long.
every = pytest.mark.parametrize(
    "aggregate",
    [
        item
        for item in instances()
        if item.where is None
        and getattr(item, "per_unit", None) in (None, "sum")
        and sum(query.width for query in item.queries()) <= 150
    ],
    ids=text_of,
)
places = pytest.mark.parametrize("places", PLACES.values(), ids=PLACES)
#: Laplace noise, whose tails are the heavier ones, in every run.
accountants = pytest.mark.parametrize("accountant", of_each_kind(["basic", "zcdp"], "basic"))


@functools.cache
def rows_of(aggregate: Aggregate, places: tuple[float, ...], size: int, first: int = 0) -> list[dict[str, Any]]:
    low, high = limits_of(aggregate)
    values = [low + place * (high - low) for place in places]
    read = [as_read(aggregate, value) for value in values]
    return [{"unit": first + index, "x": read[index % len(read)], WHERE: True} for index in range(size)]


def noise_of(noise: Noise, random: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Whole steps of the grid."""
    match noise.mechanism:
        case "laplace":  # the difference of two geometric draws is discrete Laplace
            least = -np.expm1(-1 / noise.scale)
            return random.geometric(least, shape) - random.geometric(least, shape)
        case "gaussian":
            return np.rint(random.normal(scale=noise.scale, size=shape)).astype(np.int64)
    raise AssertionError(f"how is {noise.mechanism} noise drawn?")


def drawn_cells(plan: ReleasePlan, aggregate: Aggregate, places: tuple[float, ...], size: int, seed: int) -> pa.Table:
    """The released cells of a partition of so many values, for each of many draws."""
    random = np.random.default_rng(seed)
    few = rows_of(aggregate, places, len(places))
    noisy = {}
    for query in plan.mechanisms:
        noise = plan.noise_of(query)
        integers = np.array(exact(query, few), dtype=np.float64) * (size // len(few))  # units differ, so everything adds up
        added = noise_of(noise, random, (DRAWS, query.width))
        noisy[query] = np.rint(integers * query.granularity / noise.granularity).astype(np.int64) + added
    return release_table(plan, pa.table({"key": np.arange(DRAWS)}), noisy).drop_columns(["key"])


def numbers(column: Any) -> np.ndarray:
    """A column as numbers; of arrays, one row for each."""
    if pa.types.is_list(column.type):
        return np.array(column.to_pylist(), np.float64)
    return np.asarray(column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy(), np.float64)


class Told(NamedTuple):
    """One column of values: what the manifest says of its error, the cells, where they may lie at most, and the truth.

    Attributes:
        stddevs: The told stddevs; None where intervals are told.
        low: The lower ends of the 95 % intervals; NaN where none is told.
    """

    error: Mapping[str, Any]
    cells: np.ndarray
    stddevs: np.ndarray | None
    low: np.ndarray
    high: np.ndarray
    truth: np.ndarray

    @property
    def covered(self) -> float:
        """Of the elements, the one that is covered least."""
        known = ~np.isnan(self.low.reshape(len(self.low), -1)[:, 0])
        inside = (self.low[known] <= self.truth) & (self.truth <= self.high[known])
        return float(np.min(np.mean(inside, axis=0))) if known.any() else 1.0


def told(
    aggregate: Aggregate, plan: ReleasePlan, cells: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], rule: str = ""
) -> Iterator[Told]:
    """Each column of values.

    Args:
        rule: The rule of the error, where it is another one than the aggregate's own.
    """
    truth = dict(zip(aggregate.column_names(), aggregate.reference(rows, "unit"), strict=True))
    for column in aggregate.describe(plan.noises_of(aggregate)):
        if "error" not in column:
            continue
        name, error = column["name"], column["error"]
        found, exact_ones = numbers(cells[name]), np.asarray(truth[name], np.float64)
        if error["rule"] == "interval":
            yield Told(
                error, found, None, numbers(cells[error["low_column"]]), numbers(cells[error["high_column"]]), exact_ones
            )
            continue
        error = {**error, "rule": rule} if rule else error
        stddevs = numbers(cells[error["stddev_column"]])
        width = error_width(error, 1.0)
        widths = np.where(np.isnan(stddevs), np.nan, width if error["rule"] == "constant" else width * stddevs)
        of_elements = widths.reshape(-1, *[1] * (found.ndim - 1))
        yield Told(error, found, stddevs, found - of_elements, found + of_elements, exact_ones)


def check(found: Told) -> None:
    assert found.covered >= COVERED
    if found.stddevs is None:
        return
    known = ~np.isnan(found.stddevs)
    assert known.mean() > 0.99
    spread, said = np.std(found.cells[known], axis=0).max(), np.sqrt(np.mean(found.stddevs[known] ** 2))
    # An error told too large is none, either; of an array the largest of all is told, and a distribution function is smoothed.
    assert spread <= (1 + NEAR) * said
    assert spread >= (1 - (NEAR if found.cells.ndim == 1 else 0.6)) * said


@every
@places
@accountants
def test_a_told_stddev_is_that_of_the_cells_and_its_width_covers(
    aggregate: Aggregate, places: tuple[float, ...], accountant: Accountants
) -> None:
    size = 10_000
    # So little noise that the first order is all: a root's error covers on its steep side, and is larger with more.
    plan = plan_of(aggregate, epsilon="3", accountant=accountant)
    cells = drawn_cells(plan, aggregate, places, size, seed=1)
    columns = dict(zip(cells.column_names, cells.columns, strict=True))
    for found in told(aggregate, plan, columns, rows_of(aggregate, places, size)):
        check(found)


def ends_of(query: Query) -> int:
    """How many integers add up to the number of all values."""
    return query.measure.shape.branches + 2 if isinstance(query.measure, Bins) else 1


@every
@pytest.mark.parametrize("places", [*PLACES.values(), (0.5, 0.5), (0.9, 0.9)], ids=str)
@accountants
@pytest.mark.parametrize("stddevs", of_each_kind([4, 8], 4))
def test_told_widths_cover_where_a_count_is_a_few_of_its_stddevs(
    aggregate: Aggregate, places: tuple[float, ...], accountant: Accountants, stddevs: int
) -> None:
    plan = plan_of(aggregate, epsilon="0.1", accountant=accountant)
    counts = {query: plan.noise_of(query).stddev for query in plan.mechanisms if not query.on_grid}
    totals = [counts[query] * math.sqrt(ends_of(query)) for query in counts]
    counted = max(totals) if len(plan.mechanisms) > 1 or aggregate.accuracy(plan.noises_of(aggregate)).stddev is None else 9
    size = round(stddevs * counted / len(places)) * len(places)
    cells = drawn_cells(plan, aggregate, places, size, seed=3)
    columns = dict(zip(cells.column_names, cells.columns, strict=True))
    for found in told(aggregate, plan, columns, rows_of(aggregate, places, size)):
        assert found.covered >= 0.93


@every
@places
@accountants
def test_the_half_width_of_a_plan_covers(aggregate: Aggregate, places: tuple[float, ...], accountant: Accountants) -> None:
    plan = plan_of(aggregate, epsilon="1", accountant=accountant)
    accuracy = plan.accuracy(aggregate)
    widths = accuracy.half_width_95_at or {100: accuracy.half_width_95}
    for size, width in widths.items():
        cells = drawn_cells(plan, aggregate, places, size, seed=2)
        columns = dict(zip(cells.column_names, cells.columns, strict=True))
        for found in told(aggregate, plan, columns, rows_of(aggregate, places, size)):
            assert accuracy.of_rank or np.mean(np.abs(found.cells - found.truth) <= width, axis=0).min() >= COVERED


@every
@places
@accountants
def test_the_errors_of_combined_cells_are_theirs(
    aggregate: Aggregate, places: tuple[float, ...], accountant: Accountants
) -> None:
    """Two parties of different sizes, budgets and values."""
    others = tuple(1 - place / 2 for place in places)
    parts, rows = [], []
    for seed, (size, epsilon, where) in enumerate([(10_000, "1", places), (4_000, "0.5", others)]):
        plan = plan_of(aggregate, *beside(aggregate), epsilon=epsilon, accountant=accountant)
        try:
            parts.append(aggregate.parts(Party(plan, drawn_cells(plan, aggregate, where, size, seed))))
        except CannotCombine:
            return
        rows += rows_of(aggregate, where, size, first=len(rows))
    here, there = parts
    added = {name: pa.chunked_array([pa.array(numbers(here[name]) + numbers(there[name]))]) for name in here}
    combined = dict(zip(aggregate.column_names(), aggregate.combined(added), strict=True))
    for found in told(aggregate, plan, combined, rows, rule="per_row"):
        check(found)
