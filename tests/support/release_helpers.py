"""What the tests of whole releases share: a small source, opened ledgers, release files, and the command line in-process.

The fixtures that use it are in ``conftest``. Source and ledger are made once; each test works on copies.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from helpers import minimal_spec
from memory_books import ACCOUNTS as ACCOUNTS
from pyspark.sql import SparkSession

from dp_spark.ledger.on_delta import ledger_at, outbox_at
from dp_spark.ledger.outbox import Draw, Outbox
from dp_spark.ledger.rows import Row
from dp_spark.ledger.table import Ledger
from dp_spark.privacy.accountants.account import Account
from dp_spark.release.run import ReleaseResult, run_release
from dp_spark.spec.release_spec import ReleaseSpec
from dp_spark.tables.refs import TableRef

WARDS = ("er", "gp", "icu")
COUNT = {"function": "count", "name": "visits"}
PATIENTS = {"function": "privacy_id_count", "name": "patients"}
TOTAL = {"function": "sum", "column": "cost", "min_value": 0, "max_value": 100, "name": "total"}
MEAN = {"function": "mean", "column": "cost", "min_value": 0, "max_value": 100, "name": "average"}


@dataclass(frozen=True)
class Outcome:
    """What a command line did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout; anything else there fails."""
        lines = self.out.splitlines()
        assert len(lines) == 1, f"not one document: {lines}"
        return json.loads(lines[0])

    @property
    def error(self) -> dict[str, str]:
        """The error document."""
        document = self.document
        assert list(document) == ["error"]
        known = list(document["error"])
        assert known[:4] == ["code", "message", "where", "mend"]
        assert [key for key in known[4:] if key != "problems"] in ([], ["charged", "release_id", "resumable"])
        return dict(document["error"])


@dataclass(frozen=True)
class Place:
    """A folder of one test, with a ledger of its own and a release file's defaults."""

    folder: Path
    source: Path
    spark: SparkSession

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger"

    @property
    def outbox_path(self) -> Path:
        return self.folder / "ledger_outbox"

    @property
    def sink(self) -> Path:
        return self.folder / "release"

    @classmethod
    def copied(cls, template: Path, folder: Path, spark: SparkSession) -> Place:
        """A place with a ledger of its own, copied from ``make_template``'s, and the template's source."""
        shutil.copytree(template / "ledger", folder / "ledger")
        return cls(folder, template / "source", spark)

    def own_source(self) -> Path:
        """A copy of the source that the test may destroy."""
        copy = self.folder / "source"
        if not copy.exists():
            shutil.copytree(self.source, copy)
        return copy

    def document(self, **changes: Any) -> dict[str, Any]:
        """A release file as plain data; a change to None removes the key."""
        given: dict[str, Any] = {
            "name": "visits-by-ward",
            "dataset": "visits",
            "source": {"format": "delta", "path": str(self.source)},
            "privacy_unit": "patient",
            "contribution_bounds": {"max_partitions_contributed": 2, "max_contributions_per_partition": 2},
            "group_by": ["ward"],
            "partitions": {"public": {"values": {"ward": list(WARDS)}}},
            "aggregates": [COUNT],
            "budget": {"epsilon": 1.0},
            "ledger": {"path": str(self.ledger)},
            "sink": {"path": str(self.sink)},
        }
        return minimal_spec(**given | changes)

    def file(self, **changes: Any) -> Path:
        """The release file; JSON is YAML."""
        path = self.folder / "release.yaml"
        path.write_text(json.dumps(self.document(**changes)), encoding="utf-8")
        return path

    def spec(self, **changes: Any) -> ReleaseSpec:
        return ReleaseSpec.from_yaml(self.file(**changes))

    def release(self, release_id: str | None = None, **changes: Any) -> ReleaseResult:
        return run_release(self.spark, self.spec(**changes), release_id=release_id)

    def book(self) -> Ledger:
        return ledger_at(self.spark, TableRef(str(self.ledger), None))

    def outbox(self) -> Outbox:
        return outbox_at(self.spark, TableRef(str(self.ledger), None))

    def drawn(self, release_id: str) -> Draw:
        draw = self.outbox().find(release_id)
        assert draw is not None, "nothing was drawn"
        return draw

    def entries(self) -> tuple[Row, ...]:
        return self.book().state().rows

    def kinds(self) -> list[tuple[str, str | None]]:
        """(kind, release id) of every entry after the openings."""
        return [(entry.entry, entry.release_id) for entry in self.entries() if entry.entry != "open"]

    def sink_rows(self, version: int | None = None) -> list[dict[str, Any]]:
        reader = self.spark.read.format("delta")
        reader = reader if version is None else reader.option("versionAsOf", str(version))
        return list(reader.load(str(self.sink)).toArrow().to_pylist())

    def sink_versions(self) -> int:
        return self.spark.sql(f"DESCRIBE HISTORY delta.`{self.sink}`").count()


def make_template(spark: SparkSession, folder: Path) -> Path:
    """The source and the ledger that places start from."""
    write_delta(spark, folder / "source", visits())
    ledger = ledger_at(spark, TableRef(str(folder / "ledger"), None))
    for dataset, (epsilon, delta, accountant) in ACCOUNTS.items():
        ledger.open(dataset, Account.open(Decimal(epsilon), Decimal(delta), accountant))
    return folder


def visits() -> list[dict[str, Any]]:
    """60 patients, each with up to 6 visits in up to 3 wards; one without a name, some null and NaN costs."""
    rows = []
    for person in range(60):
        for visit in range(1 + person % 6):
            cost: float | None = float((person * 7 + visit * 13) % 120)
            if (person + visit) % 17 == 0:
                cost = None
            if (person + visit) % 23 == 0:
                cost = float("nan")
            rows.append(
                {
                    "patient": None if person == 59 else f"p{person:03}",
                    "ward": WARDS[(person + visit) % 3],
                    "day": person % 5,
                    "cost": cost,
                    "weight": 60.5 + person,
                    "blob": bytes([person]),
                    "place": {"city": "x", "zip": person},
                    "note": "fine",
                }
            )
    return rows


def write_delta(spark: SparkSession, path: Path, rows: Sequence[dict[str, Any]] | pa.Table) -> Path:
    """A Delta table of these rows, in two files."""
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows))
    spark.createDataFrame(table).repartition(2).write.format("delta").save(str(path))
    return path


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def data_files(table: Path) -> list[Path]:
    """The data files of a Delta or Parquet table."""
    return sorted(table.glob("*.parquet"))


def put_garbage(table: Path) -> dict[Path, bytes]:
    """Makes every data file unreadable, with its size kept; returns what was there."""
    kept = {path: path.read_bytes() for path in data_files(table)}
    for path, content in kept.items():
        path.write_bytes(b"x" * len(content))
        path.with_name(f".{path.name}.crc").unlink(missing_ok=True)
    return kept


def restore(kept: dict[Path, bytes]) -> None:
    for path, content in kept.items():
        path.write_bytes(content)
