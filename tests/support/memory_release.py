"""Whole runs of a release on ledgers, outboxes and sinks in memory: every decision is the product's, only Spark is not there.

What stands in reads nothing: ``validate`` finds a source that is as the file says, a draw is a number from a counter, and a
sink is a list of versions. Whatever needs a real source or a real Delta commit is tested on those.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest
from helpers import release_spec
from memory_books import MemoryBooks

from dp_spark.errors import ConflictError
from dp_spark.ledger.entries import Charge, Written
from dp_spark.ledger.outbox import Draw
from dp_spark.ledger.same_file import is_correction
from dp_spark.ledger.state import LedgerState
from dp_spark.plan.planning import plan_release
from dp_spark.release import completion, publication
from dp_spark.release import run as release
from dp_spark.release.prepare import Checked
from dp_spark.release.publication import ReleaseResult, check_order
from dp_spark.release.run import run_release
from dp_spark.spec.release_spec import ReleaseSpec
from dp_spark.tables import delta, sink
from dp_spark.tables.refs import TableRef


@dataclass
class MemorySinks:
    """Published tables: place -> versions, each with its manifest and rows."""

    tables: dict[str, list[Draw]] = field(default_factory=dict)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        for name in ("exists", "newest_version", "published_version", "read_rows"):
            patch.setattr(delta, name, getattr(self, name))
        for name in ("check_sink", "publish"):
            patch.setattr(sink, name, getattr(self, name))

    def at(self, ref: TableRef) -> list[Draw]:
        return self.tables.get(str(ref), [])

    def exists(self, _: Any, ref: TableRef) -> bool:
        return str(ref) in self.tables

    def newest_version(self, _: Any, ref: TableRef) -> int:
        return len(self.at(ref)) - 1

    def published_version(self, _: Any, ref: TableRef, release_id: str) -> int | None:
        found = [number for number, shown in enumerate(self.at(ref)) if shown.manifest["release_id"] == release_id]
        return max(found, default=None)

    def read_rows(self, _: Any, ref: TableRef, version: int) -> pa.Table:
        return self.at(ref)[version].rows

    def check_sink(self, _: Any, ref: TableRef, *__: Any, **___: Any) -> Mapping[str, Any] | None:
        return self.at(ref)[-1].manifest if self.at(ref) else None

    def publish(self, _: Any, ref: TableRef, rows: pa.Table, manifest: Mapping[str, Any], base: int) -> None:
        if base != self.newest_version(_, ref):
            raise ConflictError("another run published there at the same time", where=str(ref))
        self.tables.setdefault(str(ref), []).append(Draw(rows, manifest))


class MemoryRuns:
    """Runs of releases, one after the other or one inside of another.

    Attributes:
        draws: How often something was drawn.
        while_drawing: Called by the next run, once, between its checks and its draw.
        check: Called by each run that is not drawn yet, instead of looking at its source.
    """

    def __init__(self, books: MemoryBooks, patch: pytest.MonkeyPatch) -> None:
        self.books, self.sinks, self.draws = books, MemorySinks(), 0
        self.while_drawing: Callable[[], object] = lambda: None
        self.check: Callable[[], object] = lambda: None
        self.sinks.install(patch)
        patch.setattr("dp_spark.ledger.on_delta.DeltaStore", books.store)
        for module in (release, completion, publication):
            for name in ("settings", "bookkeeping"):
                if hasattr(module, name):
                    patch.setattr(module, name, lambda *_: contextlib.nullcontext())
        patch.setattr(release, "silence_value_quoting_loggers", lambda: None)
        patch.setattr(release, "check_trial", lambda *_: None)
        patch.setattr(completion, "kept_apart", lambda *_: {})
        patch.setattr(release, "validate", self._validate)
        patch.setattr(release, "draw_quietly", self._draw)

    def spec(self, **changes: Any) -> ReleaseSpec:
        """A release of a CSV file, to one global row."""
        given: dict[str, Any] = {
            "dataset": "visits",
            "source": csv(),
            "contribution_bounds": {"max_partitions_contributed": 1, "max_contributions_per_partition": 2},
            "group_by": [],
            "partitions": None,
            "aggregates": [{"function": "count", "name": "n"}],
            "budget": {"epsilon": 1},
            "ledger": {"path": self.books.ref.path},
            "sink": {"path": str(self.books.folder / "release")},
        }
        return release_spec(**{**given, **changes})

    def release(self, release_id: str | None = None, **changes: Any) -> ReleaseResult:
        session: Any = None
        return run_release(session, self.spec(**changes), release_id=release_id)

    def shown(self) -> list[list[int]]:
        """What each version of the usual sink shows."""
        return [version.rows["n"].to_pylist() for version in self.sinks.at(TableRef(str(self.books.folder / "release"), None))]

    def drawn(self, release_id: str) -> list[int]:
        return list(self.books.outbox().draw_of(release_id).rows["n"].to_pylist())

    def _validate(self, _: Any, written: ReleaseSpec, spec: ReleaseSpec, state: LedgerState, release_id: str) -> Checked:
        self.check()
        accountant = state.account(spec.dataset).account.accountant
        digest, unparsed = written.digest(), written.unparsed_digest()
        charge, to, nothing = state.charge_of(release_id), TableRef.of(spec.sink), _nothing()
        if charge is not None:
            is_correction(state, release_id, digest, unparsed)
            present = self.sinks.check_sink(None, to)
            if present is not None:
                check_order(state, charge, present, to)
        plan = plan_release(spec, accountant, None)
        source, unit = f"{spec.source.path}", '["id"]'
        return Checked(spec, plan, digest, unparsed, nothing, nothing, {}, False, None, source, unit, to, state)

    def _draw(self, _: Any, checked: Checked, charge: Written[Charge], on_stage: Callable[[str], None]) -> Draw:
        happens, self.while_drawing = self.while_drawing, lambda: None
        happens()
        self.draws += 1
        manifest = {
            "format": "dp_spark.manifest/1",
            "release_id": charge.entry.release_id,
            "dataset": checked.spec.dataset,
            "group_by": [],
            "file_digest": checked.digest,
            "charge": {"sequence": charge.sequence},
        }
        return Draw(pa.table({"n": pa.array([self.draws], pa.int64())}), manifest)


def csv(**options: str) -> dict[str, Any]:
    """A source whose parsing may be corrected."""
    given: dict[str, Any] = {"format": "csv", "path": "/data/visits.csv", "schema": {"id": "string", "cost": "double"}}
    return {**given, "options": dict(options)} if options else given


def _nothing() -> Any:
    return None
