"""What the contract tests of aggregates share: instances of each, one that is made up, and exact integers in plain Python.

A new aggregate has a row in ``EXAMPLES``; a new measure has a case in ``exact`` and in ``read_by``.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, ClassVar, Literal, assert_never

import numpy as np
import pyarrow as pa
from helpers import release_spec
from typing_extensions import override

from dp_spark.aggregates.base import Aggregate, described, is_value, stddev_column
from dp_spark.aggregates.clipped import Clipped
from dp_spark.aggregates.given import Accuracy, Drawn, Noise, PartyCells, doubles
from dp_spark.aggregates.query import Bins, Present, Query, Rows, Total, Units, Values, label_of_values
from dp_spark.aggregates.registry import BY_FUNCTION
from dp_spark.plan.planning import ReleasePlan, plan_release
from dp_spark.privacy.grids import Edges, Grid, Listed
from dp_spark.privacy.lattice import Lattice

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Halved:
    """A made-up measure of two integers: how many values are below a number, and how many are not."""

    values: Values
    at: float


class Halves(Clipped):
    """A made-up aggregate of two integers and two columns of values, which no release file can ask for."""

    released_as: ClassVar[str] = "two DOUBLE: the numbers of values in the lower and the upper half"

    function: Literal["halves"]

    @property
    def middle(self) -> float:
        return (self.min_value + self.max_value) / 2

    @override
    def queries(self) -> tuple[Query, ...]:
        label = label_of_values("halves", self.of_values, self.min_value, self.max_value)
        return (Query(Halved(self.of_values, self.middle), label, width=2, once_per_unit=self.per_unit is not None),)

    @property
    def cells(self) -> list[str]:
        return [f"{self.name}_low", f"{self.name}_high"]

    @override
    def column_names(self) -> list[str]:
        return [name for value in self.cells for name in (value, f"{value}_stddev")]

    @override
    def finish(self, drawn: Sequence[Drawn]) -> list[pa.Array]:
        [found] = drawn
        stddev = np.full(len(found.steps), found.noise.stddev)
        return [pa.array(cells) for amounts in found.amounts.T for cells in (amounts, stddev)]

    @override
    def accuracy(self, noises: Sequence[Noise]) -> Accuracy:
        return Accuracy(noises[0].stddev, noises[0].half_width)

    @override
    def describe(self, noises: Sequence[Noise]) -> list[dict[str, Any]]:
        [noise] = noises
        found = []
        for name in self.cells:
            error = {
                "rule": "constant",
                "mechanism": noise.mechanism,
                "noise_scale": noise.scale,
                "granularity": noise.granularity,
                "stddev": noise.stddev,
                "stddev_column": f"{name}_stddev",
            }
            found += [described(name, "double", "values", aggregate=self.name, error=error), stddev_column(name)]
        return found

    @override
    def plain_sql(self, units: Sequence[str]) -> str:
        return self.plainly("any_value")

    @override
    def reference(self, rows: Sequence[Row], unit: str) -> list[Any]:
        clipped = self.clipped(rows, unit)
        low = int((clipped < self.middle).sum())
        return [low, 0.0, len(clipped) - low, 0.0]

    @override
    def parts(self, party: PartyCells) -> dict[str, pa.ChunkedArray]:
        variances = {f"{name}_var": pa.chunked_array([doubles(party.column(f"{name}_stddev")) ** 2]) for name in self.cells}
        return {name: party.column(name) for name in self.cells} | variances

    @override
    def combined(self, added: Mapping[str, pa.ChunkedArray]) -> list[Any]:
        stddevs = {name: pa.array(np.sqrt(doubles(added[f"{name}_var"]))) for name in self.cells}
        return [cells for name in self.cells for cells in (added[name], stddevs[name])]


KINDS: Mapping[str, type[Aggregate]] = {**BY_FUNCTION, "halves": Halves}

_CLIPPED = [{"column": "x", "min_value": low, "max_value": high} for low, high in ((-3.0, 8.0), (0.05, 0.3), (-7.25, -7.0))]
#: A condition, as these tests have it: a column that is true, false or null.
WHERE = "flag"
_REDUCED = [{"column": "x", "min_value": -3.0, "max_value": 8.0, "per_unit": how} for how in ("sum", "mean", "min", "max")] + [
    {"column": "x", "min_value": 1.0, "max_value": 3.0, "per_unit": "count", "where": WHERE}
]
_CONDITIONAL = [{**_CLIPPED[0], "where": WHERE}, {**_REDUCED[0], "where": WHERE}]
_VALUES = [*_CLIPPED, *_REDUCED, *_CONDITIONAL]
_PLACES = [
    {**_VALUES[0], "resolution": 100},
    _VALUES[1],
    *({**options, "resolution": 10} for options in (_CONDITIONAL[1], _REDUCED[-1])),
]
_BINS = [
    *({**options, "resolution": resolution} for options, resolution in zip(_CLIPPED, (100, 10, 1000), strict=True)),
    *({"column": "x", "edges": edges} for edges in ([-3.0, 0.0, 0.125, 0.3, 8.0], [-7.25, -7.125, -7.0])),
    *({"column": "x", "edges": [-1.0, 1.0, 3.0, 4.0], "where": WHERE, "per_unit": how} for how in ("sum", "count")),
]
EXAMPLES: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "privacy_id_count": [{}, {"column": "x"}, {"where": WHERE}, {"column": "x", "where": WHERE}],
    "count": [{}, {"column": "x"}, {"where": WHERE}, {"column": "x", "where": WHERE}],
    "sum": _VALUES,
    "mean": _VALUES,
    "variance": _VALUES,
    "stddev": _VALUES,
    "quantiles": [{**options, "quantiles": [0.05, 0.5, 0.999]} for options in _PLACES],
    "median": [_PLACES[2]],
    "min": [{**_PLACES[2], "quantile": 0.01}],
    "max": [{**_PLACES[2], "quantile": 0.99}],
    "histogram": [
        *_BINS,
        {"column": "x", "values": ["1.0", "2.0", "-3.0"]},
        {"column": "x", "values": ["7.5", "-3.0", "8.0"], "where": WHERE},
    ],
    "cdf": _BINS,
    "halves": _VALUES,
}


#: Aggregates that are not combined, and whether what ``beside`` says is beside them.
NOT_COMBINED = {
    *itertools.product(("mean", "quantiles", "median", "min", "max", "cdf"), (False,)),
    *itertools.product(("variance", "stddev"), (True, False)),
}


def instances() -> list[Aggregate]:
    """Each aggregate with each of its examples; one without any is named by a test instead of failing here."""
    return [
        kind.model_validate({"function": function, "name": "cell", **options})
        for function, kind in KINDS.items()
        for options in EXAMPLES.get(function, [])
    ]


def text_of(aggregate: Aggregate) -> str:
    return f"{aggregate.in_short} {','.join(need.column for need in aggregate.needs())}"


def counted(rows: Sequence[Row], where: str | None, column: str | None = None) -> list[Row]:
    """The rows for which a condition is true and in which a column has a value."""
    found = [row for row in rows if where is None or row[where] is True]
    return [row for row in found if column is None or is_value(row[column])]


def exact(query: Query, rows: Sequence[Row]) -> list[int]:
    """A query's integers over one partition's rows: the definition of each measure once more, in plain Python."""
    measure: Any = query.measure
    match measure:
        case Units(where=where, column=column):
            return [len({row["unit"] for row in counted(rows, where, column)})]
        case Rows(where=where):
            return [len(counted(rows, where))]
    values: Values = measure.values
    present = [(row["unit"], row[values.column]) for row in counted(rows, values.where, values.column)]
    match measure:
        case Present():
            return [len(present)]
        case Bins(grid=grid, shape=shape):
            found = [0] * shape.width
            for place in places_in(measure, grid, present):
                for node in () if place is None else measure.nodes(place):
                    found[node] += 1
            return found
        case Total(lattice=lattice, centre=centre, power=power, shift=shift):
            integers = integers_of(values.per_unit, lattice, present)
            return [sum((integer - centre) ** power - shift for integer in integers)]
        case Halved(at=at):
            lattice = Lattice(-8.0, 8.0, -20)
            found = [value for _, value in present]
            if values.per_unit is not None:
                found = [lattice.to_value(integer) for integer in integers_of(values.per_unit, lattice, present)]
            return [sum(value < at for value in found), sum(value >= at for value in found)]
    assert_never(measure)


def places_in(measure: Bins, grid: Grid, present: Sequence[tuple[Any, Any]]) -> list[int | None]:
    """The places of rows' values, or of what those of each unit come to."""
    per_unit = measure.values.per_unit
    if per_unit is None:
        return [grid.place(value) for _, value in present]
    edges = Edges(tuple(map(float, measure.integer_edges)))
    return [edges.place(float(integer)) for integer in integers_of(per_unit, measure.lattice, present)]


