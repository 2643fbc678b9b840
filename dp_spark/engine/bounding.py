"""Rows to rows with bounded contribution: each privacy unit keeps at most k partitions, m rows in each, and c rows in all.

Which partitions and rows of a unit survive is decided by hashes of (salt, unit, key[, values]), with the hashed
columns themselves as tie-breaks: a hash orders rows, it never identifies them, so two units or keys that collide
stay two. The unit is in the hash, so units are sampled independently, and adding a unit changes nothing for the
others: the truncation is stable (Tumult Core's hash-ordered truncation is the model). Task order, Spark partition
count and retries cannot change the result, and whatever the salt is, the bound holds.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from dp_spark.aggregates.query import Query
from dp_spark.privacy.bounds import ContributionBounds

#: Internal column names; the rows carry nothing else, so nothing else is shuffled.
UNIT, KEY, FEATURE, FIRST = "u", "k", "f", "first_of_unit"
KEY_HASH, ROW_HASH, ROW_RANK, BUCKET = "key_hash", "row_hash", "row_rank", "bucket"
_BUCKETS = 63


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
        features: The names of the columns that feed aggregates.
        clustered: Whether all rows of a unit are read by one task already, so that they need no shuffle.
        shifts: How many low bits, zero in every row, what a query adds up is told without; absent is none.
    """

    frame: DataFrame
    units: Sequence[str]
    keys: Sequence[str]
    features: Sequence[str]
    clustered: bool = False
    shifts: Mapping[Query, int] = field(default_factory=dict)


@dataclass(frozen=True)
class BoundedRows:
    """Rows that satisfy ``bounds``; the bound travels with what it bounds.

    Attributes:
        frame: Columns u0.., ``key_hash`` where there are units, k0.., f0.., and ``first_of_unit``, true for one row of each
            unit in each partition.
        units: The names of the unit columns; empty where each row is a unit.
        keys: The names of the key columns.
        bounds: What one unit can have contributed.
        shifts: As in ``PreparedRows``.
    """

    frame: DataFrame
    units: Sequence[str]
    keys: Sequence[str]
    bounds: ContributionBounds
    shifts: Mapping[Query, int] = field(default_factory=dict)


def bound_contributions(rows: PreparedRows, bounds: ContributionBounds, salt: Salt) -> BoundedRows:
    """Keeps at most k partitions of each unit, of these at most m of its rows in each, and of these at most c.

    c comes last, so that it takes no row that the others would have dropped anyway: a unit keeps as many rows as all three
    allow. Where c alone is given, or neither k nor m is smaller, they are not applied.

    Args:
        rows: The prepared rows.
        bounds: k, m and c; 1 where each row is a unit.
        salt: Fresh for each run.

    Guarantees: adding or removing all rows of one unit adds or removes at most min(k * m, c) bounded rows, all of that unit,
    in at most k partitions with at most m in each; the rows of other units do not change.
    """
    if not rows.units:
        assert bounds == ContributionBounds(1, 1), "a row is in one partition, once"
        return BoundedRows(rows.frame.withColumn(FIRST, F.lit(True)), [], rows.keys, bounds, rows.shifts)
    # One shuffle of the bare columns on the unit; hashes are cheaper to compute behind it than to carry through it.
    frame = rows.frame if rows.clustered else rows.frame.repartition(*_columns(rows.units))
    limits = _Limits.of(bounds, rows)
    key_hash, row_hash = _hashes(rows, salt)
    frame = _drop_hopeless(frame, rows, *limits.first(key_hash, row_hash))
    frame = frame.withColumns({KEY_HASH: key_hash, ROW_HASH: row_hash})
    if limits.total_alone is not None:
        frame = _keep_total(frame, rows, limits.total_alone)
    if limits.partitions is not None:
        # One sort serves both windows: each needs the beginning of this order.
        frame = frame.sortWithinPartitions(*rows.units, KEY_HASH, *rows.keys, ROW_HASH, *rows.features)
        frame = _keep_partitions(frame, rows, limits.partitions)
    frame = _keep_rows(frame, rows, limits.of_each)
    if limits.total_alone is None and limits.total is not None:
        # In this order the first row of a partition comes before its others, so it is never dropped before them.
        frame = _keep_total(frame, rows, limits.total, ROW_RANK)
    kept = frame.select(*rows.units, KEY_HASH, *rows.keys, *rows.features, FIRST)
    return BoundedRows(kept, rows.units, rows.keys, bounds, rows.shifts)


