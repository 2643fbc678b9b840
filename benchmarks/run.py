"""Runs all contestants in one go, alternating, and writes what it found.

    python -m benchmarks.run [--quick] [--only SECTION...]

Only one contestant computes at any time; the others' processes wait. A contestant that fails, or takes too long, is a
row that says so, and the run goes on. With ``--only``, what was found of the other sections stays.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.accuracy import rank_errors
from benchmarks.environments import PRODUCT, REPORT, ROOT, WORK, EnvironmentFailedError, make_environments, python_of
from benchmarks.machine import describe_machine
from benchmarks.plan import CALL_LIMIT, Entry, Plan, Section, full_plan, quick_plan
from benchmarks.processes import HEAP, Contestant, ContestantFailedError
from benchmarks.report import write_report
from benchmarks.results import Measurement, Occasion, Results
from benchmarks.tables import Table

_TABLES = WORK / "tables"


class _Run:
    """A run under way: its processes, and what it has found so far."""

    def __init__(self, plan: Plan, results: Results, path: Path, failed: Mapping[str, str]) -> None:
        self._plan, self._path, self._began = plan, path, time.monotonic()
        self._processes: dict[str, Contestant] = {}
        self._failed = {name: f"does not start here: {reason}" for name, reason in failed.items()}
        self._machine = describe_machine()
        self._versions: dict[str, dict[str, str]] = {}
        self.results = results

    def all_sections(self) -> None:
        """Every section in order; what was found is on disk after each."""
        try:
            for section in self._plan.sections:
                if section.fresh:
                    self.close()
                occasion = Occasion(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", self._machine)
                found = self._section(section)
                environments = dict.fromkeys(entry.environment for entry in section.entries)
                occasion.versions = {name: self._versions[name] for name in environments if name in self._versions}
                self.results.put(section.name, occasion, found)
                self.results.write(self._path)
        finally:
            self.close()

    def close(self) -> None:
        """Ends all processes."""
        for process in self._processes.values():
            process.close()
        self._processes.clear()

    def _section(self, section: Section) -> list[Measurement]:
        tables = list(dict.fromkeys(entry.table for entry in section.entries))
        missing = self._make_tables(tables)
        if section.fresh:  # making the tables has used memory that is not the section's
            self.close()
        found = [_empty(section, entry) for entry in section.entries]
        for entry, measurement in zip(section.entries, found, strict=True):
            if entry.table.name in missing:
                measurement.error = f"the table cannot be made: {missing[entry.table.name]}"
            else:
                self._call(entry, measurement, "cold")
        planned = [section.rounds.after(item.cold) if item.cold is not None else 0 for item in found]
        for number in range(1, max(planned, default=0) + 1):
            for entry, measurement, rounds in zip(section.entries, found, planned, strict=True):
                if number <= rounds and measurement.error is None:
                    self._call(entry, measurement, f"round {number}/{rounds}")
        if section.discard_tables:
            for table in tables:
                shutil.rmtree(_TABLES / table.name, ignore_errors=True)
        return found

    def _make_tables(self, tables: Iterable[Table]) -> dict[str, str]:
        """Makes the tables that are not there yet, and a ledger; returns the tables that cannot be made, and why."""
        missing = {}
        for table in tables:
            self.results.tables[table.name] = asdict(table)
            answer = self._ask(PRODUCT, {"run": "make_table", **_task(table, "count_sum"), "table": asdict(table)})
            if "error" in answer:
                missing[table.name] = answer["error"]
        self._ask(PRODUCT, {"run": "open_ledger", **_task(next(iter(tables)), "count_sum")})
        return missing

    def _call(self, entry: Entry, measurement: Measurement, label: str) -> None:
        answer = self._ask(entry.environment, {"run": entry.contestant, **_task(entry.table, entry.workload.name)})
        measurement.error = answer.get("error")
        if measurement.error is None:
            if measurement.cold is None:
                measurement.peak_mib, measurement.released = answer["peak_mib"], answer["rows"]
            measurement.add(answer["seconds"], answer["stages"], _rank_errors(entry, answer["quantiles"]))
        said = measurement.error or f"{answer['seconds']:.1f} s"
        where = f"{measurement.section} {entry.table.name}"
        sys.stderr.write(f"{time.monotonic() - self._began:6.0f} s  {where} {label} {entry.contestant} {said}\n")

    def _ask(self, environment: str, request: dict[str, Any]) -> dict[str, Any]:
        if environment in self._failed:
            return {"error": self._failed[environment]}
        try:
            return self._process(environment).ask(request, CALL_LIMIT)
        except ContestantFailedError as error:
            self._processes.pop(environment, None)  # the next call starts a new one
            return {"error": str(error)}

    def _process(self, environment: str) -> Contestant:
        if environment not in self._processes:
            try:
                process = Contestant(environment)
            except (ContestantFailedError, EnvironmentFailedError) as error:
                self._failed[environment] = f"does not start here: {error}"
                raise ContestantFailedError(self._failed[environment]) from None
            self._processes[environment] = process
            self._versions[environment] = process.versions
            self.results.notes |= process.notes
        return self._processes[environment]


def _task(table: Table, workload: str) -> dict[str, Any]:
    folder = _TABLES / table.name
    return {
        "workload": workload,
        "path": str(folder / "rows"),
        "keys_path": str(folder / "keys"),
        "partitions": table.partitions,
        "scratch": str(WORK / "scratch" / "releases"),
    }


def _rank_errors(entry: Entry, released: Sequence[Sequence[float]]) -> Mapping[str, float]:
    if not released:
        return {}
    [item] = entry.workload.aggregates
    return rank_errors(str(_TABLES / entry.table.name / "rows"), item.column, item.shares, released)


def _empty(section: Section, entry: Entry) -> Measurement:
    return Measurement(section.name, entry.contestant, entry.workload.name, entry.table.name, entry.table.rows)


def _draw_chart(results: Path, chart: Path) -> None:
    """The chart is drawn in an environment of its own; without it the report is just without a picture."""
    try:
        command = [str(python_of(REPORT)), "-m", "benchmarks.chart", str(results), str(chart)]
        subprocess.run(command, cwd=ROOT, check=True)
    except (EnvironmentFailedError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"no chart: {error}\n")


def main() -> int:
    """Runs the plan and writes results, chart and report."""
    names = [section.name for section in full_plan().sections]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="few rows and rounds, written to .bench/ only")
    parser.add_argument("--only", nargs="+", choices=names, metavar="SECTION", help=f"some of {', '.join(names)}")
    arguments = parser.parse_args()
    folder = WORK / "quick" if arguments.quick else Path(__file__).resolve().parent
    for old in (WORK / "scratch", _TABLES):
        shutil.rmtree(old, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    plan = (quick_plan() if arguments.quick else full_plan()).of(arguments.only or names)
    failed = make_environments([*plan.environments, REPORT])
    file = folder / "results.json"
    found = Results.read(file) if arguments.only and file.exists() else Results(plan.name, HEAP)
    run = _Run(plan, found, file, failed)
    try:
        run.all_sections()
    finally:
        shutil.rmtree(_TABLES, ignore_errors=True)
        shutil.rmtree(WORK / "scratch", ignore_errors=True)
    _draw_chart(file, folder / "results.svg")
    write_report(file, folder / "RESULTS.md")
    sys.stderr.write(f"written: {folder / 'RESULTS.md'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