def integers_of(per_unit: str | None, lattice: Lattice, present: Sequence[tuple[Any, float]]) -> list[int]:
    """The lattice integers of rows' values, or of what those of each unit come to."""
    if per_unit is None:
        return [lattice.to_integer(value) for _, value in present]
    by_unit: dict[Any, list[float]] = {}
    for unit, value in present:
        by_unit.setdefault(unit, []).append(value)
    if per_unit == "count":
        return [lattice.to_integer(float(len(found))) for found in by_unit.values()]
    reduced = []
    for found in by_unit.values():
        rows = [round(row_integer(value, lattice.exponent)) for value in found]
        reduced.append(
            {"sum": sum(rows), "mean": round(Fraction(sum(rows), len(rows))), "min": min(rows), "max": max(rows)}[per_unit]
        )
    return [max(lattice.lower, min(integer, lattice.upper)) for integer in reduced]


def row_integer(value: float, exponent: int) -> Fraction:
    """A row's value in steps of the lattice, at most 2^42 of them."""
    if math.isinf(value):
        return Fraction(math.copysign(2**42, value))
    return max(Fraction(-(2**42)), min(Fraction(value) / Fraction(2) ** exponent, Fraction(2**42)))


def read_by(query: Query) -> dict[str, bool]:
    """The columns that a query's measure reads, and whether their values are computed with."""
    measure: Any = query.measure
    match measure:
        case Units(column=column):
            return {} if column is None else {column: False}
        case Rows():
            return {}
        case Present(values=values):
            return {values.column: False}
        case Bins(values=values, grid=Listed()):
            return {values.column: False}
        case Total(values=values) | Bins(values=values) | Halved(values=values):
            return {values.column: values.per_unit != "count"}
    assert_never(measure)


