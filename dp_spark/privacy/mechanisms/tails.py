"""How large noise can be, by the mechanism's name and its scale, as a manifest has them; OpenDP is not loaded."""

from __future__ import annotations

from dp_spark.privacy.mechanisms.registry import MECHANISMS, MechanismName


def noise_stddev(name: MechanismName, scale: float) -> float:
    """The standard deviation of discrete noise of this scale.

    >>> round(noise_stddev("laplace", 100.0) / 100, 3), round(noise_stddev("gaussian", 100.0), 3)
    (1.414, 100.0)
    """
    return MECHANISMS[name].stddev_at(scale)


def upper_tail(name: MechanismName, scale: float, at_least: int) -> float:
    """P[noise >= at_least] for discrete noise of this scale."""
    return MECHANISMS[name].upper_tail_at(scale, at_least)


def quantile(name: MechanismName, scale: float, tail: float) -> int:
    """The smallest integer w with P[noise > w] <= tail."""
    return MECHANISMS[name].quantile_at(scale, tail)


def noise_half_width(name: MechanismName, scale: float) -> float:
    """The smallest integer w with P[|noise| <= w] >= 95 %.

    >>> noise_half_width("laplace", 1e-3), noise_half_width("gaussian", 100.0)
    (0.0, 196.0)
    """
    return MECHANISMS[name].half_width_at(scale)
