"""Failures after the charge: told apart by names alone, each with what to do, and nothing of the text."""

from __future__ import annotations

import pytest
from pyspark.errors import SparkRuntimeException

from dp_spark.errors import DpSparkError, SourceError
from dp_spark.read_failures import FAILURES, failure_of, reading_failed

SECRET = "patient-4711"


@pytest.mark.parametrize(
    ("text", "what", "code"),
    [
        ("Job aborted: java.lang.OutOfMemoryError: Java heap space", "memory", 1),
        ("ExecutorLostFailure (executor 3 exited caused by one of the running tasks)", "memory", 1),
        ("java.io.IOException: No space left on device", "disk", 1),
        ("org.apache.hadoop.security.AccessControlException: Permission denied: user=x", "access", 4),
        ("[FAILED_READ_FILE.FILE_NOT_EXIST] Encountered error while reading file x", "gone", 4),
        ("Caused by: java.io.FileNotFoundException: x", "gone", 4),
        ("java.lang.RuntimeException: x is not a Parquet file. Expected magic number", "damaged", 4),
        ("[FAILED_READ_FILE.NO_HINT] Encountered error while reading file", "damaged", 4),
        ("[FAILED_READ_FILE.CANNOT_READ_FILE_FOOTER] x", "damaged", 4),
        ("org.postgresql.util.PSQLException: x", "connection", 4),
        ("java.net.ConnectException: Connection refused", "connection", 4),
        ("[CAST_OVERFLOW] The value x", "null", 4),
        ("[INCONSISTENT_BEHAVIOR_CROSS_VERSION.DATETIME_PATTERN_RECOGNITION] x", "constant", 4),
        ("Job 3 cancelled because SparkContext was shut down: org.apache.spark.SparkJobCancelledException", "cancelled", 1),
        ("something else", "not known", 4),
    ],
)
def test_the_class_is_told_and_the_text_is_not(text: str, what: str, code: int) -> None:
    error = reading_failed(SparkRuntimeException(f"{text} {SECRET}"))
    assert what in error.message
    assert error.exit_code == code
    assert SECRET not in str(error)
    assert error.mend
    assert "driver's memory and" not in error.mend


def test_a_value_that_reads_like_an_error_is_no_name() -> None:
    assert failure_of(SparkRuntimeException("the value 'No memory at all, Corrupt or Forbidden' is odd")).names == ()


def test_every_class_says_what_to_do() -> None:
    assert len({failure.what for failure in FAILURES}) == len({failure.mend for failure in FAILURES}) == len(FAILURES)
    assert all(issubclass(failure.kind, DpSparkError) for failure in FAILURES)
    assert reading_failed(MemoryError()).exit_code == 1
    assert isinstance(reading_failed(SparkRuntimeException("x")), SourceError)
