"""The ledger's rows as they are stored, each with the digest of its predecessor; ``entries`` says what they mean.

The chain runs over all accounts of a ledger, so a row that was changed, removed or reordered breaks it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

OPEN, CHARGE, CORRECTION, PUBLISHED = "open", "charge", "correction", "published"
GENESIS = "sha256:" + 64 * "0"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Seal:
    """A row as a witness outside of the ledger remembers it.

    A chain of digests cannot tell that its end was cut off or put back to an older state; who has seen a later row can.
    """

    sequence: int
    digest: str


@dataclass(frozen=True)
class Row:
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

    @staticmethod
    def of(columns: Mapping[str, Any]) -> Row:
        """A row of the ledger table.

        Raises:
            KeyError, TypeError: If it is no row of a ledger.
        """
        if not isinstance(columns["sequence"], int) or not isinstance(columns["at"], datetime):
            raise TypeError
        return Row(**{item.name: columns[item.name] for item in fields(Row)})

    @property
    def digest(self) -> str:
        """SHA-256 over every column, in a form that no engine changes."""
        document = {item.name: getattr(self, item.name) for item in fields(self)}
        document["at"] = (self.at - EPOCH) // timedelta(microseconds=1)
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    @property
    def seal(self) -> Seal:
        """What proves later that the ledger held this row."""
        return Seal(self.sequence, self.digest)
