"""The digest of a release file: what makes two files one and the same release, and what a stored digest can be compared with.

A digest carries the mark of its format. Two digests are compared only where their marks are the same: an earlier format forgot
things that have a meaning, so equal digests of it do not mean equal files.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from dp_spark.privacy.decimals import decimal_text

#: The mark of the format that ``file_digest`` makes. A change of one existing digest is a new format, with a mark of its own.
MARK = "sha256-2"
#: Mark -> the versions of dp-spark that make such digests; none is ever removed from here.
_VERSIONS = {"sha256": "a version of dp-spark from before 0.1.0 (commit da138aa)", MARK: "dp-spark 0.1.0"}
_EARLIER = re.compile(r"sha256:[0-9a-f]{64}")
# The order of these mappings has a meaning: steps and definitions can build on each other, and a file without a header or a
# composite key is read by position.
_ORDERED = ("derive", "schema", "cast", "fill", "privacy_unit")
#: Options of a csv or json source that say how its text is parsed, in lower case; types in ``schema`` do so, too.
PARSING = frozenset({
    "mode", "sep", "delimiter", "quote", "escape", "encoding", "charset", "nullvalue", "dateformat", "timestampformat",
    "timestampntzformat",
})  # fmt: skip
_PARSED = ("csv", "json")


def file_digest(document: Mapping[str, Any], public_keys: str) -> str:
    """The digest of a release file.

    Args:
        document: The file as plain data, without what equals its default.
        public_keys: The digest of public keys that are in a table, or nothing.
    """
    text = json.dumps(
        {**_canonical(document), "_public_keys": public_keys}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    return f"{MARK}:{hashlib.sha256(text.encode()).hexdigest()}"


def unparsed_digest(document: Mapping[str, Any], public_keys: str) -> str | None:
    """The digest of a release file without what says how its csv or json source is parsed; None for other sources."""
    source = dict(document["source"])
    if source.get("format") not in _PARSED:
        return None
    options = {key: value for key, value in source.pop("options", {}).items() if key.lower() not in PARSING}
    names = list(source.pop("schema", None) or {})
    # Another prefix than that of a whole file: the two are never taken for each other.
    return file_digest({"unparsed": {**document, "source": {**source, "options": options, "columns": names}}}, public_keys)


def is_current(digest: str | None) -> bool:
    """Whether a stored digest has the format that this version makes, so that it can be compared with one that is made now.

    >>> is_current("sha256-2:0f"), is_current("sha256:0f"), is_current(None)
    (True, False, False)
    """
    return mark_of(digest) == MARK


def says_same_file(one: str, other: str) -> bool:
    """Whether two stored digests say that their files are the same: those of earlier formats leave out what has a meaning.

    >>> old, new = "sha256:" + 64 * "0", "sha256-2:" + 64 * "0"
    >>> says_same_file(new, new), says_same_file(old, old), says_same_file(old, new)
    (True, False, False)
    """
    return one == other and not _EARLIER.fullmatch(one)


def mark_of(digest: str | None) -> str:
    """The mark of a digest's format.

    >>> mark_of("sha256:0f"), mark_of("sha256-12:0f"), mark_of(None)
    ('sha256', 'sha256-12', '')
    """
    return (digest or "").partition(":")[0]


def version_for(digest: str | None) -> str:
    """The version of dp-spark that makes digests of this format, in words.

    >>> version_for("sha256-3:0f")
    'a later version of dp-spark (its file digests begin with sha256-3:)'
    """
    mark = mark_of(digest)
    return _VERSIONS.get(mark, f"a later version of dp-spark (its file digests begin with {mark}:)")


def _canonical(value: Any, *, ordered: bool = False) -> Any:
    """Plain JSON data: equal values are equal text, a number is not a text, and order is kept where it has a meaning."""
    if isinstance(value, Mapping):
        pairs = [(str(key), _canonical(item, ordered=key in _ORDERED)) for key, item in value.items()]
        return [list(pair) for pair in pairs] if ordered else dict(pairs)
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, Decimal):
        return {"decimal": decimal_text(value)}
    return value.isoformat() if isinstance(value, date) else value
