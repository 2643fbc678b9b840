"""The mechanisms by name: a new one is a file of its own, and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

from dp_spark.privacy.bounds import Sensitivity
from dp_spark.privacy.mechanisms.base import Mechanism
from dp_spark.privacy.mechanisms.gaussian import Gaussian
from dp_spark.privacy.mechanisms.laplace import Laplace

MechanismName = Literal["laplace", "gaussian"]

MECHANISMS: Mapping[MechanismName, type[Mechanism]] = {
    "laplace": Laplace,
    "gaussian": Gaussian,
}


def calibrate(
    name: MechanismName,
    query: str,
    sensitivity: Sensitivity,
    *,
    epsilon: Decimal | None = None,
    rho: Decimal | None = None,
    grid_bits: int = 0,
) -> Mechanism:
    """The least noise of a mechanism whose privacy map is within the charge: ``Mechanism.calibrate`` of the one named."""
    return MECHANISMS[name].calibrate(query, sensitivity, epsilon=epsilon, rho=rho, grid_bits=grid_bits)
