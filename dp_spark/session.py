"""The SparkSession: builds one for local use, picks up the one that is there, and holds settings for a while.

Only the command line and the jobs call ``get_session``; library functions are handed a session.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException, PySparkImportError

from dp_spark.errors import DpSparkError
from dp_spark.installed import conf_file

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_MIN_JAVA = 17
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
}

#: Spark's own messages quote the values that failed; pyspark logs them before we can catch the exception.
_VALUE_QUOTING_LOGGERS = ("SQLQueryContextLogger", "DataFrameQueryContextLogger", "py4j", "pyspark")

#: Whether Spark reads a table that is stored in buckets without a shuffle of its own.
BUCKETING = "spark.sql.sources.bucketing.enabled"
#: Whether the names of folders decide the types of columns.
PARTITION_TYPES = "spark.sql.sources.partitionColumnTypeInference.enabled"
#: Whether what two expressions share is computed before either.
SHARED_EXPRESSIONS = "spark.sql.subexpressionElimination.enabled"

#: What a release needs of the session, from building its frames until collecting them (invariant 11).
RELEASE_SETTINGS = {
    "spark.sql.ansi.enabled": "false",
    "spark.sql.caseSensitive": "false",
    "spark.sql.parser.escapedStringLiterals": "false",
    "spark.sql.ansi.doubleQuotedIdentifiers": "false",
    "spark.sql.legacy.timeParserPolicy": "CORRECTED",
    # What an expression means: '' inside a text, the type that TIMESTAMP names, numbers such as 1e3, a date beside a text,
    # a name in backticks, charsets beyond Spark's own, ! before a comparison, decimals, the size of null.
    "spark.sql.legacy.consecutiveStringLiterals.enabled": "false",
    "spark.sql.timestampType": "TIMESTAMP_LTZ",
    "spark.sql.legacy.exponentLiteralAsDecimal.enabled": "false",
    "spark.sql.legacy.typeCoercion.datetimeToString.enabled": "false",
    "spark.sql.parser.quotedRegexColumnNames": "false",
    "spark.sql.legacy.javaCharsets": "false",
    "spark.sql.legacy.codingErrorAction": "false",
    "spark.sql.legacy.bangEqualsNot": "false",
    "spark.sql.decimalOperations.allowPrecisionLoss": "true",
    "spark.sql.legacy.literal.pickMinimumPrecision": "true",
    "spark.sql.legacy.sizeOfNull": "true",
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInRead": "CORRECTED",
    # How records are read: a broken file must not drop the records behind the break, nor a session change what a type is.
    "spark.sql.files.ignoreCorruptFiles": "false",
    "spark.sql.files.ignoreMissingFiles": "false",
    "spark.sql.json.enablePartialResults": "true",
    "spark.sql.legacy.json.allowEmptyString.enabled": "false",
    "spark.sql.parquet.mergeSchema": "false",
    "spark.sql.orc.mergeSchema": "false",
    # The names of folders (code=X9/) are private values: the type of a key must not depend on them.
    PARTITION_TYPES: "false",
    # Spark would compute what two expressions share before either, outside of what gives null for errors (time_guard).
    SHARED_EXPRESSIONS: "false",
    # Spark believes the name of a file about its bucket; bounding must not, unless each row is checked (sources.Buckets).
    BUCKETING: "false",
}

#: What every release depends on and Spark's defaults get wrong: a value that cannot be cast, and where a day begins.
_NEVER_ASSUMED = ("spark.sql.ansi.enabled", "spark.sql.session.timeZone")

#: Delta's own metadata, ledger and outbox are small: in adaptive stages they would take twice as many Spark jobs.
#: And a broadcast is a Spark job of its own.
_BOOKKEEPING = {
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.autoBroadcastJoinThreshold": "-1",
    # Spark's default format of timestamps is one that other readers take for nanoseconds, which end in the year 2262.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
}

#: A session's settings are common to all threads, so whoever needs some of them takes turns.
_HOLDING = threading.RLock()


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
        _check_java()
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


def _check_java() -> None:
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    mend = f"install a Java runtime of version {_MIN_JAVA} (such as openjdk-17-jre-headless) and put it on PATH"
    if java is None or not Path(java).exists():
        raise DpSparkError(f"Spark needs Java {_MIN_JAVA} or later, and there is none", mend=mend)
    text = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = text.partition('"')[2].partition('"')[0].split(".")
    major = version[1] if version[0] == "1" and len(version) > 1 else version[0].partition("-")[0]
    if not major.isdigit() or int(major) < _MIN_JAVA:
        raise DpSparkError(f"Spark needs Java {_MIN_JAVA} or later; {java} is version {major or 'unknown'}", mend=mend)


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


def silence_value_quoting_loggers() -> None:
    """Silences pyspark's loggers that quote failing values (invariant 5)."""
    for name in _VALUE_QUOTING_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def bookkeeping(spark: SparkSession) -> contextlib.AbstractContextManager[None]:
    """Held around what reads and writes our own small tables; it is about speed and about what other readers
    make of an old timestamp, so a platform may refuse it."""
    return settings(spark, _BOOKKEEPING, required=False)


