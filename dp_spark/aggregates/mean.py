"""The mean of a column's clipped values: a noisy centred sum over a noisy count."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from typing_extensions import override

from dp_spark.aggregates.base import described, stddev_column
from dp_spark.aggregates.clipped import Clipped
from dp_spark.aggregates.given import (
    SIZES,
    Accuracy,
    CannotCombine,
    Drawn,
    Flags,
    Noise,
    PartyCells,
    doubles,
    too_few,
)
from dp_spark.aggregates.query import Query, centred_sum, count_of_column
from dp_spark.errors import at_key
from dp_spark.noise_width import stddevs_for
from dp_spark.privacy.integers import Doubles
from dp_spark.privacy.lattice import Lattice, centred_lattice


@dataclass(frozen=True)
class Ratio:
    """Noisy sums and counts of the same values, with the variances of their noise.

    Attributes:
        total: The sums.
        total_variance: The variance of their noise.
        count: The counts.
        count_variance: The variance of their noise.
    """

    total: Doubles
    total_variance: Doubles
    count: Doubles
    count_variance: Doubles

    @property
    def denominator(self) -> Doubles:
        """What sums are divided by: max(n, 1)."""
        return np.maximum(self.count, 1.0)

    @property
    def value(self) -> Doubles:
        """S / max(n, 1)."""
        return self.total / self.denominator

    @property
    def stddev(self) -> Doubles:
        """First-order propagation: Var(S / n) ~ (Var S + (S / n)^2 Var n) / n^2.

        That is the delta method (Casella and Berger 2002, section 5.5.4).
        """
        return np.asarray(np.sqrt(self.total_variance + self.value**2 * self.count_variance) / self.denominator)

    @property
    def unknown(self) -> Flags:
        """Where the noisy count says too little for an error bar."""
        return too_few(self.count, np.sqrt(self.count_variance))


class Mean(Clipped):
    """The mean of a numeric column whose values are clipped to [min_value, max_value].

    mean = clamp(mid + S / max(n, 1), a, b), from the noisy count n of the column's values and the noisy sum S of their
    distances from the lattice point in the middle. One row changes n by 1 and S by at most R, half of the range.
    """

    released_as: ClassVar[str] = "DOUBLE: the mean of values clipped to the bounds"

    function: Literal["mean"]

    @override
    def queries(self) -> tuple[Query, ...]:
        with at_key(f"aggregates.{self.name}"):
            return (count_of_column(self.of_values), centred_sum(self.of_values, self.min_value, self.max_value))

    @override
    def finish(self, drawn: Sequence[Drawn]) -> list[pa.Array]:
        count, total = drawn
        step = total.noise.granularity
        # In steps, whose squares a double can hold whatever the bounds; scaling by a power of two is exact.
        variances = [(total.noise.stddev / step) ** 2, count.noise.stddev**2]
        sums = total.single.astype(np.float64)
        return self._cells(Ratio(sums, np.full(len(sums), variances[0]), count.amount, np.full(len(sums), variances[1])), step)

    @property
    def _lattice(self) -> Lattice:
        return centred_lattice(self.min_value, self.max_value, per_unit=self.per_unit is not None)

    def _cells(self, ratio: Ratio, unit: float = 1.0) -> list[pa.Array]:
        """Cells from sums in multiples of a unit."""
        lattice = self._lattice
        mean = np.clip(lattice.to_value(lattice.midpoint) + ratio.value * unit, self.min_value, self.max_value)
        return [pa.array(mean), pa.array(ratio.stddev * unit, mask=ratio.unknown)]

    @override
    def accuracy(self, noises: Sequence[Noise]) -> Accuracy:
        count, total = noises
        lattice = self._lattice
        # |S / n| <= R for the exact S and n, so this bounds the propagated error at n values.
        most = stddevs_for(total.mechanism) * math.hypot(total.stddev, lattice.to_value(lattice.radius) * count.stddev)
        return Accuracy(None, None, {n: most / n for n in SIZES})

    @override
    def describe(self, noises: Sequence[Noise]) -> list[dict[str, Any]]:
        meaning = self.meaning_of(f"mean of {self.column}")
        error = {"rule": "per_row", "mechanism": noises[0].mechanism, "stddev_column": f"{self.name}_stddev"}
        limits = [self.min_value, self.max_value]
        return [
            described(self.name, "double", meaning, aggregate=self.name, range=limits, error=error),
            stddev_column(self.name, sometimes_null=True),
        ]

    @override
    def plain_sql(self, units: Sequence[str]) -> str:
        return self.plainly("avg")

    @override
    def reference(self, rows: Sequence[Mapping[str, Any]], unit: str) -> list[Any]:
        clipped = self.clipped(rows, unit)
        return [clipped.mean(), 0.0] if len(clipped) else [(self.min_value + self.max_value) / 2, None]

    @override
    def parts(self, party: PartyCells) -> dict[str, pa.ChunkedArray]:
        """The noisy centred sum S and count n behind a released mean, with the variances of their noise.

        S = (mean - mid) max(n, 1) is what the party drew, except in cells whose mean was clamped: there it is the sum that is
        nearest to it among those that give a mean within the clipping bounds.
        """
        labels = [query.label for query in self.queries()]
        counted = self.counted_by(party)
        if counted is None:
            raise CannotCombine(
                "the count it was divided by is not in the table",
                f"add {self.count_beside} to the release file, with the mean's weight (it is the mean's own draw and costs "
                "nothing more), and release again",
            )
        count, mean = doubles(party.column(counted)), doubles(party.column(self.name))
        lattice = self._lattice
        total = (mean - lattice.to_value(lattice.midpoint)) * np.maximum(count, 1.0)
        count_variance, total_variance = (np.full(len(count), party.stddev_of(label) ** 2) for label in labels)
        found = {"value": total, "var": total_variance, "n": count, "nvar": count_variance}
        return {name: pa.chunked_array([values]) for name, values in found.items()}

    @override
    def combined(self, added: Mapping[str, pa.ChunkedArray]) -> list[Any]:
        """Cells from summed parts.

        With q = S / n first-order propagation has Var(mid + q) ~ (Var S + q^2 Var n) / n^2. In terms of the parties' means:
        dM/dm_i = n_i / n and dM/dn_i = (m_i - M) / n, but the noise of n_i is in m_i, too, with dm_i/dn_i =
        -(m_i - mid) / n_i; together -(M - mid) / n, the same for each party. Adding the parties' own variances with squared
        weights instead would leave that out.
        """
        return self._cells(Ratio(*(doubles(added[name]) for name in ("value", "var", "n", "nvar"))))

    @override
    def combination_note(self, *, overlapping: bool) -> str:
        weighted = f"weighted by the parties' noisy counts of {'values' if self.per_unit is None else 'units'}"
        return "; ".join(filter(None, [weighted, super().combination_note(overlapping=overlapping)]))
