"""The Databricks bundle and the notebook, checked without Databricks: nothing here was ever run there (docs/databricks.md)."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from checkout import ROOT
from databricks.bundles.jobs import Job, PauseStatus
from release_helpers import Place

from dp_spark.cli import app as command_line
from dp_spark.spec.release_spec import ReleaseSpec

NOTEBOOK = ROOT / "notebooks" / "release_example.py"
RELEASES = ("release_serverless", "release_on_cluster")
_SECRET = re.compile(r"\{\{secrets/[\w.-]+/[\w.-]+\}\}")


def bundle() -> dict[str, Any]:
    """The bundle with the resources that it includes."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "databricks.yml").read_text(encoding="utf-8"))
    found["resources"] = {"jobs": {}}
    for pattern in found["include"]:
        files = sorted(ROOT.glob(pattern))
        assert files, f"{pattern} includes nothing"
        for file in files:
            resources = yaml.safe_load(file.read_text(encoding="utf-8"))["resources"]
            assert list(resources) == ["jobs"]
            assert not found["resources"]["jobs"].keys() & resources["jobs"].keys()
            found["resources"]["jobs"] |= resources["jobs"]
    return found


BUNDLE = bundle()
JOBS: dict[str, dict[str, Any]] = BUNDLE["resources"]["jobs"]


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from texts(key)
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, str):
        yield value


def variable(name: str, target: str) -> Any:
    """What a variable is in a target."""
    return BUNDLE["targets"][target].get("variables", {}).get(name, BUNDLE["variables"][name].get("default"))


def resolved(text: str, target: str) -> Any:
    match = re.fullmatch(r"\$\{var\.(\w+)\}", text)
    return text if match is None else variable(match.group(1), target)


def arguments(job: dict[str, Any]) -> list[str]:
    """A task's command line as a run has it: job parameters put in, and the id of the run."""
    values = {parameter["name"]: parameter["default"] for parameter in job["parameters"]}
    given = [
        re.sub(r"\{\{job\.parameters\.(\w+)\}\}", lambda found: values[found.group(1)], text)
        for text in job["tasks"][0]["python_wheel_task"]["parameters"]
    ]
    return [str(resolved(text.replace("{{job.run_id}}", "550315892394120"), "prod")) for text in given]


@pytest.mark.parametrize("name", JOBS)
def test_each_job_is_one_that_databricks_knows(name: str) -> None:
    job = Job.from_dict(JOBS[name])  # type: ignore[arg-type]  # refuses unknown keys and missing ones
    [task] = job.tasks  # type: ignore[misc]
    assert task.python_wheel_task is not None  # type: ignore[union-attr]
    assert job.max_concurrent_runs == 1, "two runs at once would only race for the ledger"


