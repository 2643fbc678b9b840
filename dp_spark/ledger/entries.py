"""The ledger's entries as pure data, each with the digest of its predecessor.

The chain runs over all accounts of a ledger, so an entry that was changed, removed or reordered breaks it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from dp_spark.errors import SpecError

OPEN, CHARGE, CORRECTION, PUBLISHED = "open", "charge", "correction", "published"
KINDS = (OPEN, CHARGE, CORRECTION, PUBLISHED)
GENESIS = "sha256:" + 64 * "0"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Entry:
    """One row of the ledger; the columns are the design's, and all text but ``sequence`` and ``at``.

    ``events`` is JSON: of a charge, the draws that it pays for, and where its file's parsing may be corrected, the digest of
    what may not; of an opening, the account's group where it has one; of a publication, where it is. A correction has none:
    its ``file_digest`` is what the charge goes on with.
    """

    entry: str
    dataset: str
    sequence: int
    release_id: str | None
    file_digest: str | None
    accountant: str
    privacy_unit: str | None
    source: str | None
    events: str
    epsilon: str
    delta: str
    rho: str | None
    reason: str | None
    at: datetime
    who: str
    previous_digest: str

    @property
    def digest(self) -> str:
        """SHA-256 over every column, in a form that no engine changes."""
        document = {item.name: getattr(self, item.name) for item in fields(self)}
        document["at"] = (self.at - EPOCH) // timedelta(microseconds=1)
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    @property
    def seal(self) -> Seal:
        """What proves later that the ledger held this entry."""
        return Seal(self.sequence, self.digest)


@dataclass(frozen=True)
class Seal:
    """An entry as a witness outside of the ledger remembers it.

    A chain of digests cannot tell that its end was cut off or put back to an older state; who has seen a later entry can.
    """

    sequence: int
    digest: str


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


def entry_of_row(row: dict[str, Any]) -> Entry:
    """An entry from a row of the ledger table.

    Raises:
        KeyError, TypeError: If the row is not an entry.
    """
    if not isinstance(row["sequence"], int) or not isinstance(row["at"], datetime):
        raise TypeError
    return Entry(**{item.name: row[item.name] for item in fields(Entry)})
