"""What a run found: plain data, written to JSON and read back by the report."""

from __future__ import annotations

import json
import statistics
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
        stages: The seconds of each stage of the latest call, where there are stages.
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
    stages: dict[str, float] = field(default_factory=dict)
    peak_mib: dict[str, int] = field(default_factory=dict)
    error: str | None = None

    @property
    def figure(self) -> float | None:
        """The median of the measured rounds, or the first call where none followed; None for a failure."""
        if self.error is not None:
            return None
        return statistics.median(self.seconds) if self.seconds else self.cold


@dataclass
class Results:
    """Everything of a run.

    Attributes:
        plan: The plan's name.
        started: When, in UTC.
        minutes: How long it took, with making tables.
        heap: Of each JVM.
        machine: What it ran on.
        tables: Table -> its parameters.
        versions: Environment -> package -> version.
        notes: Contestant -> what its figures mean.
        measurements: In the order of the plan.
    """

    plan: str
    started: str
    heap: str
    machine: dict[str, str]
    minutes: float = 0.0
    tables: dict[str, dict[str, str | int | float]] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Writes the JSON document."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @staticmethod
    def read(path: Path) -> Results:
        """Reads what ``write`` wrote."""
        document = json.loads(path.read_text())
        return Results(**{**document, "measurements": [Measurement(**item) for item in document["measurements"]]})

    def of(self, section: str) -> list[Measurement]:
        """The measurements of a section."""
        return [item for item in self.measurements if item.section == section]

    def figure(self, section: str, contestant: str, table: str | None = None) -> float | None:
        """The seconds of a contestant in a section, or None where it has none."""
        for item in self.of(section):
            if item.contestant == contestant and table in (None, item.table):
                return item.figure
        return None
