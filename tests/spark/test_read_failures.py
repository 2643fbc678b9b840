"""Failures after the charge: told apart by names alone, each with what to do, and nothing of the text."""

from __future__ import annotations

import pytest
from pyspark.errors import SparkRuntimeException

from dp_spark.errors import DpSparkError, SourceError
from dp_spark.spark.read_failures import FAILURES, failure_of, reading_failed

SECRET = "patient-4711"


@pytest.mark.parametrize(
    ("text", "what", "code"),
    [
        ("Job aborted: java.lang.OutOfMemoryError: Java heap space", "memory", 1),
        ("Total size of serialized results of 9 tasks (1100.0 MiB) is bigger than spark.driver.maxResultSize", "memory", 1),
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
    assert ("spark.driver.maxResultSize=0" in error.mend) == (what == "memory")


PY4J = "An error occurred while calling o70.getResult.\n: org.apache.spark.SparkException: Exception thrown in awaitResult: \n"
STAGE = (
    "org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 5.0 failed 4 times, most recent "
    "failure: Lost task 0.3 in stage 5.0 (TID 9) (10.0.0.1 executor 3): "
)
LIKE_ERRORS = (
    "java.lang.OutOfMemoryError",
    "FileNotFoundException: x",
    "x\nCaused by: java.lang.OutOfMemoryError: y",
    r"it\'s" + "\nCaused by: java.net.ConnectException: y",
    "x\n[FAILED_READ_FILE.FILE_NOT_EXIST] y",
    "No space left",
)


@pytest.mark.parametrize("value", LIKE_ERRORS)
@pytest.mark.parametrize("head", ["", STAGE, f"{PY4J}Caused by: org.apache.spark.SparkRuntimeException: "])
@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[CAST_OVERFLOW] The value '{}' of the type", "null"),
        ("[CAST_OVERFLOW] The value {} of the type", "null"),
        ("[USER_RAISED_EXCEPTION] {}", "not known"),
        ("[FAILED_READ_FILE.NO_HINT] x\nCaused by: java.lang.RuntimeException: the value '{}' is odd", "damaged"),
        ("the value '{}' is odd", "not known"),
        ("they didn't take the value '{}'", "not known"),
    ],
)
def test_a_value_that_reads_like_an_error_changes_nothing(text: str, what: str, head: str, value: str) -> None:
    found = [failure_of(SparkRuntimeException(head + text.format(said))) for said in (value, "ordinary")]
    assert found[0] is found[1]
    assert what in found[0].what


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f"{STAGE}ExecutorLostFailure (executor 3 exited caused by one of the running tasks)", "memory"),
        (f"{PY4J}Caused by: org.apache.spark.SparkException: [FAILED_READ_FILE.NO_HINT] x\n\tat x\n"
         "Caused by: org.apache.hadoop.security.AccessControlException: x", "access"),
        (f"{PY4J}Caused by: org.apache.spark.SparkException: [FAILED_READ_FILE.NO_HINT] x\nCaused by: java.io.IOException: x",
         "damaged"),
        (f"{PY4J}Caused by: x.SparkException: [FAILED_READ_FILE.FILE_NOT_EXIST] x\nCaused by: x.IOException", "gone"),
        ("(java.lang.OutOfMemoryError) Java heap space", "memory"),
    ],
)  # fmt: skip
def test_a_cause_is_found_where_spark_writes_it(text: str, what: str) -> None:
    assert what in failure_of(SparkRuntimeException(text)).what


def test_a_condition_decides_alone() -> None:
    class ToldError(SparkRuntimeException):
        def getCondition(self) -> str:  # noqa: N802 - Spark's name
            return "CAST_OVERFLOW"

    assert "null" in failure_of(ToldError("java.lang.OutOfMemoryError: x\nCaused by: java.lang.OutOfMemoryError")).what


def test_every_class_says_what_to_do() -> None:
    assert len({failure.what for failure in FAILURES}) == len({failure.mend for failure in FAILURES}) == len(FAILURES)
    assert all(issubclass(failure.kind, DpSparkError) for failure in FAILURES)
    assert reading_failed(MemoryError()).exit_code == 1
    assert isinstance(reading_failed(SparkRuntimeException("x")), SourceError)
