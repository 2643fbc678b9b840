"""OpenDP's measurements over our integers; the only importer of OpenDP.

A mechanism is known here by what OpenDP's constructors call it (``make_laplace``, ``make_laplace_threshold``) and by the
norm that its privacy map measures changes in: 1 for the sum of the changes of all integers, 2 for their Euclidean length.
"""

from __future__ import annotations

from typing import Any, Protocol

import opendp.prelude as dp

from dp_spark.privacy.bounds import Norm

dp.enable_features("contrib")


class Measurement(Protocol):
    """What is used of OpenDP's measurements: the input domain, the privacy map, and the draw."""

    input_domain: Any

    def map(self, d_in: Any) -> Any:
        """The privacy loss between inputs at this distance, rounded outward."""

    def __call__(self, arg: Any) -> Any:
        """Draws noise with OpenDP's CSPRNG."""


def additive(name: str, norm: Norm, scale: float, size: int | None = None) -> Measurement:
    """Noise for each integer of a vector.

    Args:
        name: What OpenDP calls the mechanism.
        norm: The norm that changes are measured in.
        scale: The noise scale.
        size: The number of integers; None where only the privacy map is asked.
    """
    domain = dp.vector_domain(dp.atom_domain(T="i64"), size=size)
    metric = dp.l1_distance(T="i64") if norm == 1 else dp.l2_distance(T="f64")
    found: Measurement = getattr(dp.m, f"make_{name}")(domain, metric, scale=scale)
    return found


def thresholded(name: str, norm: Norm, scale: float, threshold: int) -> Measurement:
    """Noise for each value of a map; it returns the keys whose noisy value is at least the threshold, with that value.

    Args:
        name: What OpenDP calls the mechanism.
        norm: The norm that changes are measured in.
        scale: The noise scale.
        threshold: The smallest noisy value that is returned; the privacy map is that of one more (docs/adr/0003).
    """
    domain = dp.map_domain(dp.atom_domain(T="i64"), dp.atom_domain(T="i64"))
    if norm == 1:
        metric = dp.l01inf_distance(dp.absolute_distance(T="i64"))
    else:
        metric = dp.l02inf_distance(dp.absolute_distance(T="f64"))
    found: Measurement = getattr(dp.m, f"make_{name}_threshold")(domain, metric, scale=scale, threshold=threshold)
    return found
