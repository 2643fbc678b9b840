"""The accountants by name: a new one is a file of its own, and a line here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from dp_spark.privacy.accountants.base import Accountant, Cost
from dp_spark.privacy.accountants.basic import Basic
from dp_spark.privacy.accountants.zcdp import Zcdp
from dp_spark.privacy.events import Event
from dp_spark.privacy.mechanisms.registry import MechanismName

AccountantName = Literal["basic", "zcdp"]

ACCOUNTANTS: Mapping[AccountantName, Accountant] = {
    "basic": Basic(),
    "zcdp": Zcdp(),
}


def cost_of(events: Iterable[Event], accountant: AccountantName) -> Cost:
    """The exact sum of what draws are charged in an account of this accountant.

    Raises:
        BudgetError: If one has no price that this accountant can add up.
    """
    return ACCOUNTANTS[accountant].cost(events)


def mechanisms_without_delta() -> tuple[MechanismName, ...]:
    """The mechanisms that a release without a delta can draw from.

    >>> mechanisms_without_delta()
    ('laplace',)
    """
    found = (name for kind in ACCOUNTANTS.values() if not kind.spends_delta for name in kind.mechanisms)
    return tuple(dict.fromkeys(found))
