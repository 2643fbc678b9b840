"""What the text of an expression may hold, token by token: every call is one of an allowed function."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

import sqlglot
from sqlglot.tokenizer_core import Token, TokenType

from dp_spark.spec.constants import UNIT_CALLS, argument_problems, literal_problems, unit_problems
from dp_spark.spec.row_functions import ALLOWED_FUNCTIONS, CONSTANT_ARGUMENTS, constant_problems
from dp_spark.spec.spark_types import type_kind
from dp_spark.spec.sql_parser import BARE_CALLS, STRINGS
from dp_spark.spec.sql_tokens import arguments_of, written_types

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
_TYPED_LITERALS = frozenset(("date", "timestamp", "timestamp_ntz", "timestamp_ltz"))


def text_problems(text: str, tokens: Sequence[Token]) -> Iterator[str]:
    """What is wrong with an expression's text, its parameters bound."""
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
        if token.token_type not in STRINGS:
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
            yield from _call_problems(name, arguments_of(tokens, index + 1))
    elif token.token_type == TokenType.ALL:
        yield "all is not allowed before an argument"  # sqlglot would not see that it is a column
    elif name in BARE_CALLS and token.token_type != TokenType.IDENTIFIER:
        yield f"the function {name} is not allowed"


def _call_problems(name: str, arguments: Sequence[Sequence[Token]]) -> Iterator[str]:
    if name in UNIT_CALLS and len(arguments) == 3:
        unit = arguments[0]
        shown = "".join(token.text for token in unit)
        yield from unit_problems(name, shown, bare=unit[0].token_type not in (*STRINGS, TokenType.IDENTIFIER) if unit else True)
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
