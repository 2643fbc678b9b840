"""Paths as identities: absolute, normalised, and comparable as inside or above one another."""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*):(?=/)")
_GLOB = re.compile(r"[*?\[{]")


def is_local(path: str) -> bool:
    """Whether a path is on this machine's file system.

    >>> is_local("data/x"), is_local("file:///data/x"), is_local("s3a://bucket/x")
    (True, True, False)
    """
    match = _SCHEME.match(path)
    return match is None or match.group(1).lower() == "file"


def resolve(path: str) -> str:
    """The one absolute name of a path; local ones follow symbolic links and have no scheme.

    >>> resolve("file:///data//a/../b/"), resolve("s3a://bucket/a/../b/")
    ('/data/b', 's3a://bucket/b')
    """
    if is_local(path):
        return os.path.realpath(re.sub(r"^/+", "/", _SCHEME.sub("", path)))
    scheme, rest = path.split(":", 1)
    authority, tail = "", rest
    if rest.startswith("//"):
        authority, _, tail = rest[2:].partition("/")
    folder = posixpath.normpath("/" + tail.lstrip("/")).rstrip("/")
    return f"{scheme.lower()}://{authority}{folder}"


def fixed_part(path: str) -> str:
    """The folder above the first wildcard of a path; the path itself where it has none.

    >>> fixed_part("/data/events/year=*/x"), fixed_part("/data/events")
    ('/data/events', '/data/events')
    """
    match = _GLOB.search(path)
    return path if match is None else posixpath.dirname(path[: match.start()])


def overlap(one: str, other: str) -> bool:
    """Whether two resolved paths are equal or one is inside the other.

    >>> overlap("/data/a", "/data/a/b"), overlap("/data/a", "/data/ab")
    (True, False)
    """
    one, other = one.rstrip("/") + "/", other.rstrip("/") + "/"
    return one.startswith(other) or other.startswith(one)


def unsafe_store(path: str) -> str:
    """Why two writers can both win on this store, or nothing.

    >>> unsafe_store("abfss://c@a.dfs.core.windows.net/ledger"), unsafe_store("s3a://bucket/ledger")[:25]
    ('', 'plain S3 lets two writers')
    """
    match = _SCHEME.match(path)
    if match is None or match.group(1).lower() not in ("s3", "s3a", "s3n"):
        return ""
    return (
        "plain S3 lets two writers both commit, and a budget be spent twice: set spark.delta.logStore.s3a.impl to Delta's "
        "S3DynamoDBLogStore for every writer, or let one run at a time write here (docs/ledger.md)"
    )


def conf_file(name: str) -> Path:
    """A file of ``conf/``: beside the package in a checkout, inside it when installed from a wheel."""
    inside = Path(__file__).parent / "conf" / name
    return inside if inside.exists() else Path(__file__).parent.parent / "conf" / name