def limits_of(aggregate: Aggregate) -> tuple[float, float]:
    """The clipping bounds, or what does as well where there are none."""
    edges = getattr(aggregate, "edges", None) or (-1.0, 1.0)
    limits = getattr(aggregate, "min_value", None), getattr(aggregate, "max_value", None)
    return edges[0] if limits[0] is None else limits[0], edges[-1] if limits[1] is None else limits[1]


def as_read(aggregate: Aggregate, value: float | None) -> float | str | None:
    """A number as an aggregate reads it: some read texts."""
    if not any(need.text for need in aggregate.needs()):
        return value
    return None if value is None or math.isnan(value) else str(value)


@functools.cache
def plan_of(*aggregates: Aggregate, epsilon: str, accountant: Literal["basic", "zcdp"] = "basic") -> ReleasePlan:
    """A plan of one global row in which each unit has one row."""
    spec = release_spec(
        group_by=[],
        partitions=None,
        contribution_bounds={"max_contributions_per_partition": 1},
        budget={"epsilon": Decimal(epsilon), **({"delta": Decimal("1e-6")} if accountant == "zcdp" else {})},
    )
    return plan_release(spec.model_copy(update={"aggregates": aggregates}), accountant, None)


class Party:
    """One party's published cells, as a combination reads them."""

    def __init__(self, plan: ReleasePlan, cells: pa.Table) -> None:
        self.plan, self.cells = plan, cells

    def column(self, name: str) -> pa.ChunkedArray:
        return self.cells.column(name)

    def column_of(self, label: str, function: str | None = None) -> str | None:
        drawn = [item for item in self.plan.spec.aggregates if [query.label for query in item.queries()] == [label]]
        return next((item.name for item in drawn if function in (None, item.function)), None)

    def stddev_of(self, label: str) -> float:
        return next(self.plan.noise_of(query).stddev for query in self.plan.mechanisms if query.label == label)


def beside(aggregate: Aggregate) -> list[Aggregate]:
    """What an aggregate of values cannot be combined without: their count, and of quantiles the distribution function."""
    function = "count" if getattr(aggregate, "per_unit", None) is None else "privacy_id_count"
    count = BY_FUNCTION[function].model_validate({"function": function, "name": "n", "column": "x", "where": aggregate.where})
    if aggregate.searched is None:
        return [count]
    options = {
        name: getattr(aggregate, name) for name in ("where", "per_unit", "column", "min_value", "max_value", "resolution")
    }
    return [count, BY_FUNCTION["cdf"].model_validate({"function": "cdf", "name": "shares", **options})]
