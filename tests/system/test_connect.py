"""Spark Connect: parts of the suite once more, in a process whose session is a client of ``local[2]``.

A local Connect server has one fixed port, so there is one process and one server for all that a test runs. ``make test`` has a
release, its replay and a refusal; ``make test-all`` the main parts of the suite, which ``make test-connect`` runs in the
foreground. What they leave out looks at Spark from inside its JVM (``sparkContext``), which a client cannot.
"""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT

#: A session that is a client's, and on it a release, its replay and a refusal.
SMOKE = tuple(
    f"tests/support/connect_only.py::{name}"
    for name in ("test_the_session_is_of_spark_connect", "test_a_release_its_replay_and_a_refusal")
)
#: The order of a release, its replays and its rivals, budgets, silence, settings, types; then what Connect alone has.
PARTS = (
    "tests/support/connect_only.py",
    "tests/release/test_publication.py::test_a_drawn_release_needs_its_source_no_more",
    "tests/release/test_publication.py::test_a_newer_release_that_came_first_stays",
    "tests/release/test_publication.py::test_a_sink_put_back_to_an_older_release_gets_the_newer_one_again",
    "tests/release/test_publication.py::test_a_failure_between_charging_and_reading_says_how_to_retry",
    "tests/contracts/test_stores.py",
    "tests/ledger/test_on_delta.py",
    "tests/test_session.py",
    "tests/system/test_spark_versions.py",
    "tests/release/test_run.py::test_the_same_release_id_is_published_once",
    "tests/release/test_run.py::test_a_run_that_dies_after_the_draw_is_completed_from_the_outbox",
    "tests/release/test_run.py::test_public_keys_of_every_type_keep_their_type",
    "tests/release/test_run.py::test_private_selection",
    "tests/release/test_run.py::test_settings_are_held_and_put_back",
    "tests/tables/test_sink.py::test_every_key_type_survives_with_its_nulls",
    "tests/system/test_invariants.py::test_no_exact_value_leaves",
    "tests/system/test_invariants.py::test_a_failure_that_quotes_a_value_is_not_passed_on",
    "tests/system/test_invariants.py::test_errors_while_reading_name_no_value",
    "tests/system/test_invariants.py::test_errors_while_writing_name_no_value",
)


#: A server beside the JVMs of the other tests; and a client waits long for a server that died.
MEMORY, SECONDS = "-Xmx4g", 1200


def on_connect(*parts_and_options: str, **how: Any) -> subprocess.CompletedProcess[str]:
    """Runs parts of the suite in a process of its own."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "SPARK_"))}
    environment |= {"SPARK_REMOTE": "local[2]", "_JAVA_OPTIONS": MEMORY}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "", *parts_and_options]
    return subprocess.run(command, cwd=ROOT, env=environment, text=True, check=False, timeout=SECONDS, **how)


def passed(folder: Path, *parts: str) -> list[tuple[str, str]]:
    """(module, test) of what these parts of the suite ran; all of it passed."""
    done = on_connect(*parts, f"--junitxml={folder / 'result.xml'}", capture_output=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-1000:]
    suite = ET.parse(folder / "result.xml").getroot()[0]
    assert suite.get("skipped") == "0"
    return [(str(case.get("classname")).rpartition(".")[2], str(case.get("name"))) for case in suite.iter("testcase")]


@pytest.mark.slow
def test_a_release_its_replay_and_a_refusal_on_spark_connect(tmp_path: Path) -> None:
    assert passed(tmp_path, *SMOKE) == [("connect_only", part.partition("::")[2]) for part in SMOKE]


@pytest.mark.long
def test_the_main_parts_of_the_suite_pass_on_spark_connect(tmp_path: Path) -> None:
    ran = {module for module, _ in passed(tmp_path, *PARTS)}
    assert ran == {Path(part.partition("::")[0]).stem for part in PARTS}


if __name__ == "__main__":
    sys.exit(on_connect(*PARTS, "--durations=15").returncode)
