"""Identities of sources: how they are stored as one text, and when two sources can be the same."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable

from dp_spark.places.jdbc_addresses import same_table
from dp_spark.places.stores import canonical, overlap


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
