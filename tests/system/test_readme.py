"""Every snippet of the README is run, in order, in an empty folder, as a reader would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT

SNIPPETS = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def _run(kind: str, text: str, folder: Path) -> str:
    if kind == "yaml":
        (folder / "release.yaml").write_text(text, encoding="utf-8")
        return ""
    command = [sys.executable, "-c", text] if kind == "python" else ["bash", "-euo", "pipefail", "-c", text]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "SPARK_HOME": ""}
    environment.pop("SPARK_HOME")
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_every_snippet_runs_and_says_what_the_readme_says(tmp_path: Path) -> None:
    for name in ("conf", "jobs"):
        (tmp_path / name).symlink_to(ROOT / name)
    kinds = [kind for kind, _ in SNIPPETS]
    assert set(kinds) == {"text", "python", "yaml", "bash"}, "a new kind of snippet needs a way to be run"
    outputs = [(text, _run(kind, text, tmp_path)) for kind, text in SNIPPETS if kind != "text"]
    for text, output in outputs:
        if "dp-spark plan" in text:
            assert "Published" in output
            assert "Already published" in output
            assert "2.90" in output or "Remaining" in output
        if "verify" in text:
            assert "All of it is sound" in output
        if "spark-submit" in text:
            assert '"status": "published"' in output
        if "ReleaseSpec" in text:
            assert "mean_minutes_stddev" in output or "users" in output


def test_the_readme_names_the_two_commands_and_its_links_lead_somewhere() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make demo" in readme
    assert "make test" in readme
    for link in re.findall(r"\]\(([^)#]+)\)", readme):
        assert (ROOT / link).exists(), link
