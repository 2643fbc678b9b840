"""What every aggregate of the registry must keep: its sensitivity, its cells, its description, its combination.

A new aggregate is found by itself: nothing here names one, except the count that a mean cannot be combined without.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sqlglot
from checkout import ROOT
from helpers import release_spec
from queries import steps

from dp_spark.aggregates.base import Aggregate
from dp_spark.aggregates.parts import CannotCombine, Drawn, Noise
from dp_spark.aggregates.query import Present, Query, Rows, Total, Units
from dp_spark.aggregates.registry import BY_FUNCTION, aggregate_of, table
from dp_spark.plan.cells import release_table
from dp_spark.plan.planning import ReleasePlan, plan_release, weighted_queries
from dp_spark.privacy.bounds import ContributionBounds
from dp_spark.privacy.lattice import Lattice

Row = Mapping[str, Any]
BOUNDS = [ContributionBounds(1, 1), ContributionBounds(1, 3), ContributionBounds(2, 1), ContributionBounds(2, 2)]


def instances() -> list[Aggregate]:
    """Each aggregate, with as many options as it takes and with those that it needs only, for several clipping bounds."""
    found = []
    for function, kind in BY_FUNCTION.items():
        for low, high in ((-3.0, 8.0), (0.05, 0.3), (-7.25, -7.0)):
            options = {"column": "x", "min_value": low, "max_value": high}
            fields = {name: field for name, field in kind.model_fields.items() if name in options}
            required = {name for name, field in fields.items() if field.is_required()}
            for names in (set(fields), required):
                given = {name: options[name] for name in names}
                found.append(kind.model_validate({"function": function, "name": "cell", **given}))
    return sorted(set(found), key=text_of)


def text_of(aggregate: Aggregate) -> str:
    return f"{aggregate.in_short} {','.join(need.column for need in aggregate.needs())}"


every = pytest.mark.parametrize("aggregate", instances(), ids=text_of)
NOISE = Noise("laplace", 3.0, 0.5, 2.1, 4.0)


def test_every_aggregate_is_here() -> None:
    assert {aggregate.function for aggregate in instances()} == set(BY_FUNCTION)


def exact(query: Query, rows: Sequence[Row]) -> list[int]:
    """A query's integers over one partition's rows: the definition of each measure once more, in plain Python."""
    measure = query.measure
    if isinstance(measure, Units):
        return [len({row["unit"] for row in rows})]
    if isinstance(measure, Rows):
        return [len(rows)]
    found = [row[measure.column] for row in rows]
    present = [value for value in found if value is not None and not math.isnan(value)]
    if isinstance(measure, Present):
        return [len(present)]
    assert isinstance(measure, Total)
    return [sum((measure.lattice.to_integer(value) - measure.centre) ** measure.power - measure.shift for value in present)]


def values_for(aggregate: Aggregate) -> list[float | None]:
    """What moves a sum furthest, and what lies between."""
    low, high = getattr(aggregate, "min_value", -1.0), getattr(aggregate, "max_value", 1.0)
    return [None, math.nan, low, high, (low + high) / 2, low + (high - low) / 3]


# --- sensitivity ------------------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
def test_no_unit_changes_a_query_by_more_than_declared_and_one_does(aggregate: Aggregate, bounds: ContributionBounds) -> None:
    """Brute force over what a unit can have in a partition, beside others; a unit's k partitions are alike."""
    k, m = bounds.max_partitions_contributed, bounds.max_contributions_per_partition
    values = values_for(aggregate)
    others = [{"unit": "other", "x": value} for value in values]
    for query in aggregate.queries():
        before = exact(query, others)
        assert len(before) == query.width
        changes = []
        for size in range(1, m + 1):
            for mine in itertools.combinations_with_replacement(values, size):
                after = exact(query, [*others, *({"unit": "u", "x": value} for value in mine)])
                changes.append([a - b for a, b in zip(after, before, strict=True)])
        declared = bounds.sensitivity(query)
        assert declared.l0 == k
        assert declared.linf == max(abs(value) for item in changes for value in item)
        assert declared.l1 == k * max(sum(map(abs, item)) for item in changes)  # never more, and attained
        assert declared.l2_squared == k * max(sum(value * value for value in item) for item in changes)
        assert query.touched == max(sum(value != 0 for value in item) for item in changes)


