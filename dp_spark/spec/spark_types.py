"""The names of Spark's types, judged by a parser of our own, so that a plan needs no Spark to refuse ``integr``."""

from __future__ import annotations

import re

_NAMES = {
    "string": "string", "boolean": "boolean", "binary": "binary", "tinyint": "tinyint", "byte": "tinyint",
    "smallint": "smallint", "short": "smallint", "int": "int", "integer": "int", "bigint": "bigint", "long": "bigint",
    "float": "float", "real": "float", "double": "double", "date": "date", "timestamp": "timestamp",
    "timestamp_ltz": "timestamp", "timestamp_ntz": "timestamp_ntz", "decimal": "decimal", "dec": "decimal",
    "numeric": "decimal",
}  # fmt: skip
INTEGERS = frozenset(("tinyint", "smallint", "int", "bigint"))
NUMBERS = INTEGERS | {"float", "double", "decimal"}
TIMES = frozenset(("date", "timestamp", "timestamp_ntz"))
#: Types whose equality is plain (``columns.require_key``).
KEYS = INTEGERS | TIMES | {"string", "boolean", "decimal"}
NESTED = frozenset(("array", "map", "struct"))

_TOKEN = re.compile(r"\s*(?:(\d+)(?![A-Za-z_])|(\w+)|(`[^`]+`)|([<>(),:]))")
_MOST_DIGITS, _MOST_DEPTH = 38, 50


def type_kind(text: str, *, nested: bool = False) -> str | None:
    """The kind of type that a text names, such as ``int``, ``decimal`` or ``array``; None where nothing can be read as it.

    Args:
        text: The type, as an author writes it.
        nested: Whether arrays, maps and structs are types here.

    >>> type_kind("integer"), type_kind("decimal(10, 2)"), type_kind("integr"), type_kind("decimal(2, 10)")
    ('int', 'decimal', None, None)
    >>> type_kind("array<struct<a: int, b: date>>", nested=True), type_kind("array<int>")
    ('array', None)
    """
    tokens, position = [], 0
    while position < len(text.rstrip()):
        match = _TOKEN.match(text, position)
        if match is None:
            return None
        tokens.append(match.group().strip())
        position = match.end()
    parser = _Parser(tokens, nested)
    try:
        kind = parser.type(0)
    except (_NotATypeError, IndexError):
        return None
    return kind if not parser.left else None


def canonical_type(text: str) -> str | None:
    """A simple type in its one spelling, so that two names of it are equal; None for others.

    >>> canonical_type("INTEGER"), canonical_type("dec( 4 )"), canonical_type("numeric"), canonical_type("array<int>")
    ('int', 'decimal(4,0)', 'decimal(10,0)', None)
    """
    kind = type_kind(text)
    if kind != "decimal":
        return kind
    precision, scale = [*re.findall("[0-9]+", text), *(("0",) if "(" in text else ("10", "0"))][:2]
    return f"decimal({int(precision)},{int(scale)})"


class _NotATypeError(Exception):
    """What was read so far begins no type."""


class _Parser:
    """Reads one type from a list of tokens, from the left."""

    def __init__(self, tokens: list[str], nested: bool) -> None:
        self.left, self._nested = tokens, nested

    def type(self, depth: int) -> str:
        name = self.left.pop(0).lower()
        if name in NESTED and self._nested and depth < _MOST_DEPTH:
            self._inner(name, depth + 1)
            return name
        if name not in _NAMES:
            raise _NotATypeError
        kind = _NAMES[name]
        if kind == "decimal" and self._next("("):
            self._digits()
        return kind

    def _inner(self, name: str, depth: int) -> None:
        self._expect("<")
        if name == "struct":
            self._fields(depth)
        else:
            self.type(depth)
            if name == "map":
                self._expect(",")
                self.type(depth)
        self._expect(">")

    def _fields(self, depth: int) -> None:
        seen: set[str] = set()
        while not seen or self._next(","):
            name = self.left.pop(0).strip("`").lower()
            if name in seen or name in "<>(),:":
                raise _NotATypeError
            seen.add(name)
            self._next(":")
            self.type(depth)

    def _digits(self) -> None:
        precision = int(self._number())
        scale = int(self._number()) if self._next(",") else 0
        self._expect(")")
        if not 1 <= precision <= _MOST_DIGITS or scale > precision:
            raise _NotATypeError

    def _number(self) -> str:
        number = self.left.pop(0)
        if not re.fullmatch(r"[0-9]{1,9}", number):
            raise _NotATypeError
        return number

    def _next(self, sign: str) -> bool:
        found = bool(self.left) and self.left[0] == sign
        if found:
            self.left.pop(0)
        return found

    def _expect(self, sign: str) -> None:
        if not self._next(sign):
            raise _NotATypeError
