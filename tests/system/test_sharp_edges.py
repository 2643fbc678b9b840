"""The examples of docs/sharp-edges.md: its commands, which need no Spark, and its table of what Spark makes of expressions."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from checkout import ROOT
from helpers import release_spec
from pyspark.sql import SparkSession

from dp_spark.cli.app import main
from dp_spark.engine.preprocess import apply_steps
from dp_spark.spark.settings import RELEASE_SETTINGS, settings

PAGE = (ROOT / "docs" / "sharp-edges.md").read_text(encoding="utf-8")
SNIPPETS: list[tuple[str, str]] = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [line for kind, text in SNIPPETS if kind == "bash" for line in text.splitlines()]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    [(kind, text)] = [snippet for snippet in SNIPPETS if snippet[0] != "bash"]
    assert (kind, text.splitlines()[0]) == ("yaml", "# visits.yaml")
    (tmp_path / "visits.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def planned(line: str) -> int:
    words = shlex.split(line, comments=True)
    assert words[:2] == ["dp-spark", "plan"], "what is run here must not start Spark"
    return main(words[1:])


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_ends_as_the_page_says(line: str, place: Path) -> None:
    expected = re.search(r"# exit (\d)$", line)
    assert planned(line) == (int(expected[1]) if expected else 0)


def test_a_key_needs_as_many_units_as_the_page_says(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [threshold] = re.findall(r"\b(\d+) to be shown in half of all cases", " ".join(PAGE.split()))
    assert planned("dp-spark plan visits.yaml") == 0
    assert f"50 % probability from {threshold} on" in capsys.readouterr().out


def test_expressions_give_what_the_page_says(spark: SparkSession) -> None:
    rows = re.findall(r"^\| `(.+)` \| (\S+) \|$", PAGE, re.MULTILINE)
    assert len(rows) > 5
    spec = release_spec(preprocess=[{"derive": {f"c{index}": expression for index, (expression, _) in enumerate(rows)}}])
    frame = spark.createDataFrame([(2147483647, "7.9", 0.0)], "n int, s string, x double")
    with settings(spark, RELEASE_SETTINGS):
        [found] = apply_steps(spark, frame, spec).collect()
    assert [json.dumps(found[f"c{index}"]) for index in range(len(rows))] == [told for _, told in rows]
