"""What kind of thing failed after the charge, and what to do: told by the names of errors, never by their text.

An error of Spark quotes values and paths. So its condition decides where it has one; else the names of conditions and of Java
classes where Spark writes them, at the beginning of a line, up to the first condition whose message can quote values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dp_spark.errors import DpSparkError, SourceError
from dp_spark.spark.errors import condition

_AGAIN = "run the same command again with this release id: it is not charged again"


@dataclass(frozen=True)
class Failure:
    """A class of failures.

    Attributes:
        names: Words of conditions and of class names that tell it.
        what: What failed.
        mend: What to do.
        kind: The error to raise.
    """

    names: tuple[str, ...]
    what: str
    mend: str
    kind: type[DpSparkError] = SourceError


#: In order of precedence: a lost executor can be the consequence of what comes before.
FAILURES = (
    Failure(
        (
            "OutOfMemory",
            "MemoryError",
            "UNABLE_TO_ACQUIRE_MEMORY",
            "EXECUTOR_MEMORY",
            "Total size of serialized results",
            "ExecutorLost",
            "ArrowCapacity",
        ),
        "memory ran out",
        "give driver and executors more memory (spark.driver.memory, spark.executor.memory), and results no limit of their own "
        f"(spark.driver.maxResultSize=0), then {_AGAIN}",
        DpSparkError,
    ),
    Failure(
        ("No space left", "DiskErrorException", "DISK_SPACE"),
        "the disk of a machine is full",
        f"make room where Spark keeps its shuffle files (spark.local.dir), then {_AGAIN}",
        DpSparkError,
    ),
    Failure(
        (
            "AccessControl",
            "AccessDenied",
            "Forbidden",
            "Unauthorized",
            "PERMISSION",
            "AuthenticationException",
            "LoginException",
        ),
        "access to the source was refused",
        f"let the account that runs the job read the source's files, then {_AGAIN}",
    ),
    Failure(
        (
            "FILE_NOT_EXIST",
            "FileNotFound",
            "NoSuchFile",
            "PATH_NOT_FOUND",
            "DELTA_FILE_NOT_FOUND",
            "NoSuchKey",
            "TABLE_OR_VIEW",
        ),
        "a file of the source is gone",
        f"put it back, or have the table's owner repair it, then {_AGAIN}",
    ),
    Failure(
        (
            "ConnectException",
            "UnknownHost",
            "SocketTimeout",
            "SocketException",
            "SQLException",
            "SQLRecoverable",
            "CommunicationsException",
            "UNAVAILABLE",
            "HttpHostConnect",
            "SSLException",
            "PSQLException",
            "SQLTransient",
        ),
        "the connection to the source or to Spark was lost or refused",
        f"see that the database, the storage and Spark's server answer, then {_AGAIN}",
    ),
    Failure(
        (
            "INCONSISTENT_BEHAVIOR",
            "SparkUpgrade",
            "INVALID_DATETIME_PATTERN",
            "INVALID_PARAMETER_VALUE",
            "INVALID_TIMEZONE",
            "PatternSyntax",
            "INVALID_FORMAT",
        ),
        "Spark refused a constant of the release file, such as a pattern",
        "correct it; with another file the release is a new one and needs a new release id",
    ),
    Failure(
        (
            "CAST_INVALID",
            "CAST_OVERFLOW",
            "ARITHMETIC_OVERFLOW",
            "NUMERIC_VALUE_OUT_OF_RANGE",
            "DIVIDE_BY_ZERO",
            "DateTimeException",
            "ArithmeticException",
            "NumberFormat",
        ),
        "a value could not be computed, although it should have become null",
        "report it with the release file, without data",
    ),
    Failure(
        (
            "CANNOT_READ_FILE_FOOTER",
            "NOT_A_PARQUET",
            "ParquetDecoding",
            "Corrupt",
            "ChecksumException",
            "ZipException",
            "MalformedInput",
            "FAILED_READ_FILE",
            "MALFORMED_RECORD",
            "EOFException",
            "InvalidProtocolBuffer",
            "CONVERT_COLUMN_TYPE",
            "SchemaColumnConvert",
            "BlockMissing",
            "UNSUPPORTED_ENCODING",
            "BadRecord",
            "ParsingException",
            "is not a Parquet file",
        ),
        "a file of the source is damaged or not of its format",
        f"put it back from a backup or write it anew, then {_AGAIN}",
    ),
    Failure(
        ("JobCancelled", "OPERATION_CANCELED", "Interrupted", "CANCELLED", " cancelled", "INVALID_HANDLE"),
        "the job was cancelled or Spark was stopped",
        _AGAIN,
        DpSparkError,
    ),
)
_UNKNOWN = Failure((), "reading failed for a reason that is not known", f"{_AGAIN}; see Spark's own log for the cause")
_CONDITION = re.compile(r"[A-Z][A-Z0-9_.]+")
#: Wraps the cause, which the lines below it name, and quotes nothing but a path.
_WRAPPER = "FAILED_READ_FILE"
_CLASS = r"[\w$.]+(?:Exception|Error|Failure)\b"
_HEAD = re.compile(
    r"^(?:: |Caused by: |\([\w$.]+\) |Job aborted[^:\n]*: |Task \d[^:\n]*: Lost task [^:\n]*\(TID \d+\) \([^()\n]*\): "
    rf"|{_CLASS}: )*"
    rf"(?:\[(?P<condition>{_CONDITION.pattern})\]|{_CLASS}|No space left|Total size of serialized results|Job \d+ cancelled"
    r"|\S+ is not a Parquet file(?=\. Expected))?",
    re.MULTILINE,
)
_QUOTED = re.compile(r"""(?<!\w)(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""", re.DOTALL)


def failure_of(error: BaseException) -> Failure:
    """The class of a failure; the text of the error stays here.

    >>> failure_of(ValueError("[CAST_INVALID_INPUT] The value 'java.lang.OutOfMemoryError' ...")).what
    'a value could not be computed, although it should have become null'
    >>> failure_of(MemoryError()).what
    'memory ran out'
    """
    name = condition(error)
    told = [(f"{name} {type(error).__name__}", name if _CONDITION.fullmatch(name) else None)]
    told += [(head.group(), head["condition"]) for head in _HEAD.finditer(_QUOTED.sub("", str(error)))]
    wrapper = _UNKNOWN
    for words, known in told:
        failure = next((failure for failure in FAILURES if any(word in words for word in failure.names)), _UNKNOWN)
        if known is not None and known.startswith(_WRAPPER):
            wrapper = failure
        elif known is not None or failure is not _UNKNOWN:
            return failure
    return wrapper


def reading_failed(error: BaseException) -> DpSparkError:
    """What is raised where reading, bounding and aggregating a source failed: its class, and nothing of its text."""
    failure = failure_of(error)
    return failure.kind(
        f"reading and aggregating the source failed ({condition(error)}): {failure.what}", where="source", mend=failure.mend
    )
