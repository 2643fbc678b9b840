"""The Spark SQL functions that a release file may call, and which of their arguments must be constants.

All are deterministic functions of one row. With ANSI mode off they give null for a value they cannot handle, and those
that would raise an error for some values of an argument take a constant there: otherwise whether a run fails would
depend on private values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_FREE = """
abs acos asin atan atan2 ascii bigint bin boolean btrim cast cbrt char_length
character_length coalesce concat concat_ws contains cos cosh cot crc32 date date_diff datediff day dayofmonth
dayofweek dayofyear decimal degrees double e endswith exp expm1 extract float greatest hash hex hour if ifnull
initcap instr int isnan isnotnull isnull last_day least left length levenshtein ln locate log log10 log1p log2 lower
ltrim md5 minute mod month nanvl negative nullif nullifzero nvl nvl2 pi pmod position positive pow power quarter
radians replace reverse right rint rtrim second sign signum sin sinh size smallint soundex sqrt startswith
string substr substring tan tanh timestamp tinyint translate trim try_add try_cast try_divide try_multiply
try_subtract ucase unix_date upper weekday weekofyear year zeroifnull xxhash64 sha1 sha2 lcase make_date months_between
array_contains array_size dayname decode monthname timestamp_micros timestamp_millis timestamp_seconds timestampdiff
"""
#: Function -> positions of the arguments (patterns, formats, amounts) that must be constants.
CONSTANT_ARGUMENTS: dict[str, tuple[int, ...]] = {
    "add_months": (1,),
    "bround": (1,),
    "ceil": (1,),
    "ceiling": (1,),
    "date_add": (1,),
    "date_format": (1,),
    "date_part": (0,),
    "date_sub": (1,),
    "date_trunc": (0,),
    "element_at": (1,),
    "floor": (1,),
    "from_unixtime": (1,),
    "from_utc_timestamp": (1,),
    "get_json_object": (1,),
    "like": (1,),
    "lpad": (1,),
    "next_day": (1,),
    "regexp_extract": (1, 2),
    "regexp_like": (1,),
    "regexp_replace": (1, 2),
    "rlike": (1,),
    "round": (1,),
    "rpad": (1,),
    "split": (1, 2),
    "split_part": (1, 2),
    "substring_index": (1, 2),
    "to_date": (1,),
    "to_timestamp": (1,),
    "to_utc_timestamp": (1,),
    "trunc": (1,),
    "try_to_timestamp": (1,),
    "unix_timestamp": (1,),
    "width_bucket": (1, 2, 3),
}
#: These raise where a decimal of 38 digits gets one more; only to places before the point can that happen.
_ROUNDING = ("bround", "ceil", "ceiling", "floor", "round")
ALLOWED_FUNCTIONS = frozenset(_FREE.split()) | frozenset(CONSTANT_ARGUMENTS)
_CAN_RAISE = """
add_months date date_add date_diff date_format date_part date_sub date_trunc datediff day dayofmonth dayofweek extract
from_utc_timestamp hour last_day make_date minute month months_between next_day quarter second timestamp to_date
dayofyear to_timestamp to_utc_timestamp trunc try_to_timestamp unix_date unix_timestamp weekday weekofyear year
regexp_extract dayname decode from_unixtime monthname timestamp_micros timestamp_millis timestamp_seconds timestampdiff
"""
#: Functions that make, move or convert dates and timestamps: Spark raises where a result is outside its range. And
#: regexp_extract, which raises where a pattern matches and lacks the group: only Java knows how many it has. And decode,
#: which raises for bytes that its charset does not have.
RAISING_FUNCTIONS = frozenset(_CAN_RAISE.split())
_TEXTLESS = """
abs acos ascii asin atan atan2 bigint boolean bround cbrt ceil ceiling char_length character_length contains cos cosh cot
crc32 date_add date_diff date_part date_sub datediff day dayofmonth dayofweek dayofyear decimal degrees double e endswith exp
expm1 extract float floor hash hour instr int isnan isnotnull isnull last_day length levenshtein ln locate log log10 log1p
log2 make_date minute mod month months_between negative next_day pi pmod position positive pow power quarter radians
regexp_like rint rlike round second sign signum sin sinh size smallint sqrt startswith tan tanh tinyint to_date to_timestamp
trunc try_to_timestamp unix_date unix_timestamp weekday weekofyear width_bucket xxhash64 year date timestamp date_trunc
add_months from_utc_timestamp to_utc_timestamp like
"""
#: Functions whose result is never a text, so that Spark cannot make a date of it by its words.
TEXTLESS_FUNCTIONS = frozenset(_TEXTLESS.split())
#: Texts that Spark turns into the time of day, in a cast; Java trims every control character before them.
CLOCK_WORDS = re.compile(r"^[\x00-\x20]*(now|today|tomorrow|yesterday|epoch)(?![a-z])", re.IGNORECASE)
#: The position of the regular expression among a function's arguments.
PATTERN_AT = {"regexp_extract": 1, "regexp_like": 1, "regexp_replace": 1, "rlike": 1, "split": 1}
#: The only ones that Spark knows since 4.0.
CHARSETS = ("US-ASCII", "ISO-8859-1", "UTF-8", "UTF-16BE", "UTF-16LE", "UTF-16", "UTF-32")


def constant_problems(name: str, constants: Sequence[str | int | None]) -> Iterator[str]:
    """What is wrong with a call's constants: those that fail only for some rows.

    Args:
        name: The function.
        constants: For each argument its value, where it is one plain constant; else None.

    >>> list(constant_problems("regexp_extract", [None, "(a)", 2]))
    ['regexp_extract asks for group 2 of a pattern with 1']
    """
    values = dict(enumerate(constants))
    if name in _ROUNDING and not (isinstance(values.get(1, 0), int) and int(values.get(1, 0) or 0) >= 0):
        yield f"{name} must not round to places before the point; divide first, as in {name}(x / 100) * 100"
    if name == "substring_index" and not isinstance(values.get(2), int):
        yield "the third argument of substring_index must be a whole number"
    if name == "split_part" and not (isinstance(values.get(2), int) and values[2] != 0):
        yield "the third argument of split_part must be a whole number other than 0"
    if name == "regexp_replace" and re.search(r"[$\\]", str(values.get(2, "$"))):
        yield "the replacement of regexp_replace must be a plain text without $ and backslash"
    if name in PATTERN_AT and not isinstance(values.get(PATTERN_AT[name]), str):
        yield f"the pattern of {name} must be one text"
    elif name in PATTERN_AT:
        yield from pattern_problems(str(values[PATTERN_AT[name]]))
    if name == "regexp_extract":
        pattern, group = values.get(1), values.get(2, 1)
        groups = _groups(pattern)
        if not isinstance(group, int) or not 0 <= group <= groups:
            yield f"regexp_extract asks for group {group} of a pattern with {groups}"
    yield from _array_problems(name, constants)


def _array_problems(name: str, constants: Sequence[str | int | None]) -> Iterator[str]:
    if name == "element_at" and (len(constants) != 2 or constants[1] in (None, 0)):
        yield "element_at takes one text, or a whole number other than 0: it counts from 1; a[0] and m['k'] take any"
    if name == "decode" and len(constants) == 2 and str(constants[1]).upper() not in CHARSETS:
        yield f"the charset of decode must be one of {', '.join(CHARSETS)}"
    if name == "split" and len(constants) == 3 and not isinstance(constants[2], int):
        yield "the third argument of split must be a whole number"


def pattern_problems(pattern: str) -> Iterator[str]:
    """What is wrong with a regular expression, as Spark's parser leaves it: a repeated group makes Java recurse.

    On a long text that ends the whole driver, so whether a run fails would depend on a value.

    >>> list(pattern_problems("^(a|b)*$"))
    ['a pattern must not repeat a group, as in (a|b)*: repeat a class of characters, as in [ab]*']
    >>> list(pattern_problems("^[0-9]{4}-([a-z]+)$"))
    []
    """
    text = re.sub(r"\\Q.*?\\E|\\.", "", spark_text(pattern))
    text = re.sub(r"\[\^?\]?[^\]]*\]", "", text)
    if re.search(r"\)\s*[*+{]", text):
        yield "a pattern must not repeat a group, as in (a|b)*: repeat a class of characters, as in [ab]*"


def spark_text(literal: str) -> str:
    """What Spark makes of the inside of a text literal (``spark.sql.parser.escapedStringLiterals`` is off).

    >>> spark_text(r"\\u0028a\\050\\d")
    '(a(d'
    """

    def one(match: re.Match[str]) -> str:
        code = match.group(1)
        if code[0] in "uU" and len(code) > 1:
            return chr(int(code[1:], 16))
        if len(code) == 3:
            return chr(int(code, 8))
        return _ESCAPES.get(code, code)

    return _ESCAPED.sub(one, literal)


_ESCAPED = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[01][0-7]{2}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "0": "\0", "Z": "\x1a", "%": "\\%", "_": "\\_"}


def _groups(pattern: str | int | None) -> int:
    try:
        return re.compile(str(pattern)).groups
    except re.error:  # valid for Java alone: only group 0, the whole match, is known to be there
        return 0