@dataclass(frozen=True)
class _Limits:
    """The bounds that have to be applied; None where others imply them."""

    partitions: int | None
    of_each: int | None
    total: int | None

    @staticmethod
    def of(bounds: ContributionBounds, rows: PreparedRows) -> _Limits:
        k_implied, m_implied = bounds.implied
        return _Limits(
            None if k_implied or not rows.keys else bounds.max_partitions_contributed,
            None if m_implied else bounds.max_contributions_per_partition,
            bounds.total,
        )

    @property
    def total_alone(self) -> int | None:
        """c where nothing else is applied."""
        return self.total if self.partitions is self.of_each is None else None

    def first(self, key_hash: Column, row_hash: Column) -> tuple[Column, int | None]:
        """The order of a unit's partitions or rows of which only so many of the first survive; None where none is plain."""
        if self.partitions is not None:
            return key_hash, self.partitions
        return row_hash, self.of_each if self.total is None else self.total_alone


def _hashes(rows: PreparedRows, salt: Salt) -> tuple[Column, Column]:
    hashed = [*salt.columns(), *_columns(rows.units), *_columns(rows.keys)]
    return F.xxhash64(*hashed), F.xxhash64(*hashed, *_columns(rows.features))


def _drop_hopeless(frame: DataFrame, rows: PreparedRows, order: Column, most: int | None) -> DataFrame:
    """Drops rows that cannot be among the ``most`` first of their unit, before the costly sort; never one that can.

    The first bits of the hash that orders a unit's partitions (its rows, where these are counted) put each into one of
    63 buckets, in the order of the hash. What lies in a bucket with ``most`` occupied ones below it has at least
    ``most`` others before it. Two in one bucket stay two: which of them survives is for the exact windows to say. This
    window sorts by the unit alone, for which Spark has a radix sort, and leaves the full sort fewer rows, grouped by unit.
    """
    if most is None or most >= _BUCKETS:
        return frame
    ordered = F.shiftright(order, 58) + F.lit(32)  # the hash is signed: -32..31, now 0..63
    bucket = F.least(ordered, F.lit(_BUCKETS - 1)).cast("int")  # the sign bit of a BIGINT is no bucket
    frame = frame.withColumn(BUCKET, F.call_function("shiftleft", F.lit(1).cast("bigint"), bucket))
    frame = frame.withColumn("occupied", F.bit_or(BUCKET).over(Window.partitionBy(*rows.units)))
    below = F.col("occupied").bitwiseAND(F.col(BUCKET) - F.lit(1))
    return frame.where(F.bit_count(below) < most).drop(BUCKET, "occupied")


def _keep_partitions(frame: DataFrame, rows: PreparedRows, most: int) -> DataFrame:
    window = Window.partitionBy(*rows.units).orderBy(KEY_HASH, *rows.keys)
    return frame.withColumn("key_rank", F.dense_rank().over(window)).where(F.col("key_rank") <= most)


def _keep_rows(frame: DataFrame, rows: PreparedRows, most: int | None) -> DataFrame:
    """Marks the first row of each unit in each partition, and keeps so many; all where there is no bound on them."""
    # KEY_HASH is a function of unit and keys: with it in front, the order of the first window serves this one too.
    window = Window.partitionBy(*rows.units, KEY_HASH, *rows.keys).orderBy(ROW_HASH, *rows.features)
    frame = frame.withColumn(ROW_RANK, F.row_number().over(window))
    return (frame if most is None else frame.where(F.col(ROW_RANK) <= most)).withColumn(FIRST, F.col(ROW_RANK) == 1)


def _keep_total(frame: DataFrame, rows: PreparedRows, most: int, *ties: str) -> DataFrame:
    """Keeps so many rows of each unit, whatever their partitions: of each row its hash says when its turn is."""
    window = Window.partitionBy(*rows.units).orderBy(ROW_HASH, *rows.keys, *rows.features, *ties)
    return frame.withColumn("unit_rank", F.row_number().over(window)).where(F.col("unit_rank") <= most)


def _columns(names: Sequence[str]) -> list[Column]:
    return [F.col(name) for name in names]
