"""The session of the contestants that run on Spark 3.5; its heap comes from the driver, as for every contestant."""

from __future__ import annotations

import os

from pyspark.sql import SparkSession

_SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    # As in dp-spark's own session, and for RDDs too: with the default of 200, small tasks would dominate on few cores.
    "spark.sql.shuffle.partitions": "32",
    "spark.default.parallelism": "32",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
}


def start_session(name: str) -> SparkSession:
    """A local session on all cores that writes into the working directory only."""
    builder = SparkSession.builder.master("local[*]").appName(name)
    for key, value in _SETTINGS.items():
        builder = builder.config(key, value)
    spark = builder.config("spark.sql.warehouse.dir", f"{os.getcwd()}/warehouse").getOrCreate()  # noqa: PTH109
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def collect_garbage(spark: SparkSession) -> None:
    """Lets the JVM hand back what the last call left behind."""
    spark.sparkContext._jvm.System.gc()
