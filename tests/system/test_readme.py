"""Every snippet of the README is run, in order, in an empty folder, as a reader would.

``make test`` runs them in one process, except ``spark-submit``; ``make test-all`` runs each as a process of its own, too.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT
from pyspark.sql import SparkSession

from dp_spark.cli import main
from dp_spark.ledger.accounts import total_of
from dp_spark.ledger.on_delta import books_at, ledger_at, outbox_at
from dp_spark.ledger.verification import verify
from dp_spark.spec.release_spec import ReleaseSpec
from dp_spark.tables.refs import TableRef

README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Step:
    """A command or a Python snippet of the README, and what it printed."""

    text: str
    output: str

    @property
    def words(self) -> list[str]:
        """A command's words; none of a Python snippet."""
        return [] if "\n" in self.text else shlex.split(self.text, comments=True)

    def after(self, option: str) -> str:
        """What is given for an option."""
        return self.words[self.words.index(option) + 1]

    def figure(self, label: str) -> float:
        """The epsilon on the one line of the output that begins with a label."""
        [found] = re.findall(rf"^{label}\s+epsilon ([\d.e-]+)", self.output, re.MULTILINE)
        return float(found)


def process(command: list[str]) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment.pop("SPARK_HOME", None)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr[-3000:]}"
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout


def steps(python: Callable[[str], str], shell: Callable[[str], str]) -> list[Step]:
    """Runs all of it in the working folder, and writes the release file."""
    ran = []
    for kind, text in SNIPPETS:
        if kind == "yaml":
            Path("release.yaml").write_text(text, encoding="utf-8")
        elif kind == "python":
            ran.append(Step(text, python(text)))
        elif kind == "bash":
            lines = text.replace("\\\n", " ").splitlines()
            ran += [Step(line, shell(line)) for line in lines if line.strip() and not line.startswith("#")]
        else:
            assert kind == "text", "a new kind of snippet needs a way to be run"
    return ran


class Account:
    """What the ledger says in the end, and from that what a step has to say."""

    def __init__(self, spark: SparkSession, spec: ReleaseSpec) -> None:
        self.spec, self.ref = spec, TableRef.of(spec.ledger)
        self._outbox = outbox_at(spark, self.ref)
        self._state = ledger_at(spark, self.ref).state().account(spec.dataset)
        self.charged = [written.entry.release_id for written in self._state.charges]

    def left(self, releases: int) -> Any:
        """The epsilon that is left after so many releases, as it is printed."""
        account = self._state.account
        spent = total_of(self._state.charges[:releases], account.accountant)
        epsilon, _ = account.remaining_display(spent)
        assert account.epsilon - epsilon <= releases * self.spec.budget.epsilon, "epsilons add up to more than what is charged"
        return pytest.approx(float(epsilon), rel=1e-5)

    def guarantee(self, release_id: str) -> str:
        """What the manifest of a release promises."""
        draw = self._outbox.find(release_id)
        assert draw is not None
        return str(draw.manifest["guarantee"]["sentence"])


def check_run(step: Step, account: Account, published: list[str]) -> str:
    release_id = step.after("--release-id")
    again = release_id in published
    if not again:
        published.append(release_id)
    assert ("Already published, nothing was charged" in step.output) == again, step.output
    assert bool(re.search(r"^Published ", step.output, re.MULTILINE)) != again
    assert re.search(rf"^Release id\s+{re.escape(release_id)}$", step.output, re.MULTILINE)
    assert step.figure("Cost") == float(account.spec.budget.epsilon)
    assert step.figure("Remaining") == account.left(len(published))
    return "replay" if again else "run"


def check_submitted(step: Step, account: Account, published: list[str]) -> str:
    document = json.loads(step.output)
    published.append(step.after("--release-id"))
    assert (document["status"], document["release_id"]) == ("published", published[-1])
    assert document["remaining"]["epsilon"] == account.left(len(published))
    return "spark-submit"


def check_plan(step: Step, account: Account, published: list[str]) -> str:
    assert step.figure("Remaining") == account.left(len(published))
    assert step.figure("Afterwards") == account.left(len(published) + 1)
    for aggregate in account.spec.aggregates:
        assert re.search(rf"^│ {aggregate.name}\s", step.output, re.MULTILINE)
    return "plan"


