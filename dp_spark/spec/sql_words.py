"""Words of SQL that are the names of columns: which of them an author has to write in backticks.

Spark reads nearly every word as a column where it cannot be anything else; sqlglot does not. A refused expression is
tried again with such words in backticks: where it passes, that is the mend, and it works.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from sqlglot.tokenizer_core import Token, TokenType

#: What is no word, or a word that is read as a column anyway.
_PLAIN = (
    TokenType.VAR, TokenType.IDENTIFIER, TokenType.STRING, TokenType.RAW_STRING, TokenType.NATIONAL_STRING, TokenType.NUMBER,
)  # fmt: skip
#: Words that stand between operands far more often than they are one.
_OPERATORS = frozenset(
    (
        "and", "or", "not", "in", "is", "null", "true", "false", "between", "like", "ilike", "rlike", "regexp", "div",
        "case", "when", "then", "else", "end", "as", "from", "escape",
    )
)  # fmt: skip
_MOST_TRIALS = 40


def words_to_quote(text: str, tokens: Sequence[Token], bare_calls: frozenset[str], passes: Callable[[str], bool]) -> list[str]:
    """The words that, written in backticks, make a refused expression pass; empty where none do.

    Args:
        text: The expression.
        tokens: Its tokens.
        bare_calls: What Spark calls without brackets.
        passes: Whether an expression passes every check.
    """
    words = [token for index, token in enumerate(tokens) if _is_word(token, bare_calls) and _may_be_column(tokens, index)]
    for chosen in _choices(words[:_MOST_TRIALS]):
        if passes(_in_backticks(text, chosen)):
            return _needed(text, chosen, passes)
    return []


def _needed(text: str, words: list[Token], passes: Callable[[str], bool]) -> list[str]:
    for name in dict.fromkeys(word.text for word in words):
        fewer = [word for word in words if word.text != name]
        if fewer and passes(_in_backticks(text, fewer)):
            words = fewer
    return list(dict.fromkeys(word.text for word in words))


def _may_be_column(tokens: Sequence[Token], index: int) -> bool:
    """Whether neither a type stands there (sqlglot makes a ``::`` and one of the L in 5L, too) nor a call."""
    if index and tokens[index - 1].token_type in (TokenType.ALIAS, TokenType.DCOLON):
        return False
    return index + 1 >= len(tokens) or tokens[index + 1].token_type != TokenType.L_PAREN


def _is_word(token: Token, bare_calls: frozenset[str]) -> bool:
    if not re.fullmatch(r"[^\W\d]\w*", token.text) or token.token_type == TokenType.IDENTIFIER:
        return False
    return token.token_type not in _PLAIN or token.text.lower() in bare_calls


def _choices(words: Sequence[Token]) -> Iterator[list[Token]]:
    likely = [word for word in words if word.text.lower() not in _OPERATORS]
    if likely:
        yield likely
    yield from ([word] for word in words)
    for name in dict.fromkeys(word.text for word in words):
        yield [word for word in words if word.text == name]
    for word in words:  # an operator's word beside others
        if word not in likely and likely:
            yield sorted([*likely, word], key=lambda token: token.start)


def _in_backticks(text: str, words: Sequence[Token]) -> str:
    for word in reversed(words):
        text = f"{text[: word.start]}`{text[word.start : word.end + 1]}`{text[word.end + 1 :]}"
    return text
