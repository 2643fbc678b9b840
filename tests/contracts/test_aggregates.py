"""What every aggregate of the registry must keep: its sensitivity, its cells, its description, its combination.

Nothing here names one: their examples are in ``aggregate_cases``, with a made-up aggregate of two integers among them.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sqlglot
from aggregate_cases import (
    EXAMPLES,
    KINDS,
    NOT_COMBINED,
    WHERE,
    Party,
    Row,
    as_read,
    beside,
    counted,
    exact,
    instances,
    limits_of,
    plan_of,
    read_by,
    text_of,
)
from checkout import ROOT

from dp_spark.aggregates.base import Aggregate
from dp_spark.aggregates.clipped import UNIT_VALUE
from dp_spark.aggregates.given import CannotCombine, Drawn, Noise
from dp_spark.aggregates.query import Total, Values
from dp_spark.aggregates.registry import BY_FUNCTION, aggregate_of, table
from dp_spark.plan.cells import release_table
from dp_spark.plan.planning import weighted_queries
from dp_spark.privacy.bounds import ContributionBounds, Sensitivity
from dp_spark.privacy.lattice import Lattice
from dp_spark.schema.reading import parse_yaml

BOUNDS = [
    ContributionBounds(1, 1),
    ContributionBounds(1, 3),
    ContributionBounds(2, 1),
    ContributionBounds(2, 2),
    ContributionBounds(3, 2, 3),
]

every = pytest.mark.parametrize("aggregate", instances(), ids=text_of)
NOISE = Noise("laplace", 3.0, 0.5, 2.1, 4.0)


def test_every_aggregate_has_examples() -> None:
    assert set(EXAMPLES) == set(KINDS)
    for function, kind in KINDS.items():
        options = set(kind.model_fields) - {"function", "name", "weight"}
        assert options == {name for example in EXAMPLES[function] for name in example}, "each option is in some example"


def values_for(aggregate: Aggregate) -> list[float | None]:
    """What moves a sum furthest, and what lies between."""
    low, high = limits_of(aggregate)
    texts = [float(text) for text in getattr(aggregate, "values", None) or ()]
    return [None, math.nan, low, high, (low + high) / 2, low + (high - low) / 3, *texts]


# --- sensitivity ------------------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
def test_no_unit_changes_a_query_by_more_than_declared_and_one_does(aggregate: Aggregate, bounds: ContributionBounds) -> None:
    """Brute force over what a unit can have in a partition, beside others: in as many as can be full, and one with the rest."""
    k, m, c = bounds.max_partitions_contributed, bounds.max_contributions_per_partition, bounds.max_contributions
    low, high = limits_of(aggregate)
    values = [{"x": as_read(aggregate, value), WHERE: True} for value in (*values_for(aggregate), high + 1)]
    values += [{"x": as_read(aggregate, low), WHERE: False}, {"x": as_read(aggregate, high), WHERE: None}]
    others = [{"unit": "other", **value} for value in values]
    reached = getattr(aggregate, "per_unit", None) != "count" or m >= high  # a unit has no more values than rows
    for query in aggregate.queries():
        before = exact(query, others)
        assert len(before) == query.width
        changes: list[list[int]] = [[0] * query.width]
        until = [1]  # how many of the changes are made by at most so many rows
        for size in range(1, m + 1):
            for mine in itertools.combinations_with_replacement(values, size):
                after = exact(query, [*others, *({"unit": "u", **value} for value in mine)])
                changes.append([a - b for a, b in zip(after, before, strict=True)])
            until.append(len(changes))
        of_one_row = changes[: until[1]]
        once = query.once_per_unit
        full, rest = divmod(min(k * (1 if once else m), c or math.inf), 1 if once else m)
        squares = [sum(value * value for value in item) for item in changes]
        sizes = [sum(map(abs, item)) for item in changes]
        declared = bounds.sensitivity(query)
        found = Sensitivity(
            l0=min(k, c or k),
            l1=int(full * max(sizes) + max(sizes[: until[int(rest)]])),
            l2_squared=int(full * max(squares) + max(squares[: until[int(rest)]])),
            linf=max(abs(value) for item in changes for value in item),
            in_each=max(sum(value != 0 for value in item) for item in changes),
        )
        assert found == declared if reached else found.l1 <= declared.l1 and found.l2_squared <= declared.l2_squared
        assert query.touched == max(sum(value != 0 for value in item) for item in of_one_row)
        assert query.change == max(abs(value) for item in of_one_row for value in item) or not reached or m > 1


def test_a_shifted_square_changes_a_sum_by_no_more_than_its_larger_part() -> None:
    """Every z for small ranges; R^2 is odd for odd R."""
    for radius in range(1, 65):
        lattice = Lattice(-float(radius), float(radius), 0)
        squares = Total(Values("x"), lattice, lattice.midpoint, power=2, shift=lattice.radius**2 // 2)
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
    read: dict[str, bool] = {}
    for query in aggregate.queries():
        for column, numeric in read_by(query).items():
            read[column] = read.get(column, False) or numeric
    assert {need.column: need.numeric for need in aggregate.needs()} == read
    for units in ([], ["a`b", "c"]):
        texts = [text for text in (aggregate.plain_sql(units), aggregate.plain_unit_sql) if text is not None]
        columns = {
            found.name for text in texts for found in sqlglot.parse_one(text, dialect="spark").find_all(sqlglot.exp.Column)
        }
        assert (UNIT_VALUE in columns) == (aggregate.plain_unit_sql is not None)
        assert columns - {"a`b", "c", UNIT_VALUE} == set(read) | ({WHERE} if aggregate.where else set())


# --- cells ------------------------------------------------------------------------------------------------------------

SAMPLES: list[list[float | None]] = [
    [1.0, 2.0, 2.0, 7.5], [None, math.nan, 4.0, -99.0, 99.0], [-3.0], [0.125, 0.25, 0.25], [-7.25, -7.0, -7.125], [None], [],
]  # fmt: skip


def finished(rows: Sequence[Row], *aggregates: Aggregate) -> pa.Table:
    """The released row for these rows at a huge epsilon, through plan, grid and mechanism."""
    plan = plan_of(*aggregates, epsilon="1e9")
    sums = {query: np.array([exact(query, rows)], dtype=object) for query in plan.mechanisms}
    noisy = {query: mechanism.draw(sums[query])[0] for query, mechanism in plan.mechanisms.items()}
    return release_table(plan, pa.table({"key": [0]}), noisy).drop_columns(["key"])


@every
@pytest.mark.parametrize("values", SAMPLES, ids=str)
def test_finish_at_a_huge_epsilon_is_the_reference(aggregate: Aggregate, values: list[float | None]) -> None:
    rows = [{"unit": index % 3, "x": as_read(aggregate, value), WHERE: index != 1} for index, value in enumerate(values)]
    [found] = finished(rows, aggregate).to_pylist()
    assert list(found) == aggregate.column_names()
    for name, expected in zip(found, aggregate.reference(counted(rows, aggregate.where), "unit"), strict=True):
        assert found[name] == (None if expected is None else pytest.approx(expected, abs=5e-3)), name


def test_no_integer_of_a_query_is_dropped_in_silence() -> None:
    two = Drawn(np.array([[4, 6], [8, 10]]), NOISE)
    assert two.amounts.tolist() == [[2.0, 3.0], [4.0, 5.0]]
    for read in (lambda: two.single, lambda: two.amount):
        with pytest.raises(AssertionError, match="must not lose them"):
            read()


# --- what recipients are told -----------------------------------------------------------------------------------------


@every
def test_the_description_covers_every_column(aggregate: Aggregate) -> None:
    noises = [NOISE for _ in aggregate.queries()]
    columns, accuracy = aggregate.describe(noises), aggregate.accuracy(noises)
    assert [column["name"] for column in columns] == aggregate.column_names()
    cells = aggregate.finish([Drawn(np.full((3, query.width), 5), NOISE) for query in aggregate.queries()])
    assert [len(cell) for cell in cells] == [3] * len(columns)
    types = {"bigint": pa.int64(), "double": pa.float64()}
    types |= {f"array<{name}>": pa.list_(kind) for name, kind in types.items()}
    assert [types[column["type"]] for column in columns] == [cell.type for cell in cells]
    told = [column for column in columns if "error" in column]
    assert told, "some column holds what was asked for"
    for column in columns:
        assert column["meaning"]
    for column in told:
        error = column["error"]
        assert column["aggregate"] == aggregate.name
        assert error["mechanism"] == "laplace"
        assert {name for key, name in error.items() if key.endswith("_column")} <= set(aggregate.column_names())
        if error["rule"] == "constant":
            assert (error["noise_scale"], error["granularity"], error["stddev"]) == (3.0, 0.5, accuracy.stddev)
        else:
            assert (accuracy.stddev, accuracy.half_width_95) == (None, None)
            assert accuracy.half_width_95_at
            assert set(error) > ({"stddev_column"} if error["rule"] == "per_row" else {"level", "low_column", "high_column"})
        if column["type"].startswith("array"):
            elements = (
                len(column["values"]) if "values" in column else len(column["edges"]) - (column["type"] == "array<bigint>")
            )
            assert len(cells[columns.index(column)][0]) == elements
    assert json.loads(json.dumps(columns)) == columns


@every
def test_the_entry_of_the_manifest_tells_the_aggregate(aggregate: Aggregate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BY_FUNCTION, aggregate.function, type(aggregate))  # the made-up one
    entry = json.loads(json.dumps(aggregate.entry([NOISE for _ in aggregate.queries()])))
    assert list(entry)[:2] == ["name", "function"]
    assert list(entry)[-4:] == ["mechanism", "queries", "stddev", "half_width_95"]
    assert aggregate_of(entry) == aggregate


@every
def test_a_range_that_is_told_holds(aggregate: Aggregate) -> None:
    """Whatever noise makes of the integers."""
    queries = aggregate.queries()
    columns = aggregate.describe([NOISE for _ in queries])
    width, some = sum(query.width for query in queries), [-(10**6), -1, 0, 1, 10**6]
    all_of_few = width <= 4
    random = np.random.default_rng(1)
    for values in itertools.product(some, repeat=width) if all_of_few else random.choice(some, (20, width)).tolist():
        rest = iter(values)
        drawn = [Drawn(np.array([[next(rest) for _ in range(query.width)]]), NOISE) for query in queries]
        for column, cells in zip(columns, aggregate.finish(drawn), strict=True):
            if "range" in column:
                assert column["range"][0] <= np.min(cells[0].as_py())
                assert np.max(cells[0].as_py()) <= column["range"][1]


def test_the_table_in_the_documents_is_the_registrys() -> None:
    assert table() in (ROOT / "docs" / "release-file.md").read_text(encoding="utf-8")


# --- combination ------------------------------------------------------------------------------------------------------


def parts_of(aggregate: Aggregate, party: Party) -> Any:
    try:
        return aggregate.parts(party)
    except CannotCombine as refusal:
        return refusal


def with_what_is_asked(aggregate: Aggregate, mend: str) -> None:
    """Does what the mend of a refusal says, word for word; then there is no other."""
    coarse = re.search(r"set resolution: (\d+)", mend)
    asked = [aggregate.model_copy(update={"resolution": int(coarse[1])} if coarse else {})]
    for index, text in enumerate(re.findall(r"\{.*?, name: \.\.\.\}", mend)):
        entry = {**parse_yaml(text), "name": f"beside_{index}"}
        asked.append(KINDS[entry["function"]].model_validate(entry))
    row = {"unit": 0, aggregate.needs()[0].column: 1.0, aggregate.where or WHERE: True}
    found = parts_of(asked[0], Party(plan_of(*asked, epsilon="1e9"), finished([row], *asked)))
    assert not isinstance(found, CannotCombine), found


def test_what_a_quantile_lacks_is_told_with_all_digits_and_the_whole_condition() -> None:
    """Names and conditions that are not read as themselves without quotes, and a tree that is finer than a cdf can be."""
    options = {"column": "a, b: 1", "where": "x = '}'", "per_unit": "max", "resolution": 10_000}
    bounds = {"min_value": 1e-7, "max_value": 12345678.9}
    aggregate = KINDS["median"].model_validate({"function": "median", "name": "mid", **bounds, **options})
    with_what_is_asked(aggregate, parts_of(aggregate, Party(plan_of(aggregate, epsilon="1"), pa.table({}))).mend)


@every
@pytest.mark.parametrize("with_them", [True, False])
def test_cells_of_two_parties_are_those_of_one_curator_or_are_refused_with_a_mend(
    aggregate: Aggregate, with_them: bool
) -> None:
    values = [2 * value for value in values_for(aggregate)[2:] if value is not None]
    here = [{"unit": index, "x": as_read(aggregate, value), WHERE: True} for index, value in enumerate(values)]
    there = [{"unit": index + 10, "x": as_read(aggregate, value / 3), WHERE: True} for index, value in enumerate(2 * values)]
    asked = (aggregate, *beside(aggregate)) if with_them else (aggregate,)
    plan = plan_of(*asked, epsilon="1e9")
    found = [parts_of(aggregate, Party(plan, finished(rows, *asked))) for rows in (here, there)]
    refused = isinstance(found[0], CannotCombine)
    assert refused is ((aggregate.function, with_them) in NOT_COMBINED)
    if refused:
        assert str(found[0])
        assert found[0].mend
        if (aggregate.function, True) not in NOT_COMBINED:
            with_what_is_asked(aggregate, found[0].mend)
        return
    added = {
        name: pa.chunked_array([[sum(item[name].to_pylist()[0] for item in found)]], found[0][name].type) for name in found[0]
    }
    for cells, expected in zip(aggregate.combined(added), aggregate.reference([*here, *there], "unit"), strict=True):
        assert cells[0].as_py() == pytest.approx(expected, abs=5e-3)


# --- one file ---------------------------------------------------------------------------------------------------------


#: It tells the columns of a format that did not describe them, and is written no more.
READERS = ["first_manifest.py"]


def test_nothing_else_asks_which_function_it_is() -> None:
    names = "|".join(kind.__name__ for kind in BY_FUNCTION.values())
    # Whether the registry has it at all may be asked.
    asks = re.compile(
        r"""(\.function|\[["']function["']\]) (==|!=|(not )?in (?!BY_FUNCTION\b))"""
        rf"|isinstance\([^()]*\b({names})\b"
    )
    package = ROOT / "dp_spark"
    asking = [
        str(file.relative_to(package))
        for file in package.rglob("*.py")
        if package / "aggregates" not in file.parents and asks.search(file.read_text(encoding="utf-8"))
    ]
    assert sorted(asking) == READERS
