"""A plugin of pytest: a test that takes long and is not marked so fails.

What counts is the test itself: fixtures, such as a session that starts, take what they take. Not held to it are the first test
with a session in each process, which pays for a JVM in which nothing is compiled yet, and tests on Spark Connect. The limit is
for a machine that has nothing else to do: with more than two processes waiting for each core it grows with their number.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping

import pytest

#: What `make test` leaves out; it is slow, too.
LEFT_OUT = ("long", "durability")
_MET_SPARK = pytest.StashKey[bool]()


def limit(environment: Mapping[str, str], load: float, cores: int) -> float:
    """How many seconds a test may take: more where workers share few cores, or where others keep the machine busy.

    Args:
        environment: The environment variables; pytest-xdist says in them how many workers there are.
        load: How many processes run or wait for each core.
        cores: How many there are. A worker has a JVM beside it, so that as many workers as cores share them.
    """
    if environment.get("SPARK_REMOTE"):
        return float("inf")
    share = int(environment.get("PYTEST_XDIST_WORKER_COUNT", "1")) >= max(2, cores)
    seconds = 10.0 if share or environment.get("CI", "").lower() == "true" else 5.0
    return seconds * max(1.0, load / 2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks as ``slow`` whatever is left out for being long."""
    for item in items:
        if any(item.get_closest_marker(name) for name in LEFT_OUT):
            item.add_marker(pytest.mark.slow)


def _is_first_on_spark(item: pytest.Item) -> bool:
    if "spark" not in getattr(item, "fixturenames", ()) or item.config.stash.get(_MET_SPARK, False):
        return False
    item.config.stash[_MET_SPARK] = True
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turns the report of a call that took too long into a failure; with xdist, in the worker."""
    report = yield
    if report.when != "call" or _is_first_on_spark(item) or item.get_closest_marker("slow"):
        return report
    cores = os.cpu_count() or 1
    allowed = limit(os.environ, os.getloadavg()[0] / cores, cores)
    if report.passed and call.duration > allowed:
        report.outcome = "failed"
        report.longrepr = (
            f"{item.nodeid} took {call.duration:.1f} s, more than the {allowed:.0f} s of a test without a mark: "
            "make it cheaper (fewer rows, a release that tests share, the decision without Spark), "
            "or mark it `@pytest.mark.slow`"
        )
    return report
