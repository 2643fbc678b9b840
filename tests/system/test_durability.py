"""Real processes that are killed, and that race: one charge, one draw, one publication (docs/ledger.md).

``make durability`` runs 22 kills, each followed by the same command in a new process, and the races in full; ``make test-all``
runs that and what is marked ``long``. Every run has one kill here, and in
``test_protocol`` races of threads for Delta tables.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from checkout import ROOT
from pyspark.sql import SparkSession
from release_helpers import Outcome, Place

from dp_spark.ledger.on_delta import books_at
from dp_spark.ledger.verification import verify
from dp_spark.tables.refs import TableRef

POINTS = (
    "before_charge", "during_charge", "after_charge", "while_aggregating", "after_noise", "during_outbox", "after_outbox",
    "during_write", "after_commit", "before_published", "after_published",
)  # fmt: skip
#: The one kill of every run: all is charged and drawn, and the sink has a file without a commit.
ALWAYS = "during_write"
OFTEN = ("before_charge", "after_charge", "while_aggregating", "after_noise", "after_commit")
COMMAND = (sys.executable, "-m", "dp_spark")
CRASH = (sys.executable, str(ROOT / "tests" / "support" / "crash_run.py"))


def start(arguments: Sequence[object]) -> subprocess.Popen[str]:
    """A process in a group of its own, so that its JVM can be killed with it."""
    # Short-lived JVMs: the first compiler only, which halves what they cost.
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}
    return subprocess.Popen(
        [os.fspath(item) if isinstance(item, os.PathLike) else str(item) for item in arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True,
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> Outcome:
    out, err = process.communicate(timeout=300)
    assert "Traceback" not in out + err, err
    return Outcome(process.returncode, out, err)


def kill(place: Place, file: Path, point: str) -> None:
    outcome = ended(start([*CRASH, point, file, "--release-id", "r1", "--json"]))
    assert outcome.code == -signal.SIGKILL, f"it was to be killed at {point}: {outcome.err}"
    assert outcome.out == ""


def rows_of(table: Any) -> list[str]:
    return sorted(map(repr, table.to_pylist()))


def check_one_release(place: Place, release_id: str = "r1") -> None:
    """One charge, one draw, one publication; whatever lies in the sink is the outbox's rows; all of it verifies."""
    assert sorted(place.kinds()) == [("charge", release_id), ("published", release_id)]
    drawn = rows_of(place.drawn(release_id).rows)
    assert sorted(map(repr, place.sink_rows())) == drawn
    assert place.sink_versions() == 1
    for path in place.sink.rglob("*.parquet"):
        assert path.stat().st_size == 0 or rows_of(pq.read_table(path)) == drawn, "it holds the outbox's rows or nothing"
    found = verify(place.spark, *books_at(place.spark, TableRef(str(place.ledger), None)))
    assert (found.damage, found.unfinished, found.verified) == ((), (), (release_id,))


def stored(place: Place) -> list[str] | None:
    found = place.outbox().find("r1")
    return None if found is None else rows_of(found.rows)


