"""How far noise takes a released number: from what a manifest says of its error, with Python alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from statistics import NormalDist
from typing import Any, NamedTuple


class _Width(NamedTuple):
    """How far the noise of a mechanism takes a value, with a probability of ``level`` or more.

    Attributes:
        steps: Of one draw of a scale, in steps of its grid; takes scale and level.
        stddevs: Of a sum of draws, in its own standard deviations; takes the level.
    """

    steps: Callable[[float, float], int]
    stddevs: Callable[[float], float]


def _normal(level: float) -> float:
    return NormalDist().inv_cdf((1 + level) / 2)


def _laplace_steps(scale: float, level: float) -> int:
    q = math.exp(-1 / scale)
    return max(0, math.ceil(math.log((1 - level) * (1 + q) / 2) / math.log(q) - 1)) if q > 0 else 0


def _laplace_stddevs(level: float) -> float:
    return max(_normal(level), -math.log(1 - level) / math.sqrt(2))


def _gaussian_steps(scale: float, level: float) -> int:
    return math.ceil(_normal(level) * scale - 0.5)


#: Whose noise this version can tell the width of: every mechanism of ``dp_spark.privacy.mechanisms``.
WIDTHS: Mapping[str, _Width] = {
    "laplace": _Width(_laplace_steps, _laplace_stddevs),
    "gaussian": _Width(_gaussian_steps, _normal),
}


def error_width(error: Mapping[str, Any], stddev: float | None = None, *, level: float = 0.95) -> float | None:
    """The half-width that a cell's noise keeps within with probability ``level``; None where it cannot be told.

    Args:
        error: What the manifest says of the error of the cell's column.
        stddev: What stands in the column that it names, where the error differs by cell.
        level: The probability, above 0 and below 1.

    Guarantees: for Laplace noise w is the least that has P[|noise| <= w] >= level, from the tail of the discrete Laplace
    distribution, P[|X| > w] = 2 q^(w+1) / (1 + q) with q = e^(-1/scale) (Ghosh, Roughgarden and Sundararajan 2009). For
    Gaussian noise the normal quantile is rounded up by half a step: the discrete tails are at most one step heavier. Where
    the error differs by cell it is ``stddevs_for`` its mechanism. Where quantiles of the noise's size are told it is the least
    of them whose probability is at least ``level``.

    >>> error_width({"rule": "quantiles", "quantiles": [[0.9, 12.0], [0.99, 20.0]]}, level=0.95)
    20.0
    """
    if error["rule"] == "quantiles":
        told = (width for probability, width in error.get("quantiles", ()) if probability >= level)
        return min(told, default=None)
    mechanism = str(error.get("mechanism"))
    if not set(mechanism.split(" and ")) <= WIDTHS.keys():
        return None
    if error["rule"] == "per_row":
        return None if stddev is None or math.isnan(stddev) else stddevs_for(mechanism, level) * stddev
    if error["rule"] != "constant" or mechanism not in WIDTHS:
        return None
    return max(0, WIDTHS[mechanism].steps(float(error["noise_scale"]), level)) * float(error["granularity"])


def stddevs_for(mechanism: str, level: float = 0.95) -> float:
    """How many of its standard deviations noise keeps within with a probability of ``level`` or more, if it is a sum of draws.

    Args:
        mechanism: What it was drawn from, as a manifest says.
        level: The probability, above 0 and below 1.

    Guarantees: the normal quantile for Gaussian noise. For Laplace noise the larger of that and the quantile of one draw,
    ln(1 / (1 - level)) / sqrt(2): a sum of several has lighter tails than one and heavier than the normal
    (``tests/test_manifest.py`` has the tails of two, whatever their shares).

    >>> round(stddevs_for("gaussian"), 2), round(stddevs_for("laplace"), 2)
    (1.96, 2.12)
    """
    known = (WIDTHS[name] for name in mechanism.split(" and ") if name in WIDTHS)
    return max(_normal(level), *(width.stddevs(level) for width in known))
