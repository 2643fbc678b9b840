"""The fixtures of the tests of whole releases: a plugin of those test modules (``pytest_plugins``)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from release_helpers import ACCOUNTS, Outcome, Place, visits, write_delta

from dp_spark.cli import main
from dp_spark.ledger.on_delta import ledger_at
from dp_spark.privacy.accountants.account import Account
from dp_spark.tables.refs import TableRef


@pytest.fixture(scope="session")
def template(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source and the ledger that every test's place starts from."""
    folder = tmp_path_factory.mktemp("template")
    write_delta(spark, folder / "source", visits())
    ledger = ledger_at(spark, TableRef(str(folder / "ledger"), None))
    for dataset, (epsilon, delta, accountant) in ACCOUNTS.items():
        ledger.open(dataset, Account.open(Decimal(epsilon), Decimal(delta), accountant))
    return folder


@pytest.fixture
def place(spark: SparkSession, template: Path, tmp_path: Path) -> Place:
    shutil.copytree(template / "ledger", tmp_path / "ledger")
    return Place(tmp_path, template / "source", spark)


@pytest.fixture
def cli(spark: SparkSession, capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """The command line, in this process and on this session; it must never show a traceback."""

    def call(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = main([os.fspath(item) if isinstance(item, os.PathLike) else str(item) for item in arguments])
        captured = capfd.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return Outcome(code, captured.out, captured.err)

    return call
