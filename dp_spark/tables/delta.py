"""Our own Delta tables, read: whether and where they are, their rows and versions, and the manifest that one carries."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession

from dp_spark import manifest as manifests
from dp_spark.errors import SourceError
from dp_spark.manifest import MANIFEST_PROPERTY
from dp_spark.places.paths import is_local, resolve, spark_path
from dp_spark.spark.errors import condition
from dp_spark.spec.table_names import parts
from dp_spark.tables.refs import TableRef, has_local_log

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
