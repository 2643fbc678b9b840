"""The sink: checked so that a release there destroys nothing, and written in one atomic commit."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pyarrow as pa
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from dp_spark import manifest as manifests
from dp_spark.errors import ConflictError, DamageError, SpecError
from dp_spark.manifest import MANIFEST_PROPERTY
from dp_spark.places.identities import same_source
from dp_spark.spark.errors import SPARK_ERRORS, condition, is_concurrent
from dp_spark.spec.table_names import joined, parts
from dp_spark.tables.delta import exists, location_of, read_manifest
from dp_spark.tables.leftovers import Draws, only_leftovers
from dp_spark.tables.refs import TableRef, quoted_name


def check_sink(
    spark: SparkSession,
    sink: TableRef,
    dataset: str,
    kept_apart: Mapping[str, str],
    *,
    drawn: Callable[[], Iterable[Draws]] = tuple,
) -> dict[str, Any] | None:
    """Checks that publishing to the sink can destroy nothing and show nothing else; returns the manifest that is there.

    Args:
        spark: The session.
        sink: Where the release goes.
        dataset: The protected dataset.
        kept_apart: What the sink must not touch: role -> location, or all identities of a source.
        drawn: The draws whose rows a killed publisher may have left there uncommitted; asked only where there are files.

    Raises:
        SpecError: If the sink overlaps the source, ledger or outbox, is inside another Delta table, or holds anything but
            a release of this dataset.
    """
    location = location_of(spark, sink)
    for role, other in kept_apart.items():
        if same_source(location, other):
            raise SpecError(f"the sink is the {role}, or inside or above it", where="sink", mend="give it a place of its own")
    is_folder = sink.path is not None or location != str(sink)
    if is_folder and _inside_table(spark, location):
        raise SpecError("the sink is inside a Delta table", where="sink", mend="give it a place of its own")
    if not exists(spark, sink):
        _check_new(spark, sink, location if is_folder else None, drawn)
        return None
    found = read_manifest(spark, sink)
    if found is None:
        raise SpecError("the sink is a table that is not a release", where="sink", mend="choose another place")
    if found["dataset"] != dataset:
        raise SpecError(
            f"the release in the sink is of another dataset ({found['dataset']})", where="sink", mend="choose another place"
        )
    return found


def _check_new(spark: SparkSession, sink: TableRef, folder: str | None, drawn: Callable[[], Iterable[Draws]]) -> None:
    """Checks that a table can come to be where none is, over no file but what a killed publisher left there."""
    if sink.name is not None:
        _check_schema(spark, sink.name)
    if folder is not None and not only_leftovers(spark, folder, drawn):
        raise SpecError(
            "the sink holds files that are not a release",
            where="sink",
            mend="choose an empty place, or remove them; if a run is publishing there now, run the same command again",
        )


def _inside_table(spark: SparkSession, location: str) -> bool:
    """Whether a folder above a place is a Delta table: whoever reads or vacuums it would reach what is inside."""
    folder = posixpath.dirname(location)
    while folder.rstrip("/:") and not folder.endswith(":/") and folder != posixpath.dirname(folder):
        if exists(spark, TableRef(folder, None)):
            return True
        folder = posixpath.dirname(folder)
    return False


def _check_schema(spark: SparkSession, name: str) -> None:
    """A table cannot come to be in a schema or catalog that is not there; found after the charge, that would be too late."""
    schema = joined(parts(name)[:-1])
    with contextlib.suppress(AnalysisException):  # no such catalog
        if not schema or spark.catalog.databaseExists(quoted_name(schema)):
            return
    raise SpecError(
        f"there is no schema {schema} for the table {name}",
        where="sink",
        mend=f"make it, or correct the name; a folder of this name is path: ./{name}",
    )


def publish(spark: SparkSession, sink: TableRef, rows: pa.Table, manifest: Mapping[str, Any], base: int) -> None:
    """Commits released rows and their manifest in one atomic Delta commit.

    Args:
        spark: The session.
        sink: Where the release goes.
        rows: The noised rows, as the outbox holds them.
        manifest: The release's manifest.
        base: The version of the sink that it follows (``newest_version``).

    Raises:
        ConflictError: If another publisher committed first.
        DamageError: If the commit is not there afterwards.
    """
    release_id, keys, document = manifest["release_id"], manifest["group_by"], manifests.to_json(manifest)
    transaction = f"after-{base}"  # two publishers that follow the same version are one transaction, which Delta commits once
    schema = from_arrow_schema(rows.schema, prefer_timestamp_ntz=True)
    frame = spark.createDataFrame(rows, schema=schema).coalesce(1)  # one file: the number of files says nothing
    if keys:
        frame = frame.sortWithinPartitions(*keys)
    for name, comment in manifests.column_comments(manifest).items():
        frame = frame.withMetadata(name, {"comment": comment})
    writer = (
        frame.writeTo(sink.sql)
        .using("delta")
        .tableProperty(MANIFEST_PROPERTY, document)
        .tableProperty("delta.enableChangeDataFeed", "false")
        .tableProperty("delta.enableDeletionVectors", "false")
        .option("userMetadata", release_id)
        .option("txnAppId", f"dp-spark/{transaction}")
        .option("txnVersion", "1")
    )
    try:
        writer.createOrReplace()  # create() would lose the userMetadata
    except SPARK_ERRORS as error:
        if not is_concurrent(error):
            raise DamageError(
                f"the release could not be published ({condition(error)})",
                where=str(sink),
                mend="make the sink writable and run the same command again: nothing is charged or drawn twice",
            ) from None
    # A rival may have published these very rows; and Delta skips a duplicate transaction without a word.
    if read_manifest(spark, sink) != manifest:
        raise ConflictError("another run published there at the same time", where=str(sink), mend="run the same command again")
