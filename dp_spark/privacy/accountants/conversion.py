"""rho to (epsilon, delta) and back; the only importer of dp-accounting.

The conversion is the only place of accounting with floating point, and it errs against us.
"""

from __future__ import annotations

import functools
from decimal import ROUND_FLOOR, Context, Decimal
from fractions import Fraction

import numpy as np
from dp_accounting import ZCDpEvent
from dp_accounting.rdp import RdpAccountant

from dp_spark.errors import SpecError

#: Renyi orders from just above 1 to 10^9, each 1.2 % above its neighbour (in order - 1): dp-accounting's own stop at
#: 512, far below the best order 1 + sqrt(log(1/delta)/rho) of a small rho, and would waste nearly all of it.
_ORDERS = tuple(1 + np.geomspace(1.1e-2, 1e9, 2200))
#: The conversion is computed in doubles; this relative margin is far above their error and far below what matters.
_MARGIN = 1e-9
_DIGITS = 15


def zcdp_to_epsilon(rho: Decimal | Fraction, delta: Decimal) -> float:
    """The epsilon for which rho-zCDP implies (epsilon, delta)-DP, rounded up.

    Args:
        rho: The zCDP parameter.
        delta: The target delta, above 0.

    Source: Canonne, Kamath and Steinke, "The Discrete Gaussian for Differential Privacy" (2020), proposition 12,
    minimised over a grid of orders: any order is a valid bound, so a coarse grid can only err against us.

    >>> 5.0 < zcdp_to_epsilon(Decimal("0.5"), Decimal("1e-6")) < 5.6
    True
    """
    if rho == 0:
        return 0.0
    accountant = RdpAccountant(orders=_ORDERS)
    accountant.compose(ZCDpEvent(float(rho) * (1 + _MARGIN)))
    return float(accountant.get_epsilon(float(delta) * (1 - _MARGIN))) * (1 + _MARGIN)


@functools.lru_cache(maxsize=256)
def zcdp_from_budget(epsilon: Decimal, delta: Decimal) -> Decimal:
    """The largest rho, to 15 digits, that a budget of (epsilon, delta) buys, with half of delta for the conversion.

    Args:
        epsilon: The budget's epsilon.
        delta: The budget's whole delta, above 0.

    Raises:
        SpecError: If it buys less than can be told from nothing.

    Guarantees: ``zcdp_to_epsilon(result, delta / 2) <= epsilon``, and the same budget always gives the same rho, so
    a release that asks for exactly what was opened fits.
    """
    target, half = float(epsilon), delta / 2
    low, high = 0.0, target
    while zcdp_to_epsilon(Fraction(high), half) <= target:
        low, high = high, 2 * high
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if zcdp_to_epsilon(Fraction(middle), half) <= target else (low, middle)
    if low == 0:
        raise SpecError("is too small to be converted to zCDP", where="epsilon", mend="give more, or use a basic account")
    return Context(prec=_DIGITS, rounding=ROUND_FLOOR).create_decimal(Decimal(low))