@pytest.mark.slow
@pytest.mark.parametrize("point", [ALWAYS, *(pytest.param(point, marks=pytest.mark.long) for point in OFTEN)])
def test_a_killed_run_is_completed_by_the_same_command(place: Place, cli: Callable[..., Outcome], point: str) -> None:
    file = place.file()
    kill(place, file, point)
    before = stored(place)
    outcome = cli("run", file, "--release-id", "r1", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.document["status"] == "published"
    assert before in (None, stored(place)), "what was drawn stays"
    check_one_release(place)


@pytest.mark.durability
@pytest.mark.parametrize("repetition", range(2))
@pytest.mark.parametrize("point", POINTS)
def test_a_killed_process_is_completed_by_the_next(place: Place, point: str, repetition: int) -> None:
    file = place.file()
    kill(place, file, point)
    before = stored(place)
    outcome = ended(start([*COMMAND, "run", file, "--release-id", "r1", "--json"]))
    assert outcome.code == 0, outcome.err
    assert outcome.document["status"] == ("already_published" if point == "after_published" else "published")
    assert before in (None, stored(place))
    check_one_release(place)


def race_for_the_budget(place: Place, processes: int, bears: int) -> None:
    """Each process asks for a share of an account of 0.25 that bears ``bears`` of them."""
    share = Decimal(25 // bears) / 100
    place.book().open("race", place.book().state().account("poor").account)
    file = place.file(dataset="race", budget={"epsilon": float(share)})
    started = [
        start(
            [*COMMAND, "run", file, "--release-id", f"r{number}", "--set", f"sink.path={place.folder}/sink{number}", "--json"]
        )
        for number in range(processes)
    ]
    outcomes = [ended(process) for process in started]
    assert sorted(outcome.code for outcome in outcomes) == [0] * bears + [3] * (processes - bears), [o.err for o in outcomes]
    charged = [name for kind, name in place.kinds() if kind == "charge"]
    published = [name for kind, name in place.kinds() if kind == "published"]
    assert sorted(charged) == sorted(published)
    assert len(set(charged)) == len(charged) == bears
    account = place.book().state().account("race")
    assert account.spent.amount == share * bears <= account.account.epsilon < share * (bears + 1)
    assert verify(place.spark, *books_at(place.spark, TableRef(str(place.ledger), None))).damage == ()
    for outcome in outcomes:
        document = json.loads(outcome.out)
        assert ("error" in document) == (outcome.code == 3)


@pytest.mark.long
def test_a_budget_for_one_bears_one_of_two_processes(place: Place) -> None:
    race_for_the_budget(place, 2, 1)


@pytest.mark.long
def test_a_budget_for_two_bears_two_of_four_processes(place: Place) -> None:
    race_for_the_budget(place, 4, 2)


@pytest.mark.durability
@pytest.mark.parametrize("repetition", range(5))
def test_a_budget_for_three_bears_three_of_eight_processes(place: Place, repetition: int) -> None:
    race_for_the_budget(place, 8, 3)


@pytest.mark.long
def test_one_release_id_started_twice_at_once_is_one_release(place: Place) -> None:
    file = place.file()
    outcomes = [ended(item) for item in [start([*COMMAND, "run", file, "--release-id", "r1", "--json"]) for _ in range(2)]]
    codes = sorted(outcome.code for outcome in outcomes)
    assert codes in ([0, 0], [0, 5]), [outcome.err for outcome in outcomes]
    check_one_release(place)


# --- executors that die and tasks that fail change nothing -----------------------------------------------------------


def big_source(spark: SparkSession, folder: Path) -> Path:
    rows = spark.range(0, 1_500_000, 1, 12).selectExpr(
        "pmod(xxhash64(id, 1), 60000) as who", "cast(pmod(xxhash64(id, 2), 500) as int) as key",
        "pmod(xxhash64(id, 3), 10000) / 100 as value",
    )  # fmt: skip
    rows.write.parquet(str(folder / "big"))
    return folder / "big"


def exact_run(master: str, source: Path, disturb: Callable[[subprocess.Popen[str]], None] = lambda process: None) -> str:
    """The digest of the exact aggregates of a run in a process of its own, disturbed when it starts to aggregate."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DP_SPARK_MASTER", master)
        process = start([sys.executable, ROOT / "tests" / "support" / "exact_run.py", source])
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "aggregating"
    disturb(process)
    outcome = ended(process)
    assert outcome.code == 0, outcome.err[-2000:]
    return outcome.out.strip()


def executors(group: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if b"CoarseGrainedExecutorBackend" in (path / "cmdline").read_bytes() and os.getpgid(int(path.name)) == group:
                found.append(int(path.name))
        except (OSError, ProcessLookupError):
            continue
    return found


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds executors in /proc")
def test_lost_executors_and_failing_tasks_leave_the_exact_aggregates_as_they_are(spark: SparkSession, tmp_path: Path) -> None:
    source = big_source(spark, tmp_path)
    undisturbed = exact_run("local[2]", source)

    def kill_an_executor(process: subprocess.Popen[str]) -> None:
        time.sleep(1.5)
        running = executors(process.pid)
        assert len(running) == 2
        os.kill(running[0], signal.SIGKILL)

    assert exact_run("local-cluster[2,1,1024]", source, kill_an_executor) == undisturbed

    damaged = sorted(source.glob("*.parquet"))[0]
    content = damaged.read_bytes()
    (source / f".{damaged.name}.crc").unlink()
    damaged.write_bytes(b"x" * len(content))

    def mend_after_some_failures(process: subprocess.Popen[str]) -> None:
        time.sleep(3)
        assert process.poll() is None
        damaged.write_bytes(content)

    assert exact_run("local[2,10000]", source, mend_after_some_failures) == undisturbed
