"""Spark SQL as sqlglot reads it: the tokens of a text and its tree. What sqlglot writes is never run."""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
from collections.abc import Iterator
from typing import ClassVar

import sqlglot
from sqlglot import exp
from sqlglot.dialects.spark import Spark
from sqlglot.errors import SqlglotError
from sqlglot.parsers.spark import SparkParser
from sqlglot.tokenizer_core import Token, TokenType

from dp_spark.errors import SpecError
from dp_spark.spec.spark_types import type_kind

STRINGS = (TokenType.STRING, TokenType.RAW_STRING, TokenType.NATIONAL_STRING)
# Spark calls these without parentheses.
BARE_CALLS = frozenset(
    (
        "current_catalog", "current_database", "current_date", "current_role", "current_schema", "current_time",
        "current_timestamp", "current_timezone", "current_user", "localtime", "localtimestamp", "session_user", "user",
    )
)  # fmt: skip
NO_COLUMNS = BARE_CALLS | {"if"}
_WORDS = "check operators and brackets; write a column that is named like a word of SQL in backticks"
# sqlglot raises plain Python errors, too, for calls with arguments it did not foresee.
PARSE_ERRORS = (SqlglotError, ValueError, TypeError, IndexError, KeyError, AttributeError, RecursionError)


@contextlib.contextmanager
def quiet_parser() -> Iterator[None]:
    """sqlglot warns on stderr about what it cannot read, and quotes it; we say so ourselves."""
    logger = logging.getLogger("sqlglot")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def refused(problem: str, where: str) -> SpecError:
    """The error for what an expression may not hold."""
    return SpecError(problem, where=where, mend="docs/release-file.md lists what is")


def tokens_of(text: str, where: str) -> list[Token]:
    """The tokens of an expression.

    Raises:
        SpecError: If it cannot be read.
    """
    try:
        return list(sqlglot.tokenize(text, read="spark"))
    except PARSE_ERRORS:
        raise SpecError("is not a Spark SQL expression", where=where, mend="check quotes and brackets") from None


def tree_of(text: str, where: str) -> exp.Expr:
    """sqlglot's tree of an expression that ``check_expression`` has let through."""
    with quiet_parser():
        return parse(text, where)


def is_plain_name(name: str) -> bool:
    """Whether a name needs no backticks in an expression, wherever it stands: it is no word of SQL.

    >>> [is_plain_name(name) for name in ("customer", "user", "values", "a b")]
    [True, False, False, False]
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or name.lower() in NO_COLUMNS:
        return False
    return [token.token_type for token in sqlglot.tokenize(name, read="spark")] == [TokenType.VAR]


class _Parser(SparkParser):
    # Else array[0] would be a list of one number, and the column be lost.
    ARRAY_CONSTRUCTORS: ClassVar[dict[str, type[exp.Func]]] = {}


class _Dialect(Spark):
    Parser = _Parser


def parse(text: str, where: str) -> exp.Expr:
    """The tree of an expression; hold ``quiet_parser`` meanwhile.

    Raises:
        SpecError: If it cannot be read.
    """
    try:
        # As a statement, a column named show or set would begin a command.
        return sqlglot.parse_one(text, read=_Dialect, into=exp.Condition)
    except PARSE_ERRORS:
        unknown = _unknown_type(text)
        if unknown is not None:
            raise refused(f"the type {unknown} is not allowed", where) from None
        raise SpecError("is not a Spark SQL expression", where=where, mend=_WORDS) from None


def _unknown_type(text: str) -> str | None:
    """The first word behind ``as`` or ``::`` that begins no type, where the parser stops at it."""
    for sign, word in itertools.pairwise(sqlglot.tokenize(text, read="spark")):
        begins = sign.token_type == TokenType.DCOLON or sign.text.lower() == "as"
        if begins and re.fullmatch(r"\w+", word.text) and type_kind(word.text) is None:
            return word.text
    return None