@pytest.mark.parametrize("name", JOBS)
def test_the_task_runs_an_entry_point_that_the_wheel_has(name: str) -> None:
    task = JOBS[name]["tasks"][0]["python_wheel_task"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert task["package_name"] == project["name"]
    assert project["scripts"][task["entry_point"]] == "dp_spark.cli:entry_point"
    [entry] = [e for e in importlib.metadata.distribution(task["package_name"]).entry_points if e.name == task["entry_point"]]
    assert entry.load() is command_line.entry_point


@pytest.mark.parametrize("name", JOBS)
def test_the_command_line_accepts_the_parameters(name: str) -> None:
    command, given = typer.main.get_command(command_line.app), arguments(JOBS[name])
    assert not any("{{" in text for text in given), "a parameter that the job does not have"
    while hasattr(command, "commands"):
        command = command.commands[given.pop(0)]
    parsed = command.make_context("dp-spark", given).params
    assert parsed["as_json"] is True
    if name in RELEASES:
        assert parsed["release_id"] == "job-run-550315892394120"
        assert str(parsed["file"]) == variable("release_file", "prod")


@pytest.mark.parametrize("name", RELEASES)
def test_a_release_has_the_id_of_the_job_run_and_may_be_retried(name: str) -> None:
    """Each attempt has another task.run_id, and would be charged again."""
    job = JOBS[name]
    [release_id] = [parameter["default"] for parameter in job["parameters"] if parameter["name"] == "release_id"]
    assert "{{job.run_id}}" in release_id
    assert set(re.findall(r"\{\{([\w.]+)\}\}", " ".join(texts(job)))) <= {
        "job.run_id",
        "job.parameters.release_id",
        "job.parameters.day",
    }
    assert job["tasks"][0]["max_retries"] >= 1


@pytest.mark.parametrize("name", RELEASES)
def test_who_may_start_a_release_does_not_choose_what_it_reads(name: str) -> None:
    """A parameter of a job is whatever the one who starts it says, and the service principal may read the source."""
    assert {parameter["name"] for parameter in JOBS[name]["parameters"]} <= {"release_id", "day"}


def test_production_lies_where_not_everybody_can_write() -> None:
    root = BUNDLE["targets"]["prod"]["workspace"]["root_path"]
    assert root.startswith("/Workspace/Users/${var.service_principal}/")


def test_only_one_job_has_a_schedule_and_only_production_follows_it() -> None:
    scheduled = {name: Job.from_dict(job).schedule for name, job in JOBS.items() if "schedule" in job}  # type: ignore[arg-type]
    assert list(scheduled) == ["release_serverless"], "each scheduled run is charged"
    status = JOBS["release_serverless"]["schedule"]["pause_status"]
    assert PauseStatus(resolved(status, "dev")) is PauseStatus.PAUSED
    assert PauseStatus(resolved(status, "prod")) is PauseStatus.UNPAUSED
    assert [name for name, target in BUNDLE["targets"].items() if target.get("default")] == ["dev"]
    assert {name: target["mode"] for name, target in BUNDLE["targets"].items()} == {"dev": "development", "prod": "production"}


def test_every_variable_is_declared_and_used() -> None:
    used = set(re.findall(r"\$\{var\.(\w+)\}", " ".join(texts(BUNDLE))))
    assert used == set(BUNDLE["variables"])
    for target in BUNDLE["targets"].values():
        assert set(target.get("variables", {})) <= set(BUNDLE["variables"])
    others = set(re.findall(r"\$\{(?!var\.)([^}]+)\}", " ".join(texts({**BUNDLE, "variables": None}))))
    assert others == {"bundle.name", "bundle.target"}
    assert variable("release_file", "prod").startswith("${workspace.file_path}/")


def test_every_file_it_names_is_there_or_is_built() -> None:
    for folder in BUNDLE["sync"]["paths"]:
        assert (ROOT / folder).is_dir()
    file = variable("release_file", "dev").removeprefix("${workspace.file_path}/")
    assert (ROOT / file).is_file()
    assert file.split("/")[0] in BUNDLE["sync"]["paths"], "it would not be in the workspace"
    artifact = BUNDLE["artifacts"]["wheel"]
    [built] = [item["source"] for item in artifact["files"]]
    for job in JOBS.values():
        specs = [environment["spec"]["dependencies"] for environment in job.get("environments", [])]
        libraries = [[library["whl"] for library in task["libraries"]] for task in job["tasks"] if "libraries" in task]
        assert [*specs, *libraries] == [[f"../{built}"]], "paths are relative to resources/"
    target = artifact["build"].removeprefix("make ")
    recipe = subprocess.run(
        ["make", "-n", "-o", ".venv/.installed", target], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "scripts/build_dist.py wheel" in recipe.stdout
    assert Path(built).parent == Path("dist/without-spark"), "the other wheel would bring a second pyspark"


def test_each_task_names_compute_that_its_job_has() -> None:
    for job in JOBS.values():
        [task] = job["tasks"]
        environments = [environment["environment_key"] for environment in job.get("environments", [])]
        clusters = [cluster["job_cluster_key"] for cluster in job.get("job_clusters", [])]
        assert [task[key] for key in ("environment_key", "job_cluster_key") if key in task] == [*environments, *clusters]
    major = int(str(variable("spark_version", "prod")).split(".")[0])
    assert major >= 17, "17 is the first runtime with Spark 4"


def test_secrets_are_only_references() -> None:
    variables = JOBS["release_on_cluster"]["job_clusters"][0]["new_cluster"]["spark_env_vars"]
    for target in BUNDLE["targets"]:
        for value in resolved(variables, target).values():
            assert _SECRET.fullmatch(value)
    files = [
        "databricks.yml",
        "conf/databricks.yaml",
        "notebooks/release_example.py",
        "resources/release.yml",
        "resources/budget.yml",
    ]
    for file in files:
        text = _SECRET.sub("", (ROOT / file).read_text(encoding="utf-8"))
        assert not re.search(r"dapi[0-9a-f]{8}|(?i:password|token|secret)\w*[\"'\]]*\s*[:=]\s*[\"'][^\"'\s]", text), file
    example = BUNDLE["variables"]["secrets"]["description"]
    assert _SECRET.search(example)


def test_the_release_file_names_tables_that_are_kept_apart() -> None:
    spec = ReleaseSpec.from_yaml(ROOT / "conf" / "databricks.yaml")
    tables = [spec.source.table, spec.ledger.table, spec.sink.table]
    assert all(table is not None and table.count(".") == 2 for table in tables), "Unity Catalog names have three parts"
    schemas = [str(table).rpartition(".")[0] for table in tables]
    assert len(set(schemas)) == 3, "recipients are granted the schema of the sink"
    budget = {parameter["name"]: parameter["default"] for parameter in JOBS["open_budget"]["parameters"]}
    assert (budget["ledger"], budget["dataset"]) == (spec.ledger.table, spec.dataset)
    assert float(budget["epsilon"]) >= float(spec.budget.epsilon)
    assert float(budget["delta"]) >= float(spec.budget.delta)


# --- exit codes: a wheel task is a notebook cell, where SystemExit(0) is a failure -----------------------------------


def test_the_entry_point_returns_when_all_is_well(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["dp-spark", "schema"])
    command_line.entry_point()
    assert capsys.readouterr().out.startswith("{")


def test_the_entry_point_raises_the_exit_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["dp-spark", "run", str(tmp_path / "none.yaml"), "--release-id", "r1"])
    with pytest.raises(SystemExit) as stop:
        command_line.entry_point()
    assert stop.value.code == 2


# --- the notebook ----------------------------------------------------------------------------------------------------


def cells() -> list[str]:
    first, *rest = NOTEBOOK.read_text(encoding="utf-8").split("\n", 1)
    assert first == "# Databricks notebook source"
    return [cell.strip() for cell in rest[0].split("# COMMAND ----------")]


def plain_cells() -> list[str]:
    """Those that need no notebook."""
    return [cell for cell in cells() if not cell.startswith("# MAGIC") and not cell.startswith("dbutils.")]


def test_the_notebook_compiles() -> None:
    compile(NOTEBOOK.read_text(encoding="utf-8"), str(NOTEBOOK), "exec")
    assert any("%pip install" in cell and cell.startswith("# MAGIC") for cell in cells())
    assert len(plain_cells()) == 3


@pytest.mark.slow
def test_the_cells_of_the_notebook_release_a_table_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("notebooks", "conf"):
        (place.folder / folder).mkdir()
    place.file().rename(place.folder / "conf" / "databricks.yaml")
    monkeypatch.chdir(place.folder / "notebooks")  # where a notebook runs
    seen = []
    for _ in range(2):
        names: dict[str, Any] = {"spark": place.spark}
        for cell in plain_cells():
            exec(compile(cell, "cell", "exec"), names)
        seen.append((names["result"].status, names["released"].to_dict("records")))
    assert [status for status, _ in seen] == ["published", "already_published"]
    assert seen[0][1] == seen[1][1] == place.sink_rows()
    assert place.kinds() == [("charge", "2026-11"), ("published", "2026-11")]
