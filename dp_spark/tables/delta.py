"""Our own Delta tables: where they are, what they carry, and the one atomic commit that publishes a release."""

from __future__ import annotations

import contextlib
import json
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from dp_spark import manifest as manifests
from dp_spark.errors import ConflictError, DamageError, SourceError, SpecError
from dp_spark.manifest import MANIFEST_PROPERTY
from dp_spark.places.identities import same_source
from dp_spark.places.paths import is_local, resolve, spark_path
from dp_spark.spark.errors import SPARK_ERRORS, condition, is_concurrent
from dp_spark.spec.release_spec import Location
from dp_spark.spec.table_names import joined, parts, reads_as_name
from dp_spark.tables.leftovers import Draws, only_leftovers


@dataclass(frozen=True)
class TableRef:
    """A Delta table of ours, by resolved path or by name.

    Attributes:
        path: The resolved path, or None for a table by name.
        name: The table's name, or None for a table by path.
    """

    path: str | None
    name: str | None

    @staticmethod
    def of(location: Location) -> TableRef:
        """The table at a location of the release file; relative local paths become absolute here."""
        return TableRef(None if location.path is None else resolve(location.path), location.table)

    @staticmethod
    def parse(text: str) -> TableRef:
        """The table that a command-line argument means: a path, or ``a.b.c``.

        A name has a dot or backticks. ``budget.delta`` is a path, and so is whatever is there.

        >>> TableRef.parse("main.gold.visits").name, TableRef.parse("./visits").name, TableRef.parse("budget.delta").name
        ('main.gold.visits', None, None)
        """
        if reads_as_name(text) and not Path(text).exists():
            return TableRef(None, text)
        return TableRef(resolve(text), None)

    @staticmethod
    def stored(text: str) -> TableRef:
        """The table that ``str`` of a reference said: a stored path is absolute or has a scheme, a name is neither.

        >>> TableRef.stored("visits").name, TableRef.stored("/data/visits").path, TableRef.stored("s3a://b/visits").name
        ('visits', '/data/visits', None)
        """
        is_path = text.startswith("/") or ":" in text
        return TableRef(text, None) if is_path else TableRef(None, text)

    @property
    def sql(self) -> str:
        """The table as SQL names it."""
        if self.path is not None:
            return f"delta.`{spark_path(self.path)}`"
        assert self.name is not None
        return quoted_name(self.name)

    def beside(self, suffix: str) -> TableRef:
        """The table next to this one whose name has a suffix."""
        if self.path is not None:
            return TableRef(self.path + suffix, None)
        *above, last = parts(str(self.name))
        return TableRef(None, joined((*above, last + suffix)))

    def __str__(self) -> str:
        return self.path or self.name or ""


def quoted_name(name: str) -> str:
    """A table's name as Spark SQL reads it literally."""
    return ".".join(f"`{part}`" for part in parts(name))


#: What Spark says of a name for which it has no catalog.
_NO_SUCH_PLACE = ("REQUIRES_SINGLE_PART_NAMESPACE", "CATALOG_NOT_FOUND")


def exists(spark: SparkSession, ref: TableRef) -> bool:
    """Whether a Delta table is there."""
    if ref.path is not None and is_local(ref.path):
        return has_local_log(ref.path)
    if ref.name is not None:
        try:
            return bool(spark.catalog.tableExists(ref.sql))
        except AnalysisException as error:
            if condition(error) in _NO_SUCH_PLACE:
                return False
            raise
    try:
        spark.sql(f"DESCRIBE DETAIL {ref.sql}").collect()
    except AnalysisException:
        return False
    return True


def has_local_log(path: str) -> bool:
    """Whether a local folder is a Delta table."""
    return any((Path(path) / "_delta_log").glob("*.json")) or any((Path(path) / "_delta_log").glob("*.parquet"))


def read(spark: SparkSession, ref: TableRef, *, version: int | None = None) -> DataFrame:
    """The table as a frame, at its newest or at one version."""
    reader = spark.read.format("delta")
    if version is not None:
        reader = reader.option("versionAsOf", str(version))
    return reader.load(spark_path(ref.path)) if ref.path is not None else reader.table(ref.sql)


def read_rows(spark: SparkSession, ref: TableRef, version: int) -> pa.Table:
    """The rows of one version, in the order in which they were published."""
    return read(spark, ref, version=version).coalesce(1).toArrow()


def location_of(spark: SparkSession, ref: TableRef) -> str:
    """Where a table's files are or will be, resolved; its name where the catalog does not say."""
    if ref.path is not None:
        return ref.path
    return table_location(spark, ref.sql) or _future_location(spark, str(ref.name)) or str(ref)


