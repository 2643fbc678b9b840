"""Ten million rows of a million users in ten thousand partitions: a whole release against the exact query.

Run it on a quiet machine: ``.venv/bin/python benchmarks/ten_million.py``. Both read the same Parquet files in the same session,
alternating; the figures are medians in seconds with the lowest and highest, and one ratio. The release's time is all of it:
validation, ledger, bounding, noise, outbox, publication and reading back.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from dp_spark import ReleaseSpec, run_release
from dp_spark.accounting import Account
from dp_spark.ledger import Ledger
from dp_spark.session import get_session
from dp_spark.tables import TableRef

ROWS, USERS, PARTITIONS, ROUNDS = 10_000_000, 1_000_000, 10_000, 3


def write_source(spark: SparkSession, path: str) -> None:
    """Rows with uniformly drawn users and partitions, by hashes of the row's number."""
    pick = [
        F.pmod(F.xxhash64(F.col("id"), F.lit(salt)), F.lit(size)) for salt, size in ((1, USERS), (2, PARTITIONS), (3, 10_000))
    ]
    rows = spark.range(0, ROWS, 1, 16).select(
        pick[0].alias("user"), pick[1].cast("int").alias("key"), (pick[2] / 100).alias("value")
    )
    rows.write.parquet(path)


def release_spec(folder: str) -> ReleaseSpec:
    """Count and sum, L0 = 4, Linf = 2, as in the design's prototype."""
    return ReleaseSpec.model_validate(
        {
            "version": 1,
            "name": "bench",
            "dataset": "bench",
            "source": {"format": "parquet", "path": f"{folder}/source"},
            "privacy_unit": "user",
            "contribution_bounds": {"max_partitions_contributed": 4, "max_contributions_per_partition": 2},
            "group_by": ["key"],
            "partitions": {"private": {}},
            "aggregates": [
                {"function": "count", "name": "n"},
                {"function": "sum", "column": "value", "min_value": 0, "max_value": 100, "name": "total"},
            ],
            "budget": {"epsilon": Decimal(1), "delta": Decimal("1e-6")},
            "ledger": {"path": f"{folder}/ledger"},
            "sink": {"path": f"{folder}/release"},
        }
    )


def exact(spark: SparkSession, folder: str) -> int:
    """What the owner would run otherwise."""
    frame = spark.read.parquet(f"{folder}/source")
    return int(frame.groupBy("key").agg(F.count_distinct("user"), F.sum("value")).toArrow().num_rows)


def timed(run: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> int:
    """Writes the source, alternates the two, and prints one JSON document."""
    spark = get_session()
    with tempfile.TemporaryDirectory() as folder:
        write_source(spark, f"{folder}/source")
        spec = release_spec(folder)
        Ledger(spark, TableRef.of(spec.ledger)).open("bench", Account.open(Decimal(100), Decimal("1e-3")))
        times: dict[str, list[float]] = {"exact": [], "release": []}
        for _ in range(ROUNDS + 1):
            times["exact"].append(timed(lambda: exact(spark, folder)))
            times["release"].append(timed(lambda: run_release(spark, spec)))
    warm = {name: sorted(values[1:]) for name, values in times.items()}
    report = {
        "rows": ROWS,
        "users": USERS,
        "partitions": PARTITIONS,
        "cold_seconds": {name: round(values[0], 2) for name, values in times.items()},
        "warm_seconds": {
            name: {"median": round(statistics.median(values), 2), "low": round(values[0], 2), "high": round(values[-1], 2)}
            for name, values in warm.items()
        },
        "ratio_of_medians": round(statistics.median(warm["release"]) / statistics.median(warm["exact"]), 2),
    }
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
