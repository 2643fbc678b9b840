"""What must be the same on every kind of session and every Spark: which rows bounding keeps, under one salt."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
from frames import SALT, frame_of, kept, prepared
from pyspark.sql import SparkSession

from dp_spark.engine.bounding import bound_contributions
from dp_spark.privacy.bounds import ContributionBounds

#: Unit, five keys of the types whose form could differ between versions, one feature.
COLUMNS = {
    "u": pa.string(),
    "text": pa.string(),
    "moment": pa.timestamp("us", tz="UTC"),
    "money": pa.decimal128(12, 2),
    "day": pa.date32(),
    "number": pa.int32(),
    "f": pa.int64(),
}
#: Found on classic pyspark 4.1.1; a change of it changes which rows a repeated run keeps, so it is never just replaced.
DIGEST = "3ad130fa55ef71164014c9aa2ec64f5ebe59bee93953f9df11052544df9e8a51"


def _plain(value: Any) -> Any:
    """A timestamp comes back in the session's time zone."""
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value


def test_bounding_keeps_the_same_rows_everywhere(spark: SparkSession) -> None:
    rows = [
        (
            None if index % 53 == 0 else f"u{index % 40}",
            None if index % 17 == 0 else "äé"[index % 2] * (index % 3),
            datetime(2024, 3, 31, index % 4, 30, tzinfo=UTC),
            Decimal(index % 5) / 4,
            date(1900 + index % 6, 2, 28),
            index % 2,
            index % 23,
        )
        for index in range(2000)
    ]
    bounded = bound_contributions(prepared(frame_of(spark, COLUMNS, rows), 1, 5), ContributionBounds(3, 2), SALT)
    found = sorted((repr([_plain(value) for value in row]), count) for row, count in kept(bounded).items())
    assert 100 < sum(count for _, count in found) <= 40 * 3 * 2
    assert hashlib.sha256(repr(found).encode()).hexdigest() == DIGEST