def _future_location(spark: SparkSession, name: str) -> str | None:
    """Where a table will be that is not there yet: in its schema's folder, under its own name."""
    *above, last = parts(name)
    try:
        schema = spark.catalog.getDatabase(
            ".".join(f"`{part}`" for part in above) if above else spark.catalog.currentDatabase()
        )
    except AnalysisException:
        return None
    folder = str(schema.locationUri or "")
    return resolve(f"{folder.rstrip('/')}/{last.lower()}") if "/" in folder else None


def table_location(spark: SparkSession, name: str) -> str | None:
    """The resolved location that the catalog gives for a table, or None."""
    try:
        rows = spark.sql(f"DESCRIBE TABLE EXTENDED {name}").collect()
    except AnalysisException:
        return None
    found = [row["data_type"] for row in rows if row["col_name"] == "Location"]
    # The table's own columns come first, and one of them may be called Location.
    return resolve(found[-1]) if found and "/" in str(found[-1]) else None


def read_manifest(spark: SparkSession, ref: TableRef) -> dict[str, Any] | None:
    """The manifest a table carries, or None where it carries none."""
    # SHOW TBLPROPERTIES redacts whatever holds a word such as "token" or "url", and a manifest may.
    try:
        rows = spark.sql(f"DESCRIBE DETAIL {ref.sql}").collect()
    except AnalysisException:  # a view, or a table of another format
        return None
    text = rows[0]["properties"].get(MANIFEST_PROPERTY)
    return None if text is None else manifests.from_json(text, where=str(ref))


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
        if sink.name is not None:
            _check_schema(spark, sink.name)
        if is_folder and not only_leftovers(spark, location, drawn):
            raise SpecError(
                "the sink holds files that are not a release",
                where="sink",
                mend="choose an empty place, or remove them; if a run is publishing there now, run the same command again",
            )
        return None
    found = read_manifest(spark, sink)
    if found is None:
        raise SpecError("the sink is a table that is not a release", where="sink", mend="choose another place")
    if found["dataset"] != dataset:
        raise SpecError(
            f"the release in the sink is of another dataset ({found['dataset']})", where="sink", mend="choose another place"
        )
    return found


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


# The result of a DESCRIBE is on the driver already: whatever is done to it before collect() would be a Spark job.


def newest_version(spark: SparkSession, ref: TableRef) -> int:
    """The newest version of a table; -1 where there is none."""
    return _newest_commit(spark, ref)[0] if exists(spark, ref) else -1


def published_version(spark: SparkSession, sink: TableRef, release_id: str) -> int | None:
    """The version of the table in which a release was committed, or None."""
    version, committed = _newest_commit(spark, sink)
    if committed == release_id:
        return version
    history = spark.sql(f"DESCRIBE HISTORY {sink.sql}").collect()
    versions = [int(row["version"]) for row in history if row["userMetadata"] == release_id]
    return max(versions) if versions else None


def operations(spark: SparkSession, ref: TableRef) -> list[tuple[int, str]]:
    """What was done to a table: (version, operation), oldest first."""
    rows = spark.sql(f"DESCRIBE HISTORY {ref.sql}").collect()
    return sorted((int(row["version"]), str(row["operation"])) for row in rows)


def _newest_commit(spark: SparkSession, ref: TableRef) -> tuple[int, str | None]:
    """The version and the userMetadata of a table's newest commit."""
    if ref.path is not None and is_local(ref.path):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # Spark says what is wrong with a log
            return _newest_local_commit(Path(ref.path) / "_delta_log")
    row = spark.sql(f"DESCRIBE HISTORY {ref.sql} LIMIT 1").collect()[0]
    return int(row["version"]), row["userMetadata"]


def _newest_local_commit(log: Path) -> tuple[int, str | None]:
    newest = max(file for file in log.iterdir() if re.fullmatch(r"\d{20}\.json", file.name))
    actions = [json.loads(line) for line in newest.read_text(encoding="utf-8").splitlines()]
    [committed] = [action["commitInfo"] for action in actions if "commitInfo" in action]
    return int(newest.stem), committed.get("userMetadata")


def require_manifest(spark: SparkSession, ref: TableRef) -> dict[str, Any]:
    """The manifest of a published table.

    Raises:
        SourceError: If there is no table, or one without a manifest.
    """
    mend = "give the path or name of a published release"
    if not exists(spark, ref):
        raise SourceError("there is no Delta table", where=str(ref), mend=mend)
    found = read_manifest(spark, ref)
    if found is None:
        raise SourceError("this table carries no dp-spark manifest", where=str(ref), mend=mend)
    return found
