"""What the ledger knows a source by, so that one source has one budget however it is written."""

from __future__ import annotations

import glob
import hashlib
import re

from pyspark.sql import SparkSession

from dp_spark.errors import SpecError
from dp_spark.paths import canonical, fixed_part, is_local, overlap, resolve
from dp_spark.spark_errors import SPARK_ERRORS
from dp_spark.spec import Source
from dp_spark.tables import quoted_name, table_location

# Delta reads path@v3 and path@<time> as versions of path.
_VERSION = re.compile(r"@(v[0-9]+|[0-9]{17})$", re.IGNORECASE)
_PORTS = {"postgresql": "5432", "mysql": "3306", "mariadb": "3306", "sqlserver": "1433", "oracle": "1521", "db2": "50000"}


def source_identity(spark: SparkSession, source: Source) -> str:
    """A resolved path, a table's location or full name, or digests for JDBC.

    Option values reach neither ledger nor errors, so a JDBC source is known by digests of its address and of each part
    of its table's name.

    Raises:
        SpecError: If a wildcard leads out of its folder.
    """
    if source.table is not None:
        return table_location(spark, quoted_name(source.table)) or f"table:{_full_name(spark, source.table)}"
    if source.path is not None:
        return _path_identity(source)
    options = {key.lower(): value for key, value in source.options.items()}
    parts = [_digest(part) for part in reversed(options["dbtable"].lower().split("."))]
    return f"jdbc:{_digest(_address(options['url']))}:{'.'.join(parts)}"


def source_location(spark: SparkSession, source: Source) -> str | None:
    """The resolved folder a source reads, or None where it has none that we know."""
    identity = source_identity(spark, source)
    return None if identity.startswith(("jdbc:", "table:")) else identity


def _path_identity(source: Source) -> str:
    path = resolve(str(source.path))
    if source.format == "delta":
        path = _VERSION.sub("", path)
    folder = canonical(fixed_part(path))
    if is_local(path) and folder != path:
        outside = [found for found in glob.iglob(path) if not overlap(folder, resolve(found))]
        if outside:
            raise SpecError("a wildcard matches a link to another folder", where="source.path", mend="name the real folder")
    return folder


def _full_name(spark: SparkSession, name: str) -> str:
    try:
        found = spark.catalog.getTable(quoted_name(name))
    except SPARK_ERRORS:
        return name.lower()
    return ".".join([*([found.catalog] if found.catalog else []), *(found.namespace or []), found.name]).lower()


def _address(url: str) -> str:
    """A JDBC address without what does not say where it leads: letters' case, default port, end, settings."""
    text = url.lower()
    database = re.search(r";\s*database(?:name)?\s*=\s*([^;]*)", text)
    text = re.sub(r"[?;].*$", "", text).rstrip("/")
    product = text.removeprefix("jdbc:").partition(":")[0]
    if product in _PORTS:
        text = re.sub(rf":{_PORTS[product]}(?=/|:|$)", "", text)
    return text + (f"/{database.group(1).strip()}" if database else "")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
