"""Texts that have no bytes: Python can hold half of a surrogate pair, which no file, hash or table can."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from dp_spark.errors import SpecError

#: Deeper than any part of a release file; data can hold itself.
_MAX_DEPTH = 40


def is_encodable(text: str) -> bool:
    r"""Whether a text has bytes.

    >>> is_encodable("\U0001f600"), is_encodable("\ud83d")
    (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def half_characters(data: Any, path: tuple[str, ...] = ()) -> Iterator[SpecError]:
    """What is wrong with the texts in plain data, keys included; one problem for each.

    Args:
        data: What a file or a program gave, unjudged.
        path: The keys that lead there.
    """
    if isinstance(data, str):
        if not is_encodable(data):
            yield _half("a text", path)
    elif len(path) > _MAX_DEPTH:
        return
    elif isinstance(data, Mapping):
        for key, value in data.items():
            if isinstance(key, str) and not is_encodable(key):
                yield _half("a key", path)  # and what it leads to cannot be named
            else:
                yield from half_characters(value, (*path, str(key)))
    elif isinstance(data, Collection):
        for index, value in enumerate(data):
            yield from half_characters(value, (*path, str(index)))


def _half(what: str, path: tuple[str, ...]) -> SpecError:
    return SpecError(
        f"{what} holds half of a surrogate pair, which is no character",
        where=".".join(path),
        mend="write the whole character, or remove it",
    )
