"""The fixtures that tests of several folders use; pure tests import no pyspark and start no JVM."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from filelock import FileLock

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from release_helpers import Outcome, Place

pytest_plugins = ("time_limit",)

#: A JVM of tests lives for minutes and runs thousands of small queries, each once: it compiles little and in a hurry, and has
#: one of the cores, as the other worker has the other. Hadoop starts `readlink` and `chmod` for each commit, for which Java
#: has a cheaper way than its own. Processes that a test starts get the same.
_JVM = (
    "-XX:TieredStopAtLevel=1 -XX:CompileThresholdScaling=4 -XX:ReservedCodeCacheSize=512m -XX:+UseSerialGC "
    "-Djdk.lang.Process.launchMechanism=VFORK"
)
os.environ.setdefault("SPARK_SUBMIT_OPTS", _JVM)
os.environ.setdefault("DP_SPARK_MASTER", "local[1]")

# How long an example takes says how busy the machine is. Made of "default", since that of CI draws the same examples each time.
hypothesis.settings.register_profile("untimed", hypothesis.settings.get_profile("default"), deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The session that the command line uses, with a warehouse of the test run's own."""
    from dp_spark.session import get_session

    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("cwd"))  # Spark makes spark-warehouse and metastore_db where it starts
    session = get_session()
    os.chdir(before)
    yield session
    session.stop()


@pytest.fixture
def schema(spark: SparkSession, tmp_path: Path) -> Iterator[str]:
    """A catalog schema of the test's own, whose tables lie under tmp_path."""
    spark.sql(f"CREATE SCHEMA wards LOCATION '{tmp_path / 'wards'}'")
    yield "wards"
    spark.sql("DROP SCHEMA wards CASCADE")


@pytest.fixture
def held(spark: SparkSession) -> Iterator[None]:
    """The settings of a release, in a session whose own are the strict ones."""
    from dp_spark.spark.settings import RELEASE_SETTINGS, settings

    given = {**RELEASE_SETTINGS, "spark.sql.session.timeZone": "UTC"}
    with settings(spark, {"spark.sql.ansi.enabled": "true"}), settings(spark, given):
        yield


def made_by_one(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first worker that asks for it makes, for all of them; only to be read or copied."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with FileLock(f"{folder}.lock"):
        if not (done := folder.with_suffix(".done")).exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def template(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source and the ledger that every test's place starts from; only to be read or copied."""
    from release_helpers import make_template

    return made_by_one(tmp_path_factory, "template", lambda folder: make_template(spark, folder))


@pytest.fixture
def place(
    request: pytest.FixtureRequest, spark: SparkSession, template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Place:
    """A folder of the test's own, with a ledger and the defaults of a release file.

    The ledger is a Delta table; where a test or its module is marked ``books_in_memory``, it and the outbox are in memory,
    while source and sink are what they always are. ``books_on_delta`` takes a test of such a module out again.
    """
    from release_helpers import Place

    if request.node.get_closest_marker("books_in_memory") and not request.node.get_closest_marker("books_on_delta"):
        from memory_books import LoggedBooks

        books = LoggedBooks(tmp_path).opened()
        monkeypatch.setattr("dp_spark.ledger.on_delta.DeltaStore", books.store)
        return Place(tmp_path, template / "source", spark)
    return Place.copied(template, tmp_path, spark)


@pytest.fixture(scope="session")
def made_once(spark: SparkSession, template: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """One file released twice, as r1 and r2, into one sink: what ``released`` shows to tests."""
    from release_helpers import COUNT, MEAN, PATIENTS, TOTAL, Place

    def make(folder: Path) -> None:
        place = Place.copied(template, folder, spark)
        for release_id in ("r1", "r2"):
            place.release(release_id, aggregates=[PATIENTS, COUNT, TOTAL, MEAN])

    return Place(made_by_one(tmp_path_factory, "released", make), template / "source", spark)


@pytest.fixture
def released(made_once: Place) -> Iterator[Place]:
    """The releases r1 and r2 that all tests share: to be looked at, or copied; a test that changes them fails."""
    from release_helpers import snapshot

    tables = (made_once.ledger, made_once.outbox_path, made_once.sink)
    before = [snapshot(table) for table in tables]
    yield made_once
    assert [snapshot(table) for table in tables] == before, "a test changed the releases that all share"


@pytest.fixture
def cli(spark: SparkSession, capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """The command line, in this process and on this session; it must never show a traceback."""
    from release_helpers import Outcome

    from dp_spark.cli import main

    def call(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = main([os.fspath(item) if isinstance(item, os.PathLike) else str(item) for item in arguments])
        captured = capfd.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return Outcome(code, captured.out, captured.err)

    return call


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever takes the session is marked ``spark``. Files with the longest tests come first: no worker waits for another.

    Of these the first is one that needs nothing that workers share, while the other worker makes that.
    """
    for item in items:
        if "spark" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.spark)
    items.sort(key=lambda item: (item.path.parent.name != "system", item.path.name != "test_connect.py"))
