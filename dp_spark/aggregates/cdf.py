"""The distribution function of a column over public edges."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from typing_extensions import override

from dp_spark.aggregates.base import described, stddev_column
from dp_spark.aggregates.bins import Binned, arrays, levels_over, rows_of
from dp_spark.aggregates.given import SIZES, Accuracy, CannotCombine, Drawn, Noise, PartyCells, doubles, too_few
from dp_spark.aggregates.query import Values, count_of_column
from dp_spark.noise_width import stddevs_for
from dp_spark.privacy.cumulated import ascending, counts_below, rank_variances, total_variance
from dp_spark.privacy.integers import Doubles
from dp_spark.privacy.trees import TreeShape

#: What the count beside a distribution function costs.
OF_THE_COUNT = "a draw of its own, which takes a share of the budget unless a mean of the same values has it"
#: Counts are whole numbers: where noise is hardly ever more than one, it is half a step more than its stddev says.
_HALF_A_STEP = 0.25
#: By how many of its stddevs it may be too large.
_OVERESTIMATED = 1.5


class Cdf(Binned):
    """For each edge the share of a column's values below it; for the last one, of those up to it.

    It is read from counts by bin, with those below and above all: one row changes one in each level by one. Over bins of equal
    width, 100 or 1000, they are those of a tree, which is what quantiles draw.
    """

    released_as: ClassVar[str] = "ARRAY<DOUBLE>: for each edge the share of the values below it, for the last one up to it"

    function: Literal["cdf"]

    @property
    @override
    def shape(self) -> TreeShape:
        return self._shape(levels_over(self.grid))

    @override
    def served_by(self, labels: Collection[str]) -> Self:
        return self  # it reads a tree wherever there can be one

    @override
    def finish(self, drawn: Sequence[Drawn]) -> list[pa.Array]:
        [found] = drawn
        below, total = counts_below(found.tree(self.shape))
        shares = ascending(np.clip(below / np.maximum(total, 1.0)[:, None], 0.0, 1.0))
        variance = found.noise.stddev**2
        error = np.sqrt(rank_variances(self.shape, shares, variance).max(axis=1)) + min(_HALF_A_STEP, found.noise.stddev)
        of_total = math.sqrt(total_variance(self.shape, variance))
        # The number of values can be overestimated, so the error is told for fewer.
        fewer = np.maximum(total - _OVERESTIMATED * of_total, 1.0)
        return [arrays(shares), pa.array(error / fewer, mask=too_few(total, of_total))]

    @override
    def accuracy(self, noises: Sequence[Noise]) -> Accuracy:
        [noise] = noises
        wrong = stddevs_for(noise.mechanism) * (math.sqrt(_largest(self.shape, noise.stddev**2)) + _HALF_A_STEP)
        return Accuracy(None, None, {n: min(1.0, wrong / n) for n in SIZES})

    @override
    def describe(self, noises: Sequence[Noise]) -> list[dict[str, Any]]:
        error = {"rule": "per_row", "mechanism": noises[0].mechanism, "stddev_column": f"{self.name}_stddev"}
        meaning = f"distribution function: {self.counted_what} below each edge (up to the last one), as a share of all"
        return [
            described(
                self.name, "array<double>", meaning, aggregate=self.name, range=[0.0, 1.0], error=error, **self.bins_told,
                notes=["each element has an error of at most the stddev"],
            ),
            stddev_column(self.name, sometimes_null=True),
        ]  # fmt: skip

    @override
    def plain_sql(self, units: Sequence[str]) -> str:
        *edges, last = self.numbers_grid.edges
        tests = [*(f"< {edge!r}D" for edge in edges), f"<= {last!r}D"]
        return f"array({', '.join(self.over(f'avg(cast({self.value_sql} {test} as int))') for test in tests)})"

    @override
    def reference(self, rows: Sequence[Mapping[str, Any]], unit: str) -> list[Any]:
        counts = self.counted(rows, unit)
        total = sum(counts)
        return [(np.cumsum(counts[:-1]) / max(total, 1)).tolist(), 0.0 if total else None]

    @override
    def parts(self, party: PartyCells) -> dict[str, pa.ChunkedArray]:
        if self.counted_by(party) is None:
            raise CannotCombine(
                "the number of values that it is a share of is not in the table",
                f"add {self.count_beside} to the release file ({OF_THE_COUNT}), and release again",
            )
        return shares_of(party, self.name, self.of_values, self.shape, self.queries()[0].label)

    @override
    def combined(self, added: Mapping[str, pa.ChunkedArray]) -> list[Any]:
        shares, stddev = added_shares(added, self.grid.bins + 1)
        return [arrays(shares), pa.array(stddev, mask=np.isnan(stddev))]

    @override
    def combination_note(self, *, overlapping: bool) -> str:
        return "weighted by the parties' noisy counts of values"


def _largest(shape: TreeShape, variance: float) -> float:
    """The largest variance of a rank, wherever the values are."""
    edges = np.linspace(0, 1, 21)[:, None]
    return float(rank_variances(shape, np.broadcast_to(edges, (21, shape.leaves + 1)), variance).max())


def shares_of(party: PartyCells, name: str, values: Values, shape: TreeShape, label: str) -> dict[str, pa.ChunkedArray]:
    """What of a party's distribution function adds up: the values below each edge, and what their errors are made of.

    The number of values has to be in the table.

    Args:
        party: The party.
        name: The column of the distribution function.
        values: The values that it is of.
        shape: The tree that it was read from.
        label: The label of that query.
    """
    count = count_of_column(values)
    counted = party.column_of(count.label)
    assert counted is not None, "without it nothing can be had"
    shares = rows_of(party.column(name), shape.leaves + 1)
    number = np.maximum(doubles(party.column(counted)), 0.0)
    of_number = np.full(len(number), party.stddev_of(count.label) ** 2)
    stddev = doubles(party.column(f"{name}_stddev")) * number
    # Too few values for an error of their share: then that of their number, which is at most what it can be anywhere.
    stddev = np.where(np.isnan(stddev), np.sqrt(_largest(shape, party.stddev_of(label) ** 2)), stddev)
    found = {"n": number, "nvar": of_number, "var": stddev**2}
    for index, share in enumerate(shares.T):
        found |= {f"s{index}": share * number, f"v{index}": share * of_number, f"w{index}": share**2 * of_number}
    return {name: pa.chunked_array([column]) for name, column in found.items()}


def added_shares(added: Mapping[str, pa.ChunkedArray], edges: int) -> tuple[Doubles, Doubles]:
    """The distribution function of all parties' values, and the most that an element's stddev is; NaN where too few are told.

    Each party's share F_i has the weight of its noisy number n_i: F = sum n_i F_i / n. To first order the error is that of the
    shares, n_i dF_i / n, and of the weights, (F_i - F) dn_i / n.
    """
    number, of_number = doubles(added["n"]), doubles(added["nvar"])
    counts, first, second = (
        np.stack([doubles(added[f"{letter}{index}"]) for index in range(edges)], axis=1) for letter in ("s", "v", "w")
    )
    n = np.maximum(number, 1.0)[:, None]
    shares = ascending(np.clip(counts / n, 0.0, 1.0))
    of_weights = second - 2 * shares * first + shares**2 * of_number[:, None]
    stddev = np.sqrt((doubles(added["var"])[:, None] + np.maximum(of_weights, 0.0)).max(axis=1)) / n[:, 0]
    return shares, np.where(too_few(number, np.sqrt(of_number)), np.nan, stddev)
