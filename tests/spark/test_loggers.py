"""Loggers that would quote values are silent."""

from __future__ import annotations

import logging

import pytest

from dp_spark.spark.loggers import silence_value_quoting_loggers


def test_loggers_that_quote_values_are_silent(caplog: pytest.LogCaptureFixture) -> None:
    names = ("SQLQueryContextLogger", "DataFrameQueryContextLogger", "py4j", "pyspark")
    for name in names:
        logging.getLogger(name).setLevel(logging.INFO)
    silence_value_quoting_loggers()
    for name in (*names, "pyspark.sql", "py4j.clientserver"):
        assert not logging.getLogger(name).isEnabledFor(logging.CRITICAL)
        logging.getLogger(name).critical("secret-4711")
    assert "4711" not in caplog.text
