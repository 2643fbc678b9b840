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
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from dp_spark import manifest as manifests
from dp_spark.errors import ConflictError, DamageError
from dp_spark.ledger.rows import Seal
from dp_spark.published.canonical_rows import one_chunk
from dp_spark.spark.errors import SPARK_ERRORS, condition, is_concurrent, translated
from dp_spark.tables.delta import exists, read
from dp_spark.tables.refs import TableRef
from dp_spark.tables.store import create_table, local_lock, merge_rows

_COLUMNS = """release_id STRING, dataset STRING, charge_sequence BIGINT, charge_digest STRING, manifest STRING,
payload BINARY, digest STRING, at TIMESTAMP"""
# No column statistics: the payload is one opaque value.
_PROPERTIES = "'delta.isolationLevel' = 'Serializable', 'delta.appendOnly' = 'true', 'delta.dataSkippingNumIndexedCols' = '1'"
_ATTEMPTS = 3
#: A client of Spark Connect takes messages of up to 128 MiB; a payload can be longer, so it is read in pieces.
_PIECE = 32 * 2**20
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


def in_pieces(draws: DataFrame) -> DataFrame:
    """Each draw as rows of (manifest, digest, number, piece) whose pieces, put together, are its payload.

    A draw without a payload is one row without a number: it is there, and it is not whole.
    """
    last = ((F.octet_length("payload") - 1) / _PIECE).cast("int")
    numbered = draws.select("manifest", "digest", "payload", F.explode_outer(F.sequence(F.lit(0), last)).alias("number"))
    piece = F.substring("payload", F.col("number") * _PIECE + 1, F.lit(_PIECE))
    return numbered.select("manifest", "digest", "number", piece.alias("piece"))


def outbox_of(ledger: TableRef) -> TableRef:
    """Where the outbox of a ledger is: beside it."""
    return ledger.beside("_outbox")


class Outbox:
    """The outbox of one ledger.

    Args:
        spark: The session.
        ledger: The ledger's table.
    """

    def __init__(self, spark: SparkSession, ledger: TableRef) -> None:
        self.spark = spark
        self.ledger = ledger
        self.ref = outbox_of(ledger)

    def create(self) -> None:
        """Makes the table where it is not there yet."""
        if not exists(self.spark, self.ref):
            with local_lock(self.ledger):
                create_table(self.spark, self.ref, _COLUMNS, _PROPERTIES)

    def seals(self) -> dict[str, Seal]:
        """Release id -> the seal of its charge, for every draw that is here.

        Raises:
            DamageError: If the outbox cannot be read.
        """
        if not exists(self.spark, self.ref):
            return {}
        with self._read_errors():
            rows = read(self.spark, self.ref).select("release_id", "charge_sequence", "charge_digest").toArrow().to_pylist()
        if any(value is None for row in rows for value in row.values()):
            raise outbox_damage(self.ref, "a row has no release id or no seal")
        return {row["release_id"]: Seal(row["charge_sequence"], row["charge_digest"]) for row in rows}

    def find(self, release_id: str) -> StoredDraw | None:
        """The draw of a release, or None where nothing was drawn yet.

        Raises:
            DamageError: If the outbox cannot be read, or the draw is not the one that was stored.
        """
        if not exists(self.spark, self.ref):
            return None
        with self._read_errors():
            rows = in_pieces(read(self.spark, self.ref).where(F.col("release_id") == release_id)).toArrow().to_pylist()
        if not rows:
            return None
        pieces = {row["number"]: row["piece"] for row in rows}
        text, digest, whole = rows[0]["manifest"], rows[0]["digest"], len(pieces) == len(rows) and None not in pieces
        payload = b"".join(pieces[number] for number in sorted(pieces)) if whole else b""
        if not whole or text is None or _digest(text, payload) != digest:
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
        if not exists(self.spark, self.ref):
            return
        with self._read_errors():
            rows = read(self.spark, self.ref).where(F.col("dataset") == dataset).select("release_id").toArrow().to_pylist()
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
        frame = self.spark.createDataFrame(_as_rows(release_id, draw, paid))
        for _ in range(_ATTEMPTS):
            with local_lock(self.ledger):
                guard()
                try:
                    merge_rows(self.spark, self.ref, frame, "release_id")
                except SPARK_ERRORS as error:
                    if not is_concurrent(error):
                        raise DamageError(
                            f"the outbox cannot be written ({condition(error)})",
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
        return translated(DamageError, "the outbox cannot be read", where=str(self.ref), mend=_MEND)


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
    return pa.table(
        {
            "release_id": [release_id],
            "dataset": [draw.manifest["dataset"]],
            "charge_sequence": pa.array([paid.sequence], pa.int64()),
            "charge_digest": [paid.digest],
            "manifest": [text],
            "payload": pa.array([payload], pa.binary()),
            "digest": [_digest(text, payload)],
            "at": pa.array([datetime.now(UTC)], pa.timestamp("us", tz="UTC")),
        }
    )
