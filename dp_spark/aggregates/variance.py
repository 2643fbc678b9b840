"""The population variance and standard deviation of a column's clipped values: from a count, a sum and a sum of squares."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from typing_extensions import override

from dp_spark.aggregates.base import Clipped, described, sql_name, stddev_column
from dp_spark.aggregates.given import (
    MIN_STDDEVS,
    SIZES,
    Accuracy,
    CannotCombine,
    Doubles,
    Drawn,
    Flags,
    Noise,
    PartyCells,
    too_few,
)
from dp_spark.aggregates.query import Query, Total, centred_sum, count_of_column, total_of_column
from dp_spark.errors import at_key
from dp_spark.manifest import stddevs_for
from dp_spark.privacy.lattice import Lattice, square_lattice


class _Spread(Clipped):
    """From three noisy sums over z, the distance of a value from the middle: n, S = sum z, and F = sum (z^2 - h).

    V = F / n + h - (S / n)^2. One row changes n by 1, S by at most R, half of the range, and F by at most max(h, R^2 - h),
    with h = R^2 // 2 in lattice integers: z^2 is in [0, R^2], so that the shift halves the sensitivity. R^2 can be odd, so h
    is rounded down and the bound is that of integers. n and S are a mean's own queries: asked together they are drawn once.
    """

    @override
    def queries(self) -> tuple[Query, ...]:
        with at_key(f"aggregates.{self.name}"):
            lattice = square_lattice(self.min_value, self.max_value)
            total = centred_sum(self.column, self.min_value, self.max_value)
        squares = Total(self.column, lattice, lattice.midpoint, power=2, shift=self._shift)
        return (count_of_column(self.column), total, total_of_column("centred_sum_of_squares", squares))

    @property
    def _lattice(self) -> Lattice:
        return square_lattice(self.min_value, self.max_value)

    @property
    def _shift(self) -> int:
        """h, in lattice integers: half of the largest square, rounded down."""
        return self._lattice.radius**2 // 2

    @property
    def _half(self) -> float:
        """h, in the square of the column's own unit."""
        return self._shift * self._lattice.granularity**2

    @property
    def _most(self) -> float:
        """The largest variance that values within the clipping bounds can have (Popoviciu 1935)."""
        return ((self.max_value - self.min_value) / 2) ** 2

    @property
    def _rounding(self) -> float:
        """How far the lattice can move a variance: |z| times its step, over all values at worst."""
        return self._lattice.radius * self._lattice.granularity**2

    def _variance(self, drawn: Sequence[Drawn]) -> tuple[Doubles, Doubles, Flags]:
        """The variance, its stddev to first order, and where the noisy count says too little for it.

        The square of a noisy sum is too large by the variance of its noise on average, which is public and taken off. With
        s = S / n: dV/dF = 1 / n, dV/dS = -2 s / n, dV/dn = (s^2 + h - V) / n (the delta method; Casella and Berger 2002,
        section 5.5.4).
        """
        count, total, squares = drawn
        n = np.maximum(count.amount, 1.0)
        mean = total.amount / n
        noise = total.noise.stddev / n
        variance = np.clip(squares.amount / n + self._half - (mean**2 - noise**2), 0.0, self._most)
        by_count = (mean**2 + self._half - variance) * count.noise.stddev / n
        stddev = np.hypot(np.hypot(squares.noise.stddev / n, 2 * mean * noise), by_count)
        return variance, stddev, too_few(count.amount, count.noise.stddev)

    def _bound(self, noises: Sequence[Noise]) -> float:
        """A bound on n times the half-width of a variance: for exact sums |s| <= R and |s^2 + h - V| <= h + R^2."""
        count, total, squares = noises
        radius = self._lattice.to_value(self._lattice.radius)
        stddev = math.hypot(squares.stddev, 2 * radius * total.stddev, (self._half + radius**2) * count.stddev)
        return stddevs_for(squares.mechanism) * stddev

    def _described(self, noises: Sequence[Noise], what: str, most: float) -> list[dict[str, Any]]:
        meaning = f"{what} of {self.column} (of the population), {self.clipping}"
        error = {"rule": "per_row", "mechanism": noises[0].mechanism, "stddev_column": f"{self.name}_stddev"}
        return [
            described(self.name, "double", meaning, aggregate=self.name, range=[0.0, most], error=error),
            stddev_column(self.name, sometimes_null=True),
        ]

    @override
    def parts(self, party: PartyCells) -> dict[str, pa.ChunkedArray]:
        raise CannotCombine(
            "the sums that it was computed from are not in the table",
            "release the count of the column, its sum, and the sum of its squares (derive the square in a step) instead",
        )

    @override
    def combined(self, added: Mapping[str, pa.ChunkedArray]) -> list[Any]:
        raise AssertionError("there are no parts")


class Variance(_Spread):
    """The population variance of a numeric column whose values are clipped to [min_value, max_value]."""

    released_as: ClassVar[str] = "DOUBLE: the population variance of values clipped to the bounds"

    function: Literal["variance"]

    @override
    def finish(self, drawn: Sequence[Drawn]) -> list[pa.Array]:
        variance, stddev, unknown = self._variance(drawn)
        return [pa.array(variance), pa.array(stddev, mask=unknown)]

    @override
    def accuracy(self, noises: Sequence[Noise]) -> Accuracy:
        return Accuracy(None, None, {n: self._bound(noises) / n for n in SIZES})

    @override
    def describe(self, noises: Sequence[Noise]) -> list[dict[str, Any]]:
        return self._described(noises, "variance", self._most)

    @override
    def plain_sql(self, units: Sequence[str]) -> str:
        return f"var_pop({sql_name(self.column)})"

    @override
    def reference(self, rows: Sequence[Mapping[str, Any]], unit: str) -> list[Any]:
        clipped = self.clipped(rows)
        return [float(clipped.var()), 0.0] if len(clipped) else [self._half, None]


class Stddev(_Spread):
    """The population standard deviation of a numeric column whose values are clipped to [min_value, max_value]."""

    released_as: ClassVar[str] = "DOUBLE: the population standard deviation of values clipped to the bounds"

    function: Literal["stddev"]

    @override
    def finish(self, drawn: Sequence[Drawn]) -> list[pa.Array]:
        """The root of the variance; its stddev to first order, and null where the variance is not clear of its noise.

        Nor of the lattice: a root is steep where a variance is next to nothing.
        """
        variance, of_variance, unknown = self._variance(drawn)
        root = np.sqrt(variance)
        unclear = unknown | (variance < np.maximum(MIN_STDDEVS * of_variance, self._rounding))
        stddev = np.divide(of_variance, 2 * root, out=np.zeros_like(root), where=root > 0)
        return [pa.array(root), pa.array(stddev, mask=unclear)]

    @override
    def accuracy(self, noises: Sequence[Noise]) -> Accuracy:
        # |sqrt(v) - sqrt(w)| <= sqrt(|v - w|), whatever they are.
        return Accuracy(None, None, {n: math.sqrt(self._bound(noises) / n) for n in SIZES})

    @override
    def describe(self, noises: Sequence[Noise]) -> list[dict[str, Any]]:
        return self._described(noises, "standard deviation", math.sqrt(self._most))

    @override
    def plain_sql(self, units: Sequence[str]) -> str:
        return f"stddev_pop({sql_name(self.column)})"

    @override
    def reference(self, rows: Sequence[Mapping[str, Any]], unit: str) -> list[Any]:
        clipped = self.clipped(rows)
        variance = float(clipped.var()) if len(clipped) else self._half
        return [math.sqrt(variance), 0.0 if len(clipped) and variance >= self._rounding else None]
