"""The outbox: a private Delta table beside the ledger that holds each release's one draw, committed once.

Noise is drawn, committed here under a guard on the release id, and read back; only what is read back is published.
So whatever dies or races after the draw, every later run publishes the same rows and never draws again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from dp_spark import manifest as manifests
from dp_spark.errors import ConflictError, DamageError
from dp_spark.ledger import create_table, merge_rows
from dp_spark.spark_errors import SPARK_ERRORS, condition, is_concurrent
from dp_spark.tables import TableRef, exists, read

_COLUMNS = "release_id STRING, dataset STRING, manifest STRING, payload BINARY, at TIMESTAMP"
# No column statistics: the payload is one opaque value.
_PROPERTIES = "'delta.isolationLevel' = 'Serializable', 'delta.appendOnly' = 'true', 'delta.dataSkippingNumIndexedCols' = '1'"
_ATTEMPTS = 3


@dataclass(frozen=True)
class Draw:
    """A release as it was drawn: the noised rows and their manifest."""

    rows: pa.Table
    manifest: Mapping[str, Any]


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
        self.ref = outbox_of(ledger)

    def create(self) -> None:
        """Makes the table where it is not there yet."""
        create_table(self.spark, self.ref, _COLUMNS, _PROPERTIES)

    def find(self, release_id: str) -> Draw | None:
        """The draw of a release, or None where nothing was drawn yet.

        Raises:
            DamageError: If the outbox cannot be read.
        """
        if not exists(self.spark, self.ref):
            return None
        try:
            found = read(self.spark, self.ref).where(F.col("release_id") == release_id).select("manifest", "payload").toArrow()
        except SPARK_ERRORS as error:
            raise DamageError(
                f"the outbox cannot be read ({condition(error)})", where=str(self.ref), mend="restore it from its own history"
            ) from None
        if found.num_rows == 0:
            return None
        manifest = manifests.from_json(found.column("manifest")[0].as_py(), where=str(self.ref))
        with pa.ipc.open_stream(found.column("payload")[0].as_buffer()) as reader:
            return Draw(reader.read_all(), manifest)

    def commit(self, draw: Draw) -> Draw:
        """Commits a draw under its release id, unless there is one; returns the draw that is there.

        Raises:
            ConflictError: If other runs kept coming first.
            DamageError: If the outbox cannot be written.
        """
        release_id = str(draw.manifest["release_id"])
        frame = self.spark.createDataFrame(_as_rows(release_id, draw))
        for _ in range(_ATTEMPTS):
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
            if found is not None:
                return found
        raise ConflictError("other runs kept writing to the outbox", where=str(self.ref), mend="run the same command again")


def _as_rows(release_id: str, draw: Draw) -> pa.Table:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, draw.rows.schema) as writer:
        writer.write_table(draw.rows)
    return pa.table(
        {
            "release_id": [release_id],
            "dataset": [draw.manifest["dataset"]],
            "manifest": [manifests.to_json(draw.manifest)],
            "payload": pa.array([sink.getvalue().to_pybytes()], pa.binary()),
            "at": pa.array([datetime.now(UTC)], pa.timestamp("us", tz="UTC")),
        }
    )
