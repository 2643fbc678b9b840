"""Where calls, arguments, operands and types are among the tokens of an expression."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot.tokenizer_core import Token, TokenType

_CHAINED = (TokenType.STRING, TokenType.RAW_STRING)
_OPENING = {TokenType.R_PAREN: TokenType.L_PAREN, TokenType.R_BRACKET: TokenType.L_BRACKET}
#: A word before a bracket that is no function.
_WORDS = "and or not in case when then else between is as from like ilike rlike regexp div any all"
_NO_CALL = frozenset(_WORDS.split())


def without_suffixes(tokens: Sequence[Token]) -> list[Token]:
    """The author's own signs: sqlglot makes of ``5L`` the number and two more, a ``::`` and a type, that nobody wrote."""
    kept: list[Token] = []
    for token in tokens:
        if not (kept and kept[-1].token_type == TokenType.NUMBER and kept[-1].start == token.start):
            kept.append(token)
    return kept


def is_call(tokens: Sequence[Token], index: int) -> bool:
    """Whether a call begins at this token: a word with a bracket behind it."""
    if index + 1 >= len(tokens) or tokens[index + 1].token_type != TokenType.L_PAREN:
        return False
    token = tokens[index]
    return (
        token.token_type not in (*_CHAINED, TokenType.IDENTIFIER)
        and token.text.isidentifier()
        and token.text.lower() not in _NO_CALL
    )


def argument_spans(tokens: Sequence[Token], opening: int) -> list[tuple[int, int]]:
    """The first and the last token of each argument of the call whose bracket opens at ``opening``."""
    spans, depth, first = [], 0, opening + 1
    for index in range(opening, len(tokens)):
        kind = tokens[index].token_type
        depth += (kind in _OPENING.values()) - (kind in _OPENING)
        if (depth == 1 and kind == TokenType.COMMA) or depth == 0:
            if first <= index - 1:
                spans.append((first, index - 1))
            first = index + 1
        if depth == 0:
            break
    return spans


def arguments_of(tokens: Sequence[Token], opening: int) -> list[list[Token]]:
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


def written_types(sql: str, tokens: Sequence[Token]) -> Iterator[str]:
    """The types that a text casts to, as the author wrote them: sqlglot's names for types are not Spark's.

    >>> import sqlglot
    >>> text = "cast(x as decimal(10, 2)) > y::uuid and z::timestamp without time zone"
    >>> list(written_types(text, sqlglot.tokenize(text, read="spark")))
    ['decimal(10, 2)', 'uuid', 'timestamp without']
    """
    for index, token in enumerate(tokens):
        if is_double_colon(sql, token) and index + 1 < len(tokens):
            yield text_of(sql, tokens, (index + 1, _end_of_type(tokens, index + 1)))
        elif is_call(tokens, index) and token.text.lower() in ("cast", "try_cast"):
            spans, middle = argument_spans(tokens, index + 1), keyword_in(tokens, index + 1, "as")
            if spans and middle is not None and middle < spans[-1][1]:
                yield text_of(sql, tokens, (middle + 1, spans[-1][1]))


def is_double_colon(sql: str, token: Token) -> bool:
    """Whether a token is ``::``: sqlglot makes one of the letter behind a number, too, as in ``1L``."""
    return token.token_type == TokenType.DCOLON and sql[token.start : token.end + 1] == "::"


def _end_of_type(tokens: Sequence[Token], last: int) -> int:
    """The last token of the type behind ``::``, and of the words that only sqlglot reads as a part of it."""
    if last + 1 < len(tokens) and tokens[last + 1].token_type == TokenType.L_PAREN:  # decimal(10, 2)
        closing = (index for index in range(last + 2, len(tokens)) if tokens[index].token_type == TokenType.R_PAREN)
        last = next(closing, last)
    goes_on = last + 1 < len(tokens) and tokens[last + 1].text.lower() in ("with", "without")
    return last + 1 if goes_on else last


def operand_of(tokens: Sequence[Token], last: int) -> int:
    """Where the primary expression begins that ends at this token: what Spark's ``::`` takes."""
    first = last
    while True:
        token, before = tokens[first], tokens[first - 1] if first else None
        if token.token_type in _OPENING:
            first = _opening(tokens, first)
            if first and (is_call(tokens, first - 1) or token.token_type == TokenType.R_BRACKET):
                first -= 1
                continue
        elif token.text.lower() == "end" and token.token_type == TokenType.END:
            first = _case(tokens, first)
        elif before is not None and _begins_number(before, token):
            return _with_sign(tokens, first - 1)
        elif before is not None and _belongs(before, token):
            first -= 1
            continue
        if first > 1 and tokens[first - 1].token_type in (TokenType.DOT, TokenType.DCOLON):
            first -= 2
            continue
        return _with_sign(tokens, first)


def _belongs(before: Token, token: Token) -> bool:
    """Whether a text goes on from the one before it, or from the type of a literal."""
    typed = before.text.lower() in ("date", "timestamp", "timestamp_ntz", "timestamp_ltz")
    return token.token_type in _CHAINED and (before.token_type in _CHAINED or typed)


def _begins_number(before: Token, token: Token) -> bool:
    """Whether it is the point of ``.5``, which sqlglot reads as a token of its own."""
    return (before.token_type, token.token_type) == (TokenType.DOT, TokenType.NUMBER) and before.end + 1 == token.start


def _with_sign(tokens: Sequence[Token], first: int) -> int:
    """A minus belongs to a number that it begins."""
    number = tokens[first].token_type in (TokenType.NUMBER, TokenType.DOT)
    if first == 0 or not number or tokens[first - 1].token_type != TokenType.DASH:
        return first
    return first if first > 1 and _ends_operand(tokens[first - 2]) else first - 1


def _ends_operand(token: Token) -> bool:
    """Whether a minus behind this token takes something from it."""
    value = (*_CHAINED, *_OPENING, TokenType.IDENTIFIER, TokenType.NUMBER)
    return token.token_type in value or (token.text.isidentifier() and token.text.lower() not in _NO_CALL)


def _opening(tokens: Sequence[Token], closing: int) -> int:
    depth = 0
    for index in range(closing, -1, -1):
        kind = tokens[index].token_type
        depth += (kind in _OPENING) - (kind in _OPENING.values())
        if depth == 0:
            return index
    return 0


def _case(tokens: Sequence[Token], end: int) -> int:
    depth = 0
    for index in range(end, -1, -1):
        depth += (tokens[index].token_type == TokenType.END) - (tokens[index].token_type == TokenType.CASE)
        if depth == 0:
            return index
    return 0


def keyword_in(tokens: Sequence[Token], opening: int, word: str) -> int | None:
    """The last keyword of this name directly inside the bracket: a column may bear it, too, but not behind it."""
    depth, found = 0, None
    for index in range(opening, len(tokens)):
        kind = tokens[index].token_type
        depth += (kind in _OPENING.values()) - (kind in _OPENING)
        if depth == 0:
            break
        if depth == 1 and tokens[index].text.lower() == word and kind not in (*_CHAINED, TokenType.IDENTIFIER):
            found = index
    return found


def text_of(sql: str, tokens: Sequence[Token], span: tuple[int, int]) -> str:
    """The author's own characters from the first to the last of these tokens."""
    return sql[tokens[span[0]].start : tokens[span[1]].end + 1]
