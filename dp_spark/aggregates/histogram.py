"""How many of a column's values are in each of some public bins."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import model_validator
from typing_extensions import override

from dp_spark.aggregates.base import constant_error, described, stddev_column
from dp_spark.aggregates.bins import Binned, Texts, arrays, rows_of
from dp_spark.aggregates.given import Accuracy, Drawn, Need, Noise, PartyCells, doubles
from dp_spark.privacy.grids import Grid, Listed


class Histogram(Binned):
    """The number of a column's values in each bin: [e_i, e_(i+1)) between edges, the last with its end, or one for each text.

    One row changes one bin by one: d = 1, touched = 1, one vector of bins per partition. Values of no bin are not counted.
    Beside quantiles or a distribution function over the same bins it is the leaves of their tree, and costs nothing more.
    """

    released_as: ClassVar[str] = "ARRAY<BIGINT>: the number of values in each bin"

    function: Literal["histogram"]
    values: Texts | None = None

    unsaid: ClassVar[tuple[str, ...]] = (*Binned.unsaid, "values")
    ways: ClassVar[str] = "edges, or min_value, max_value and resolution, or values for texts"

    @model_validator(mode="after")
    def _texts_are_not_reduced(self) -> Self:
        if self.values is not None and self.per_unit is not None:
            raise ValueError("per_unit reduces numbers, and values are texts; remove one of them")
        return self

    @override
    def _has_other_bins(self) -> Sequence[bool]:
        return (self.values is not None,)

    @property
    @override
    def grid(self) -> Grid:
        return self.numbers_grid if self.values is None else Listed(self.values)

    @override
    def needs(self) -> tuple[Need, ...]:
        if self.values is not None:
            return (Need(self.column, numeric=False, text=True),)
        return tuple(replace(need, or_texts=need.numeric and self.per_unit is None) for need in super().needs())

    @override
    def finish(self, drawn: Sequence[Drawn]) -> list[pa.Array]:
        [found] = drawn
        leaves = found.tree(self.shape).leaves()
        return [arrays(leaves), pa.array(np.full(len(leaves), found.noise.stddev))]

    @override
    def accuracy(self, noises: Sequence[Noise]) -> Accuracy:
        return Accuracy(noises[0].stddev, noises[0].half_width)

    @override
    def describe(self, noises: Sequence[Noise]) -> list[dict[str, Any]]:
        [noise] = noises
        error = constant_error(self.name, noise)
        where = "for each listed text" if self.values is not None else "from each edge to before the next, the last included"
        return [
            described(
                self.name, "array<bigint>", f"{self.counted_what}, {where}", aggregate=self.name, error=error,
                **self.bins_told, notes=["others are not counted"],
            ),
            stddev_column(self.name),
        ]  # fmt: skip

    @override
    def plain_sql(self, units: Sequence[str]) -> str:
        if self.values is not None:
            quoted = [value.replace("\\", "\\\\").replace("'", "\\'") for value in self.values]
            tests = [f"{self.value_sql} = '{text}'" for text in quoted]
        else:
            *pairs, end = itertools.pairwise(self.numbers_grid.edges)
            tests = [f"{self.value_sql} >= {low!r}D and {self.value_sql} < {high!r}D" for low, high in pairs]
            tests.append(f"{self.value_sql} between {end[0]!r}D and {end[1]!r}D")
        return f"array({', '.join(self.over(f'count_if({test})') for test in tests)})"

    @override
    def reference(self, rows: Sequence[Mapping[str, Any]], unit: str) -> list[Any]:
        return [self.counted(rows, unit)[1:-1], 0.0]

    @override
    def parts(self, party: PartyCells) -> dict[str, pa.ChunkedArray]:
        counts = rows_of(party.column(self.name), self.grid.bins)
        variance = doubles(party.column(f"{self.name}_stddev")) ** 2
        bins = {f"b{index}": pa.chunked_array([column]) for index, column in enumerate(counts.T)}
        return {**bins, "var": pa.chunked_array([variance])}

    @override
    def combined(self, added: Mapping[str, pa.ChunkedArray]) -> list[Any]:
        counts = np.stack([added[f"b{index}"].to_numpy() for index in range(self.grid.bins)], axis=1)
        return [arrays(counts), pa.array(np.sqrt(doubles(added["var"])))]
