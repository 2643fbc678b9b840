"""Several organisations' releases to one table: read, check, combine, publish. No ledger and no private table is read.

What goes in is published already, so what comes out is post-processing of it: nothing is charged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
from pyspark.sql import SparkSession

from dp_spark.combine.agreement import Party, check_disjoint, check_parties
from dp_spark.combine.arithmetic import combine_rows
from dp_spark.combine.manifest import Users, combined_manifest
from dp_spark.errors import ConflictError, DamageError, SpecError
from dp_spark.ledger.outbox import Draw
from dp_spark.manifest import PARTIES, is_combined, to_json
from dp_spark.published.row_comparison import same_rows
from dp_spark.release.reading import read_release
from dp_spark.spark.errors import translated
from dp_spark.spark.loggers import silence_value_quoting_loggers
from dp_spark.spark.settings import RELEASE_SETTINGS, bookkeeping, settings
from dp_spark.tables import delta as tables
from dp_spark.tables import sink as sinks
from dp_spark.tables.refs import TableRef


@dataclass(frozen=True)
class CombinedResult:
    """A combined table, as read back.

    Attributes:
        status: ``published`` by this run, or ``already_published`` before it.
        sink: Where it is.
        version: The version of the Delta table that holds it.
        rows: Its rows.
        manifest: Its manifest.
    """

    status: Literal["published", "already_published"]
    sink: str
    version: int
    rows: pa.Table
    manifest: dict[str, Any]

    @property
    def partial_rows(self) -> int:
        """How many rows do not cover all parties."""
        return sum(covered < len(self.manifest["inputs"]) for covered in self.rows.column(PARTIES).to_pylist())


def combine(spark: SparkSession, releases: Sequence[TableRef], sink: TableRef, users: Users) -> CombinedResult:
    """Combines published releases into one table, which has one row for each key of any of them.

    Args:
        spark: The session; its settings are the same afterwards.
        releases: The parties' releases; their order does not matter.
        sink: Where the combined table goes: an empty place, or that of an earlier combination.
        users: Whether one user can be in the data of several parties. Nobody can see that from the releases.

    Raises:
        SpecError: Fewer than two releases, one of them twice, two of one dataset whose users are called disjoint, or a sink
            that is in the way of something.
        SourceError: A release is missing, or the releases cannot be combined. ConflictError: another run came first.
        DamageError: A release or the sink is damaged.

    Guarantees: a function of published tables and public settings (post-processing). The same releases give the same table.
    """
    if len(releases) < 2:
        raise SpecError("needs two releases or more", where="RELEASE", mend="give the path or name of each party's release")
    silence_value_quoting_loggers()
    with settings(spark, {**RELEASE_SETTINGS, "spark.sql.session.timeZone": "UTC"}), bookkeeping(spark):
        parties = [Party(str(ref), *read_release(spark, ref, timezone="UTC")) for ref in releases]
        check_parties(parties)
        if users is Users.disjoint:
            check_disjoint(parties)
        # Two organisations that run one file on one day can have one identity: then the rest of the manifest, and the place.
        parties.sort(key=lambda party: (party.identity, to_json(party.manifest), party.label))
        rows, manifest = combine_rows(parties), combined_manifest(parties, users)
        return _publish(spark, sink, rows, manifest, releases)


def _check_sink(spark: SparkSession, sink: TableRef, releases: Sequence[TableRef], combined: Draw) -> dict[str, Any] | None:
    """The manifest of the combination that the sink holds, or None where it is empty; anything else is refused."""
    apart = {f"release {ref}": tables.location_of(spark, ref) for ref in releases}
    present = tables.read_manifest(spark, sink) if tables.exists(spark, sink) else None
    replaceable = present is not None and is_combined(present)
    try:
        dataset = str(present["dataset"]) if present is not None and replaceable else ""
        return sinks.check_sink(spark, sink, dataset, apart, drawn=lambda: [combined])
    except SpecError as error:
        raise SpecError(error.message, where="--sink", mend=error.mend) from None


def _publish(
    spark: SparkSession, sink: TableRef, rows: pa.Table, manifest: dict[str, Any], releases: Sequence[TableRef]
) -> CombinedResult:
    base = tables.newest_version(spark, sink)  # before the sink is looked at: a rival's commit in between makes this one void
    present = _check_sink(spark, sink, releases, Draw(rows, manifest))
    same = present == manifest and same_rows(_shown(spark, sink, base), rows, manifest["group_by"])
    if not same:
        sinks.publish(spark, sink, rows, manifest, base)
    version = tables.published_version(spark, sink, manifest["release_id"])
    if version is None:
        raise ConflictError("another run published there at the same time", where=str(sink), mend="run the same command again")
    shown = tables.read_rows(spark, sink, version)
    return CombinedResult("already_published" if same else "published", str(sink), version, shown, manifest)


def _shown(spark: SparkSession, sink: TableRef, version: int) -> pa.Table:
    """What readers see: somebody can have written rows under a manifest that stayed."""
    mend = "remove it: the same command makes it again"
    with translated(DamageError, "the combined table cannot be read", where=str(sink), mend=mend):
        return tables.read_rows(spark, sink, version)
