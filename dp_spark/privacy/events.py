"""What happened to a dataset, as inert data with a stable JSON form; accountants interpret it.

An event is what the ledger stores. Keys are never removed from its JSON form, so that old ledgers stay readable.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from dp_spark.privacy.decimals import decimal_text


@dataclass(frozen=True)
class Event:
    """One draw of noise on one query, and what it is charged.

    Attributes:
        query: The query's label.
        mechanism: ``laplace`` or ``gaussian``, each discrete.
        scale: The noise scale, in lattice units.
        epsilon: The pure-DP charge; None for a mechanism that has none.
        rho: The zCDP charge; None in a basic account.
        delta: The charge of thresholding; zero for anything but partition selection.
        threshold: The smallest noisy count that is shown; None for anything but partition selection.
        pre_threshold: Keys with fewer units were no candidates; None where there was no such bound.
        truncated_at: The noise was drawn on the condition that its absolute value is at most this; None for noise as it is.
    """

    query: str
    mechanism: str
    scale: float
    epsilon: Decimal | None
    rho: Decimal | None
    delta: Decimal = Decimal(0)
    threshold: int | None = None
    pre_threshold: int | None = None
    truncated_at: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The event as JSON data; decimals as text, so that nothing is rounded. What came later is told where it is used."""
        later = {"pre_threshold": self.pre_threshold, "truncated_at": self.truncated_at}
        return {
            "query": self.query,
            "mechanism": self.mechanism,
            "scale": repr(self.scale),
            "epsilon": None if self.epsilon is None else decimal_text(self.epsilon),
            "rho": None if self.rho is None else decimal_text(self.rho),
            "delta": decimal_text(self.delta),
            "threshold": self.threshold,
            **{name: value for name, value in later.items() if value is not None},
        }

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Event:
        """Reads back what ``to_dict`` wrote."""
        return Event(
            query=data["query"],
            mechanism=data["mechanism"],
            scale=float(data["scale"]),
            epsilon=None if data["epsilon"] is None else Decimal(data["epsilon"]),
            rho=None if data["rho"] is None else Decimal(data["rho"]),
            delta=Decimal(data["delta"]),
            threshold=data["threshold"],
            pre_threshold=data.get("pre_threshold"),
            truncated_at=data.get("truncated_at"),
        )


def events_to_json(events: Iterable[Event], unparsed: str | None = None) -> str:
    """What a charge stores: its events as one line of JSON; with a digest, both, under a name each.

    Args:
        events: Every draw that is paid for.
        unparsed: The file's digest without parsing (``file_digests.unparsed_digest``), where parsing may be corrected.

    >>> event = Event("count", "laplace", 20.0, Decimal("0.1"), None)
    >>> text = events_to_json([event], "sha256-2:0f")
    >>> events_from_json(events_to_json([event])) == events_from_json(text) == (event,), unparsed_from_json(text)
    (True, 'sha256-2:0f')
    """
    draws = [event.to_dict() for event in events]
    return json.dumps(draws if unparsed is None else {"draws": draws, "unparsed": unparsed}, separators=(",", ":"))


def events_from_json(text: str) -> tuple[Event, ...]:
    """Reads back the events that ``events_to_json`` wrote."""
    items = json.loads(text)
    if isinstance(items, dict):
        items = items["draws"]
    if not isinstance(items, list):
        raise ValueError("events are a list")
    return tuple(Event.from_dict(item) for item in items)


def unparsed_from_json(text: str) -> str | None:
    """Reads back the digest that ``events_to_json`` wrote beside the events, or None."""
    items = json.loads(text)
    return str(items["unparsed"]) if isinstance(items, dict) and items.get("unparsed") else None
