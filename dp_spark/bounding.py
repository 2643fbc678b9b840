"""Rows to rows with bounded contribution: each privacy unit keeps at most k partitions and m rows in each.

Which partitions and rows of a unit survive is decided by hashes of (salt, unit, key[, values]), with the hashed
columns themselves as tie-breaks: a hash orders rows, it never identifies them, so two units or keys that collide
stay two. The unit is in the hash, so units are sampled independently, and adding a unit changes nothing for the
others: the truncation is stable (Tumult Core's hash-ordered truncation is the model). Task order, Spark partition
count and retries cannot change the result, and whatever the salt is, the bound holds.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from dp_spark.sensitivity import ContributionBounds

#: Internal column names; the rows carry nothing else, so nothing else is shuffled.
UNIT, KEY, FEATURE, FIRST = "u", "k", "f", "first_of_unit"


@dataclass(frozen=True)
class Salt:
    """128 bits from the operating system's CSPRNG, fresh per run; never printed."""

    high: int
    low: int

    @staticmethod
    def fresh() -> Salt:
        """A new salt."""
        return Salt(*(secrets.randbits(64) - 2**63 for _ in range(2)))

    def __repr__(self) -> str:
        return "Salt(...)"

    def columns(self) -> tuple[Column, Column]:
        """The salt as literals for a hash."""
        return F.lit(self.high).cast("bigint"), F.lit(self.low).cast("bigint")


@dataclass(frozen=True)
class PreparedRows:
    """The columns that a release needs, and no others.

    Attributes:
        frame: Columns u0.., k0.., f0.., no null unit.
        units: The names of the unit columns; empty where each row is a unit.
        keys: The names of the key columns.
        features: The names of the integer columns that feed aggregates.
    """

    frame: DataFrame
    units: Sequence[str]
    keys: Sequence[str]
    features: Sequence[str]


@dataclass(frozen=True)
class BoundedRows:
    """Rows that satisfy ``bounds``; the bound travels with what it bounds.

    Attributes:
        frame: Columns k0.., f0.., and ``first_of_unit``, true for one row of each unit in each partition.
        keys: The names of the key columns.
        bounds: What one unit can have contributed.
    """

    frame: DataFrame
    keys: Sequence[str]
    bounds: ContributionBounds


def bound_contributions(rows: PreparedRows, bounds: ContributionBounds, salt: Salt) -> BoundedRows:
    """Keeps at most k partitions of each unit, and at most m of its rows in each.

    Args:
        rows: The prepared rows.
        bounds: k and m; both 1 where each row is a unit.
        salt: Fresh for each run.

    Guarantees: adding or removing all rows of one unit adds or removes at most k * m bounded rows, all of that unit,
    in at most k partitions with at most m in each; the rows of other units do not change.
    """
    if not rows.units:
        assert bounds == ContributionBounds(1, 1), "a row is in one partition, once"
        return BoundedRows(rows.frame.withColumn(FIRST, F.lit(True)), rows.keys, bounds)
    frame = rows.frame
    if rows.keys:
        frame = _keep_partitions(frame, rows, bounds.max_partitions_contributed, salt)
    frame = _keep_rows(frame, rows, bounds.max_contributions_per_partition, salt)
    return BoundedRows(frame.select(*rows.keys, *rows.features, FIRST), rows.keys, bounds)


def _keep_partitions(frame: DataFrame, rows: PreparedRows, most: int, salt: Salt) -> DataFrame:
    frame = frame.withColumn("key_hash", F.xxhash64(*salt.columns(), *_columns(rows.units), *_columns(rows.keys)))
    window = Window.partitionBy(*rows.units).orderBy("key_hash", *rows.keys)
    return frame.withColumn("key_rank", F.dense_rank().over(window)).where(F.col("key_rank") <= most)


def _keep_rows(frame: DataFrame, rows: PreparedRows, most: int, salt: Salt) -> DataFrame:
    hashed = (*_columns(rows.units), *_columns(rows.keys), *_columns(rows.features))
    frame = frame.withColumn("row_hash", F.xxhash64(*salt.columns(), *hashed))
    # key_hash is a function of unit and keys: with it in front, the sort of the first window serves this one too.
    partition = [*rows.units, "key_hash", *rows.keys] if rows.keys else [*rows.units]
    window = Window.partitionBy(*partition).orderBy("row_hash", *rows.features)
    frame = frame.withColumn("row_rank", F.row_number().over(window)).where(F.col("row_rank") <= most)
    return frame.withColumn(FIRST, F.col("row_rank") == 1)


def _columns(names: Sequence[str]) -> list[Column]:
    return [F.col(name) for name in names]
