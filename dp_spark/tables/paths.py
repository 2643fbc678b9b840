"""Paths as identities: absolute, normalised, and comparable as inside or above one another."""

from __future__ import annotations

import functools
import json
import os
import posixpath
import re
from collections.abc import Iterable
from pathlib import Path

from dp_spark.errors import SpecError
from dp_spark.tables.jdbc_addresses import same_table

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*):(?=/)")
#: Schemes that name one store.
_ALIASES = {
    "s3": "s3a",
    "s3n": "s3a",
    "abfs": "abfss",
    "wasb": "abfss",
    "wasbs": "abfss",
    "webhdfs": "hdfs",
    "swebhdfs": "hdfs",
}
#: Folders of a Databricks machine that are a store's, under both names.
_MOUNTED = re.compile(r"^/(?:dbfs/)?(?=Volumes(?:/|$))|^/dbfs(?:/|$)")
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


@functools.lru_cache(maxsize=65536)  # each folder of a ledger is compared with each of a source
def canonical(path: str) -> str:
    """A resolved path with one name for each store, for comparison.

    Schemes that mean the same are one, and so are the two services of an Azure account and the mount points of Databricks;
    hosts are in small letters, without user and default port.

    >>> canonical("s3n://Bucket/x"), canonical("hdfs://NN:8020/x"), canonical("/dbfs/x")
    ('s3a://Bucket/x', 'hdfs://nn/x', 'dbfs:///x')
    >>> canonical("wasbs://c@a.blob.core.windows.net/x") == canonical("abfs://c@a.dfs.core.windows.net/x")
    True
    """
    match = _SCHEME.match(path)
    if match is None:
        return _MOUNTED.sub("dbfs:///", path) if path.startswith(("/dbfs", "/Volumes")) else path
    scheme, (authority, slash, tail) = match.group(1), path[match.end() :].removeprefix("//").partition("/")
    scheme = _ALIASES.get(scheme, scheme)
    return f"{scheme}://{_canonical_authority(scheme, authority)}{slash}{tail}"


def _canonical_authority(scheme: str, authority: str) -> str:
    if scheme == "abfss":
        container, at, host = re.sub(r":\d+$", "", authority.lower()).rstrip(".").rpartition("@")
        account, dot, rest = host.partition(".")
        rest = re.sub(r"^(privatelink\.)?(blob|dfs)\.", "dfs.", rest)
        return f"{container}{at}{account.removesuffix('-secondary')}{dot}{rest}"
    host = authority.rpartition("@")[2]
    if scheme == "s3a":
        return host
    host, colon, port = re.fullmatch(r"(.*?)(?:(:)(\d*))?", host.lower()).groups("")  # type: ignore[union-attr]
    host = host.rstrip(".")  # as every resolver reads it
    return host if scheme == "hdfs" else f"{host}{colon}{port}"  # a name node has one port for each protocol


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


def overlap(one: str, other: str) -> bool:
    """Whether two resolved paths are equal or one is inside the other.

    >>> overlap("/data/a", "/data/a/b"), overlap("/data/a", "/data/ab")
    (True, False)
    """
    one, other = canonical(one).rstrip("/") + "/", canonical(other).rstrip("/") + "/"
    return one.startswith(other) or other.startswith(one)


def joined_identities(identities: Iterable[str]) -> str:
    """The identities of one source as one text; a single one is itself, as earlier versions wrote it.

    >>> joined_identities(["/data/a"]), joined_identities(["/data/a", "/data/b"])
    ('/data/a', '["/data/a", "/data/b"]')
    """
    several = list(identities)
    return several[0] if len(several) == 1 else json.dumps(several, ensure_ascii=False)


@functools.lru_cache(maxsize=4096)
def split_identities(text: str) -> tuple[str, ...]:
    """The identities of one source; no single one begins with a bracket.

    Raises:
        ValueError: If it is neither one identity nor a list of them.

    >>> split_identities("/data/a"), split_identities('["/data/a", "jdbc:1:2"]')
    (('/data/a',), ('/data/a', 'jdbc:1:2'))
    """
    if not text.startswith("["):
        return (text,)
    several = json.loads(text)
    if not several or not all(isinstance(item, str) for item in several):
        raise ValueError("no list of identities")
    return tuple(several)


def is_folder(identity: str) -> bool:
    """Whether an identity is a folder.

    >>> [is_folder(text) for text in ("/data/a", "s3a://b/a", "table:a.b", "jdbc:1:2", "db:1:2:3")]
    [True, True, False, False, False]
    """
    return "/" in identity and not identity.startswith("table:")


def same_source(one: str, other: str) -> bool:
    """Whether two sources can be the same: an identity of one is one of the other, or one folder is inside the other.

    Args:
        one: An identity, or several (``joined_identities``).
        other: The same of the other source.
    """
    return any(_same(a, b) for a in split_identities(one) for b in split_identities(other))


def _same(one: str, other: str) -> bool:
    if one.startswith(("jdbc:", "db:")) and other.startswith(("jdbc:", "db:")):
        return same_table(one, other)
    return overlap(one, other) if is_folder(one) and is_folder(other) else one == other


def covers_source(charged: str, now: str) -> bool:
    """Whether a source is the one that was charged: its own place is the same, and no folder or server of it is another.

    >>> covers_source('["/data/a", "/data/b"]', "/data/a"), covers_source("/data/a", '["/data/a", "/data/b"]')
    (True, False)
    """
    paid, present = split_identities(charged), split_identities(now)
    own = canonical(paid[0]) == canonical(present[0]) if is_folder(present[0]) else same_source(charged, present[0])
    # The first identity of a database's table leaves out the settings of its URL, and they can name another server.
    tables = {item for item in paid if item.startswith("db:")}
    if tables and not {item for item in present if item.startswith("db:")} <= tables:
        return False
    folders = [canonical(item).rstrip("/") + "/" for item in paid if is_folder(item)]
    return own and all((canonical(item).rstrip("/") + "/").startswith(tuple(folders)) for item in present if is_folder(item))


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
