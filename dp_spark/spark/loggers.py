"""Loggers that quote values of rows, silenced."""

from __future__ import annotations

import logging

#: Spark's own messages quote the values that failed; pyspark logs them before we can catch the exception.
_VALUE_QUOTING_LOGGERS = ("SQLQueryContextLogger", "DataFrameQueryContextLogger", "py4j", "pyspark")


def silence_value_quoting_loggers() -> None:
    """Silences pyspark's loggers that quote failing values (invariant 5)."""
    for name in _VALUE_QUOTING_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
