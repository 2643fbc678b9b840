"""The population variance and standard deviation of a column's clipped values: from a count, a sum and a sum of squares."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Mapping, Sequence
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
    too_few,
)
from dp_spark.aggregates.query import Query, Total, centred_sum, count_of_column, total_of_column
from dp_spark.errors import at_key
from dp_spark.noise_width import stddevs_for
from dp_spark.privacy.integers import Doubles
from dp_spark.privacy.lattice import Lattice, square_lattice

#: By how many of its stddevs a noisy count may be too large where an error is told.
_OVERESTIMATED = 1.5


class _Spread(Clipped):
    """From three noisy sums over z, the distance of a value from the middle: n, S = sum z, and F = sum (z^2 - h).

    V = F / n + h - (S / n)^2. One row changes n by 1, S by at most R, half of the range, and F by at most max(h, R^2 - h),
    with h = R^2 // 2 in lattice integers: z^2 is in [0, R^2], so that the shift halves the sensitivity. R^2 can be odd, so h
    is rounded down and the bound is that of integers. n and S are a mean's own queries: asked together they are drawn once.
    """

    @override
    def queries(self) -> tuple[Query, ...]:
        with at_key(f"aggregates.{self.name}"):
            lattice = self._lattice
            total = centred_sum(self.of_values, self.min_value, self.max_value)
        squares = Total(self.of_values, lattice, lattice.midpoint, power=2, shift=self._shift)
        return (count_of_column(self.of_values), total, total_of_column("centred_sum_of_squares", squares))

    @property
    def _lattice(self) -> Lattice:
        return square_lattice(self.min_value, self.max_value, per_unit=self.per_unit is not None)

    @property
    def _shift(self) -> int:
        """h, in lattice integers: half of the largest square, rounded down."""
        return self._lattice.radius**2 // 2

    @property
    def _radius(self) -> float:
        """R, in the column's own unit."""
        return self._lattice.to_value(self._lattice.radius)

    @property
    def _half(self) -> float:
        """h in squares of R: one half, or a little less."""
        return self._shift / self._lattice.radius**2

    @property
    def _most(self) -> float:
        """The largest variance that values within the clipping bounds can have (Popoviciu 1935)."""
        return ((self.max_value - self.min_value) / 2) ** 2

    @property
    def _rounding(self) -> float:
        """How far the lattice can move a variance, in squares of R: |z| times its step, over all values at worst."""
        return 1 / self._lattice.radius

    def _variance(self, drawn: Sequence[Drawn]) -> tuple[Doubles, Doubles, Flags]:
        """The variance, its stddev, both in squares of R, and where the noisy count says too little for it.

        The square of a noisy sum is too large by the variance of its noise on average, which is public and taken off. With
        s = S / n: dV/dF = 1 / n, dV/dS = -2 s / n, dV/dn = (s^2 + h - V) / n (the delta method; Casella and Berger 2002,
        section 5.5.4). What that leaves out counts where n is small: the square of the noise of S varies by itself, by five
        squares of its variance at most, and n can be overestimated, so the error is told for a smaller n.
        """
        count, total, squares = drawn
        n = np.maximum(count.amount, 1.0)
        # In units of R: squares of the column's own unit can leave a double's range before they are divided.
        mean = np.clip(_scaled(total, self._radius) / n, -1.0, 1.0)
        noise = total.noise.stddev / self._radius
        square = np.clip(mean**2 - (noise / n) ** 2, 0.0, 1.0)
        of_squares = _scaled(squares, self._radius, self._radius)
        variance = np.clip(of_squares / n + self._half - square, 0.0, 1.0)
        fewer = np.maximum(n - _OVERESTIMATED * count.noise.stddev, 1.0)
        terms = (
            squares.noise.stddev / self._radius / self._radius / fewer,
            2 * mean * noise / fewer,
            (mean**2 + self._half - variance) * count.noise.stddev / fewer,
            math.sqrt(5) * (noise / fewer) ** 2,
            np.full(len(n), self._rounding),
        )
        return variance, np.sqrt(sum(term**2 for term in terms)), too_few(count.amount, count.noise.stddev)

    def _bound(self, noises: Sequence[Noise], n: int) -> float:
        """A bound on the half-width of a variance of n values: for exact sums |s| <= R and |s^2 + h - V| <= h + R^2."""
        count, total, squares = noises
        terms = (
            squares.stddev / self._radius / self._radius,
            2 * total.stddev / self._radius,
            (self._half + 1) * count.stddev,
        )
        return (stddevs_for(squares.mechanism) * math.hypot(*terms) / n + self._rounding) * self._radius**2

    def _described(self, noises: Sequence[Noise], what: str, most: float) -> list[dict[str, Any]]:
        meaning = self.meaning_of(f"{what} of {self.column} (of the population)")
        error = {"rule": "per_row", "mechanism": noises[0].mechanism, "stddev_column": f"{self.name}_stddev"}
        return [
            described(self.name, "double", meaning, aggregate=self.name, range=[0.0, most], error=error),
            stddev_column(self.name, sometimes_null=True),
        ]

    @override
    def parts(self, party: PartyCells) -> dict[str, pa.ChunkedArray]:
        instead = "the count of the column, its sum, and the sum of its squares (derive the square in a step)"
        if self.per_unit is not None:  # no step squares what a unit's rows come to
            instead = f"their mean (function: mean, per_unit: {self.per_unit})"
        raise CannotCombine("the sums that it was computed from are not in the table", f"release {instead} instead")

    @override
    def combined(self, added: Mapping[str, pa.ChunkedArray]) -> list[Any]:
        raise AssertionError("there are no parts")


