"""Whether a pre-threshold keeps candidate keys from the driver: a release of many more keys than its driver could hold.

    python -m benchmarks.candidates --keys 100000000 --memory 4g

Nearly all keys have one unit or two, and a thousand have some hundred. Spark runs in one JVM with that much heap, as driver
and as executor. With ``--pre-threshold 1`` all keys reach the driver, and a run of the same size ends for want of memory.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import time
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from benchmarks.environments import WORK
from benchmarks.memory import peaks, reset_peaks
from dp_spark.ledger.books import open_account
from dp_spark.ledger.on_delta import books_at
from dp_spark.privacy.accountants.account import Account
from dp_spark.release.run import run_release
from dp_spark.session import get_session
from dp_spark.spec.release_spec import ReleaseSpec
from dp_spark.tables.refs import TableRef

#: The keys that are to be shown, and the units of each.
LARGE, UNITS = 1_000, 500
_DATASET = "candidates"


def write_rows(spark: SparkSession, keys: int, path: str) -> None:
    """Three rows for each two small keys, 0 and up, of users who have about four rows each; large keys are -1 and down."""
    small = spark.range(keys + keys // 2).select(
        F.pmod(F.xxhash64("id"), F.lit(max(1, keys * 3 // 8))).alias("user"), (F.col("id") % keys).alias("key")
    )
    large = spark.range(LARGE * UNITS).select((-1 - F.col("id")).alias("user"), (-1 - F.col("id") % LARGE).alias("key"))
    small.unionByName(large).write.mode("overwrite").parquet(path)


def spec_of(folder: Path, source: str, pre_threshold: int) -> ReleaseSpec:
    """Counts of users and rows by key."""
    return ReleaseSpec.model_validate(
        {
            "version": 1,
            "name": "candidates",
            "dataset": _DATASET,
            "source": {"format": "parquet", "path": source},
            "privacy_unit": "user",
            "contribution_bounds": {"max_partitions_contributed": 4, "max_contributions_per_partition": 1},
            "group_by": ["key"],
            "partitions": {"private": {"pre_threshold": pre_threshold}},
            "aggregates": [{"function": "privacy_id_count", "name": "users"}, {"function": "count", "name": "rows"}],
            "budget": {"epsilon": 1, "delta": 1e-9},
            "ledger": {"path": str(folder / "ledger")},
            "sink": {"path": str(folder / "sink")},
        }
    )


def measure(spark: SparkSession, folder: Path, keys: int, pre_threshold: int) -> dict[str, Any]:
    """One release: seconds of each of its stages, and the most memory that Python and Java held."""
    source = str(folder / "rows")
    write_rows(spark, keys, source)
    spec = spec_of(folder, source, pre_threshold)
    account = Account.open(spec.budget.epsilon, spec.budget.delta)
    open_account(*books_at(spark, TableRef.of(spec.ledger)), _DATASET, account)
    reset_peaks()
    began: list[tuple[str, float]] = []
    result = run_release(spark, spec, on_stage=lambda name: began.append((name, time.perf_counter())))
    began.append(("", time.perf_counter()))
    assert result.rows is not None
    shown = result.rows["key"].to_pylist()
    assert set(shown) == {-1 - index for index in range(LARGE)}, "the large keys and no other"
    stages = {name: round(then - at, 1) for (name, at), (_, then) in itertools.pairwise(began)}
    return {"keys": keys, "pre_threshold": pre_threshold, "shown": len(shown), "seconds": stages, "peak_mib": peaks()}


def main() -> None:
    """Makes the table, releases it, prints the figures and removes everything."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--keys", type=int, default=100_000_000)
    parser.add_argument("--pre-threshold", type=int, default=20)
    parser.add_argument("--memory", default="4g", help="heap of the one JVM")
    arguments = parser.parse_args()
    folder = WORK / "candidates"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "spill").mkdir(parents=True)
    os.environ["_JAVA_OPTIONS"] = f"-Xmx{arguments.memory}"
    os.environ["SPARK_LOCAL_DIRS"] = str(folder / "spill")
    spark = get_session()
    spark.conf.set("spark.sql.shuffle.partitions", str(max(32, arguments.keys // 250_000)))
    try:
        print({**measure(spark, folder, arguments.keys, arguments.pre_threshold), "heap": arguments.memory})  # noqa: T201
    finally:
        spark.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
