"""The tables: rows made by Spark from hashes of their number, so that a table is the same wherever it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F

_FILES = 16


@dataclass(frozen=True)
class Table:
    """One table of user, key, value (0 to 100) and amount (0 to 1000).

    Attributes:
        name: Its name in results and on disk.
        rows: Its number of rows.
        users: How many users there are to draw from.
        partitions: How many keys there are to draw from, from 0.
        zipf_users: The exponent with which users are drawn; 0 is uniform.
        zipf_partitions: The same for keys.
        heavy_user_share: The share of all rows that user 0 has on top.
        heavy_partition_share: The share of all rows that key 0 has on top.
        ids: The type of the user column.
        seed: Another seed is another table of the same shape.
    """

    name: str
    rows: int
    users: int
    partitions: int
    zipf_users: float = 0.0
    zipf_partitions: float = 0.0
    heavy_user_share: float = 0.0
    heavy_partition_share: float = 0.0
    ids: Literal["long", "string"] = "long"
    seed: int = 1


def write_table(spark: SparkSession, table: Table, path: str) -> None:
    """Writes the table to Parquet, in 16 files of like size."""
    user = _pick(table.seed, 1, table.users, table.zipf_users, table.heavy_user_share)
    key = _pick(table.seed, 2, table.partitions, table.zipf_partitions, table.heavy_partition_share)
    rows = spark.range(0, table.rows, 1, _FILES).select(
        (user if table.ids == "long" else _as_text(user)).alias("user"),
        key.cast("int").alias("key"),
        # Two decimals, as money and measurements have; full doubles would make the largest table three times as big.
        F.round(_uniform(table.seed, 3) * 100, 2).alias("value"),
        F.round(_uniform(table.seed, 4) * 1000, 2).alias("amount"),
    )
    rows.write.mode("overwrite").parquet(path)


def write_keys(spark: SparkSession, partitions: int, path: str) -> None:
    """Writes all keys of a table, as the public keys of a release."""
    spark.range(0, partitions, 1, 1).select(F.col("id").cast("int").alias("key")).write.mode("overwrite").parquet(path)


def _uniform(seed: int, stream: int) -> Column:
    """A double in [0, 1) for each row: the upper 53 bits of a hash of the row's number."""
    return F.shiftrightunsigned(F.xxhash64(F.col("id"), F.lit(seed), F.lit(stream)), 11) * F.lit(2.0**-53)


def _pick(seed: int, stream: int, size: int, exponent: float, heavy_share: float) -> Column:
    """One of ``size`` numbers for each row, from 0: uniformly, or small ones more often."""
    picked = F.least(F.floor(_rank(_uniform(seed, stream), size, exponent)), F.lit(size - 1)).cast("bigint")
    if heavy_share == 0:
        return picked
    return F.when(_uniform(seed, stream + 10) < heavy_share, F.lit(0).cast("bigint")).otherwise(picked)


def _rank(uniform: Column, size: int, exponent: float) -> Column:
    """The inverse of the distribution function of a bounded power law, of which Zipf's law is the rounded form."""
    if exponent == 0:
        return uniform * size
    if exponent == 1:
        return F.pow(F.lit(float(size)), uniform) - 1
    power = 1.0 - exponent
    return F.pow(uniform * (float(size) ** power - 1.0) + 1.0, F.lit(1.0 / power)) - 1


def _as_text(user: Column) -> Column:
    return F.concat(F.lit("user-"), F.lpad(user.cast("string"), 12, "0"))
