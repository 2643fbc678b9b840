"""Settings of a session, held for the length of a block: those of a release, and those for our own small tables."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException

from dp_spark.errors import DpSparkError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


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
    # What tells the rows of a partition from those of its bins (leaf_counts).
    "spark.sql.legacy.integerGroupingId": "false",
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
    # Spark believes the name of a file about its bucket; bounding must not, unless each row is checked (buckets.Buckets).
    BUCKETING: "false",
}

#: What every release depends on and Spark's defaults get wrong: a value that cannot be cast, and where a day begins.
_NEVER_ASSUMED = ("spark.sql.ansi.enabled", "spark.sql.session.timeZone")

#: Delta's own metadata, ledger and outbox are small: in adaptive stages they would take twice as many Spark jobs.
#: And a broadcast is a Spark job of its own. Java that is made for each of their queries costs more than it saves.
_BOOKKEEPING = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.autoBroadcastJoinThreshold": "-1",
    # Spark's default format of timestamps is one that other readers take for nanoseconds, which end in the year 2262.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
}

#: As a draw runs where nobody says otherwise, for what is tried within ``bookkeeping`` before it.
AS_DRAWN = {"spark.sql.codegen.wholeStage": "true", "spark.sql.codegen.factoryMode": "FALLBACK"}

#: A session's settings are common to all threads, so whoever needs some of them takes turns.
_HOLDING = threading.RLock()


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
