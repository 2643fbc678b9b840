"""Parameters of a release file, bound into an expression as literals of Spark SQL."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

from sqlglot.tokenizer_core import Token, TokenType


def with_literals(text: str, tokens: Sequence[Token], parameters: Mapping[str, bool | int | Decimal | str]) -> str:
    """A text with the value of each ``:name`` in its place.

    Args:
        text: An expression, as the author wrote it.
        tokens: Its tokens.
        parameters: The release file's parameters, by name; any other ``:name`` stays.
    """
    result = text
    for colon, name in reversed(list(itertools.pairwise(tokens))):
        if colon.token_type == TokenType.COLON and name.start == colon.end + 1 and name.text in parameters:
            before, after = result[: colon.start], result[name.end + 1 :]
            result = _apart(before, _literal(parameters[name.text]), after)
    return result


def _apart(before: str, literal: str, after: str) -> str:
    """Puts a literal between two texts so that it does not melt into a word before or after it."""
    left = " " if re.search(r"\w$", before) else ""
    right = " " if re.match(r"\w", after) else ""
    return before + left + literal + right + after


def _literal(value: bool | int | Decimal | str) -> str:
    """A Spark SQL literal; parsed with ``spark.sql.parser.escapedStringLiterals`` off, as ``release`` sets it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if value >= 0 else f"({value})"
    if isinstance(value, Decimal):
        text = f"{format(value, 'f')}D" if value == value.to_integral_value() else f"{value:f}D"
        return text if value >= 0 else f"({text})"
    escaped = "".join(_escape(character) for character in value)
    return f"'{escaped}'"


def _escape(character: str) -> str:
    if character.isascii() and (character.isalnum() or character in " _-.,:/+@#"):
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
