"""What the ledger knows a source by, so that one source has one budget however it is written."""

from __future__ import annotations

import functools
import os
import posixpath
import re
from collections.abc import Iterable
from urllib.parse import unquote

from pyspark.sql import DataFrame, SparkSession

from dp_spark.errors import SourceError
from dp_spark.places.identities import joined_identities
from dp_spark.places.jdbc_addresses import jdbc_identities
from dp_spark.places.paths import fixed_part, is_local, resolve
from dp_spark.places.stores import canonical
from dp_spark.spark.errors import SPARK_ERRORS, condition
from dp_spark.spec.release_spec import Source
from dp_spark.spec.table_names import joined, parts
from dp_spark.tables.delta import table_location
from dp_spark.tables.refs import has_local_log, quoted_name

# Delta reads path@v3 and path@<time> as versions of path.
_VERSION = re.compile(r"@(v[0-9]+|[0-9]{17})$", re.IGNORECASE)


def source_identity(spark: SparkSession, source: Source, frame: DataFrame | None = None, *, where: str = "source") -> str:
    """All identities of a source as one text (``identities.joined_identities``).

    The first is its own place: a resolved path, a table's location or full name. Then come the folders outside of it that
    hold files to be read, whatever link, partition or clone leads there. A source behind JDBC is known by digests.

    Args:
        spark: The session.
        source: The source.
        frame: The source as it will be read; without it, only what its name tells.
        where: Its key in the release file, for errors.

    Raises:
        SourceError: If its files cannot be listed, or have no folder of their own.

    Guarantees: neither the number of files nor a partition's value is in it, and no option's value either.
    """
    if source.format == "jdbc":
        options = {key.lower(): value for key, value in source.options.items()}
        return joined_identities(jdbc_identities(options["url"], options["dbtable"]))
    own = _own_place(spark, source)
    if frame is None:
        return joined_identities([own])
    try:
        files = frame.inputFiles()
    except SPARK_ERRORS as error:
        raise SourceError(
            f"its files cannot be listed ({condition(error)})", where=where, mend="check your grants, or read it by its path"
        ) from None
    return joined_identities([own, *folders_outside(own, files, where=where)])


def source_location(spark: SparkSession, source: Source) -> str | None:
    """The resolved folder a source reads, or None where it has none that we know."""
    own = None if source.format == "jdbc" else _own_place(spark, source)
    return None if own is None or own.startswith("table:") else own


def _own_place(spark: SparkSession, source: Source) -> str:
    if source.table is not None:
        return table_location(spark, quoted_name(source.table)) or f"table:{_full_name(spark, source.table)}"
    path = resolve(str(source.path))
    return canonical(_VERSION.sub("", path) if source.format == "delta" else fixed_part(path))


def _full_name(spark: SparkSession, name: str) -> str:
    try:
        found = spark.catalog.getTable(quoted_name(name))
    except SPARK_ERRORS:
        return joined(parts(name)).lower()
    return joined((*([found.catalog] if found.catalog else []), *(found.namespace or []), found.name)).lower()


def folders_outside(own: str, files: Iterable[str], *, where: str) -> list[str]:
    """The folders of files that are not in a source's own place, sorted.

    Folders of partitions (``patient=17``) and what is below them are left out of a name: they are private values. So are
    the folders inside a Delta table.

    Args:
        own: The source's own place; "" where all folders are asked for.
        files: The files, as Spark names them.
        where: The source's key, for errors.

    Raises:
        SourceError: If a file lies in no folder but those of partitions.
    """
    inside = canonical(own).rstrip("/") + "/" if own else "nowhere"
    found: set[str] = set()
    # A source can be one file; then that is its place, and what lies beside it is another's.
    others = [file for file in files if not any(canonical(resolve(spelled)) == canonical(own) for spelled in _spellings(file))]
    for spellings in _real_folders(others):
        if not any(f"{canonical(folder)}/".startswith(inside) for folder in spellings):
            found |= {canonical(_table_of(folder, where)) for folder in spellings}
    # One that is inside another is known by that one.
    outermost: list[str] = []
    for folder in sorted(found, key=lambda folder: f"{folder}/"):
        if not outermost or not f"{folder}/".startswith(f"{outermost[-1]}/"):
            outermost.append(folder)
    return outermost


def real_files(files: Iterable[str]) -> list[str]:
    """Files as paths, where a reader of files named them."""
    return [_spellings(file)[0] for file in files]


def has_link_to_another(files: Iterable[str]) -> bool:
    """Whether two of these files, as a reader named them, are one, since a link leads there."""
    paths = [resolve(file) if is_local(file) else file for file in real_files(files)]
    return len(set(paths)) < len(paths)


def _real_folders(files: Iterable[str]) -> set[tuple[str, ...]]:
    """The folders of files with all links followed; each as it may be spelled."""
    real = functools.cache(resolve)
    found = set()
    for file in files:
        spellings = _spellings(file)
        if is_local(file) and any(map(os.path.islink, spellings)):
            found.add(tuple(posixpath.dirname(resolve(spelled)) for spelled in spellings))
        else:
            found.add(tuple(real(posixpath.dirname(spelled)) for spelled in spellings))
    return found


def _spellings(file: str) -> tuple[str, ...]:
    """A file's path; Spark's readers of files write it as a URL does (``%20``), Delta does not."""
    both = dict.fromkeys((unquote(file), file))
    if not is_local(file):
        return tuple(both)
    plain = dict.fromkeys(re.sub(r"^file:/*", "/", spelled) for spelled in both)
    return tuple(spelled for spelled in plain if os.path.lexists(spelled)) or tuple(plain)


def _table_of(folder: str, where: str) -> str:
    scheme = re.match(r"^[a-z][a-z0-9+.-]*://[^/]*|", folder)
    start = scheme.end() if scheme else 0
    partition = re.search(r"/[^/]*=", folder[start:])
    table = folder[: start + partition.start()] if partition else folder
    above = table
    while is_local(table) and above != posixpath.dirname(above):
        if has_local_log(above):
            return above
        above = posixpath.dirname(above)
    if not table[start:].strip("/"):
        raise SourceError(
            "a partition's files lie at the root of a store, which is no place of their own",
            where=where,
            mend="move them into a folder of their own, and set the partition's location to it",
        )
    return table