def test_a_shifted_square_changes_a_sum_by_no_more_than_its_larger_part() -> None:
    """Every z for small ranges; R^2 is odd for odd R."""
    for radius in range(1, 65):
        lattice = Lattice(-float(radius), float(radius), 0)
        squares = Total("x", lattice, lattice.midpoint, power=2, shift=lattice.radius**2 // 2)
        assert squares.change == max(abs(squares.term(z)) for z in range(-radius, radius + 1))
        assert squares.change == radius**2 - radius**2 // 2


@every
def test_queries_are_weighted_and_labels_are_their_own(aggregate: Aggregate) -> None:
    heavy = aggregate.model_copy(update={"weight": Decimal(3)})
    assert weighted_queries([aggregate, heavy], selection=None) == dict.fromkeys(aggregate.queries(), Decimal(3))
    other = {query.label: query for item in instances() for query in item.queries()}
    for query in aggregate.queries():
        assert other[query.label] == query, "two queries of one label would share a draw"


@every
def test_what_it_needs_is_what_its_queries_read(aggregate: Aggregate) -> None:
    """Nothing else of the source is checked before the charge, and nothing else is read."""
    measures = [query.measure for query in aggregate.queries()]
    read = {measure.column: False for measure in measures if isinstance(measure, Present)}
    read |= {measure.column: True for measure in measures if isinstance(measure, Total)}
    assert {need.column: need.numeric for need in aggregate.needs()} == read
    for units in ([], ["a`b", "c"]):
        columns = sqlglot.parse_one(aggregate.plain_sql(units), dialect="spark").find_all(sqlglot.exp.Column)
        assert {column.name for column in columns} - {"a`b", "c"} == set(read)


# --- cells ------------------------------------------------------------------------------------------------------------

SAMPLES: list[list[float | None]] = [
    [1.0, 2.0, 2.0, 7.5], [None, math.nan, 4.0, -99.0, 99.0], [-3.0], [0.125, 0.25, 0.25], [-7.25, -7.0, -7.125], [None], [],
]  # fmt: skip


def plan_of(*aggregates: Aggregate, epsilon: str = "1e9") -> ReleasePlan:
    spec = release_spec(
        group_by=[],
        partitions=None,
        contribution_bounds={"max_contributions_per_partition": 1},
        aggregates=[item.model_dump() for item in aggregates],
        budget={"epsilon": Decimal(epsilon)},
    )
    return plan_release(spec, "basic", None)


def finished(rows: Sequence[Row], *aggregates: Aggregate) -> pa.Table:
    """The released row for these rows at a huge epsilon, through plan, grid and mechanism."""
    plan = plan_of(*aggregates)
    sums = {query: np.array([exact(query, rows)], dtype=object) for query in plan.mechanisms}
    noisy = {query: mechanism.draw(sums[query])[0] for query, mechanism in plan.mechanisms.items()}
    return release_table(plan, pa.table({"key": [0]}), noisy).drop_columns(["key"])


@every
@pytest.mark.parametrize("values", SAMPLES, ids=str)
def test_finish_at_a_huge_epsilon_is_the_reference(aggregate: Aggregate, values: list[float | None]) -> None:
    rows = [{"unit": index % 3, "x": value} for index, value in enumerate(values)]
    [found] = finished(rows, aggregate).to_pylist()
    assert list(found) == aggregate.column_names()
    for name, expected in zip(found, aggregate.reference(rows, "unit"), strict=True):
        assert found[name] == (None if expected is None else pytest.approx(expected, abs=5e-3)), name


# --- what recipients are told -----------------------------------------------------------------------------------------


@every
def test_the_description_covers_every_column(aggregate: Aggregate) -> None:
    noises = [NOISE for _ in aggregate.queries()]
    columns, accuracy = aggregate.describe(noises), aggregate.accuracy(noises)
    assert [column["name"] for column in columns] == aggregate.column_names()
    cells = aggregate.finish([Drawn(steps([5, 6, 7]), NOISE) for _ in aggregate.queries()])
    types = {"bigint": pa.int64(), "double": pa.float64()}
    assert [types[column["type"]] for column in columns] == [cell.type for cell in cells]
    told = [column for column in columns if "error" in column]
    assert told, "some column holds what was asked for"
    for column in columns:
        assert column["meaning"]
    for column in told:
        error = column["error"]
        assert column["aggregate"] == aggregate.name
        assert error["mechanism"] == "laplace"
        assert error["stddev_column"] in aggregate.column_names()
        if error["rule"] == "constant":
            assert (error["noise_scale"], error["granularity"], error["stddev"]) == (3.0, 0.5, accuracy.stddev)
        else:
            assert (error["rule"], accuracy.stddev, accuracy.half_width_95) == ("per_row", None, None)
            assert accuracy.half_width_95_at
    assert json.loads(json.dumps(columns)) == columns


@every
def test_the_entry_of_the_manifest_tells_the_aggregate(aggregate: Aggregate) -> None:
    entry = json.loads(json.dumps(aggregate.entry([NOISE for _ in aggregate.queries()])))
    assert list(entry)[:2] == ["name", "function"]
    assert list(entry)[-4:] == ["mechanism", "queries", "stddev", "half_width_95"]
    assert aggregate_of(entry) == aggregate


@every
def test_a_range_that_is_told_holds(aggregate: Aggregate) -> None:
    """Whatever noise makes of the integers."""
    [column, *_] = aggregate.describe([NOISE for _ in aggregate.queries()])
    if "range" in column:
        for values in itertools.product([-(10**6), -1, 0, 1, 10**6], repeat=len(aggregate.queries())):
            cells = aggregate.finish([Drawn(steps([value]), NOISE) for value in values])
            assert column["range"][0] <= cells[0][0].as_py() <= column["range"][1]


def test_the_table_in_the_documents_is_the_registrys() -> None:
    assert table() in (ROOT / "docs" / "release-file.md").read_text(encoding="utf-8")


# --- combination ------------------------------------------------------------------------------------------------------


class Party:
    """One party's cells, which hardly have noise."""

    def __init__(self, rows: Sequence[Row], *aggregates: Aggregate) -> None:
        self.rows, self.plan = finished(rows, *aggregates), plan_of(*aggregates)

    def column(self, name: str) -> pa.ChunkedArray:
        return self.rows.column(name)

    def column_of(self, label: str) -> str | None:
        shown = {item.queries()[0].label: item.name for item in self.plan.spec.aggregates if len(item.queries()) == 1}
        return shown.get(label)

    def stddev_of(self, label: str) -> float:
        return next(self.plan.noise_of(query).stddev for query in self.plan.mechanisms if query.label == label)


def parts_of(aggregate: Aggregate, party: Party) -> Any:
    try:
        return aggregate.parts(party)
    except CannotCombine as refusal:
        return refusal


@every
@pytest.mark.parametrize("counted", [True, False])
def test_cells_of_two_parties_are_those_of_one_curator_or_are_refused_with_a_mend(aggregate: Aggregate, counted: bool) -> None:
    values = [2 * value for value in values_for(aggregate)[2:] if value is not None]
    here = [{"unit": index, "x": value} for index, value in enumerate(values)]
    there = [{"unit": index + 10, "x": value / 3} for index, value in enumerate([*values, *values])]
    count = BY_FUNCTION["count"].model_validate({"function": "count", "name": "n", "column": "x"})
    found = [parts_of(aggregate, Party(rows, aggregate, *([count] if counted else []))) for rows in (here, there)]
    if isinstance(found[0], CannotCombine):
        assert str(found[0])
        assert found[0].mend
        return
    added = {
        name: pa.chunked_array([[sum(item[name].to_pylist()[0] for item in found)]], found[0][name].type) for name in found[0]
    }
    [value, *_] = aggregate.combined(added)
    expected, *_ = aggregate.reference([*here, *there], "unit")
    assert value[0].as_py() == pytest.approx(expected, abs=5e-3)


# --- one file ---------------------------------------------------------------------------------------------------------


#: It tells the columns of a format that did not describe them, and is written no more.
READERS = ["first_manifest.py"]


def test_nothing_else_asks_which_function_it_is() -> None:
    names = "|".join(kind.__name__ for kind in BY_FUNCTION.values())
    asks = re.compile(rf"""(\.function|\[["']function["']\]) (==|!=|in|not in) |isinstance\([^()]*\b({names})\b""")
    package = ROOT / "dp_spark"
    asking = [
        str(file.relative_to(package))
        for file in package.rglob("*.py")
        if package / "aggregates" not in file.parents and asks.search(file.read_text(encoding="utf-8"))
    ]
    assert sorted(asking) == READERS
