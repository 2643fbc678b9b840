"""What the ledger's entries say: an opening, a charge, a correction, a publication; and the one place where rows become these.

An entry is inert data, made from a row or to be written as one. ``Written`` is an entry that is in the ledger, with its row:
digests are over what is stored, never over what was understood of it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Generic, TypeVar, cast

from dp_spark.errors import SpecError
from dp_spark.ledger.rows import CHARGE, CORRECTION, OPEN, PUBLISHED, Row, Seal
from dp_spark.places.identities import split_identities
from dp_spark.privacy.accountants.account import Account
from dp_spark.privacy.accountants.registry import ACCOUNTANTS, AccountantName, cost_of
from dp_spark.privacy.decimals import decimal_text
from dp_spark.privacy.events import Event, events_from_json, events_to_json, unparsed_from_json


@dataclass(frozen=True)
class Opening:
    """Opens an account, or raises one that is open.

    Attributes:
        dataset: The dataset that the account belongs to.
        account: Its budget and accountant.
        group: The group of datasets that it shares users with, or None.
        reason: Why, for people; a raise always has one.
    """

    dataset: str
    account: Account
    group: str | None
    reason: str | None


@dataclass(frozen=True)
class _OfRelease:
    """What every entry of a release says again.

    Attributes:
        dataset: The account.
        release_id: The release's identity.
        file_digest: The digest of its effective release file.
        accountant: The account's accountant.
        privacy_unit: The unit that is protected, as JSON (``spec.unit_pin``).
        source: The identity of its source.
    """

    dataset: str
    release_id: str
    file_digest: str
    accountant: AccountantName
    privacy_unit: str
    source: str


@dataclass(frozen=True)
class Correction(_OfRelease):
    """Lets a charged release go on with another file, that of ``file_digest``, which differs in parsing only; costs nothing."""


@dataclass(frozen=True)
class Publication(_OfRelease):
    """Says where a release is.

    Attributes:
        sink: The table that it is in.
        version: Its version there.
        draw: The digest of the draw that was published.
    """

    sink: str
    version: int
    draw: str


@dataclass(frozen=True)
class Charge(_OfRelease):
    """Pays for every draw of a release.

    Attributes:
        events: The draws.
        unparsed: The file's digest without parsing, where its parsing may be corrected; else None.
        epsilon: The epsilon of the release's own guarantee.
        delta: Its delta.
    """

    events: tuple[Event, ...]
    unparsed: str | None
    epsilon: Decimal
    delta: Decimal

    def corrected(self, file_digest: str) -> Correction:
        """The entry that lets the release go on with the file of this digest."""
        return Correction(self.dataset, self.release_id, file_digest, self.accountant, self.privacy_unit, self.source)

    def published(self, sink: str, version: int, draw: str) -> Publication:
        """The entry that says that the release is in a version of its sink, with the draw of this digest."""
        about = (self.dataset, self.release_id, self.file_digest, self.accountant, self.privacy_unit, self.source)
        return Publication(*about, sink, version, draw)


Entry = Opening | Charge | Correction | Publication
_E = TypeVar("_E", Entry, Opening, Charge, Correction, Publication, covariant=True)


@dataclass(frozen=True)
class Written(Generic[_E]):
    """An entry that is in the ledger.

    Attributes:
        entry: What it says.
        row: The row as it is stored.
    """

    entry: _E
    row: Row

    @property
    def sequence(self) -> int:
        """Its place in the ledger, from 1."""
        return self.row.sequence

    @property
    def at(self) -> datetime:
        """When it was written."""
        return self.row.at

    @property
    def seal(self) -> Seal:
        """What proves later that the ledger held it."""
        return self.row.seal


# --- rows and entries ------------------------------------------------------------------------------------------------


def entry_of(row: Row) -> Entry:
    """What a row says.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError: If dp-spark would not write it.
    """
    return _READERS[row.entry](row)


def row_of(entry: Entry, *, sequence: int, previous_digest: str, at: datetime, who: str) -> Row:
    """The row that is stored for an entry.

    Args:
        entry: What it says.
        sequence: Its place in the ledger, from 1.
        previous_digest: The digest of the row before it.
        at: When it is written.
        who: The user who writes it.
    """
    values: dict[str, str | None] = dict.fromkeys(("release_id", "file_digest", "privacy_unit", "source", "rho", "reason"))
    values |= {"events": "[]", "epsilon": "0", "delta": "0"}
    match entry:
        case Opening():
            kind, account = OPEN, entry.account
            values |= {"accountant": account.accountant, "reason": entry.reason}
            values |= {"epsilon": decimal_text(account.epsilon), "delta": decimal_text(account.delta)}
            values["rho"] = None if account.rho is None else decimal_text(account.rho)
            values["events"] = "[]" if entry.group is None else json.dumps({"group": entry.group})
        case Charge():
            kind = CHARGE
            values |= {"epsilon": decimal_text(entry.epsilon), "delta": decimal_text(entry.delta)}
            cost = cost_of(entry.events, entry.accountant)
            values["rho"] = decimal_text(cost.amount) if cost.currency == "rho" else None
            values["events"] = events_to_json(entry.events, entry.unparsed)
        case Correction():
            kind = CORRECTION
        case Publication():
            kind = PUBLISHED
            values["events"] = json.dumps({"sink": entry.sink, "version": entry.version, "draw": entry.draw})
    if isinstance(entry, _OfRelease):
        values |= {name: getattr(entry, name) for name in _OF_RELEASE}
    values |= {"entry": kind, "dataset": entry.dataset, "who": who, "previous_digest": previous_digest}
    return Row.of({**values, "sequence": sequence, "at": at})


_OF_RELEASE = ("release_id", "file_digest", "accountant", "privacy_unit", "source")


def _opening(row: Row) -> Opening:
    accountant, rho = _accountant(row.accountant), None if row.rho is None else _amount(row.rho)
    if (ACCOUNTANTS[accountant].currency == "rho") != (rho is not None):
        raise ValueError
    account = Account(accountant, _amount(row.epsilon), _amount(row.delta), rho)
    document = json.loads(row.events)
    return Opening(row.dataset, account, str(document["group"]) if isinstance(document, dict) else None, row.reason)


def _charge(row: Row) -> Charge:
    events = events_from_json(row.events)
    for amount in itertools.chain.from_iterable((event.epsilon, event.rho, event.delta) for event in events):
        _amount(str(amount or 0))
    split_identities(_text(row.source))
    return Charge(*_of_release(row), events, unparsed_from_json(row.events), _amount(row.epsilon), _amount(row.delta))


def _correction(row: Row) -> Correction:
    if events_from_json(row.events) or any(map(_amount, (row.epsilon, row.delta, row.rho or "0"))):
        raise ValueError
    return Correction(*_of_release(row))


def _publication(row: Row) -> Publication:
    place = json.loads(row.events)
    if not isinstance(place["version"], int):
        raise TypeError
    return Publication(*_of_release(row), str(place["sink"]), place["version"], str(place["draw"]))


_READERS: dict[str, Callable[[Row], Entry]] = {
    OPEN: _opening,
    CHARGE: _charge,
    CORRECTION: _correction,
    PUBLISHED: _publication,
}
KINDS = frozenset(_READERS)


def _of_release(row: Row) -> tuple[str, str, str, AccountantName, str, str]:
    release, digest, unit, source = map(_text, (row.release_id, row.file_digest, row.privacy_unit, row.source))
    return row.dataset, release, digest, _accountant(row.accountant), unit, source


def _text(value: str | None) -> str:
    if value is None:
        raise ValueError
    return value


def _accountant(text: str) -> AccountantName:
    if text not in ACCOUNTANTS:
        raise ValueError
    return cast(AccountantName, text)


def _amount(text: str) -> Decimal:
    value = Decimal(text)
    if not value.is_finite() or value < 0:
        raise ValueError
    return value


def check_release_id(release_id: str) -> str:
    """A release id: letters, digits and ``. _ : -``, at most 128 of them.

    Raises:
        SpecError: If it is anything else.
    """
    allowed = all(character.isascii() and (character.isalnum() or character in "._:-") for character in release_id)
    if not release_id or len(release_id) > 128 or not allowed:
        raise SpecError(
            "a release id has 1 to 128 letters, digits, dots, colons, underscores or hyphens",
            where="--release-id",
            mend="choose a plain id, such as a date",
        )
    return release_id
