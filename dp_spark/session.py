"""The SparkSession: the one that is running, or one that is made for where we are.

Only the command line and the jobs call ``get_session``; library functions are handed a session.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pyspark.errors import PySparkImportError

from dp_spark.errors import DpSparkError
from dp_spark.installed import conf_file
from dp_spark.spark.java import check_java
from dp_spark.spark.loggers import silence_value_quoting_loggers

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


_CONNECT_PORT, _ANSWER_SECONDS = 15002, 10.0
#: What Databricks and spark-submit set.
_PLATFORMS = ("DATABRICKS_RUNTIME_VERSION", "PYSPARK_GATEWAY_PORT")
#: What gRPC goes through where it is set, so that the server itself need not be within reach.
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")
#: Where Java and Spark's launcher find options besides those that we give.
_JAVA_OPTIONS = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "SPARK_SUBMIT_OPTS")

# Small Delta tables are dominated by Delta's and Spark's defaults, which are made for large ones.
_LOCAL = {
    "spark.app.name": "dp-spark",
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "32",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "4",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.eventLog.enabled": "false",
    # Bounding sorts Spark partitions of a few hundred thousand rows fastest, and few small ones cost nothing (ADR 7).
    "spark.sql.adaptive.coalescePartitions.parallelismFirst": "false",
    "spark.sql.adaptive.advisoryPartitionSizeInBytes": "16m",
    # A group limit below each window drops hardly any row that the first pass of bounding has left (ADR 7).
    "spark.sql.optimizer.windowGroupLimitThreshold": "-1",
    # Spark's limit of 1 GiB would end a charged release by how many partitions and bins the data have.
    "spark.driver.maxResultSize": "0",
}


def is_of_platform() -> bool:
    """Whether the session is made with somebody else's configuration: Databricks', spark-submit's, or a Connect server's."""
    remote = os.environ.get("SPARK_REMOTE", "local")
    return any(name in os.environ for name in _PLATFORMS) or not remote.startswith("local")


def get_session(*, console_progress: bool = False) -> SparkSession:
    """The SparkSession of this process: the one that is running, else one made for where we are.

    On Databricks and under spark-submit the platform's session is taken as it is; with ``SPARK_REMOTE`` set a Spark
    Connect one is made; else a local one, on all cores, with half of the machine's memory.

    Args:
        console_progress: Whether a local session shows Spark's progress bar on stderr.

    Raises:
        DpSparkError: If Java is missing or too old for a local session, or Spark Connect's libraries for a remote one, or
            its server does not answer.
    """
    silence_value_quoting_loggers()
    try:
        return _session(console_progress)
    except PySparkImportError:
        raise DpSparkError(
            "SPARK_REMOTE asks for Spark Connect, whose libraries are missing or too old",
            mend="pip install 'dp_spark[connect]', or unset SPARK_REMOTE",
        ) from None


def _session(console_progress: bool) -> SparkSession:
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    active = SparkSession.getActiveSession()
    if active is not None:
        return active
    builder = SparkSession.builder
    if "DATABRICKS_RUNTIME_VERSION" in os.environ:
        return builder.getOrCreate()
    if "PYSPARK_GATEWAY_PORT" in os.environ:  # spark-submit: Spark's log is the job's own, and quotes values of rows that fail
        return builder.config("spark.log.level", "OFF").getOrCreate()
    remote = os.environ.get("SPARK_REMOTE", "")
    if not remote or remote.startswith("local"):
        check_java()
        for key, value in _local_settings(console_progress).items():
            builder = builder.config(key, value)
    else:
        importlib.import_module("pyspark.sql.connect.session")  # says which libraries are missing
        _check_server(remote)
    if remote:  # settings of a server's start cannot be changed afterwards; the client warns about each one
        warnings.filterwarnings("ignore", module=r"pyspark\.sql\.connect\.conf")
    else:
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        builder = builder.master(os.environ.get("DP_SPARK_MASTER", "local[*]"))
    return builder.getOrCreate()


def _local_settings(console_progress: bool) -> dict[str, str]:
    settings = dict(_LOCAL)
    settings["spark.driver.memory"] = f"{_driver_memory_gib()}g"
    settings["spark.ui.showConsoleProgress"] = "true" if console_progress else "false"
    quiet = conf_file("log4j2.properties").as_uri()
    options = f"-Dlog4j2.configurationFile={quiet} -Dderby.stream.error.file=/dev/null"
    chosen = " ".join(os.environ.get(name, "") for name in _JAVA_OPTIONS)
    # The collector made for throughput: a release has no pauses to fear. Java refuses to start with two.
    settings["spark.driver.extraJavaOptions"] = options if "GC" in chosen else f"-XX:+UseParallelGC {options}"
    cache = Path.home() / ".ivy2.5.2" / "jars"
    package = _delta_package()
    _, artifact, number = package.split(":")
    jars = [cache / f"io.delta_{name}-{number}.jar" for name in (artifact, "delta-storage")]
    if all(jar.is_file() for jar in jars):  # the resolver talks a lot and takes seconds, so it runs only once
        settings["spark.jars"] = ",".join(str(jar) for jar in jars)
    else:
        settings["spark.jars.packages"] = package
    return settings


def _delta_package() -> str:
    """The coordinate of the Delta jar that belongs to the installed pyspark and delta-spark.

    Raises:
        DpSparkError: If Delta was never built for this Spark.
    """
    spark, delta = (".".join(version(name).split(".")[:2]) for name in ("pyspark", "delta-spark"))
    if delta != "4.0":  # since 4.1 there is one jar for each Spark
        return f"io.delta:delta-spark_{spark}_2.13:{version('delta-spark')}"
    if spark != "4.0":
        raise DpSparkError(f"delta-spark {delta} is not for pyspark {spark}", mend="pip install --upgrade dp_spark delta-spark")
    return f"io.delta:delta-spark_2.13:{version('delta-spark')}"


def _driver_memory_gib() -> int:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 4
    return max(2, min(16, total // 2**31))


def _check_server(remote: str) -> None:
    """Asks a Spark Connect server for an answer once: pyspark asks again for minutes, and says nothing meanwhile."""
    if any(os.environ.get(name) for name in _PROXIES):
        return
    try:
        address = urlsplit(remote)
        host, port = address.hostname, address.port or _CONNECT_PORT
    except ValueError:
        host, port = None, 0
    if not host or address.scheme != "sc":
        raise DpSparkError("is not the address of a Spark Connect server", where="SPARK_REMOTE", mend="write sc://HOST:PORT")
    try:
        socket.create_connection((host, port), timeout=_ANSWER_SECONDS).close()
    except OSError as error:
        raise DpSparkError(
            f"no Spark Connect server answers at {host}:{port} ({type(error).__name__})",
            where="SPARK_REMOTE",
            mend="start the server, correct the address, or unset SPARK_REMOTE to run here",
        ) from None