def check_shown(step: Step, account: Account, published: list[str]) -> str:
    if "--html" in step.words:
        page = Path(step.after("--html")).read_text(encoding="utf-8")
        assert published[-1] in page
        return "report"
    assert account.spec.name in step.output
    for aggregate in account.spec.aggregates:
        assert aggregate.name in step.output
    return "show"


def check_budget(step: Step, account: Account, published: list[str]) -> str:
    what = step.words[2]
    if what == "verify":
        assert "All of it is sound" in step.output
    elif what == "show":
        assert [name for name in account.charged if name in step.output] == published
    return f"budget {what}"


def check_python(step: Step, account: Account, published: list[str]) -> str:
    if "run_release" in step.text:
        published += re.findall(r'release_id="([^"]+)"', step.text)
        shown = re.findall(r"^(\d+) +(\S+)", step.output.partition("\n\n")[0], re.MULTILINE)  # wide tables come in blocks
        assert [int(number) for number, _ in shown] == list(range(len(shown)))
        assert len(shown) > 1
        assert len({key for _, key in shown}) == len(shown), "each released key is in one row"
        return "run_release"
    if "read_manifest" in step.text:
        before, promise, after = step.output.partition(account.guarantee(published[-1]))
        assert promise, "it is that of the newest release"
        intervals = re.findall(r"\((-?[\d.]+), (-?[\d.]+)\)", before + after)
        assert intervals
        assert all(float(low) < float(high) for low, high in intervals)
        return "read_manifest"
    return "python"


CHECKS = {"run": check_run, "plan": check_plan, "show": check_shown, "budget": check_budget}


def check(ran: list[Step], spark: SparkSession) -> None:
    """Each step said what it has to say where it stands, and each kind was there."""
    account, published, seen = Account(spark, ReleaseSpec.from_yaml("release.yaml")), [], []
    for step in ran:
        if not step.words:
            seen.append(check_python(step, account, published))
        elif step.words[0] == "spark-submit":
            seen.append(check_submitted(step, account, published))
        elif step.words[1] in CHECKS:
            seen.append(CHECKS[step.words[1]](step, account, published))
    assert set(seen) >= {
        "budget open", "plan", "run", "replay", "budget show", "show", "budget verify", "run_release", "read_manifest",
        "spark-submit",
    }  # fmt: skip
    assert seen.count("replay") == "".join(step.output for step in ran).count("Already published") == 1
    assert account.charged == published, "each release id was charged once, in order"
    found = verify(spark, *books_at(spark, account.ref))
    assert (found.damage, found.unfinished, sorted(found.verified)) == ((), (), sorted(published))


def linked(folder: Path) -> None:
    for name in ("conf", "jobs"):
        (folder / name).symlink_to(ROOT / name)


@pytest.fixture
def empty_folder_of_spark(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that Spark was started in, where a relative path is the same for Spark and for Python; emptied afterwards."""
    folder = Path(spark._jvm.java.lang.System.getProperty("user.dir"))  # type: ignore[union-attr]
    before = set(folder.iterdir())
    monkeypatch.chdir(folder)
    yield folder
    for path in set(folder.iterdir()) - before:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


@pytest.mark.slow
def test_every_snippet_runs_and_says_what_it_has_to(
    spark: SparkSession, empty_folder_of_spark: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    linked(empty_folder_of_spark)

    def python(text: str) -> str:
        capfd.readouterr()
        exec(compile(text, "README.md", "exec"), {"__name__": "__main__"})
        return capfd.readouterr().out

    def shell(line: str) -> str:
        words = shlex.split(line, comments=True)
        if words[0] == "spark-submit":
            return process(["bash", "-euo", "pipefail", "-c", line])
        assert words[0] == "dp-spark", f"a new command needs a way to be run: {line}"
        capfd.readouterr()
        code = main(words[1:])
        said = capfd.readouterr()
        assert code == 0, (line, said.err)
        assert "Traceback" not in said.out + said.err
        return said.out

    check(steps(python, shell), spark)


@pytest.mark.long
def test_every_snippet_runs_as_a_process_of_its_own(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    linked(tmp_path)
    ran = steps(
        lambda text: process([sys.executable, "-c", text]), lambda line: process(["bash", "-euo", "pipefail", "-c", line])
    )
    check(ran, spark)


def test_the_readme_names_the_two_commands_and_its_links_lead_somewhere() -> None:
    assert "make demo" in README
    assert "make test" in README
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
