"""Paths as identities: absolute, normalised, and comparable as inside or above one another."""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path

from dp_spark.errors import SpecError

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*):(?=/)")
#: Schemes that name one store.
_ALIASES = {"s3": "s3a", "s3n": "s3a", "abfs": "abfss", "wasb": "wasbs"}
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

    A path without a scheme is on this machine, whatever Spark's default file system is; on Databricks an absolute one is
    in DBFS, as everywhere there.

    Raises:
        SpecError: If it leaves the host to the cluster's settings: the same folder would have two names.

    >>> resolve("file:///data//a/../b/"), resolve("s3a://bucket/a/../b/")
    ('/data/b', 's3a://bucket/b')
    """
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


def spark_path(path: str) -> str:
    """A resolved path as Spark must be told it: with its scheme, so that Spark's default file system does not matter.

    >>> spark_path("/data/b"), spark_path("s3a://bucket/b")
    ('file:/data/b', 's3a://bucket/b')
    """
    return f"file:{path}" if is_local(path) else path


def canonical(path: str) -> str:
    """A resolved path with one name for each store: schemes that mean the same, hosts in small letters.

    >>> canonical("s3n://Bucket/x"), canonical("hdfs://NN:8020/x")
    ('s3a://Bucket/x', 'hdfs://nn:8020/x')
    """
    match = _SCHEME.match(path)
    if match is None:
        return path
    scheme, (authority, slash, tail) = match.group(1), path[match.end() :].removeprefix("//").partition("/")
    scheme = _ALIASES.get(scheme, scheme)
    return f"{scheme}://{authority if scheme == 's3a' else authority.lower()}{slash}{tail}"


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
    one, other = canonical(one).rstrip("/") + "/", canonical(other).rstrip("/") + "/"
    return one.startswith(other) or other.startswith(one)


def same_source(one: str, other: str) -> bool:
    """Whether two source identities are the same, or one folder is inside the other.

    A JDBC table named with fewer parts is the same as any that ends like it.
    """
    if one.startswith("jdbc:") and other.startswith("jdbc:"):
        (_, address, name), (_, other_address, other_name) = one.split(":"), other.split(":")
        return address == other_address and all(a == b for a, b in zip(name.split("."), other_name.split("."), strict=False))
    return overlap(one, other) if "/" in one and "/" in other else one == other


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
