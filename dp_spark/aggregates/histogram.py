"""How many of a column's values are in each of some public bins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from typing_extensions import override

from dp_spark.aggregates.base import described, sql_name, stddev_column
from dp_spark.aggregates.bins import Binned, Texts, arrays, rows_of
from dp_spark.aggregates.given import Accuracy, Drawn, Noise, PartyCells, doubles
from dp_spark.privacy.grids import Grid, Listed


class Histogram(Binned):
    """The number of a column's values in each bin: [e_i, e_(i+1)) between edges, the last with its end, or one for each text.

    One row changes one bin by one: d = 1, touched = 1, one vector of bins per partition. Values of no bin are not counted.
    Beside quantiles or a distribution function over the same bins it is the leaves of their tree, and costs nothing more.
    """

    released_as: ClassVar[str] = "ARRAY<BIGINT>: the number of values in each bin"

    function: Literal["histogram"]
    values: Texts | None = None

    @property
    @override
    def grid(self) -> Grid:
        return self.edges_of if self.values is None else Listed(self.values)

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
        error = {
            "rule": "constant",
            "mechanism": noise.mechanism,
            "noise_scale": noise.scale,
            "granularity": noise.granularity,
            "stddev": noise.stddev,
            "stddev_column": f"{self.name}_stddev",
        }
        of_texts = "for each listed text" if isinstance(self.grid, Listed) else "between each edge and the next, the last included"
        outside = "others are not counted"
        return [
            described(
                self.name, "array<bigint>", f"{self.counted_what} {of_texts}", aggregate=self.name, error=error,
                **self.bins_told, notes=[outside],
            ),
            stddev_column(self.name),
        ]  # fmt: skip

    @override
    def plain_sql(self, units: Sequence[str]) -> str:
        if self.values is not None:
            quoted = [value.replace("\\", "\\\\").replace("'", "\\'") for value in self.values]
            tests = [f"{{}} = '{text}'" for text in quoted]
        else:
            edges, last = self.edges_of.edges, self.edges_of.bins - 1
            tests = [f"{{}} >= {low!r}D and {{}} {'<=' if i == last else '<'} {high!r}D" for i, (low, high) in enumerate(zip(edges, edges[1:]))]
        return f"array({', '.join(self.plainly(f'count_if({test})') for test in tests)})"

    @override
    def reference(self, rows: Sequence[Mapping[str, Any]], unit: str) -> list[Any]:
        return [self.counted(rows, unit)[1:-1], 0.0]

    @override
    def parts(self, party: PartyCells) -> dict[str, pa.ChunkedArray]:
        counts = rows_of(party.column(self.name), self.grid.bins)
        variance = doubles(party.column(f"{self.name}_stddev")) ** 2
        bins = {f"b{index}": pa.chunked_array([column.astype(np.int64)]) for index, column in enumerate(counts.T)}
        return {**bins, "var": pa.chunked_array([variance])}

    @override
    def combined(self, added: Mapping[str, pa.ChunkedArray]) -> list[Any]:
        counts = np.stack([added[f"b{index}"].to_numpy() for index in range(self.grid.bins)], axis=1)
        return [arrays(counts), pa.array(np.sqrt(doubles(added["var"])))]
