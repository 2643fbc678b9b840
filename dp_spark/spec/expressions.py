"""Which Spark SQL expressions a release file may hold: deterministic, row-wise, and never aborting on a value.

An expression is checked here and then run by Spark exactly as the author wrote it; sqlglot's output is never run. Two
checks must both pass: every call in the author's *text* names an allowed function, and every node of sqlglot's
*tree* is one that is known to be row-wise. What is not known is refused by name.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

import sqlglot
from sqlglot import exp
from sqlglot.dialects.spark import Spark
from sqlglot.errors import SqlglotError
from sqlglot.parsers.spark import SparkParser
from sqlglot.tokenizer_core import Token, TokenType

from dp_spark.errors import SpecError
from dp_spark.spec.constants import (
    UNIT_CALLS,
    argument_problems,
    field_problems,
    interval_problems,
    literal_problems,
    unit_problems,
)
from dp_spark.spec.conversions import written_types
from dp_spark.spec.row_functions import (
    ALLOWED_FUNCTIONS,
    CLOCK_WORDS,
    CONSTANT_ARGUMENTS,
    PATTERN_AT,
    RAISING_FUNCTIONS,
    TEXTLESS_FUNCTIONS,
    constant_problems,
    pattern_problems,
    spark_text,
)
from dp_spark.spec.spark_types import type_kind
from dp_spark.spec.sql_words import words_to_quote

# Words that stand before a parenthesis without being a call.
_KEYWORDS = frozenset(
    (
        "and",
        "or",
        "not",
        "in",
        "case",
        "when",
        "then",
        "else",
        "between",
        "is",
        "as",
        "distinct",
        "from",
        "like",
        "rlike",
        "div",
    )
)
_PATTERN_LISTS = frozenset(("any", "all", "some"))
# A constant argument is made of these; a parameter is bound before arguments are looked at.
_CONSTANTS = frozenset((TokenType.STRING, TokenType.NUMBER, TokenType.DASH, TokenType.PLUS, TokenType.TRUE, TokenType.FALSE))
_STRINGS = (TokenType.STRING, TokenType.RAW_STRING, TokenType.NATIONAL_STRING)
# Spark calls these without parentheses.
_BARE_CALLS = frozenset(
    (
        "current_catalog", "current_database", "current_date", "current_role", "current_schema", "current_time",
        "current_timestamp", "current_timezone", "current_user", "localtime", "localtimestamp", "session_user", "user",
    )
)  # fmt: skip
_NO_COLUMNS = _BARE_CALLS | {"if"}
_TYPED_LITERALS = frozenset(("date", "timestamp", "timestamp_ntz", "timestamp_ltz"))
_TIME_TYPES = re.compile(r"^(date|time)", re.IGNORECASE)
_STRUCTURE: tuple[type[exp.Expr], ...] = (
    exp.Column, exp.Identifier, exp.Literal, exp.Null, exp.Boolean, exp.Paren, exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ,
    exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Is, exp.In, exp.Between, exp.Like, exp.ILike,
    exp.RegexpLike, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.Neg, exp.DPipe, exp.BitwiseAnd,
    exp.BitwiseOr, exp.BitwiseXor, exp.BitwiseNot, exp.Case, exp.If, exp.Cast, exp.TryCast, exp.DataType,
    exp.DataTypeParam, exp.Var, exp.Dot, exp.Placeholder, exp.Escape, exp.Extract, exp.AtTimeZone, exp.FromTimeZone,
    exp.JSONPath, exp.JSONPathRoot, exp.JSONPathKey, exp.JSONPathSubscript, exp.Bracket, exp.Interval, exp.IntervalSpan,
)  # fmt: skip
# What an interval can stand beside.
_BESIDE_INTERVALS = (
    exp.Add, exp.Sub, exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Between,
)  # fmt: skip
# sqlglot fills these in itself, where a function such as unix_timestamp is called without its arguments.
_NEVER = (exp.AggFunc, exp.Anonymous, exp.CurrentTimestamp, exp.CurrentDate, exp.CurrentTime, exp.CurrentDatetime)
# What makes a timestamp of a text beside one; of those that add, beside an interval, too.
_BESIDE = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Nullif)
_ADDING = (exp.Add, exp.Sub, exp.SafeAdd, exp.SafeSubtract)
# Operators that Spark looks up by name like a function, and what it writes trim(both ..) and the like as.
_LOOKED_UP = frozenset(("between", "btrim", "ilike", "in", "like", "ltrim", "not", "regexp", "rlike", "rtrim"))
_MOST_TOKENS = 500
_WORDS = "check operators and brackets; write a column that is named like a word of SQL in backticks"
# sqlglot raises plain Python errors, too, for calls with arguments it did not foresee.
_PARSE_ERRORS = (SqlglotError, ValueError, TypeError, IndexError, KeyError, AttributeError, RecursionError)


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
    with _quiet_parser():
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
        tokens = _tokens(text, where)
    except SpecError:
        return []
    return words_to_quote(text, tokens, _NO_COLUMNS, passes) if len(tokens) <= _MOST_TOKENS else []


@contextlib.contextmanager
def _quiet_parser() -> Iterator[None]:
    """sqlglot warns on stderr about what it cannot read, and quotes it; we say so ourselves."""
    logger = logging.getLogger("sqlglot")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _checked(text: str, parameters: Mapping[str, bool | int | Decimal | str], where: str) -> Expression:
    tokens = _tokens(text, where)
    if not 0 < len(tokens) <= _MOST_TOKENS or "${" in text:
        raise SpecError("is empty, too long, or holds ${", where=where, mend="write one expression; use parameters")
    bound = _bind(text, tokens, parameters)
    for problem in _text_problems(bound, _tokens(bound, where)):
        raise _refused(problem, where)
    tree = _parse(text, where)
    for problem in _tree_problems(tree, parameters):
        raise _refused(problem, where)
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
        names_clock=_names_clock(bound, _tokens(bound, where)) or any(_computes_text(node) for node in tree.walk()),
        functions=_names(tokens) & (ALLOWED_FUNCTIONS | _LOOKED_UP),
        patterns=tuple(_patterns(bound, _tokens(bound, where))),
        compared=tuple(_compared(whole := _parse(bound, where))),
        added=tuple(_sql([node.this, node.expression]) for node in whole.find_all(*_ADDING)),
    )
    if found.names_clock and (found.can_raise or found.time_literals):
        raise _refused(CLOCK, where)
    if any(_is_constant(node.this) and not isinstance(node.this, exp.Literal | exp.Null) for node, _ in times):
        raise _refused("a cast to a date or timestamp must be of a column or a plain text", where)
    return found


#: What is said where the clock would come in.
CLOCK = (
    "a text such as now or today, or one that is computed from constants alone, must not stand where a date or timestamp can "
    "be made of it: the clock is not a value of the row"
)


def _names_clock(text: str, tokens: Sequence[Token]) -> bool:
    # The author's own characters: what sqlglot makes of an escape is not what Spark makes of it.
    texts = (text[token.start : token.end + 1].strip("rRnN")[1:-1] for token in tokens if token.token_type in _STRINGS)
    return any(CLOCK_WORDS.match(spark_text(found)) for found in texts)


def _computes_text(node: exp.Expr) -> bool:
    """Whether a node is a constant that Spark computes and that may be a text: ``concat('to', 'day')``, ``'no' 'w'``."""
    if not isinstance(node, exp.Func | exp.Concat | exp.DPipe | exp.Case | exp.Cast | exp.Dot | exp.Bracket):
        return False
    if isinstance(node, exp.Connector | exp.Predicate) or type(node) in _textless_classes() or not _is_constant(node):
        return False
    if isinstance(node, exp.Cast):
        return node.to.is_type(*exp.DataType.TEXT_TYPES)
    return not (isinstance(node, exp.Anonymous) and _name(node) in TEXTLESS_FUNCTIONS)


def _names(tokens: Sequence[Token]) -> frozenset[str]:
    return frozenset(token.text.lower() for token in tokens if token.token_type not in _STRINGS)


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
        if token.token_type in _STRINGS:
            continue
        if index + 1 < len(tokens) and tokens[index + 1].token_type == TokenType.L_PAREN and name in PATTERN_AT:
            arguments = _arguments(tokens, index + 1)
            found = arguments[PATTERN_AT[name]] if PATTERN_AT[name] < len(arguments) else None
        elif token.token_type == TokenType.RLIKE and index + 1 < len(tokens):
            found = [tokens[index + 1]]
        if found and all(item.token_type in _STRINGS for item in found):
            yield text[found[0].start : found[-1].end + 1]


def _calls_raising_function(tokens: Sequence[Token]) -> bool:
    return any(
        following.token_type == TokenType.L_PAREN and token.text.lower() in RAISING_FUNCTIONS
        for token, following in itertools.pairwise(tokens)
    )


def _refused(problem: str, where: str) -> SpecError:
    return SpecError(problem, where=where, mend="docs/release-file.md lists what is")


def _tokens(text: str, where: str) -> list[Token]:
    try:
        return list(sqlglot.tokenize(text, read="spark"))
    except _PARSE_ERRORS:
        raise SpecError("is not a Spark SQL expression", where=where, mend="check quotes and brackets") from None


def tree_of(text: str, where: str) -> exp.Expr:
    """sqlglot's tree of an expression that ``check_expression`` has let through."""
    with _quiet_parser():
        return _parse(text, where)


