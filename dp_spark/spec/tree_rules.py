"""What the tree of an expression may hold: every node is one that is known to be row-wise."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping

import sqlglot
from sqlglot import exp

from dp_spark.spec.constants import field_problems, interval_problems
from dp_spark.spec.row_functions import ALLOWED_FUNCTIONS, TEXTLESS_FUNCTIONS, pattern_problems
from dp_spark.spec.spark_types import type_kind
from dp_spark.spec.sql_parser import PARSE_ERRORS

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


def tree_problems(tree: exp.Expr, parameters: Mapping[str, object]) -> Iterator[str]:
    """What is wrong with an expression's tree, its parameters not yet bound."""
    for node in tree.walk():
        name = name_of(node)
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
    if isinstance(node, exp.AtTimeZone | exp.FromTimeZone) and not is_constant(node.args["zone"]):
        yield "a time zone must be a constant text"
    if isinstance(node, exp.Like | exp.ILike | exp.RegexpLike) and not is_constant(node.expression):
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


def is_constant(node: exp.Expr) -> bool:
    """Whether a part of an expression reads no column."""
    return not any(isinstance(item, exp.Column) for item in node.walk())


def name_of(node: exp.Expr) -> str:
    """What a node is called: a call by its function's name, anything else by sqlglot's."""
    if isinstance(node, exp.Anonymous):
        return str(node.this).lower()
    return str(node.key).lower()


@functools.cache
def textless_classes() -> frozenset[type[exp.Expr]]:
    """The node classes of calls whose result is no text."""
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
            except PARSE_ERRORS:
                continue
            for node in tree.walk():
                if isinstance(node, exp.Func) and not isinstance(node, _NEVER):
                    yield type(node)
