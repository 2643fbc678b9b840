"""One SparkSession for all tests that need one; pure tests start no JVM."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytest_plugins = ("time_limit",)

# How long an example takes says how busy the machine is. Made of "default", since that of CI draws the same examples each time.
settings.register_profile("untimed", settings.get_profile("default"), deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The session that the command line uses, with a warehouse of the test run's own."""
    import os

    from dp_spark.session import get_session

    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("cwd"))  # Spark makes spark-warehouse and metastore_db where it starts
    session = get_session()
    os.chdir(before)
    yield session
    session.stop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever takes the session is marked ``spark``."""
    for item in items:
        if "spark" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.spark)