def is_plain_name(name: str) -> bool:
    """Whether a name needs no backticks in an expression, wherever it stands: it is no word of SQL.

    >>> [is_plain_name(name) for name in ("customer", "user", "values", "a b")]
    [True, False, False, False]
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or name.lower() in _NO_COLUMNS:
        return False
    return [token.token_type for token in sqlglot.tokenize(name, read="spark")] == [TokenType.VAR]


class _Parser(SparkParser):
    # Else array[0] would be a list of one number, and the column be lost.
    ARRAY_CONSTRUCTORS: ClassVar[dict[str, type[exp.Func]]] = {}


class _Dialect(Spark):
    Parser = _Parser


def _parse(text: str, where: str) -> exp.Expr:
    try:
        # As a statement, a column named show or set would begin a command.
        return sqlglot.parse_one(text, read=_Dialect, into=exp.Condition)
    except _PARSE_ERRORS:
        unknown = _unknown_type(text)
        if unknown is not None:
            raise _refused(f"the type {unknown} is not allowed", where) from None
        raise SpecError("is not a Spark SQL expression", where=where, mend=_WORDS) from None


def _unknown_type(text: str) -> str | None:
    """The first word behind ``as`` or ``::`` that begins no type, where the parser stops at it."""
    for sign, word in itertools.pairwise(sqlglot.tokenize(text, read="spark")):
        begins = sign.token_type == TokenType.DCOLON or sign.text.lower() == "as"
        if begins and re.fullmatch(r"\w+", word.text) and type_kind(word.text) is None:
            return word.text
    return None


def _text_problems(text: str, tokens: Sequence[Token]) -> Iterator[str]:
    # Where sqlglot and Spark could disagree about what is text and what is code, nothing is let through.
    if any(token.comments for token in tokens) or re.search(r"--|/\*", _without_strings(text, tokens)):
        yield "comments are not allowed in an expression"
    if re.search(r"\\['\"`]", text):
        yield "an escaped quote is not allowed in an expression; use a parameter for such a text"
    yield from _backtick_problems(tokens)
    for kind in written_types(text, tokens):
        if type_kind(kind) in (None, "binary"):
            yield f"the type {kind.lower()} is not allowed"
    for token, following in itertools.pairwise(tokens):
        typed = token.token_type in sqlglot.Parser.TYPE_TOKENS and following.token_type == TokenType.STRING
        if typed and token.text.lower() not in _TYPED_LITERALS | {"interval"}:
            yield f"a text must not have the type {token.text.lower()} before it; cast it"
    if any(token.token_type == TokenType.RAW_STRING for token in tokens):
        yield "a raw text (r'...') is not allowed; write it as '...' with every backslash twice"
    for index, token in enumerate(tokens):
        if token.token_type not in _STRINGS:
            yield from _token_problems(tokens, index)


def _backtick_problems(tokens: Sequence[Token]) -> Iterator[str]:
    """In backticks stand columns and fields: Spark calls a function so written, too, which ``conversions`` would not see."""
    for token, following in itertools.pairwise(tokens):
        if token.token_type == TokenType.IDENTIFIER and following.token_type == TokenType.L_PAREN:
            yield f"the function {token.text.lower()} is not allowed in backticks; write it without them"
        if following.token_type == TokenType.IDENTIFIER and token.token_type in (TokenType.ALIAS, TokenType.DCOLON):
            yield f"the type {following.text.lower()} is not allowed in backticks; write it without them"


def _token_problems(tokens: Sequence[Token], index: int) -> Iterator[str]:
    token, following = tokens[index], tokens[index + 1] if index + 1 < len(tokens) else None
    name, next_type = token.text.lower(), None if following is None else following.token_type
    if token.token_type in (TokenType.SEMICOLON, TokenType.ARROW, TokenType.HINT):
        yield f"{token.text or 'this sign'} is not allowed in an expression"
    elif following is not None and next_type == TokenType.STRING and name in _TYPED_LITERALS:
        yield from literal_problems(name, following.text)
    elif next_type == TokenType.L_PAREN and re.match(r"^\w+$", token.text):
        if name in _PATTERN_LISTS and index and tokens[index - 1].token_type in (TokenType.LIKE, TokenType.ILIKE):
            return
        if name not in ALLOWED_FUNCTIONS | _KEYWORDS or (index and tokens[index - 1].token_type == TokenType.DOT):
            yield f"the function {name} is not allowed"
        elif name in CONSTANT_ARGUMENTS or name in UNIT_CALLS or name in ("decode", "sha2"):
            yield from _call_problems(name, _arguments(tokens, index + 1))
    elif token.token_type == TokenType.ALL:
        yield "all is not allowed before an argument"  # sqlglot would not see that it is a column
    elif name in _BARE_CALLS and token.token_type != TokenType.IDENTIFIER:
        yield f"the function {name} is not allowed"


def _arguments(tokens: Sequence[Token], opening: int) -> list[list[Token]]:
    """The tokens of each argument of the call whose bracket opens there."""
    arguments: list[list[Token]] = [[]]
    depth = 0
    for token in tokens[opening:]:
        depth += (token.token_type == TokenType.L_PAREN) - (token.token_type == TokenType.R_PAREN)
        if depth == 0:
            break
        if depth == 1 and token.token_type == TokenType.COMMA:
            arguments.append([])
        elif depth > 1 or token.token_type != TokenType.L_PAREN:
            arguments[-1].append(token)
    return arguments


def _call_problems(name: str, arguments: Sequence[Sequence[Token]]) -> Iterator[str]:
    if name in UNIT_CALLS and len(arguments) == 3:
        unit = arguments[0]
        shown = "".join(token.text for token in unit)
        yield from unit_problems(
            name, shown, bare=unit[0].token_type not in (*_STRINGS, TokenType.IDENTIFIER) if unit else True
        )
        return
    for position in CONSTANT_ARGUMENTS.get(name, ()):  # of decode's two forms only one has any
        if position < len(arguments) and not all(token.token_type in _CONSTANTS for token in arguments[position]):
            yield f"argument {position + 1} of {name} must be a constant"
    constants = [_constant(argument) for argument in arguments]
    yield from constant_problems(name, constants)
    yield from argument_problems(name, constants)


def _constant(argument: Sequence[Token]) -> str | int | None:
    if len(argument) == 1 and argument[0].token_type == TokenType.STRING:
        return argument[0].text
    text = "".join(token.text for token in argument)
    return int(text) if re.match(r"^-?[0-9]{1,9}$", text) else None


def _without_strings(text: str, tokens: Sequence[Token]) -> str:
    kept = list(text)
    for token in tokens:
        if token.token_type in (TokenType.STRING, TokenType.RAW_STRING, TokenType.IDENTIFIER):
            kept[token.start : token.end + 1] = " " * (token.end + 1 - token.start)
    return "".join(kept)


def _tree_problems(tree: exp.Expr, parameters: Mapping[str, object]) -> Iterator[str]:
    for node in tree.walk():
        name = _name(node)
        if isinstance(node, exp.Identifier) and node.name.lower() == "_metadata":
            yield "the column _metadata is not allowed"
        if isinstance(node, exp.Placeholder) and (not node.this or str(node.this) not in parameters):
            yield f"the parameter :{node.this or '?'} is not declared under parameters"
        is_type = isinstance(node, exp.DataType) and not isinstance(node, exp.IntervalSpan)
        if is_type and type_kind(node.sql(dialect="spark")) in (None, "binary"):
            yield f"the type {node.sql(dialect='spark').lower()} is not allowed"
        if isinstance(node, exp.Anonymous | exp.AnonymousAggFunc):
            if name not in ALLOWED_FUNCTIONS:
                yield f"the function {name} is not allowed"
        elif type(node) not in _STRUCTURE and type(node) not in _allowed_classes() and not _is_pattern_list(node):
            yield f"{name} is not allowed in an expression"
        yield from _pattern_problems(node, parameters)
        if isinstance(node, exp.Interval):
            yield from _interval_problems(node)
    if isinstance(tree, exp.Alias | exp.Star):
        yield "an expression has no name or star of its own"


def _pattern_problems(node: exp.Expr, parameters: Mapping[str, object]) -> Iterator[str]:
    if isinstance(node, exp.Extract):
        yield from field_problems(node.name)
    if isinstance(node, exp.AtTimeZone | exp.FromTimeZone) and not _is_constant(node.args["zone"]):
        yield "a time zone must be a constant text"
    if isinstance(node, exp.Like | exp.ILike | exp.RegexpLike) and not _is_constant(node.expression):
        yield "a pattern must be a constant text"
    if isinstance(node, exp.RegexpLike) and node.expression is not None:
        pattern = node.expression
        text = parameters.get(str(pattern.this)) if isinstance(pattern, exp.Placeholder) else None
        if isinstance(pattern, exp.Literal) and pattern.is_string:
            text = str(pattern.this)
        yield from pattern_problems(text) if isinstance(text, str) else ["the pattern of rlike must be one text"]


def _is_pattern_list(node: exp.Expr) -> bool:
    """Whether a node is the list of ``like any (...)``: elsewhere these words are aggregates and subqueries."""
    if isinstance(node, exp.Tuple):
        return isinstance(node.parent, exp.Any | exp.All)
    listed = isinstance(node, exp.Any | exp.All) and isinstance(node.this, exp.Tuple | exp.Paren)
    return listed and isinstance(node.parent, exp.Like | exp.ILike)


def _interval_problems(interval: exp.Interval) -> Iterator[str]:
    constant = interval.this
    named = interval.args.get("unit") is not None or re.search("[a-z]", str(constant), re.IGNORECASE)
    if not isinstance(constant, exp.Literal) or not named:
        yield "an interval must be a constant, as in interval 1 day"
    elif isinstance(interval.args.get("unit"), exp.Var):
        yield from interval_problems(constant.name, interval.args["unit"].name)
    node: exp.Expr = interval
    while node.parent is not None and _is_interval(node.parent):
        node = node.parent
    if not isinstance(node.parent, _BESIDE_INTERVALS):
        yield "an interval is added to a date or timestamp, taken from one, or compared with a difference of two"


def _is_interval(node: exp.Expr) -> bool:
    if isinstance(node, exp.Paren | exp.Neg):
        return _is_interval(node.this)
    if isinstance(node, exp.Add | exp.Sub):
        return _is_interval(node.this) and _is_interval(node.expression)
    return isinstance(node, exp.Interval)


def _is_constant(node: exp.Expr) -> bool:
    return not any(isinstance(item, exp.Column) for item in node.walk())


def _name(node: exp.Expr) -> str:
    if isinstance(node, exp.Anonymous):
        return str(node.this).lower()
    return str(node.key).lower()


def _first_part(column: exp.Column) -> str:
    return str(column.parts[0].name)


@functools.cache
def _textless_classes() -> frozenset[type[exp.Expr]]:
    # A class that other calls share, such as the one of a cast, says nothing.
    return frozenset(_classes(TEXTLESS_FUNCTIONS)) - frozenset(_classes(ALLOWED_FUNCTIONS - TEXTLESS_FUNCTIONS)) - {exp.Cast}


@functools.cache
def _allowed_classes() -> frozenset[type[exp.Expr]]:
    return frozenset(_classes(ALLOWED_FUNCTIONS))


def _classes(names: frozenset[str]) -> Iterator[type[exp.Expr]]:
    """The node classes that sqlglot makes of allowed calls, found by parsing one call of each length."""
    for name in sorted(names):
        for length in range(5):
            arguments = ", ".join("abcd"[:length])
            try:
                tree = sqlglot.parse_one(f"{name}({arguments})", read="spark")
            except _PARSE_ERRORS:
                continue
            for node in tree.walk():
                if isinstance(node, exp.Func) and not isinstance(node, _NEVER):
                    yield type(node)


def _bind(text: str, tokens: list[Token], parameters: Mapping[str, bool | int | Decimal | str]) -> str:
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
