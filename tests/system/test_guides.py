"""Every command of the guides is run, in order, in an empty folder, as a reader would; of some by ``make test-all`` only."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT
from helpers import of_each_kind
from release_helpers import Outcome

from dp_spark.manifest import read_manifest
from dp_spark.plan.planning import plan_release
from dp_spark.spec.file_checks import check_file
from dp_spark.spec.release_spec import ReleaseSpec

GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
#: Those without a release; the README of every run has a demo and releases of a reader's own.
ALWAYS = ("choose-bounds", "choose-epsilon")


def snippets(guide: Path) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w+)\n(.*?)^```$", guide.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


class Demos:
    """What the demos leave, made once; each guide that begins with a demo works on a copy of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._said: dict[str, Outcome] = {}

    def copied(self, scenario: str, cli: Callable[..., Outcome]) -> Outcome:
        """As ``dp-spark demo SCENARIO`` in the working folder."""
        if scenario not in self._said:
            with contextlib.chdir(self._folder):
                self._said[scenario] = cli("demo", scenario)
        if self._said[scenario].code == 0:
            shutil.copytree(self._folder / "demo-out" / scenario, Path("demo-out") / scenario)
        return self._said[scenario]


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Demos:
    return Demos(tmp_path_factory.mktemp("demos"))


def run(snippet: str, cli: Callable[..., Outcome], demos: Demos) -> list[Outcome]:
    """The commands of a snippet; ``# exit N`` behind one says how it is meant to end."""
    outcomes = []
    for line in snippet.splitlines():
        expected = re.search(r"# exit (\d+)$", line)
        words = shlex.split(line, comments=True)
        assert words[0] == "dp-spark", line
        outcome = demos.copied(words[2], cli) if words[1] == "demo" else cli(*words[1:])
        assert outcome.code == (int(expected[1]) if expected else 0), (line, outcome.err)
        outcomes.append(outcome)
    return outcomes


@pytest.mark.slow
@pytest.mark.parametrize("name", of_each_kind((guide.stem for guide in GUIDES), *ALWAYS))
def test_a_guide_does_what_it_says(
    name: str, cli: Callable[..., Outcome], demos: Demos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [guide] = [path for path in GUIDES if path.stem == name]
    monkeypatch.chdir(tmp_path)
    said: list[Outcome] = []
    for kind, text in snippets(guide):
        if kind == "yaml":
            saved_as = re.match(r"# (\S+\.yaml)\n", text)
            assert saved_as is not None, "a release file says in its first line what it is saved as"
            Path(saved_as[1]).write_text(text, encoding="utf-8")
        elif kind == "bash":
            said += run(text, cli, demos)
        elif kind == "python":
            exec(compile(text, str(guide), "exec"), {})
        else:
            assert kind == "text", "a new kind of snippet needs a way to be run"
    CLAIMS[name](said)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_every_release_file_of_a_guide_is_one(guide: Path, tmp_path: Path) -> None:
    """Without Spark, so that every run has all guides: the file is read, checked, and has a plan."""
    files = [text for kind, text in snippets(guide) if kind == "yaml"]
    assert files
    for text in files:
        (tmp_path / "release.yaml").write_text(text, encoding="utf-8")
        spec = ReleaseSpec.from_yaml(tmp_path / "release.yaml")
        check_file(spec)
        # A table of keys has as many as its rows, which the file does not say.
        assert plan_release(spec, "basic" if spec.budget.delta == 0 else "zcdp", None).events


def half_widths(outcome: Outcome, name: str) -> float:
    """The 95 % half-width that ``plan`` shows for an aggregate."""
    [row] = [line for line in outcome.out.splitlines() if re.match(rf"^│ {name}\s", line)]
    return float(re.findall(r"[\d,.]+(?:e[+]\d+)?", row.split("│")[-2])[0].replace(",", ""))


def check_bounds(said: list[Outcome]) -> None:
    _, plan, more_partitions, more_rows, wider = said
    for other, patients, minutes in ((more_partitions, 2, 2), (more_rows, 1, 2), (wider, 1, 8)):
        assert half_widths(other, "patients") == pytest.approx(patients * half_widths(plan, "patients"), rel=0.1)
        assert half_widths(other, "minutes") == pytest.approx(minutes * half_widths(plan, "minutes"), rel=0.1)


def check_published(count: int) -> Callable[[list[Outcome]], None]:
    def check(said: list[Outcome]) -> None:
        text = "".join(outcome.out for outcome in said)
        found = text.count("Published ") + text.count('"status": "published"')
        assert found == count, text

    return check


def check_epsilon(said: list[Outcome]) -> None:
    _, zcdp, _, basic, less, more = said

    def left(outcome: Outcome) -> float:
        return float(re.search(r"Afterwards  epsilon ([\d.]+)", outcome.out)[1])  # type: ignore[index]

    assert left(basic) == 3.8
    assert left(zcdp) > 3.9, "a zcdp account adds better than epsilons do"
    widths = [half_widths(outcome, "patients") for outcome in (less, zcdp, more)]
    assert widths[0] > 1.9 * widths[1] > 1.9 * 2.4 * widths[2], "half of epsilon is twice the noise"


def check_spend(said: list[Outcome]) -> None:
    check_published(3)(said)
    plan, more_rows = [outcome for outcome in said if "mean_spend" in outcome.out][:2]
    for name, times in (("customers", 1), ("mean_spend", 1), ("spread_of_spend", 1), ("mean_purchases", 1), ("mean_amount", 2)):
        assert half_widths(more_rows, name) == pytest.approx(times * half_widths(plan, name), rel=0.1), name


def check_stays(said: list[Outcome]) -> None:
    check_published(3)(said)
    manifest = read_manifest("demo-out/healthcare/releases/stays")
    assert len(manifest["queries"]) == 1, "one charge for all of them"
    import deltalake

    for row in deltalake.DeltaTable("demo-out/healthcare/releases/stays").to_pyarrow_table().to_pylist():
        places = [row[f"stay_p{percent}"] for percent in (25, 50, 75, 95)]
        assert places == sorted(places)
        assert all(
            row[f"stay_p{percent}_low"] <= row[f"stay_p{percent}"] <= row[f"stay_p{percent}_high"] for percent in (25, 95)
        )
        assert row["stay_p50_high"] - row["stay_p50_low"] < 2000, "thousands of patients are many"
        assert row["shares"] == sorted(row["shares"])


CLAIMS: dict[str, Any] = {
    "healthcare": check_stays,
    "transport": check_published(2),
    "finance": check_spend,
    "schedule": check_published(3),
    "choose-bounds": check_bounds,
    "choose-epsilon": check_epsilon,
}
