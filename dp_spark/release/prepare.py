"""Every check of a release that comes before its charge: metadata, public tables and the ledger, no private value."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T

from dp_spark.engine import preprocess
from dp_spark.engine.buckets import Buckets, in_buckets
from dp_spark.engine.columns import require_key, require_numeric, require_text, require_value
from dp_spark.engine.features import condition
from dp_spark.engine.public_keys import PublicKeys, public_keys
from dp_spark.engine.source_identity import source_identity
from dp_spark.engine.sources import made_by_folders, open_checked
from dp_spark.engine.units import pinned_unit, require_units, with_units
from dp_spark.errors import DamageError
from dp_spark.ledger.on_delta import outbox_at
from dp_spark.ledger.same_file import is_correction
from dp_spark.ledger.state import LedgerState
from dp_spark.plan.planning import ReleasePlan, plan_release
from dp_spark.release.apart import check_public_sources, kept_apart
from dp_spark.release.publication import check_order
from dp_spark.spark.settings import BUCKETING, PARTITION_TYPES, check_held
from dp_spark.spec.release_spec import ReleaseSpec
from dp_spark.spec.source import Source
from dp_spark.tables import sink as sinks
from dp_spark.tables.refs import TableRef


@dataclass(frozen=True)
class Checked:
    """A release that passed every check that reads no private value.

    Attributes:
        frame: The source after all steps, lazy.
        read: The types of the source before them.
        joined: The public tables of its joins, by their keys in the release file.
    """

    spec: ReleaseSpec
    plan: ReleasePlan
    digest: str
    unparsed: str | None
    frame: DataFrame
    read: T.StructType
    joined: dict[str, DataFrame]
    clustered: bool
    keys: PublicKeys | None
    source: str
    unit: str
    sink: TableRef
    state: LedgerState


def has_table_of_keys(spec: ReleaseSpec) -> bool:
    """Whether the keys are in a table, whose content is part of the file's digest."""
    return spec.public_partitions is not None and spec.public_partitions.source is not None


def validate(spark: SparkSession, written: ReleaseSpec, spec: ReleaseSpec, state: LedgerState, release_id: str) -> Checked:
    """Checks a release against its source, its public tables, its sink and the ledger; reads no private value.

    Args:
        spark: The session, with ``settings.RELEASE_SETTINGS`` held.
        written: The release file as it was written: its digest is the release's.
        spec: The same after ``${NAME}``.
        state: What the ledger says.
        release_id: The release's identity.

    Raises:
        SpecError, SourceError, BudgetError, ConflictError, DamageError: As ``run_release`` says.
    """
    account = state.account(spec.dataset)
    _check_files(spark, spec.source)
    frame = open_checked(spark, spec.source, where="source")
    # Buckets keep together what is equal in the table's own columns; a definition can make more rows equal.
    buckets = Buckets.of(spark, spec.source, () if spec.unit_definition else spec.unit_columns)
    source = source_identity(spark, spec.source, frame)
    sources = {"source": source, **check_public_sources(spark, spec, [source, *state.charged_sources])}
    if buckets is not None:
        frame = buckets.only_in_place(frame)
    made = made_by_folders(spark, spec.source) if spec.source.by_position else frozenset()
    read, unit = frame.schema, pinned_unit(frame, spec, made)
    frame = with_units(frame, spec)
    require_units(frame, spec)
    joined: dict[str, DataFrame] = {}
    frame = preprocess.apply_steps(spark, frame, spec, joined)
    keys = _check_columns(spark, frame, spec)
    plan = plan_release(spec, account.account.accountant, None if keys is None else keys.table.num_rows)
    sink = TableRef.of(spec.sink)
    keys_digest = keys.digest if keys is not None and has_table_of_keys(spec) else ""
    digest, unparsed = written.digest(keys_digest), written.unparsed_digest(keys_digest)
    charge = state.charge_of(release_id)
    if charge is not None:
        is_correction(state, release_id, digest, unparsed)
    drawn = functools.partial(outbox_at(spark, TableRef.of(spec.ledger)).of_dataset, spec.dataset)
    present = sinks.check_sink(spark, sink, spec.dataset, kept_apart(spark, spec, sources), drawn=drawn)
    if charge is not None and present is not None:
        check_order(state, charge, present, sink)
        _check_not_drawn(spark, spec, present, release_id)
    return Checked(spec, plan, digest, unparsed, frame, read, joined, buckets is not None, keys, source, unit, sink, state)


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
    outbox = outbox_at(spark, TableRef.of(spec.ledger))
    if present["release_id"] == release_id and outbox.find(release_id) is None:
        raise DamageError(
            f"the sink holds the release {release_id}, but its draw is gone from the outbox",
            where=str(outbox.ref),
            mend="put the outbox's files back from a backup: drawing again would be a second draw for one charge",
        )


def check_source(spark: SparkSession, spec: ReleaseSpec) -> None:
    """What a run refuses in a source's shape before its charge, for ``dp-spark check``; reads no private value.

    Raises:
        SpecError, SourceError: As ``validate``.
    """
    _check_files(spark, spec.source)
    frame = with_units(open_checked(spark, spec.source, where="source"), spec)
    require_units(frame, spec)
    _check_columns(spark, preprocess.apply_steps(spark, frame, spec), spec)


def _check_columns(spark: SparkSession, frame: DataFrame, spec: ReleaseSpec) -> PublicKeys | None:
    for name in spec.group_by:
        require_key(frame, name, where="group_by")
    for aggregate in spec.aggregates:
        where = f"aggregates.{aggregate.name}"
        for need in aggregate.needs():
            if need.numeric:
                require_numeric(frame, need.column, where=where, or_texts=need.or_texts)
            else:
                (require_text if need.text else require_value)(frame, need.column, where=where)
        if aggregate.where is not None:
            condition(frame, spec.condition(aggregate), f"{where}.where")
    if spec.public_partitions is None:
        return None
    grouped = {name: require_key(frame, name, where="group_by") for name in spec.group_by}
    return public_keys(spark, spec.public_partitions, grouped, spec.timezone)