def _scaled(drawn: Drawn, *units: float) -> Doubles:
    """Noisy sums in multiples of a unit, or of the product of two."""
    return drawn.single.astype(np.float64) * functools.reduce(operator.truediv, units, drawn.noise.granularity)


class Variance(_Spread):
    """The population variance of a numeric column whose values are clipped to [min_value, max_value]."""

    released_as: ClassVar[str] = "DOUBLE: the population variance of values clipped to the bounds"

    function: Literal["variance"]

    @override
    def finish(self, drawn: Sequence[Drawn]) -> list[pa.Array]:
        variance, stddev, unknown = self._variance(drawn)
        cells = np.minimum(variance * self._radius**2, self._most)
        return [pa.array(cells), pa.array(stddev * self._radius**2, mask=unknown)]

    @override
    def accuracy(self, noises: Sequence[Noise]) -> Accuracy:
        return Accuracy(None, None, {n: self._bound(noises, n) for n in SIZES})

    @override
    def describe(self, noises: Sequence[Noise]) -> list[dict[str, Any]]:
        return self._described(noises, "variance", self._most)

    @override
    def plain_sql(self, units: Sequence[str]) -> str:
        return self.plainly("var_pop")

    @override
    def reference(self, rows: Sequence[Mapping[str, Any]], unit: str) -> list[Any]:
        clipped = self.clipped(rows, unit)
        return [float(clipped.var()), 0.0] if len(clipped) else [self._half * self._radius**2, None]


class Stddev(_Spread):
    """The population standard deviation of a numeric column whose values are clipped to [min_value, max_value]."""

    released_as: ClassVar[str] = "DOUBLE: the population standard deviation of values clipped to the bounds"

    function: Literal["stddev"]

    @override
    def finish(self, drawn: Sequence[Drawn]) -> list[pa.Array]:
        """The root of the variance, and an error that its interval is as good as the variance's.

        The delta method's stddev / (2 root) says nothing where the variance is not clear of its noise. So the 95 % interval
        of the variance is taken to its roots, of which the farther one counts.
        """
        variance, of_variance, unknown = self._variance(drawn)
        root, width = np.sqrt(variance), stddevs_for(drawn[2].noise.mechanism)
        below = root - np.sqrt(np.maximum(variance - width * of_variance, 0.0))
        above = np.sqrt(variance + width * of_variance) - root
        stddev = np.maximum(below, above) / width
        cells = np.minimum(root * self._radius, math.sqrt(self._most))
        return [pa.array(cells), pa.array(stddev * self._radius, mask=unknown)]

    @override
    def accuracy(self, noises: Sequence[Noise]) -> Accuracy:
        # |sqrt(v) - sqrt(w)| <= sqrt(|v - w|), whatever they are.
        return Accuracy(None, None, {n: math.sqrt(self._bound(noises, n)) for n in SIZES})

    @override
    def describe(self, noises: Sequence[Noise]) -> list[dict[str, Any]]:
        return self._described(noises, "standard deviation", math.sqrt(self._most))

    @override
    def plain_sql(self, units: Sequence[str]) -> str:
        return self.plainly("stddev_pop")

    @override
    def reference(self, rows: Sequence[Mapping[str, Any]], unit: str) -> list[Any]:
        clipped = self.clipped(rows, unit)
        variance = float(clipped.var()) if len(clipped) else self._half * self._radius**2
        return [math.sqrt(variance), 0.0 if len(clipped) else None]
