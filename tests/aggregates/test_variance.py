"""What the contracts of all aggregates do not see of a variance: its bias, its sensitivity, and extreme bounds."""

from __future__ import annotations

import numpy as np
import pytest

from dp_spark.aggregates.given import Drawn, Noise
from dp_spark.aggregates.variance import Stddev, Variance
from dp_spark.privacy.bounds import ContributionBounds

SILENT = Noise("gaussian", 1e-9, 1.0, 1e-9, 0.0)


def spread(low: float, high: float, kind: type[Variance] | type[Stddev] = Variance) -> Variance | Stddev:
    function = "variance" if kind is Variance else "stddev"
    return kind.model_validate({"function": function, "name": "v", "column": "x", "min_value": low, "max_value": high})


def test_what_squaring_noise_adds_on_average_is_taken_off() -> None:
    """100 values of -1 and 1, three quarters of them 1: the mean is 1/2, the variance 3/4."""
    draws, stddev = 40_000, 10.0
    random = np.random.default_rng(1)
    total = Noise("gaussian", 1e3, stddev / 1e3, stddev, 0.0)
    sums = np.rint(50 / total.granularity + random.normal(scale=1e3, size=(draws, 1))).astype(np.int64)
    count = Drawn(np.full((draws, 1), 100), SILENT)
    squares = Drawn(np.full((draws, 1), 50), SILENT)  # 100 - 100 / 2: z^2 is 1 everywhere
    cells, told = spread(-1.0, 1.0).finish([count, Drawn(sums, total), squares])
    errors = np.asarray(cells) - 0.75
    assert abs(errors.mean()) < 4 * errors.std() / np.sqrt(draws)  # uncorrected, it is 0.01 too small, 14 of these
    assert np.asarray(told).mean() == pytest.approx(errors.std(), rel=0.1)


@pytest.mark.parametrize(("low", "high"), [(0.0, 400.0), (-1.0, 2.0), (0.05, 0.3), (1e15, 1e15 + 10)])
def test_the_squares_are_shifted_by_half_of_the_largest(low: float, high: float) -> None:
    squares = spread(low, high).queries()[2]
    radius = squares.measure.lattice.radius  # type: ignore[union-attr]
    assert radius <= 2**22
    assert squares.change == radius**2 - radius**2 // 2
    assert ContributionBounds(2, 3).sensitivity(squares).l1 == 6 * squares.change


@pytest.mark.parametrize("kind", [Variance, Stddev])
@pytest.mark.parametrize("steps", [-(2**63), -(2**40), 0, 2**40, 2**63 - 1])
@pytest.mark.parametrize("bound", [1e-130, 1.0, 2.8e135])
def test_no_draw_leaves_the_range_that_is_told(kind: type[Variance] | type[Stddev], steps: int, bound: float) -> None:
    found = spread(-bound, bound, kind)
    noise = [Noise("laplace", 2.0**57, 1.0, 2.0**57, 0.0), Noise("laplace", 2.0**57, bound, bound * 2.0**57, 0.0)]
    noise.append(Noise("laplace", 2.0**57, bound * bound, bound * bound * 2.0**57, 0.0))
    for count in (-(2**63), 1, 2**63 - 1):
        drawn = [Drawn(np.array([[count]]), noise[0]), *(Drawn(np.array([[steps]]), noise[index]) for index in (1, 2))]
        [value] = found.finish(drawn)[0].to_pylist()
        [limits] = [column["range"] for column in found.describe(noise) if "range" in column]
        assert limits[0] <= value <= limits[1]
