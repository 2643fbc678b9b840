"""The outbox: a private Delta table beside the ledger that holds each release's one draw, committed once.

Noise is drawn, committed here under a guard on the release id, and read back; only what is read back is published.
So whatever dies or races after the draw, every later run publishes the same rows and never draws again.
A draw is stored with the seal of the charge that paid for it, so a ledger that lost that charge is found out (``books``).
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from dp_spark import manifest as manifests
from dp_spark.errors import ConflictError, DamageError
from dp_spark.ledger.rows import Seal
from dp_spark.published.canonical_rows import one_chunk
from dp_spark.tables import store as stores
from dp_spark.tables.local_lock import local_lock
from dp_spark.tables.refs import TableRef
from dp_spark.tables.store import RivalError, Store, StoreError

#: The columns of the table.
SCHEMA = pa.schema(
    [
        ("release_id", pa.string()),
        ("dataset", pa.string()),
        ("charge_sequence", pa.int64()),
        ("charge_digest", pa.string()),
        ("manifest", pa.string()),
        ("payload", pa.binary()),
        ("digest", pa.string()),
        ("at", pa.timestamp("us", tz="UTC")),
    ]
)
# No column statistics: the payload is one opaque value.
_PROPERTIES = {"delta.dataSkippingNumIndexedCols": "1"}
_ATTEMPTS = 3
_MEND = "put the outbox's files back from a backup (docs/ledger.md); never remove it"


@dataclass(frozen=True)
class Draw:
    """A release as it was drawn: the noised rows and their manifest."""

    rows: pa.Table
    manifest: Mapping[str, Any]

    @property
    def payload(self) -> bytes:
        """The rows as an Arrow stream of one batch: a function of the rows, not of how they lie in memory."""
        sink, rows = pa.BufferOutputStream(), one_chunk(self.rows)
        with pa.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_table(rows)
        return bytes(sink.getvalue().to_pybytes())


@dataclass(frozen=True)
class StoredDraw(Draw):
    """A draw as the outbox holds it.

    Attributes:
        digest: SHA-256 over manifest and rows, as they were stored.
    """

    digest: str


def outbox_of(ledger: TableRef) -> TableRef:
    """Where the outbox of a ledger is: beside it."""
    return ledger.beside("_outbox")


class Outbox:
    """The outbox of one ledger.

    Args:
        store: Its table, at ``outbox_of`` the ledger.
        ledger: Where the ledger is.
    """

    def __init__(self, store: Store, ledger: TableRef) -> None:
        self.store = store
        self.ledger = ledger
        self.ref = store.ref

    def create(self) -> None:
        """Makes the table where it is not there yet."""
        if not self.store.is_there():
            with local_lock(self.ledger):
                self.store.create(SCHEMA, _PROPERTIES)

    def seals(self) -> dict[str, Seal]:
        """Release id -> the seal of its charge, for every draw that is here.

        Raises:
            DamageError: If the outbox cannot be read.
        """
        if not self.store.is_there():
            return {}
        with self._read_errors():
            rows = self.store.read(["release_id", "charge_sequence", "charge_digest"]).to_pylist()
        if any(value is None for row in rows for value in row.values()):
            raise outbox_damage(self.ref, "a row has no release id or no seal")
        return {row["release_id"]: Seal(row["charge_sequence"], row["charge_digest"]) for row in rows}

    def find(self, release_id: str) -> StoredDraw | None:
        """The draw of a release, or None where nothing was drawn yet.

        Raises:
            DamageError: If the outbox cannot be read, or the draw is not the one that was stored.
        """
        if not self.store.is_there():
            return None
        with self._read_errors():
            rows = self.store.read(["manifest", "payload", "digest"], ("release_id", release_id)).to_pylist()
        if not rows:
            return None
        text, payload, digest = rows[0]["manifest"], rows[0]["payload"], rows[0]["digest"]
        if len(rows) > 1 or text is None or payload is None or _digest(text, payload) != digest:
            raise outbox_damage(self.ref, f"the draw of {release_id} was changed")
        with pa.ipc.open_stream(payload) as reader:
            return StoredDraw(reader.read_all(), manifests.from_json(text, where=str(self.ref)), digest)

    def draw_of(self, release_id: str) -> StoredDraw:
        """The draw of a release that was drawn.

        Raises:
            DamageError: If it is gone, or as ``find`` does.
        """
        found = self.find(release_id)
        if found is None:
            raise outbox_damage(self.ref, f"the draw of {release_id} is gone")
        return found

    def of_dataset(self, dataset: str) -> Iterator[StoredDraw]:
        """All draws of a dataset, one after the other.

        Raises:
            DamageError: As ``find`` does.
        """
        if not self.store.is_there():
            return
        with self._read_errors():
            rows = self.store.read(["release_id"], ("dataset", dataset)).to_pylist()
        for row in rows:
            draw = self.find(row["release_id"])
            if draw is not None:
                yield draw

    def check_undrawn(self, release_id: str) -> None:
        """Checks that nothing was drawn for a release.

        Raises:
            ConflictError: If it was.
        """
        if release_id in self.seals():
            raise _drawn_otherwise(self.ref, release_id)

    def commit(self, draw: Draw, paid: Seal, guard: Callable[[], None] = lambda: None) -> StoredDraw:
        """Commits a draw under its release id, unless there is one; returns the draw that is there.

        Args:
            draw: What was drawn.
            paid: The seal of the charge that paid for it.
            guard: Raises where the draw may not be committed; asked just before, and under the ledger's lock.

        Raises:
            ConflictError: If other runs kept coming first, or the draw that is there is of another file.
            DamageError: If the outbox cannot be written.
        """
        release_id = str(draw.manifest["release_id"])
        rows = _as_rows(release_id, draw, paid)
        for _ in range(_ATTEMPTS):
            with local_lock(self.ledger):
                guard()
                try:
                    self.store.insert(rows, "release_id")
                except RivalError:
                    pass  # what it committed is found below
                except StoreError as error:
                    raise DamageError(
                        f"the outbox cannot be written ({error.condition})",
                        where=str(self.ref),
                        mend="make it writable, then run the same command again",
                    ) from None
            found = self.find(release_id)
            if found is not None and found.manifest.get("file_digest") != draw.manifest.get("file_digest"):
                raise _drawn_otherwise(self.ref, release_id)
            if found is not None:
                return found
        raise ConflictError("other runs kept writing to the outbox", where=str(self.ref), mend="run the same command again")

    def _read_errors(self) -> contextlib.AbstractContextManager[None]:
        return stores.damage("the outbox cannot be read", where=self.ref, mend=_MEND)


def outbox_damage(outbox: TableRef, message: str) -> DamageError:
    """The error of an outbox that does not hold what it must hold; drawing again would be a second draw."""
    return DamageError(message, where=str(outbox), mend=_MEND)


def _drawn_otherwise(outbox: TableRef, release_id: str) -> ConflictError:
    return ConflictError(
        f"another run drew the release {release_id} meanwhile, with another parsing of its source, and that draw counts",
        where=str(outbox),
        mend="run the file that it was drawn with under this id, or use a new release id, which is charged anew",
        final=True,
    )


def _digest(manifest: str, payload: bytes) -> str:
    return "sha256:" + hashlib.sha256(manifest.encode() + b"\n" + payload).hexdigest()


def _as_rows(release_id: str, draw: Draw, paid: Seal) -> pa.Table:
    text, payload = manifests.to_json(draw.manifest), draw.payload
    row = (release_id, draw.manifest["dataset"], paid.sequence, paid.digest, text, payload, _digest(text, payload))
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, (*row, datetime.now(UTC)), strict=True))], schema=SCHEMA)
