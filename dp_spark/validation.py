"""Every check of a release that comes before its charge: metadata, public tables and the ledger, no private value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from dp_spark import preprocess, tables
from dp_spark.errors import DamageError, SpecError
from dp_spark.ledger import check_same_file
from dp_spark.ledger_state import LedgerState
from dp_spark.outbox import Outbox, outbox_of
from dp_spark.paths import same_source
from dp_spark.planning import ReleasePlan, plan_release
from dp_spark.public_tables import PublicKeys, public_keys
from dp_spark.publication import check_order
from dp_spark.session import BUCKETING, PARTITION_TYPES, check_held
from dp_spark.source_identity import source_identity, source_location
from dp_spark.sources import Buckets, field, in_buckets, missing, open_checked, require_key, require_numeric
from dp_spark.spec import ClippedAggregate, Count, ReleaseSpec, Source
from dp_spark.tables import TableRef


@dataclass(frozen=True)
class Checked:
    """A release that passed every check that reads no private value."""

    spec: ReleaseSpec
    plan: ReleasePlan
    digest: str
    frame: DataFrame
    clustered: bool
    keys: PublicKeys | None
    source: str
    sink: TableRef
    state: LedgerState


def has_table_of_keys(spec: ReleaseSpec) -> bool:
    """Whether the keys are in a table, whose content is part of the file's digest."""
    return spec.public_partitions is not None and spec.public_partitions.source is not None


def validate(spark: SparkSession, written: ReleaseSpec, spec: ReleaseSpec, state: LedgerState, release_id: str) -> Checked:
    """Checks a release against its source, its public tables, its sink and the ledger; reads no private value.

    Args:
        spark: The session, with ``session.RELEASE_SETTINGS`` held.
        written: The release file as it was written: its digest is the release's.
        spec: The same after ``${NAME}``.
        state: What the ledger says.
        release_id: The release's identity.

    Raises:
        SpecError, SourceError, BudgetError, ConflictError, DamageError: As ``run_release`` says.
    """
    account = state.account(spec.dataset)
    source = source_identity(spark, spec.source)
    check_public_sources(spark, spec, [source, *state.charged_sources])
    _check_files(spark, spec.source)
    frame, buckets = open_checked(spark, spec.source, where="source"), Buckets.of(spark, spec.source, spec.unit_columns)
    if buckets is not None:
        frame = buckets.only_in_place(frame)
    frame = preprocess.apply_steps(spark, frame, spec)
    keys = _check_columns(spark, frame, spec)
    plan = plan_release(spec, account.account.accountant, None if keys is None else keys.table.num_rows)
    sink = TableRef.of(spec.sink)
    digest = written.digest(keys.digest if keys is not None and has_table_of_keys(spec) else "")
    charge = state.charge_of(release_id)
    if charge is not None:
        check_same_file(charge, digest)
    if state.publication_of(release_id) is None:
        present = tables.check_sink(spark, sink, spec.dataset, kept_apart(spark, spec), resumed=charge is not None)
        if charge is not None and present is not None:
            check_order(state, charge, present, sink)
            _check_not_drawn(spark, spec, present, release_id)
    return Checked(spec, plan, digest, frame, buckets is not None, keys, source, sink, state)


def _check_files(spark: SparkSession, source: Source) -> None:
    """Names of files and folders are private values, and written by anybody: nothing may depend on them."""
    if source.path is not None and source.format != "delta":
        depends, mend = "the names of folders could decide the types of columns", "make a Delta table of it"
        check_held(spark, PARTITION_TYPES, depends, where="source", mend=mend)
    if in_buckets(spark, source):
        depends = "the table is in buckets, and the names of its files could break the contribution bounds"
        check_held(spark, BUCKETING, depends, where="source", mend="make a Delta table of it")


def _check_not_drawn(spark: SparkSession, spec: ReleaseSpec, present: Mapping[str, Any], release_id: str) -> None:
    """What is in the sink was drawn: where the outbox has no draw of it, drawing again would be a second draw."""
    outbox = Outbox(spark, TableRef.of(spec.ledger))
    if present["release_id"] == release_id and outbox.find(release_id) is None:
        raise DamageError(
            f"the sink holds the release {release_id}, but its draw is gone from the outbox",
            where=str(outbox.ref),
            mend="put the outbox's files back from a backup: drawing again would be a second draw for one charge",
        )


def check_public_sources(spark: SparkSession, spec: ReleaseSpec, protected: list[str]) -> None:
    """A table that is protected cannot be declared public: as keys or in a join it would be released unpaid."""
    for where, public in _public_sources(spec).items():
        if any(same_source(source_identity(spark, public), other) for other in protected):
            raise SpecError("this table is protected, not public", where=where, mend="use a table that holds no one's data")


def _public_sources(spec: ReleaseSpec) -> dict[str, Source]:
    joined = {f"preprocess.{index}.join.source": step.join.source for index, step in enumerate(spec.preprocess) if step.join}
    public = spec.public_partitions
    return joined | ({"partitions.public.source": public.source} if public is not None and public.source is not None else {})


def check_source(spark: SparkSession, spec: ReleaseSpec) -> None:
    """What a run refuses in a source's shape before its charge, for ``dp-spark check``; reads no private value.

    Raises:
        SpecError, SourceError: As ``validate``.
    """
    _check_files(spark, spec.source)
    _check_columns(spark, preprocess.apply_steps(spark, open_checked(spark, spec.source, where="source"), spec), spec)


def _check_columns(spark: SparkSession, frame: DataFrame, spec: ReleaseSpec) -> PublicKeys | None:
    for name in spec.unit_columns:
        require_key(frame, name, where="privacy_unit", binary=True)
    for name in spec.group_by:
        require_key(frame, name, where="group_by")
    for aggregate in spec.aggregates:
        where = f"aggregates.{aggregate.name}"
        if isinstance(aggregate, ClippedAggregate):
            require_numeric(frame, aggregate.column, where=where)
        elif isinstance(aggregate, Count) and aggregate.column is not None and field(frame, aggregate.column) is None:
            raise missing(aggregate.column, where, frame)
    if spec.public_partitions is None:
        return None
    grouped = {name: require_key(frame, name, where="group_by") for name in spec.group_by}
    return public_keys(spark, spec.public_partitions, grouped, spec.timezone)


def kept_apart(spark: SparkSession, spec: ReleaseSpec) -> dict[str, str]:
    """Role -> location of the tables that a sink must not touch."""
    ledger = TableRef.of(spec.ledger)
    apart = {"ledger": tables.location_of(spark, ledger), "outbox": tables.location_of(spark, outbox_of(ledger))}
    for role, source in {"source": spec.source, **_public_sources(spec)}.items():
        location = source_location(spark, source)
        if location is not None:
            apart[role] = location
    return apart
