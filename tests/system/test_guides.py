"""Every command of the guides is run, in order, in an empty folder, as a reader would."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT
from release_helpers import Outcome

from dp_spark.manifest import read_manifest

pytest_plugins = ("release_fixtures",)

GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))


def snippets(guide: Path) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w+)\n(.*?)^```$", guide.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def run(snippet: str, cli: Callable[..., Outcome]) -> list[Outcome]:
    """The commands of a snippet; ``# exit N`` behind one says how it is meant to end."""
    outcomes = []
    for line in snippet.splitlines():
        expected = re.search(r"# exit (\d+)$", line)
        words = shlex.split(line, comments=True)
        assert words[0] == "dp-spark", line
        outcome = cli(*words[1:])
        assert outcome.code == (int(expected[1]) if expected else 0), (line, outcome.err)
        outcomes.append(outcome)
    return outcomes


@pytest.mark.slow
@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_a_guide_does_what_it_says(
    guide: Path, cli: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said: list[Outcome] = []
    for kind, text in snippets(guide):
        if kind == "yaml":
            name = re.match(r"# (\S+\.yaml)\n", text)
            assert name is not None, "a release file says in its first line what it is saved as"
            Path(name[1]).write_text(text, encoding="utf-8")
        elif kind == "bash":
            said += run(text, cli)
        elif kind == "python":
            exec(compile(text, str(guide), "exec"), {})
        else:
            assert kind == "text", "a new kind of snippet needs a way to be run"
    CLAIMS[guide.stem](said)


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
        assert row["stay_p50_high"] - row["stay_p50_low"] < 500, "thousands of patients are many"
        assert row["shares"] == sorted(row["shares"])


CLAIMS: dict[str, Any] = {
    "healthcare": check_stays,
    "transport": check_published(2),
    "finance": check_spend,
    "schedule": check_published(3),
    "choose-bounds": check_bounds,
    "choose-epsilon": check_epsilon,
}


def test_the_links_of_the_documents_lead_somewhere() -> None:
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).exists(), f"{document.name}: {link}"
