"""Which Spark SQL expressions a release file may hold: deterministic, row-wise, and never aborting on a value.

An expression is checked here and then run by Spark exactly as the author wrote it; sqlglot's output is never run. Two
checks must both pass: every call in the author's *text* names an allowed function (``text_rules``), and every node of sqlglot's
*tree* is one that is known to be row-wise (``tree_rules``). What is not known is refused by name.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from dp_spark.errors import SpecError
from dp_spark.spec.parameter_literals import with_literals
from dp_spark.spec.row_functions import (
    ALLOWED_FUNCTIONS,
    CLOCK_WORDS,
    PATTERN_AT,
    RAISING_FUNCTIONS,
    TEXTLESS_FUNCTIONS,
    spark_text,
)
from dp_spark.spec.spark_types import type_kind
from dp_spark.spec.sql_parser import NO_COLUMNS, STRINGS, parse, quiet_parser, refused, tokens_of
from dp_spark.spec.sql_tokens import arguments_of
from dp_spark.spec.sql_words import words_to_quote
from dp_spark.spec.text_rules import text_problems
from dp_spark.spec.tree_rules import is_constant, name_of, textless_classes, tree_problems

_TIME_TYPES = re.compile(r"^(date|time)", re.IGNORECASE)
# What makes a timestamp of a text beside one; of those that add, beside an interval, too.
_BESIDE = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Nullif)
_ADDING = (exp.Add, exp.Sub, exp.SafeAdd, exp.SafeSubtract)
# Operators that Spark looks up by name like a function, and what it writes trim(both ..) and the like as.
_LOOKED_UP = frozenset(("between", "btrim", "ilike", "in", "like", "ltrim", "not", "regexp", "rlike", "rtrim"))
_MOST_TOKENS = 500
#: With the parameters in it: conditions and definitions of units are told in manifests and ledger entries.
_MOST_CHARACTERS = 10_000


@dataclass(frozen=True)
class Expression:
    """A checked expression.

    Attributes:
        sql: The author's own text, with ``:name`` parameters replaced by literals.
        columns: The names of the columns it reads (the first part of a dotted name).
        can_raise: Whether it calls a function of dates and timestamps (or another that raises), or casts to one.
        adds: Whether it adds or subtracts.
        time_literals: The types of its date and timestamp literals.
        names_clock: Whether a text in it is one that Spark casts to the time of day, or is computed from constants alone.
        functions: The names in it that Spark may look up among its functions, in lower case.
        patterns: Its regular expressions, as literals.
        compared: What it compares with one another (also a map and its key), for asking Spark about types alone.
        added: What it adds or subtracts, likewise.
    """

    sql: str
    columns: frozenset[str]
    can_raise: bool = False
    adds: bool = False
    time_literals: frozenset[str] = frozenset()
    names_clock: bool = False
    functions: frozenset[str] = frozenset()
    patterns: tuple[str, ...] = ()
    compared: tuple[tuple[str, ...], ...] = ()
    added: tuple[tuple[str, ...], ...] = ()


def check_type(text: str, *, where: str) -> str:
    """A type that a value can be cast to without an error; returns it as written.

    Raises:
        SpecError: If the type is unknown or not a simple one.
    """
    if type_kind(text) in (None, "binary"):
        raise SpecError(
            "is not a simple Spark SQL type",
            where=where,
            mend="use string, boolean, int, bigint, double, decimal(p,s), date or timestamp",
        )
    return text.strip()


def check_expression(text: str, parameters: Mapping[str, bool | int | Decimal | str], *, where: str) -> Expression:
    """Checks one expression against the allow-list and binds its parameters.

    Args:
        text: Spark SQL, as the author wrote it.
        parameters: The release file's parameters, by name.
        where: The key of the release file, for errors.

    Raises:
        SpecError: Naming the function or construct that is refused.

    >>> check_expression("days >= :since", {"since": 0}, where="preprocess.0.filter").sql
    'days >= 0'
    >>> check_expression("rand() < 0.5", {}, where="preprocess.0.filter")
    Traceback (most recent call last):
        ...
    dp_spark.errors.SpecError: preprocess.0.filter: the function rand is not allowed (mend: docs/release-file.md lists what is)
    """
    with quiet_parser():
        try:
            return _checked(text, parameters, where)
        except SpecError as error:
            words = _words_to_quote(text, parameters, where)
            if not words:
                raise
            quoted = ", ".join(f"`{word}`" for word in words)
            mend = f"if a column of that name is meant, write it in backticks: {quoted}"
            raise SpecError(error.message, where=where, mend=mend) from None


def _words_to_quote(text: str, parameters: Mapping[str, bool | int | Decimal | str], where: str) -> list[str]:
    def passes(quoted: str) -> bool:
        try:
            _checked(quoted, parameters, where)
        except SpecError:
            return False
        return True

    try:
        tokens = tokens_of(text, where)
    except SpecError:
        return []
    return words_to_quote(text, tokens, NO_COLUMNS, passes) if len(tokens) <= _MOST_TOKENS else []


def _check_length(text: str, where: str) -> None:
    if len(text) > _MOST_CHARACTERS:
        raise SpecError(
            f"is too long: more than {_MOST_CHARACTERS:,} characters, its parameters among them",
            where=where,
            mend="shorten its texts, or compare with a column of a public table that a step joins",
        )


def _checked(text: str, parameters: Mapping[str, bool | int | Decimal | str], where: str) -> Expression:
    _check_length(text, where)
    tokens = tokens_of(text, where)
    if not 0 < len(tokens) <= _MOST_TOKENS or "${" in text:
        raise SpecError("is empty, too long, or holds ${", where=where, mend="write one expression; use parameters")
    bound = with_literals(text, tokens, parameters)
    _check_length(bound, where)
    for problem in text_problems(bound, tokens_of(bound, where)):
        raise refused(problem, where)
    tree = parse(text, where)
    for problem in tree_problems(tree, parameters):
        raise refused(problem, where)
    casts = [(node, node.to.sql(dialect="spark").lower()) for node in tree.find_all(exp.Cast)]
    times = [(node, kind) for node, kind in casts if _TIME_TYPES.match(kind)]
    found = Expression(
        bound,
        frozenset(_first_part(column) for column in tree.find_all(exp.Column)),
        can_raise=_calls_raising_function(tokens)
        or not all(isinstance(node.this, exp.Literal) for node, _ in times)
        or tree.find(exp.Interval) is not None,
        adds=tree.find(exp.Add, exp.Sub) is not None,
        time_literals=frozenset(kind for _, kind in times),
        names_clock=_names_clock(bound, tokens_of(bound, where)) or any(_computes_text(node) for node in tree.walk()),
        functions=_names(tokens) & (ALLOWED_FUNCTIONS | _LOOKED_UP),
        patterns=tuple(_patterns(bound, tokens_of(bound, where))),
        compared=tuple(_compared(whole := parse(bound, where))),
        added=tuple(_sql([node.this, node.expression]) for node in whole.find_all(*_ADDING)),
    )
    if found.names_clock and (found.can_raise or found.time_literals):
        raise refused(CLOCK, where)
    if any(is_constant(node.this) and not isinstance(node.this, exp.Literal | exp.Null) for node, _ in times):
        raise refused("a cast to a date or timestamp must be of a column or a plain text", where)
    return found


#: What is said where the clock would come in.
CLOCK = (
    "a text such as now or today, or one that is computed from constants alone, must not stand where a date or timestamp can "
    "be made of it: the clock is not a value of the row"
)


def _names_clock(text: str, tokens: Sequence[Token]) -> bool:
    # The author's own characters: what sqlglot makes of an escape is not what Spark makes of it.
    texts = (text[token.start : token.end + 1].strip("rRnN")[1:-1] for token in tokens if token.token_type in STRINGS)
    return any(CLOCK_WORDS.match(spark_text(found)) for found in texts)


def _computes_text(node: exp.Expr) -> bool:
    """Whether a node is a constant that Spark computes and that may be a text: ``concat('to', 'day')``, ``'no' 'w'``."""
    if not isinstance(node, exp.Func | exp.Concat | exp.DPipe | exp.Case | exp.Cast | exp.Dot | exp.Bracket):
        return False
    if isinstance(node, exp.Connector | exp.Predicate) or type(node) in textless_classes() or not is_constant(node):
        return False
    if isinstance(node, exp.Cast):
        return node.to.is_type(*exp.DataType.TEXT_TYPES)
    return not (isinstance(node, exp.Anonymous) and name_of(node) in TEXTLESS_FUNCTIONS)


def _names(tokens: Sequence[Token]) -> frozenset[str]:
    return frozenset(token.text.lower() for token in tokens if token.token_type not in STRINGS)


def _compared(tree: exp.Expr) -> Iterator[tuple[str, ...]]:
    """The operands of each comparison, as SQL: what stands beside a timestamp becomes one."""
    for node in tree.walk():
        operands: list[exp.Expr] = []
        if isinstance(node, _BESIDE):
            operands = [node.this, node.expression]
        elif isinstance(node, exp.Between):
            operands = [node.this, node.args["low"], node.args["high"]]
        elif isinstance(node, exp.In):
            operands = [node.this, *node.expressions]
        elif isinstance(node, exp.Case) and node.this is not None:
            operands = [node.this, *(branch.this for branch in node.args["ifs"])]
        elif isinstance(node, exp.DecodeCase):  # a value, pairs of what is sought and its result, and what else is given
            operands = [node.expressions[0], *node.expressions[1:-1:2]]
        elif isinstance(node, exp.Bracket):
            operands = [node.this, *node.expressions]
        if len(operands) > 1:
            yield _sql(operands)


def _sql(operands: Sequence[exp.Expr]) -> tuple[str, ...]:
    return tuple(operand.sql(dialect="spark") for operand in operands)


def _patterns(text: str, tokens: Sequence[Token]) -> Iterator[str]:
    """The regular expressions of a text, as the literals that they are."""
    for index, token in enumerate(tokens):
        name, found = token.text.lower(), None
        if token.token_type in STRINGS:
            continue
        if index + 1 < len(tokens) and tokens[index + 1].token_type == TokenType.L_PAREN and name in PATTERN_AT:
            arguments = arguments_of(tokens, index + 1)
            found = arguments[PATTERN_AT[name]] if PATTERN_AT[name] < len(arguments) else None
        elif token.token_type == TokenType.RLIKE and index + 1 < len(tokens):
            found = [tokens[index + 1]]
        if found and all(item.token_type in STRINGS for item in found):
            yield text[found[0].start : found[-1].end + 1]


def _calls_raising_function(tokens: Sequence[Token]) -> bool:
    return any(
        following.token_type == TokenType.L_PAREN and token.text.lower() in RAISING_FUNCTIONS
        for token, following in itertools.pairwise(tokens)
    )


def _first_part(column: exp.Column) -> str:
    return str(column.parts[0].name)
