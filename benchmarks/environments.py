"""The contestants' environments: one venv for each, made from a pinned requirements file and made again when that changes."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".bench"
_REQUIREMENTS = Path(__file__).resolve().parent / "requirements"

#: Environment -> the module that its process runs. The product's environment is the one that runs the driver.
PRODUCT = "dp_spark"
MODULES = {
    PRODUCT: "benchmarks.contestants.dp_spark_library",
    "tumult": "benchmarks.contestants.tumult",
    "pipelinedp": "benchmarks.contestants.pipelinedp",
    "opendp": "benchmarks.contestants.opendp_polars",
}


#: The environment that draws the chart.
REPORT = "report"


class EnvironmentFailedError(Exception):
    """An environment could not be made; the message is what pip said last."""


def make_environments(names: Iterable[str]) -> dict[str, str]:
    """Makes environments at once, as most of that is waiting; returns those that cannot be made here, and why."""
    wanted = list(names)
    with ThreadPoolExecutor(len(wanted)) as pool:
        reasons = dict(zip(wanted, pool.map(_failure, wanted), strict=True))
    return {name: reason for name, reason in reasons.items() if reason}


def _failure(name: str) -> str:
    try:
        python_of(name)
    except EnvironmentFailedError as error:
        return str(error)
    return ""


def python_of(name: str) -> Path:
    """The interpreter of an environment, which is made first where it is missing or outdated.

    Raises:
        EnvironmentFailedError: If it cannot be made here.
    """
    if name == PRODUCT:
        return Path(sys.executable)
    requirements = _REQUIREMENTS / f"{name}.txt"
    folder = WORK / name
    python, stamp = folder / "bin" / "python", folder / ".installed"
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python
    sys.stderr.write(f"making the environment {name}\n")
    shutil.rmtree(folder, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(folder)])
    _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", str(requirements)])
    stamp.write_text(wanted)
    return python


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise EnvironmentFailedError(lines[-1] if lines else f"{command[0]} failed")
