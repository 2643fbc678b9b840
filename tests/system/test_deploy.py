"""What ``make dist`` builds, given to a real spark-submit: each artefact, each master, from another folder, with ``conf/``.

``make test`` looks at the wheels and the zip; ``make test-all`` packs an environment and submits.
The packed environment is made of the libraries that are installed here, since fetching them again would take minutes.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pyspark
import pytest
from checkout import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from release_helpers import Outcome, Place

#: The Spark of this environment stands for the cluster's.
SPARK_HOME = Path(pyspark.__file__).parent


def _build_script() -> Any:
    spec = importlib.util.spec_from_file_location("build_dist", ROOT / "scripts" / "build_dist.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = _build_script()


@dataclass(frozen=True)
class Built:
    """The artefacts, and the packed environment as it was unpacked elsewhere."""

    wheel: Path
    zip: Path
    lean: Path
    archive: Path
    python: Path


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    wheel = build.build_wheel(tmp_path_factory.mktemp("dist"))
    return wheel, build.zip_of(wheel), build.without_spark(wheel)


@pytest.fixture(scope="session")
def built(wheels: tuple[Path, Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder / "made", symlinks=True)
    _fill(next((folder / "made").glob("lib/python*/site-packages")), wheels[2])
    python = str(folder / "made" / "bin" / "python")
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", str(wheels[2])]
    subprocess.run(command, check=True)
    archive = folder / "env.tar.gz"
    build.pack(folder / "made", archive, compress_level=0)
    shutil.rmtree(folder / "made")  # whatever still leads there breaks
    with tarfile.open(archive) as packed:
        packed.extractall(folder / "elsewhere", filter="fully_trusted")  # its Python is a link to this machine's
    return Built(*wheels, archive, folder / "elsewhere" / "bin" / "python")


def _fill(target: Path, wheel: Path) -> None:
    """Links the installed libraries that the wheel asks for, and those that they ask for."""
    with ZipFile(wheel) as archive:
        [metadata] = [name for name in archive.namelist() if name.endswith("/METADATA")]
        lines = archive.read(metadata).decode().splitlines()
    wanted = [Requirement(line.removeprefix("Requires-Dist: ")) for line in lines if line.startswith("Requires-Dist: ")]
    seen: set[str] = set()
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        if name in seen or (requirement.marker is not None and not requirement.marker.evaluate({"extra": ""})):
            continue
        seen.add(name)
        installed = importlib.metadata.distribution(name)
        wanted += [Requirement(text) for text in installed.requires or []]
        for file in installed.files or []:
            source = Path(str(installed.locate_file(file)))
            if not {"..", "tests"} & set(file.parts) and source.is_file():
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                _link(source, target / file)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


def submit(folder: Path, python: Path, *arguments: object, properties: Path = ROOT / "conf" / "spark-defaults.conf") -> Outcome:
    """spark-submit with ``conf/`` and the job of this checkout, from a folder of its own, without this environment on PATH."""
    options = ["--properties-file", properties, "--conf", "spark.sql.shuffle.partitions=2"]
    command = [SPARK_HOME / "bin" / "spark-submit", *options, *arguments]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SPARK_", "PYSPARK_"))}
    environment = {
        **kept,
        "SPARK_HOME": str(SPARK_HOME),
        "PYSPARK_DRIVER_PYTHON": str(python),
        "PYSPARK_PYTHON": "./environment/bin/python",  # on executors, where no Python is started at all
        "SPARK_LOCAL_IP": "127.0.0.1",
        "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    }
    done = subprocess.run(
        [str(item) for item in command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stderr[-3000:]
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def dp_spark_is_not_installed(built: Built) -> Iterator[None]:
    """The unpacked environment without dp-spark, so that it can only come from the zip."""
    [package] = built.python.parent.parent.glob("lib/python*/site-packages/dp_spark")
    hidden = package.rename(package.with_name("hidden"))
    yield
    hidden.rename(package)


def test_the_wheel_for_platforms_with_spark_asks_for_all_but_spark(wheels: tuple[Path, Path, Path]) -> None:
    whole, lean = (ZipFile(path) for path in (wheels[0], wheels[2]))
    assert whole.namelist() == lean.namelist()
    [metadata] = [name for name in lean.namelist() if name.endswith("/METADATA")]
    changed = [name for name in lean.namelist() if whole.read(name) != lean.read(name)]
    assert sorted(changed) == sorted([metadata, metadata.replace("METADATA", "RECORD")])
    before, after = (set(archive.read(metadata).decode().splitlines()) for archive in (whole, lean))
    assert after < before
    names = {Requirement(line.removeprefix("Requires-Dist: ")).name for line in before - after}
    assert names == {"pyspark", "delta-spark"}


def test_the_zip_is_imported_from_and_brings_its_settings(wheels: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """As on a cluster's Python: the zip alone has dp-spark, and Python's path leads to no checkout."""
    code = (
        "import dp_spark.manifest; from importlib.resources import files; "
        "print(dp_spark.__file__); print(files('dp_spark').joinpath('conf', 'healthcare.yaml').read_text().splitlines()[0])"
    )
    command = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(wheels[1])!r}); {code}"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout.splitlines()
    assert said[0] == str(wheels[1] / "dp_spark" / "__init__.py")
    assert said[1] == (ROOT / "conf" / "healthcare.yaml").read_text(encoding="utf-8").splitlines()[0]


@pytest.mark.long
def test_the_zip_runs_a_release(built: Built, place: Place, dp_spark_is_not_installed: None) -> None:
    """And with a platform's own configuration: a warning names what docs/privacy.md advises besides, and Spark's log is off."""
    ours = (ROOT / "conf" / "spark-defaults.conf").read_text(encoding="utf-8").splitlines()
    needed = [line for line in ours if line.startswith(("spark.jars", "spark.sql.extensions", "spark.sql.catalog"))]
    (place.folder / "events").mkdir()
    logged = ["spark.eventLog.enabled true", f"spark.eventLog.dir {place.folder / 'events'}"]
    platform = place.folder / "platform.conf"
    platform.write_text("\n".join([*needed, *logged]), encoding="utf-8")
    job = [ROOT / "jobs" / "release.py", place.file(), "--release-id", "r1", "--json"]
    outcome = submit(place.folder, built.python, "--master", "local[*]", "--py-files", built.zip, *job, properties=platform)
    assert outcome.code == 0, outcome.err[-3000:]
    assert outcome.document["status"] == "published"
    [warning] = outcome.document["warnings"]
    for setting in ("spark.io.encryption.enabled=true", "spark.eventLog.enabled=false", "spark.ui.enabled=false"):
        assert setting in warning
    assert "spark.authenticate" not in warning, "nothing goes between machines here"
    said = [line for line in outcome.err.splitlines() if re.search(r" (INFO|WARN|ERROR) ", line)]
    assert len(said) < 60, "only what spark-submit says before there is a session"
    assert place.kinds() == [("charge", "r1"), ("published", "r1")]
    assert len(place.sink_rows()) == 3


@pytest.mark.long
def test_the_packed_environment_runs_a_release_on_executors(built: Built, place: Place) -> None:
    options = ["--master", "local-cluster[2,1,1024]", "--archives", f"{built.archive}#environment"]
    job = [ROOT / "jobs" / "release.py", place.file(), "--release-id", "r1", "--json"]
    outcome = submit(place.folder, built.python, *options, *job)
    assert outcome.code == 0, outcome.err[-3000:]
    assert outcome.document["status"] == "published"
    assert place.kinds() == [("charge", "r1"), ("published", "r1")]
    assert place.sink_rows() == place.drawn("r1").rows.to_pylist()


@pytest.mark.long
def test_the_job_takes_the_installed_wheel_and_its_exit_code_comes_through(built: Built, place: Place) -> None:
    """An exit code of ours, and the document that explains it, from a driver that has dp-spark as an installed wheel."""
    job = [ROOT / "jobs" / "release.py", place.file(dataset="poor"), "--release-id", "r1", "--json"]
    outcome = submit(place.folder, built.python, "--master", "local[2]", *job)
    assert outcome.code == 3, outcome.err[-3000:]
    assert outcome.error["code"] == "budget_refused"
    assert place.kinds() == []
    assert not place.sink.exists()


@pytest.mark.long
def test_bad_usage_of_the_job_ends_with_its_exit_code(built: Built, tmp_path: Path) -> None:
    (tmp_path / "release.yaml").write_text(json.dumps({"version": 1}), encoding="utf-8")
    outcome = submit(tmp_path, built.python, "--master", "local[2]", ROOT / "jobs" / "release.py", "release.yaml", "--json")
    assert outcome.code == 2, outcome.err[-3000:]
    assert outcome.error["code"] == "bad_release_file"
