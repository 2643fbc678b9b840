"""What does not fit is null: conversions in an author's expression, changed at their place in the author's own text.

Without ANSI mode Spark's ``cast`` wraps, cuts off, and makes NaN a zero; and a text that holds a time of day alone becomes
a timestamp of *today*, which is the clock and no value of the row. So ``cast(`` becomes ``try_cast(``, ``int(x)`` and
``x::int`` likewise, ``floor`` and ``ceil`` of a double give null where no BIGINT can hold the result, and a text that
becomes a timestamp goes through ``regexp_replace`` first. Everything else stays as the author wrote it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import sqlglot
from sqlglot.tokenizer_core import Token, TokenType

#: Functions that are casts, and cut off what does not fit; those to text, dates and booleans give null already.
_CASTING = frozenset(("tinyint", "smallint", "int", "bigint", "decimal", "float", "double"))
_FLOATS = ("float", "double")
_FLOORS = frozenset(("floor", "ceil", "ceiling"))
_TIMESTAMPS = frozenset(("timestamp", "timestamp_ltz"))
#: Function -> positions of the arguments that Spark makes a timestamp of, where they are texts.
_TIMESTAMP_AT: dict[str, tuple[int, ...]] = {
    "date_format": (0,),
    "date_part": (1,),
    "date_trunc": (1,),
    "from_utc_timestamp": (0,),
    "hour": (0,),
    "minute": (0,),
    "months_between": (0, 1),
    "second": (0,),
    "timestamp": (0,),
    "timestampadd": (2,),
    "timestampdiff": (1, 2),
    "to_utc_timestamp": (0,),
}
#: With three arguments these are ``timestampadd`` and ``timestampdiff``: the first is a unit.
_WITH_UNIT = {"date_add": (2,), "date_diff": (1, 2), "datediff": (1, 2)}
#: These do so only without a pattern.
_WITHOUT_PATTERN = frozenset(("to_timestamp", "try_to_timestamp"))
#: A time of day alone: a T, or digits and a colon, with nothing before it that begins a date.
TIME_OF_DAY = "(?s)^[^0-9A-Za-z+-]*(T|[0-9]+:).*"
_CHAINED = (TokenType.STRING, TokenType.RAW_STRING)
_OPENING = {TokenType.R_PAREN: TokenType.L_PAREN, TokenType.R_BRACKET: TokenType.L_BRACKET}
#: A word before a bracket that is no function.
_WORDS = "and or not in case when then else between is as from like ilike rlike regexp div any all"
_NO_CALL = frozenset(_WORDS.split())


@dataclass(frozen=True)
class _Edit:
    """A text that stands before (``opens``) or behind something, or in the place of the characters up to ``end``.

    ``size`` is the length of what it belongs to: of two that open at one place the larger is outside.
    """

    start: int
    end: int
    text: str
    size: int
    opens: bool = True


def fitted(sql: str, type_of: Callable[[str], str]) -> str:
    """An author's expression with every conversion null for what does not fit.

    Args:
        sql: A checked expression, its parameters bound.
        type_of: The Spark type of a part of it, such as ``double``.

    >>> fitted("cast(x as int) + y::bigint", lambda part: "string")
    'try_cast(x as int) + try_cast(y as bigint)'
    >>> fitted("cast('cast(' as string)", lambda part: "string")
    "try_cast('cast(' as string)"
    """
    tokens = _without_suffixes(sqlglot.tokenize(sql, read="spark"))
    edits: list[_Edit] = []
    for index, token in enumerate(tokens):
        if _casts(sql, token):
            edits += _of_double_colon(sql, tokens, index, type_of)
        elif is_call(tokens, index):
            edits += _of_call(sql, tokens, index, type_of)
    return _applied(sql, edits)


def _without_suffixes(tokens: Sequence[Token]) -> list[Token]:
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


def written_types(sql: str, tokens: Sequence[Token]) -> Iterator[str]:
    """The types that a text casts to, as the author wrote them: sqlglot's names for types are not Spark's.

    >>> text = "cast(x as decimal(10, 2)) > y::uuid and z::timestamp without time zone"
    >>> list(written_types(text, sqlglot.tokenize(text, read="spark")))
    ['decimal(10, 2)', 'uuid', 'timestamp without']
    """
    for index, token in enumerate(tokens):
        if _casts(sql, token) and index + 1 < len(tokens):
            yield _text(sql, tokens, (index + 1, _end_of_type(tokens, index + 1)))
        elif is_call(tokens, index) and token.text.lower() in ("cast", "try_cast"):
            spans, middle = argument_spans(tokens, index + 1), _keyword(tokens, index + 1, "as")
            if spans and middle is not None and middle < spans[-1][1]:
                yield _text(sql, tokens, (middle + 1, spans[-1][1]))


def _casts(sql: str, token: Token) -> bool:
    """Whether a token is ``::``: sqlglot makes one of the letter behind a number, too, as in ``1L``."""
    return token.token_type == TokenType.DCOLON and sql[token.start : token.end + 1] == "::"


def _end_of_type(tokens: Sequence[Token], last: int) -> int:
    """The last token of the type behind ``::``, and of the words that only sqlglot reads as a part of it."""
    if last + 1 < len(tokens) and tokens[last + 1].token_type == TokenType.L_PAREN:  # decimal(10, 2)
        closing = (index for index in range(last + 2, len(tokens)) if tokens[index].token_type == TokenType.R_PAREN)
        last = next(closing, last)
    goes_on = last + 1 < len(tokens) and tokens[last + 1].text.lower() in ("with", "without")
    return last + 1 if goes_on else last


def _of_call(sql: str, tokens: Sequence[Token], index: int, type_of: Callable[[str], str]) -> Iterator[_Edit]:
    name, spans = tokens[index].text.lower(), argument_spans(tokens, index + 1)
    if not spans:
        return
    closing, middle = tokens[spans[-1][1] + 1], _keyword(tokens, index + 1, "as")
    if name == "cast" or (name in _CASTING and len(spans) == 1):
        yield _Edit(tokens[index].start, tokens[index].end + 1, "try_cast", 0)
    if name in ("cast", "try_cast") and middle is not None:
        yield from _whole(sql, tokens, (index, spans[-1][1] + 1), (index + 2, middle - 1), tokens[middle + 1], type_of)
    elif name in _CASTING and len(spans) == 1:
        yield from _whole(sql, tokens, (index, spans[0][1] + 1), spans[0], tokens[index], type_of)
        yield _Edit(closing.start, closing.start, f" as {name}", closing.end - tokens[index].start, opens=False)
    elif name in _FLOORS and len(spans) == 1 and type_of(_text(sql, tokens, spans[0])) in _FLOATS:
        # It stops at the ends of a BIGINT: one step beyond, and null. A comparison with a double would not be exact.
        yield from _around(tokens, (index, spans[0][1] + 1), "try_add(try_subtract(try_add(", ", 1L), 2L), 1L)")
        yield from _outside(tokens, spans[0], "nanvl(", ", null)")
    for span in _made_timestamps(tokens, index, name, spans):
        yield from _without_time_of_day(sql, tokens, span, type_of)


def _whole(
    sql: str,
    tokens: Sequence[Token],
    construct: tuple[int, int],
    operand: tuple[int, int],
    kind: Token,
    type_of: Callable[[str], str],
) -> Iterator[_Edit]:
    """Around a cast to BIGINT: Spark lets 2^63 through as 2^63 - 1, which no double is."""
    if kind.text.lower() in ("bigint", "long") and type_of(_text(sql, tokens, operand)) in _FLOATS:
        yield from _outside(tokens, construct, "try_subtract(try_add(", ", 1L), 1L)")


def _made_timestamps(
    tokens: Sequence[Token], index: int, name: str, spans: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """The parts of a call that Spark makes a timestamp of."""
    if name in ("cast", "try_cast"):
        middle = _keyword(tokens, index + 1, "as")
        if middle is not None and tokens[middle + 1].text.lower() in _TIMESTAMPS:
            yield index + 2, middle - 1
    elif name == "extract":
        middle = _keyword(tokens, index + 1, "from")
        if middle is not None:
            yield middle + 1, spans[-1][1]
    elif name in _WITHOUT_PATTERN and len(spans) == 1:
        yield spans[0]
    else:
        positions = _WITH_UNIT.get(name, ()) if len(spans) == 3 else ()
        yield from (spans[position] for position in (*positions, *_TIMESTAMP_AT.get(name, ())) if position < len(spans))


def _of_double_colon(sql: str, tokens: Sequence[Token], index: int, type_of: Callable[[str], str]) -> Iterator[_Edit]:
    first, last = _operand(tokens, index - 1), index + 1
    if last + 1 < len(tokens) and tokens[last + 1].token_type == TokenType.L_PAREN:  # decimal(10, 2)
        last = argument_spans(tokens, last + 1)[-1][1] + 1
    yield from _around(tokens, (first, last), "try_cast(", ")")
    yield _Edit(tokens[index].start, tokens[index].end + 1, " as ", 0)
    yield from _whole(sql, tokens, (first, last), (first, index - 1), tokens[index + 1], type_of)
    if tokens[index + 1].text.lower() in _TIMESTAMPS:
        yield from _without_time_of_day(sql, tokens, (first, index - 1), type_of)


def _around(tokens: Sequence[Token], span: tuple[int, int], before: str, behind: str) -> Iterator[_Edit]:
    start, end = tokens[span[0]].start, tokens[span[1]].end + 1
    yield _Edit(start, start, before, end - start)
    yield _Edit(end, end, behind, end - start, opens=False)


def _outside(tokens: Sequence[Token], span: tuple[int, int], before: str, behind: str) -> Iterator[_Edit]:
    """Around an argument, and around whatever else stands around the same."""
    for edit in _around(tokens, span, before, behind):
        yield replace(edit, size=edit.size + 1)


def _operand(tokens: Sequence[Token], last: int) -> int:
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


def _keyword(tokens: Sequence[Token], opening: int, word: str) -> int | None:
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


def _without_time_of_day(
    sql: str, tokens: Sequence[Token], span: tuple[int, int], type_of: Callable[[str], str]
) -> Iterator[_Edit]:
    if span[0] <= span[1] and type_of(_text(sql, tokens, span)).startswith(("string", "char", "varchar")):
        yield from _outside(tokens, span, "regexp_replace(", f", '{TIME_OF_DAY}', '')")


def _text(sql: str, tokens: Sequence[Token], span: tuple[int, int]) -> str:
    return sql[tokens[span[0]].start : tokens[span[1]].end + 1]


def _applied(sql: str, edits: Sequence[_Edit]) -> str:
    result, position = [], 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.opens, -edit.size if edit.opens else edit.size)):
        result += [sql[position : edit.start], edit.text]
        position = max(position, edit.end)
    return "".join([*result, sql[position:]])
