"""Spark's exceptions to ours: the error's class goes on, its message (which can quote values) does not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException

from dp_spark.errors import DpSparkError

#: Everything a Spark action can raise on classic Spark and on Connect.
SPARK_ERRORS = (PySparkException, Py4JError)

_CONCURRENT = (
    "ConcurrentAppend",
    "ConcurrentDelete",
    "ConcurrentTransaction",
    "ConcurrentWrite",
    "DELTA_CONCURRENT",
    "MetadataChanged",
    "ProtocolChanged",
    "DELTA_METADATA_CHANGED",
    "DELTA_PROTOCOL_CHANGED",
)


def condition(error: BaseException) -> str:
    """The name of what went wrong, such as ``PATH_NOT_FOUND``; never the message."""
    if isinstance(error, PySparkException):
        with contextlib.suppress(Exception):
            name = error.getCondition()
            if name:
                return str(name)
    java = getattr(error, "java_exception", None)
    if java is not None:
        with contextlib.suppress(Exception):
            return str(java.getClass().getSimpleName())
    return type(error).__name__


def is_concurrent(error: BaseException) -> bool:
    """Whether Delta refused a commit because another one came first."""
    # The first lines only: a stack trace names java.util.concurrent whatever went wrong.
    head = " ".join(str(error).splitlines()[:2])
    return any(word in f"{type(error).__name__} {condition(error)} {head}" for word in _CONCURRENT)


@contextlib.contextmanager
def translated(kind: type[DpSparkError], message: str, *, where: str = "", mend: str = "") -> Iterator[None]:
    """Turns any Spark exception in the block into ``kind``, with the condition's name and nothing of its text."""
    try:
        yield
    except SPARK_ERRORS as error:
        raise kind(f"{message} ({condition(error)})", where=where, mend=mend) from None
