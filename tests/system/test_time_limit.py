"""A test over 5 seconds that is not marked ``slow`` fails the suite; the durations here are made up."""

from __future__ import annotations

import os

import pytest
import time_limit
from checkout import ROOT

pytest_plugins = ("pytester",)

#: A test's name says how long pytest is told that it took; its fixtures are told to have taken a minute.
CONFTEST = """
import os
import re
import pytest

os.getloadavg = lambda: (0.0, 0.0, 0.0)
pytest_plugins = ("time_limit",)

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item, call):
    call.duration = float(re.search(r"takes_([0-9_]+)", item.name)[1].replace("_", ".")) if call.when == "call" else 60.0

@pytest.fixture(scope="session")
def spark():
    return None
"""
TESTS = """
import pytest

def test_takes_4_9(): pass
def test_takes_5_1(): pass
def test_takes_10_1(): pass
def test_takes_20_and_fails(): assert False, "as before"
def test_takes_20_and_skips(): pytest.skip("as before")
@pytest.mark.slow
def test_slow_takes_20(): pass
@pytest.mark.long
def test_long_takes_20(): pass
@pytest.mark.durability
def test_durability_takes_20(): pass
def test_first_on_spark_takes_20(spark): pass
def test_second_on_spark_takes_20(spark): pass
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setattr(os, "getloadavg", os.getloadavg)  # put back what the suite's conftest replaces
    for name in ("CI", "SPARK_REMOTE", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
        monkeypatch.delenv(name, raising=False)
    markers = ["slow", *time_limit.LEFT_OUT]
    support = str(ROOT / "tests" / "support")
    pytester.makepyprojecttoml(f"[tool.pytest.ini_options]\npythonpath = [{support!r}]\nmarkers = {markers}")
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_made_up=TESTS)
    return pytester


def run(suite: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return suite.runpytest_inprocess("-rf", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *arguments)


def failures(result: pytest.RunResult) -> list[str]:
    return sorted({line.split("::")[1].split()[0] for line in result.outlines if line.startswith("FAILED ")})


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["in one process", "with a worker"])
def test_what_is_not_marked_fails_and_is_told_how_to_mend(suite: pytest.Pytester, workers: list[str]) -> None:
    result = run(suite, *workers)
    assert failures(result) == [
        "test_second_on_spark_takes_20", "test_takes_10_1", "test_takes_20_and_fails", "test_takes_5_1",
    ]  # fmt: skip
    result.assert_outcomes(passed=5, failed=4, skipped=1)
    assert ("1 worker" in result.stdout.str()) == bool(workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    text = result.stdout.str()
    assert "test_made_up.py::test_takes_5_1 took 5.1 s, more than the 5 s of a test without a mark: make it cheaper" in text
    assert "or mark it `@pytest.mark.slow`" in text
    assert "test_takes_20_and_fails took" not in text, "why it fails is not hidden"


def test_where_ci_is_true_a_test_may_take_twice_as_long(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    result = run(suite)
    assert failures(result) == ["test_second_on_spark_takes_20", "test_takes_10_1", "test_takes_20_and_fails"]


@pytest.mark.parametrize("load", [0.0, 1.0, 2.0])
def test_the_limit_is_what_the_environment_says(load: float) -> None:
    assert [time_limit.limit(given, load, 2) for given in ({}, {"CI": ""}, {"CI": "false"})] == [5, 5, 5]
    assert [time_limit.limit({"CI": text}, load, 8) for text in ("true", "True")] == [10, 10]
    assert time_limit.limit({"CI": "true", "SPARK_REMOTE": "local[2]"}, load, 2) == float("inf")


@pytest.mark.parametrize(("workers", "cores", "seconds"), [(1, 1, 5), (1, 2, 5), (2, 1, 10), (2, 2, 10), (2, 3, 5), (2, 8, 5)])
def test_workers_that_share_the_cores_may_take_as_long_as_those_of_ci(workers: int, cores: int, seconds: float) -> None:
    assert time_limit.limit({"PYTEST_XDIST_WORKER_COUNT": str(workers)}, 0, cores) == seconds


def test_a_busy_machine_is_allowed_for() -> None:
    assert (time_limit.limit({}, 6, 2), time_limit.limit({"CI": "true"}, 6, 2)) == (15, 30)


def test_what_is_left_out_is_slow_and_is_left_out_by_default(suite: pytest.Pytester) -> None:
    run(suite, "-m", "slow").assert_outcomes(passed=3, deselected=7)


def test_this_suite_is_held_to_it(pytestconfig: pytest.Config) -> None:
    assert pytestconfig.pluginmanager.get_plugin("time_limit") is time_limit
    addopts = pytestconfig.getini("addopts")
    assert addopts[addopts.index("-m") + 1] == " and ".join(f"not {name}" for name in time_limit.LEFT_OUT)