@contextlib.contextmanager
def settings(spark: SparkSession, wanted: Mapping[str, str], *, required: bool = True) -> Iterator[None]:
    """Holds session settings for the length of a block and puts the old ones back, whatever happens.

    Another thread that wants to hold settings waits until the block is over.

    Args:
        spark: The session.
        wanted: Setting -> value.
        required: Whether a setting that the platform refuses is an error.

    Raises:
        DpSparkError: If the platform refuses a required setting and has another value for it.
    """
    with _HOLDING:
        before: dict[str, str | None] = {}
        try:
            for key, value in wanted.items():
                effective = _effective(spark, key)
                if effective is None or effective.lower() != value.lower():
                    before[key] = _explicit(spark, key)
                    _set(spark, key, value, effective if required else None)
            yield
        finally:
            for key, old in before.items():
                with contextlib.suppress(PySparkException, Py4JError):
                    if old is None:
                        spark.conf.unset(key)
                    else:
                        spark.conf.set(key, old)


def check_held(spark: SparkSession, key: str, depends: str, *, where: str, mend: str) -> None:
    """Refuses what depends on a setting of a release where the platform neither takes it nor shows it.

    Args:
        spark: The session, with ``RELEASE_SETTINGS`` held.
        key: One of ``RELEASE_SETTINGS``.
        depends: What depends on it, for the error.
        where: The key in the release file.
        mend: What the author can do without another platform.

    Raises:
        DpSparkError: If the setting may have another value.
    """
    shown, wanted = _effective(spark, key), RELEASE_SETTINGS[key]
    if shown is None:
        with contextlib.suppress(PySparkException, Py4JError):
            spark.conf.set(key, wanted)
            return  # it takes what it does not show
    if shown is None or shown.lower() != wanted:
        raise DpSparkError(
            f"{depends}, and this platform neither lets {key} be set to {wanted} nor says that it is",
            where=where,
            mend=f"{mend}, or run where it can be set (on Databricks: a job cluster)",
        )


def _effective(spark: SparkSession, key: str) -> str | None:
    try:
        return spark.conf.get(key)
    except (PySparkException, Py4JError):  # it has no value, or the platform hides it
        return None


def _explicit(spark: SparkSession, key: str) -> str | None:
    try:
        return spark.conf.get(key, None)
    except (PySparkException, Py4JError):
        return None


def _set(spark: SparkSession, key: str, value: str, current: str | None) -> None:
    try:
        spark.conf.set(key, value)
    except (PySparkException, Py4JError):
        # A managed platform may fix a setting. Where it hides the value, too, Spark's default is taken to hold. That is the one
        # that is wanted, but for three that few releases depend on (``check_held`` refuses those) and two that all depend on.
        if current is not None or key in _NEVER_ASSUMED:
            raise DpSparkError(
                f"the platform does not let {key} be set to {value}", mend="run where it can be set, or ask its admins"
            ) from None
