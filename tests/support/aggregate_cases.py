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
from typing import Any, ClassVar, Literal, assert_never

import numpy as np
import pyarrow as pa
from helpers import release_spec
from typing_extensions import override

from dp_spark.aggregates.base import Aggregate, Clipped, described, sql_name, stddev_column
from dp_spark.aggregates.given import Accuracy, Drawn, Noise, PartyCells, doubles
from dp_spark.aggregates.query import Present, Query, Rows, Total, Units
from dp_spark.aggregates.registry import BY_FUNCTION
from dp_spark.plan.planning import ReleasePlan, plan_release

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Halved:
    """A made-up measure of two integers: how many values are below a number, and how many are not."""

    column: str
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
        return (Query(Halved(self.column, self.middle), f"halves({self.column}, {self.middle!r})", width=2),)

    @property
    def values(self) -> list[str]:
        return [f"{self.name}_low", f"{self.name}_high"]

    @override
    def column_names(self) -> list[str]:
        return [name for value in self.values for name in (value, f"{value}_stddev")]

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
        for name in self.values:
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
        return f"count_if({sql_name(self.column)} < {self.middle!r})"

    @override
    def reference(self, rows: Sequence[Row], unit: str) -> list[Any]:
        clipped = self.clipped(rows)
        low = int((clipped < self.middle).sum())
        return [low, 0.0, len(clipped) - low, 0.0]

    @override
    def parts(self, party: PartyCells) -> dict[str, pa.ChunkedArray]:
        variances = {f"{name}_var": pa.chunked_array([doubles(party.column(f"{name}_stddev")) ** 2]) for name in self.values}
        return {name: party.column(name) for name in self.values} | variances

    @override
    def combined(self, added: Mapping[str, pa.ChunkedArray]) -> list[Any]:
        stddevs = {name: pa.array(np.sqrt(doubles(added[f"{name}_var"]))) for name in self.values}
        return [cells for name in self.values for cells in (added[name], stddevs[name])]


KINDS: Mapping[str, type[Aggregate]] = {**BY_FUNCTION, "halves": Halves}

_CLIPPED = [{"column": "x", "min_value": low, "max_value": high} for low, high in ((-3.0, 8.0), (0.05, 0.3), (-7.25, -7.0))]
EXAMPLES: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "privacy_id_count": [{}],
    "count": [{}, {"column": "x"}],
    "sum": _CLIPPED,
    "mean": _CLIPPED,
    "variance": _CLIPPED,
    "stddev": _CLIPPED,
    "halves": _CLIPPED,
}


#: Aggregates that are not combined, and whether the count of their column is beside them.
NOT_COMBINED = {("mean", False), *itertools.product(("variance", "stddev"), (True, False))}


def instances() -> list[Aggregate]:
    """Each aggregate with each of its examples; one without any is named by a test instead of failing here."""
    return [
        kind.model_validate({"function": function, "name": "cell", **options})
        for function, kind in KINDS.items()
        for options in EXAMPLES.get(function, [])
    ]


def text_of(aggregate: Aggregate) -> str:
    return f"{aggregate.in_short} {','.join(need.column for need in aggregate.needs())}"


def exact(query: Query, rows: Sequence[Row]) -> list[int]:
    """A query's integers over one partition's rows: the definition of each measure once more, in plain Python."""
    measure: Any = query.measure
    match measure:
        case Units():
            return [len({row["unit"] for row in rows})]
        case Rows():
            return [len(rows)]
    present = [value for row in rows if (value := row[measure.column]) is not None and not math.isnan(value)]
    match measure:
        case Present():
            return [len(present)]
        case Total(lattice=lattice, centre=centre, power=power, shift=shift):
            return [sum((lattice.to_integer(value) - centre) ** power - shift for value in present)]
        case Halved(at=at):
            return [sum(value < at for value in present), sum(value >= at for value in present)]
    assert_never(measure)


def read_by(query: Query) -> dict[str, bool]:
    """The columns that a query's measure reads, and whether their values are computed with."""
    measure: Any = query.measure
    match measure:
        case Units() | Rows():
            return {}
        case Present(column=column):
            return {column: False}
        case Total(column=column) | Halved(column=column):
            return {column: True}
    assert_never(measure)


def limits_of(aggregate: Aggregate) -> tuple[float, float]:
    """The clipping bounds, or what does as well where there are none."""
    return getattr(aggregate, "min_value", -1.0), getattr(aggregate, "max_value", 1.0)


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

    def column_of(self, label: str) -> str | None:
        shown = {item.queries()[0].label: item.name for item in self.plan.spec.aggregates if len(item.queries()) == 1}
        return shown.get(label)

    def stddev_of(self, label: str) -> float:
        return next(self.plan.noise_of(query).stddev for query in self.plan.mechanisms if query.label == label)


def count_beside() -> Aggregate:
    """The count that a mean cannot be combined without."""
    return BY_FUNCTION["count"].model_validate({"function": "count", "name": "n", "column": "x"})
