"""Events and chains of ledger rows as a test writes them, allowed or not."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from dp_spark.errors import DamageError
from dp_spark.ledger.entries import Charge
from dp_spark.ledger.rows import CHARGE, GENESIS, OPEN, PUBLISHED, Row
from dp_spark.ledger.state import LedgerState
from dp_spark.privacy.accountants.account import Account
from dp_spark.privacy.decimals import decimal_text
from dp_spark.privacy.events import Event, events_to_json

START = datetime(2024, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
WHERE = "warehouse/ledger"


def laplace(epsilon: str, delta: str = "0") -> Event:
    return Event("count", "laplace", 1.0, Decimal(epsilon), None, Decimal(delta))


def gaussian(rho: str | Decimal, delta: str = "0") -> Event:
    return Event("count", "gaussian", 1.0, None, Decimal(rho), Decimal(delta))


def account(epsilon: str, delta: str = "0") -> Account:
    return Account.open(Decimal(epsilon), Decimal(delta))


def wanted(state: LedgerState, dataset: str, *events: Event, unit: str = '["id"]', source: str | None = None) -> Charge:
    """A charge as a new release would ask for it."""
    accountant = state.account(dataset).account.accountant
    about = ("wanted", "sha256-2:w", accountant, unit, source or f"/data/{dataset}")
    return Charge(dataset, *about, events, None, Decimal(1), Decimal(0))


class Chain:
    """Rows with sound digests, allowed or not; every method returns the chain itself."""

    def __init__(self, entries: Iterable[Row] = ()) -> None:
        self.entries = list(entries)

    def add(self, kind: str, dataset: str, **changes: Any) -> Chain:
        values: dict[str, Any] = dict.fromkeys(("release_id", "file_digest", "privacy_unit", "source", "rho", "reason"))
        values |= {"accountant": "basic", "events": "[]", "epsilon": "0", "delta": "0", "who": "me"}
        values |= {"at": START + timedelta(hours=len(self.entries)), "sequence": len(self.entries) + 1}
        previous = self.entries[-1].digest if self.entries else GENESIS
        self.entries.append(Row(**{**values, "entry": kind, "dataset": dataset, "previous_digest": previous, **changes}))
        return self

    def open(self, dataset: str, total: Account, *, group: str | None = None, **more: Any) -> Chain:
        return self.add(
            OPEN, dataset, accountant=total.accountant, epsilon=decimal_text(total.epsilon), delta=decimal_text(total.delta),
            rho=None if total.rho is None else decimal_text(total.rho),
            events="[]" if group is None else json.dumps({"group": group}), **more,
        )  # fmt: skip

    def charge(self, dataset: str, release: str, *events: Event, unit: str = '["id"]', **more: Any) -> Chain:
        given = {"release_id": release, "privacy_unit": unit, "source": f"/data/{dataset}", "file_digest": "sha256:f"}
        return self.add(CHARGE, dataset, **{**given, "events": events_to_json(events), **more})

    def publish(self, dataset: str, release: str | None) -> Chain:
        place = json.dumps({"sink": f"/out/{release}", "version": 0, "draw": "sha256:d"})
        given = {"source": f"/data/{dataset}", "file_digest": "sha256:f", "privacy_unit": '["id"]'}
        return self.add(PUBLISHED, dataset, release_id=release, events=place, **given)

    def state(self) -> LedgerState:
        return LedgerState(self.entries, where=WHERE)

    def damaged(self, match: str | None = None) -> None:
        with pytest.raises(DamageError, match=match) as caught:
            self.state()
        assert caught.value.where == WHERE
        assert caught.value.exit_code == 6
