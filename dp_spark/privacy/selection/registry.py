"""The selection strategies by name: a new one is a file of its own, and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from dp_spark.privacy.selection.base import Selection
from dp_spark.privacy.selection.thresholding import Thresholding
from dp_spark.privacy.selection.truncated_geometric import TruncatedGeometric

SelectionName = Literal["threshold", "truncated_geometric"]

SELECTIONS: Mapping[SelectionName, type[Selection]] = {
    "threshold": Thresholding,
    "truncated_geometric": TruncatedGeometric,
}
#: What partitions are selected by where nothing else is said: in a release file, and in a manifest, for ever.
UNNAMED: SelectionName = "threshold"


def described(selection: Selection) -> dict[str, Any]:
    """What a manifest tells of privately selected partitions."""
    named = {} if selection.name == UNNAMED else {"strategy": selection.name}
    return {"selection": "private", **named, **selection.describe()}


def strategy_of(partitions: Mapping[str, Any]) -> type[Selection] | None:
    """The strategy that a manifest's partitions were selected by; None where they were not, or this version does not know it.

    >>> strategy_of({"selection": "public"}), strategy_of({"selection": "private", "threshold": 9}).__name__
    (None, 'Thresholding')
    """
    if partitions["selection"] != "private":
        return None
    return next((kind for name, kind in SELECTIONS.items() if name == partitions.get("strategy", UNNAMED)), None)
