"""Paths as they are written: absolute, normalised, and as Spark must be told them."""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path

from dp_spark.errors import SpecError

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*):(?=/)")
_GLOB = re.compile(r"[*?\[{]")
#: What a reader of files takes for a pattern, unless it comes after a backslash.
_READ_AS_PATTERN = re.compile(r"[*?\[\]{}\\]")


def is_local(path: str) -> bool:
    """Whether a path is on this machine's file system.

    >>> is_local("data/x"), is_local("file:///data/x"), is_local("s3a://bucket/x")
    (True, True, False)
    """
    match = _SCHEME.match(path)
    return match is None or match.group(1).lower() == "file"


def resolve(path: str) -> str:
    """The one absolute name of a path; local ones follow symbolic links and have no scheme.

    A path without a scheme is on this machine, whatever Spark's default file system is; on Databricks an absolute one is
    in DBFS, as everywhere there. ``~`` is the home folder, as in a shell.

    Raises:
        SpecError: If it leaves the host to the cluster's settings (the same folder would have two names), or begins with
            the ``~`` of a user that there is not.

    >>> resolve("file:///data//a/../b/"), resolve("s3a://bucket/a/../b/")
    ('/data/b', 's3a://bucket/b')
    """
    path = at_home(path)
    if "DATABRICKS_RUNTIME_VERSION" in os.environ and re.match(r"^/(?!/)", path):
        path = "dbfs:/" + re.sub(r"^/(dbfs/)?", "", path)
    if is_local(path):
        return os.path.realpath(re.sub(r"^/+", "/", _SCHEME.sub("", path)))
    scheme, rest = path.split(":", 1)
    authority, tail = "", rest
    if rest.startswith("//"):
        authority, _, tail = rest[2:].partition("/")
    if not authority and scheme.lower() in ("hdfs", "viewfs"):
        raise SpecError(f"{scheme}: without a host", where=path, mend=f"name it: {scheme.lower()}://host/...")
    folder = posixpath.normpath("/" + tail.lstrip("/")).rstrip("/")
    return f"{scheme.lower()}://{authority}{folder}"


def at_home(path: str) -> str:
    """A path with ``~`` replaced by the home folder, as a shell does.

    Raises:
        SpecError: If it begins with the ``~`` of a user that there is not.
    """
    try:
        return str(Path(path).expanduser()) if path.startswith("~") else path
    except RuntimeError:
        raise SpecError("there is no such home folder", where=path, mend=f"write ./{path} for a folder of this name") from None


def spark_path(path: str) -> str:
    """A resolved path as Spark must be told it: with its scheme, so that Spark's default file system does not matter.

    >>> spark_path("/data/b"), spark_path("s3a://bucket/b")
    ('file:/data/b', 's3a://bucket/b')
    """
    return f"file:{path}" if is_local(path) else path


def fixed_part(path: str) -> str:
    """The folder above the first wildcard of a resolved path; the path itself where it has none.

    >>> fixed_part("/data/events/year=*/x"), fixed_part("/data/events")
    ('/data/events', '/data/events')
    """
    match = _GLOB.search(path, len(_literal_part(path)))
    return path if match is None else posixpath.dirname(path[: match.start()])


def _literal_part(path: str) -> str:
    """The longest beginning of a local path that is there: its folders are meant as they are written."""
    while path and is_local(path) and not os.path.lexists(path):
        path = posixpath.dirname(path)
    return path if is_local(path) else ""


def pattern_of(path: str, *, where: str) -> str:
    """A resolved path as a reader of files must be told it, so that the reader and we mean the same folder.

    Local folders that are there are meant as they are written, whatever signs they hold. Elsewhere ``*``, ``?`` and
    ``[ab]`` are wildcards.

    Raises:
        SpecError: If it holds what a reader would interpret and we do not.
    """
    literal = _literal_part(path)
    if re.search(r"[{}\\]", path[len(literal) :]):
        raise SpecError(
            "a path may hold {, } or a backslash only where a local folder has exactly this name",
            where=where,
            mend="name one folder, or its parent with a filter; in a store, name it by a table of a catalog",
        )
    return _READ_AS_PATTERN.sub(lambda found: "\\" + found.group(), literal) + path[len(literal) :]
