"""Runs a core of the suite with each combination of versions that dp-spark says it works with: ``make test-matrix``.

Each combination has an environment of its own below ``.matrix/``. What came of it is one table at the end; docs/versions.md
holds the last one that was looked at. Arguments pick combinations: ``python scripts/matrix.py 3.13 spark4.0``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / ".matrix"
TOOLS = ("pytest", "pytest-xdist", "hypothesis", "chispa", "jsonschema")
#: Sources, bounding, aggregation, ledger, release, publication and the command line; the rest tests no version of anything.
CORE = (
    "system/test_spark_versions", "test_session", "spark/test_settings", "engine/test_sources", "engine/test_bounding",
    "ledger/test_table", "ledger/test_outbox", "tables/test_sink", "release/test_publication", "engine/test_buckets",
    "release/test_run", "cli/test_budget", "system/test_bookkeeping", "spark/test_memory",
)  # fmt: skip


@dataclass(frozen=True)
class Combination:
    """What one environment has."""

    python: str
    pyspark: str
    delta: str

    @property
    def name(self) -> str:
        """The environment's folder."""
        return f"py{self.python}-spark{self.pyspark}-delta{self.delta}"


COMBINATIONS = (
    Combination("3.11", "4.1.1", "4.3.1"),
    Combination("3.12", "4.1.1", "4.3.1"),
    Combination("3.13", "4.1.1", "4.3.1"),
    Combination("3.11", "4.0.1", "4.0.1"),
    Combination("3.12", "4.0.5", "4.3.1"),
    Combination("3.13", "4.0.5", "4.0.1"),
)


def interpreter(version: str) -> str | None:
    """A Python of this version: on PATH, or one that pyenv keeps."""
    found = [shutil.which(f"python{version}")]
    pyenv = shutil.which("pyenv")
    if pyenv:
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=True).stdout.strip()
        found += [str(path) for path in sorted(Path(root).glob(f"versions/{version}.*/bin/python{version}"))]
    for path in found:
        if path and subprocess.run([path, "-c", "import venv"], capture_output=True, check=False).returncode == 0:
            return path
    return None


def prepare(combination: Combination, base: str) -> Path:
    """Makes the environment; what constraints.txt holds is held here, too, but for what the combination varies."""
    folder = FOLDER / combination.name
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([base, "-m", "venv", folder], check=True)
    varied = re.compile(r"(pyspark|delta-spark)\b")
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    held = [line for line in lines if not varied.match(line)]
    held += [f"pyspark=={combination.pyspark}", f"delta-spark=={combination.delta}"]
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(held) + "\n", encoding="utf-8")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint", constraints]
    subprocess.run([*install, "--editable", f"{ROOT}[connect]", *TOOLS], check=True)
    subprocess.run([python, ROOT / "scripts" / "fetch_jars.py"], check=True)  # two workers at once would disturb each other
    return python


def run(combination: Combination) -> tuple[str, str]:
    """Runs the core; returns what came of it and the Python that ran it."""
    base = interpreter(combination.python)
    if base is None:
        return "not run: no such Python here", combination.python
    began = time.monotonic()
    try:
        python = prepare(combination, base)
    except subprocess.CalledProcessError:
        return "cannot be installed", combination.python
    result = FOLDER / f"{combination.name}.xml"
    result.unlink(missing_ok=True)
    tests = [f"tests/{name}.py" for name in CORE]
    with (FOLDER / f"{combination.name}.log").open("w", encoding="utf-8") as output:
        subprocess.run(
            [python, "-m", "pytest", "-n", "2", "--dist", "loadfile", "--durations", "20", f"--junitxml={result}", *tests],
            cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    exact = subprocess.run([python, "-V"], capture_output=True, text=True, check=True).stdout.split()[1]
    if not result.exists():
        return f"pytest did not start: see {FOLDER / combination.name}.log", exact
    counts = ET.parse(result).getroot()[0].attrib  # noqa: S314 - pytest wrote it a moment ago
    bad, skipped = int(counts["failures"]) + int(counts["errors"]), int(counts["skipped"])
    passed = int(counts["tests"]) - bad - skipped
    return f"{passed} passed, {bad} failed, {skipped} skipped ({time.monotonic() - began:.0f} s)", exact


def main(wanted: list[str]) -> int:
    """Runs the combinations whose names contain every word that is given; 1 where one of them failed."""
    FOLDER.mkdir(exist_ok=True)
    table = Table("Python", "pyspark", "delta-spark", "result")
    failed = False
    for combination in COMBINATIONS:
        if all(word in combination.name for word in wanted):
            result, python = run(combination)
            table.add_row(python, combination.pyspark, combination.delta, result)
            failed = failed or " 0 failed" not in result or result.startswith("0 passed")
            Console(stderr=True, highlight=False).print(f"{combination.name}: {result}")
    if not table.row_count:
        names = ", ".join(combination.name for combination in COMBINATIONS)
        Console(stderr=True, highlight=False).print(f"no combination has {' and '.join(wanted)} in its name: {names}")
        return 2
    Console(highlight=False).print(table)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
