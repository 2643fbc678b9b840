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

from dp_spark.spec.sql_tokens import argument_spans, is_call, is_double_colon, keyword_in, operand_of, text_of, without_suffixes

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
    tokens = without_suffixes(sqlglot.tokenize(sql, read="spark"))
    edits: list[_Edit] = []
    for index, token in enumerate(tokens):
        if is_double_colon(sql, token):
            edits += _of_double_colon(sql, tokens, index, type_of)
        elif is_call(tokens, index):
            edits += _of_call(sql, tokens, index, type_of)
    return _applied(sql, edits)


def _of_call(sql: str, tokens: Sequence[Token], index: int, type_of: Callable[[str], str]) -> Iterator[_Edit]:
    name, spans = tokens[index].text.lower(), argument_spans(tokens, index + 1)
    if not spans:
        return
    closing, middle = tokens[spans[-1][1] + 1], keyword_in(tokens, index + 1, "as")
    if name == "cast" or (name in _CASTING and len(spans) == 1):
        yield _Edit(tokens[index].start, tokens[index].end + 1, "try_cast", 0)
    if name in ("cast", "try_cast") and middle is not None:
        yield from _whole(sql, tokens, (index, spans[-1][1] + 1), (index + 2, middle - 1), tokens[middle + 1], type_of)
    elif name in _CASTING and len(spans) == 1:
        yield from _whole(sql, tokens, (index, spans[0][1] + 1), spans[0], tokens[index], type_of)
        yield _Edit(closing.start, closing.start, f" as {name}", closing.end - tokens[index].start, opens=False)
    elif name in _FLOORS and len(spans) == 1 and type_of(text_of(sql, tokens, spans[0])) in _FLOATS:
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
    if kind.text.lower() in ("bigint", "long") and type_of(text_of(sql, tokens, operand)) in _FLOATS:
        yield from _outside(tokens, construct, "try_subtract(try_add(", ", 1L), 1L)")


def _made_timestamps(
    tokens: Sequence[Token], index: int, name: str, spans: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """The parts of a call that Spark makes a timestamp of."""
    if name in ("cast", "try_cast"):
        middle = keyword_in(tokens, index + 1, "as")
        if middle is not None and tokens[middle + 1].text.lower() in _TIMESTAMPS:
            yield index + 2, middle - 1
    elif name == "extract":
        middle = keyword_in(tokens, index + 1, "from")
        if middle is not None:
            yield middle + 1, spans[-1][1]
    elif name in _WITHOUT_PATTERN and len(spans) == 1:
        yield spans[0]
    else:
        positions = _WITH_UNIT.get(name, ()) if len(spans) == 3 else ()
        yield from (spans[position] for position in (*positions, *_TIMESTAMP_AT.get(name, ())) if position < len(spans))


def _of_double_colon(sql: str, tokens: Sequence[Token], index: int, type_of: Callable[[str], str]) -> Iterator[_Edit]:
    first, last = operand_of(tokens, index - 1), index + 1
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


def _without_time_of_day(
    sql: str, tokens: Sequence[Token], span: tuple[int, int], type_of: Callable[[str], str]
) -> Iterator[_Edit]:
    if span[0] <= span[1] and type_of(text_of(sql, tokens, span)).startswith(("string", "char", "varchar")):
        yield from _outside(tokens, span, "regexp_replace(", f", '{TIME_OF_DAY}', '')")


def _applied(sql: str, edits: Sequence[_Edit]) -> str:
    result, position = [], 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.opens, -edit.size if edit.opens else edit.size)):
        result += [sql[position : edit.start], edit.text]
        position = max(position, edit.end)
    return "".join([*result, sql[position:]])
