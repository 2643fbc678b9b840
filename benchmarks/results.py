"""What a run found: plain data, written to JSON and read back by the report."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Measurement:
    """One contestant on one workload and table.

    Attributes:
        section: The section of the plan.
        contestant: Who.
        workload: What.
        table: On which rows.
        rows: The number of rows of the table.
        cold: The seconds of the first call, which warms up.
        seconds: Those of the measured rounds.
        released: How many rows came back.
        stages: Those of each stage, where there are stages; of the first call until a measured round follows.
        rank_errors: How wrong released quantiles were in each call, at the median and at the 95 % quantile of them.
        peak_mib: The peak memory of the first call, by kind of process.
        error: The first line of what went wrong.
    """

    section: str
    contestant: str
    workload: str
    table: str
    rows: int
    cold: float | None = None
    seconds: list[float] = field(default_factory=list)
    released: int | None = None
    stages: dict[str, list[float]] = field(default_factory=dict)
    rank_errors: dict[str, list[float]] = field(default_factory=dict)
    peak_mib: dict[str, int] = field(default_factory=dict)
    error: str | None = None

    @property
    def figure(self) -> float | None:
        """The median of the measured rounds, or the first call where none followed; None for a failure."""
        if self.error is not None:
            return None
        return statistics.median(self.seconds) if self.seconds else self.cold

    def stage(self, name: str) -> float | None:
        """The seconds of one of its stages, as ``figure``."""
        found = self.stages.get(name)
        return statistics.median(found) if found and self.error is None else None

    def rank_error(self, name: str) -> float | None:
        """The rank error of its quantiles, median of all calls."""
        found = self.rank_errors.get(name)
        return statistics.median(found) if found and self.error is None else None

    def add(self, seconds: float, stages: Mapping[str, float], rank_errors: Mapping[str, float]) -> None:
        """Adds a call; the first is the cold one, and its stages give way to those of the measured rounds."""
        if self.cold is None:
            self.cold = seconds
        else:
            self.stages = self.stages if self.seconds else {}
            self.seconds.append(seconds)
        for kept, found in ((self.stages, stages), (self.rank_errors, rank_errors)):
            for name, value in found.items():
                kept.setdefault(name, []).append(value)


@dataclass
class Occasion:
    """When and with what a section was run.

    Attributes:
        started: When, in UTC.
        machine: What it ran on.
        versions: Environment -> package -> version.
    """

    started: str
    machine: dict[str, str]
    versions: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass
class Results:
    """Everything that was found, each section the last time that it was run.

    Attributes:
        plan: The plan's name.
        heap: Of each JVM.
        occasions: Section -> when and with what.
        tables: Table -> its parameters.
        notes: Contestant -> what its figures mean.
        measurements: Of all sections.
    """

    plan: str
    heap: str
    occasions: dict[str, Occasion] = field(default_factory=dict)
    tables: dict[str, dict[str, str | int | float]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Writes the JSON document."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @staticmethod
    def read(path: Path) -> Results:
        """Reads what ``write`` wrote."""
        document = json.loads(path.read_text())
        occasions = {section: Occasion(**found) for section, found in document["occasions"].items()}
        measurements = [Measurement(**item) for item in document["measurements"]]
        return Results(**{**document, "occasions": occasions, "measurements": measurements})

    def put(self, section: str, occasion: Occasion, found: list[Measurement]) -> None:
        """Takes in a section that was run, in place of what an earlier run of it found."""
        self.occasions[section] = occasion
        self.measurements = [item for item in self.measurements if item.section != section] + found

    @property
    def latest(self) -> Occasion:
        """The latest occasion, with the versions of all environments as they were last."""
        ordered = sorted(self.occasions.values(), key=lambda occasion: occasion.started)
        versions = {name: found for occasion in ordered for name, found in occasion.versions.items()}
        return Occasion(ordered[-1].started, ordered[-1].machine, versions)

    def of(self, section: str) -> list[Measurement]:
        """The measurements of a section."""
        return [item for item in self.measurements if item.section == section]

    def figure(self, section: str, contestant: str, table: str | None = None) -> float | None:
        """The seconds of a contestant in a section, or None where it has none."""
        for item in self.of(section):
            if item.contestant == contestant and table in (None, item.table):
                return item.figure
        return None
