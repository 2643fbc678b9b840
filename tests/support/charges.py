"""Sensitivities and charges that a mechanism may be calibrated to, and the ways to charge for it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from dp_spark.privacy.bounds import Sensitivity
from dp_spark.privacy.mechanisms.base import Mechanism
from dp_spark.privacy.mechanisms.registry import MECHANISMS, MechanismName

SENSITIVITIES = st.builds(
    lambda k, per_partition: Sensitivity(k, k * per_partition, k * per_partition**2, per_partition),
    st.integers(1, 10**4),
    st.integers(1, 2**22) | st.just(1),
)
CHARGES = st.decimals(min_value="1e-6", max_value=50, places=12).filter(bool) | st.sampled_from(
    [Decimal(1) / 3, Decimal("0.1"), Decimal("1e-9"), Decimal("0.9999999999999999999999999999")]
)
ONE = Sensitivity(1, 1, 1, 1)
#: Every mechanism in every currency that it can be charged in.
CHARGED: list[tuple[MechanismName, str]] = [("laplace", "epsilon"), ("laplace", "rho"), ("gaussian", "rho")]
NAMES = list(MECHANISMS)


def mechanism(name: MechanismName, charge: str = "0.5", sensitivity: Sensitivity = ONE, **more: Any) -> Mechanism:
    """A mechanism calibrated to a charge in its own currency."""
    return _calibrated("count", name, charge, sensitivity, **more)


def counting(name: MechanismName, charge: str, l0: int, linf: int = 1) -> Mechanism:
    """The mechanism of a privacy-id count, where a unit can be in so many partitions."""
    return _calibrated("privacy_id_count", name, charge, Sensitivity(l0, l0 * linf, l0 * linf**2, linf))


def currency_of(name: MechanismName) -> str:
    """The mechanism's own currency."""
    return next(currency for known, currency in CHARGED if known == name)


def _calibrated(query: str, name: MechanismName, charge: str, sensitivity: Sensitivity, **more: Any) -> Mechanism:
    return MECHANISMS[name].calibrate(query, sensitivity, **{currency_of(name): Decimal(charge)}, **more)
