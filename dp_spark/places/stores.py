"""Stores: one name for each, whether a path is inside another, and whether a store keeps two writers apart."""

from __future__ import annotations

import functools
import re

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


def overlap(one: str, other: str) -> bool:
    """Whether two resolved paths are equal or one is inside the other.

    >>> overlap("/data/a", "/data/a/b"), overlap("/data/a", "/data/ab")
    (True, False)
    """
    one, other = canonical(one).rstrip("/") + "/", canonical(other).rstrip("/") + "/"
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
