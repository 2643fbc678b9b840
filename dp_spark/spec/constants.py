"""Constants that Spark would read to null for every row, or refuse once rows are there: checked by list, without Spark."""

from __future__ import annotations

import calendar
import functools
import re
import zoneinfo
from collections.abc import Iterator, Sequence

_YEARS, _QUARTERS, _MONTHS, _WEEKS = ("YEAR", "YYYY", "YY"), ("QUARTER",), ("MONTH", "MM", "MON"), ("WEEK",)
_DATE_UNITS = (*_YEARS, *_QUARTERS, *_MONTHS, *_WEEKS)
_TIME_UNITS = (*_DATE_UNITS, "DAY", "DD", "HOUR", "MINUTE", "SECOND", "MILLISECOND", "MICROSECOND")
_FIELDS = """
YEAR Y YEARS YR YRS YEAROFWEEK QUARTER QTR MONTH MON MONS MONTHS WEEK W WEEKS DAY D DAYS DAYOFWEEK DOW DAYOFWEEK_ISO
DOW_ISO DOY HOUR H HOURS HR HRS MINUTE M MIN MINS MINUTES SECOND S SEC SECONDS SECS
"""
_DAYS = "SU SUN SUNDAY MO MON MONDAY TU TUE TUESDAY WE WED WEDNESDAY TH THU THURSDAY FR FRI FRIDAY SA SAT SATURDAY"
#: Function -> which of its arguments is a word of a list (in any case), what that is, and the list.
_LISTS: dict[str, tuple[int, str, tuple[str, ...]]] = {
    "trunc": (1, "unit", _DATE_UNITS),
    "date_trunc": (0, "unit", _TIME_UNITS),
    "date_part": (0, "field", tuple(_FIELDS.split())),
    "next_day": (1, "day of the week", tuple(_DAYS.split())),
}
#: Functions that take a bare word before two other arguments (some have a form of two arguments without it).
UNIT_CALLS = frozenset(("date_add", "date_diff", "dateadd", "datediff", "timestampadd", "timestampdiff"))
_CALL_UNITS = ["YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND", "MILLISECOND", "MICROSECOND"]
_INTERVAL_UNITS = ["YEAR", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND", "MILLISECOND", "MICROSECOND"]
_WHOLE_AT = {"add_months": 1, "date_add": 1, "date_sub": 1}
_WHOLE = re.compile(r"\s*[+-]?[0-9]+\s*")
_SECONDS = re.compile(r"\s*[+-]?([0-9]+(\.[0-9]{0,9})?|\.[0-9]{1,9})\s*")
#: The beginning of a date or timestamp literal: what Spark requires of month, day and time where they are there.
_LITERAL = re.compile(r"(\d{4,7})(?:-(\d{1,9})(?:-(\d{1,9})(?:[ T]+(\d{1,9})(?::(\d{1,9})(?::(\d{1,9}))?)?)?)?)?", re.ASCII)
_ZONE_AT = {"from_utc_timestamp": 1, "to_utc_timestamp": 1}
_SHA2 = (0, 224, 256, 384, 512)
#: What Java knows besides the regions: Spark passes java.time.ZoneId's short names on.
_SHORT = "ACT AET AGT ART AST BET BST CAT CNT CST CTT EAT ECT IET IST JST MIT NET NST PLT PNT PRT PST SST VST EST MST HST Z"
_OFFSET = re.compile(r"^(UTC|GMT|UT)?([+-])(\d{1,2})(:(\d{1,2})(:\d{2})?|(\d{2})(\d{2})?)?$")


def argument_problems(name: str, constants: Sequence[str | int | None]) -> Iterator[str]:
    """What is wrong with the constants of a call, as the release file alone tells it.

    Args:
        name: The function, in lower case.
        constants: For each argument its value, where it is one plain constant; else None.

    >>> list(argument_problems("date_trunc", ["fortnight", None]))[0][:48]
    'date_trunc knows no unit fortnight: it takes YEA'
    >>> list(argument_problems("from_utc_timestamp", [None, "Europe/Berlin"]))
    []
    """
    values = {position: value for position, value in enumerate(constants) if value is not None}
    if name in _LISTS:
        position, what, known = _LISTS[name]
        if position in values and str(values[position]).upper() not in known:
            yield f"{name} knows no {what} {values[position]}: it takes {', '.join(known)}"
    if name in _ZONE_AT and _ZONE_AT[name] in values:
        yield from zone_problems(str(values[_ZONE_AT[name]]))
    if name in _WHOLE_AT and len(constants) == 2:
        amount = values.get(_WHOLE_AT[name])
        if isinstance(amount, str) and not _WHOLE.fullmatch(amount):
            yield f"{name} takes a whole number, not {amount!r}"
    if name == "sha2" and 1 in values and values[1] not in _SHA2:
        yield f"sha2 knows no length {values[1]}: it takes {', '.join(map(str, _SHA2))}"
    if name == "get_json_object" and 1 in values and not str(values[1]).startswith("$"):
        yield "the path of get_json_object must begin with $, as in $.name"
    if name == "width_bucket" and 3 in values and not (isinstance(values[3], int) and values[3] > 0):
        yield "width_bucket needs a number of buckets above 0"
    if name == "width_bucket" and 1 in values and values.get(1) == values.get(2):
        yield "width_bucket needs two different ends"


def field_problems(field: str) -> Iterator[str]:
    """What is wrong with the field of ``extract(field from x)``.

    >>> list(field_problems("year"))
    []
    """
    yield from argument_problems("date_part", [field])


def unit_problems(name: str, unit: str, *, bare: bool) -> Iterator[str]:
    """What is wrong with the unit of a call such as ``timestampdiff(day, a, b)``.

    Args:
        name: One of ``UNIT_CALLS``, called with three arguments.
        unit: Its first argument.
        bare: Whether that is a word without quotes.

    >>> list(unit_problems("datediff", "Day", bare=True)), len(list(unit_problems("datediff", "day", bare=False)))
    ([], 1)
    """
    if unit.upper() not in _CALL_UNITS and not (unit.upper() == "DAYOFYEAR" and name.endswith("add")):
        yield f"{name} knows no unit {unit}: it takes {', '.join(_CALL_UNITS)}"
    elif not bare:
        yield f"{name} takes its unit without quotes: {name}({unit}, ...)"


def interval_problems(amount: str, unit: str) -> Iterator[str]:
    """What is wrong with ``interval amount unit``.

    >>> list(interval_problems("-2", "days")), list(interval_problems("1.5", "second"))
    ([], [])
    >>> list(interval_problems("x", "day"))
    ["an interval of day takes a whole number, not 'x'"]
    """
    word = unit.upper()
    if word not in _INTERVAL_UNITS and word.removesuffix("S") not in _INTERVAL_UNITS:
        yield f"an interval knows no unit {unit}: it takes {', '.join(_INTERVAL_UNITS)}"
    elif not (_SECONDS if word.startswith("SECOND") else _WHOLE).fullmatch(amount):
        yield f"an interval of {unit} takes a whole number, not {amount!r}"


def literal_problems(kind: str, text: str) -> Iterator[str]:
    """What is wrong with the literal of a date or time.

    >>> list(literal_problems("date", "2024-02-29")), list(literal_problems("timestamp", "2024-1-5 23:59:59.9 Europe/Berlin"))
    ([], [])
    >>> list(literal_problems("date", "2023-02-29"))
    ["there is no date '2023-02-29'"]
    """
    found = _LITERAL.match(text)
    if found is None or re.match("[0-9:]", text[found.end() :]):
        yield f"the {kind} literal must start with a year; words such as now, or a time of day alone, are not allowed"
    elif kind != "time":
        year, month, day, hour, minute, second = (
            int(part or default) for part, default in zip(found.groups(), "011000", strict=True)
        )
        days = calendar.monthrange(year % 400 + 2000, month)[1] if 1 <= month <= 12 else 0
        if not 1 <= day <= days or hour > 23 or minute > 59 or second > 59:
            yield f"there is no {kind} {text!r}"


def zone_problems(zone: str) -> Iterator[str]:
    """What is wrong with the name of a time zone; upper and lower case differ, as in Java.

    >>> [list(zone_problems(zone)) for zone in ("Asia/Tokyo", "+01:30", "UTC-5", "EST", "Z")]
    [[], [], [], [], []]
    >>> list(zone_problems("Europe/Atlantis"))
    ['there is no time zone Europe/Atlantis: write one such as Europe/Berlin, UTC or +01:00']
    """
    if not _is_zone(zone):
        yield f"there is no time zone {zone}: write one such as Europe/Berlin, UTC or +01:00"


def _is_zone(zone: str) -> bool:
    offset = _OFFSET.match(zone)
    if offset is not None:
        hours, minutes = int(offset.group(3)), int(offset.group(5) or offset.group(7) or 0)
        return hours * 60 + minutes <= 18 * 60 and minutes < 60
    return zone in _SHORT.split() or is_region(zone)


def is_region(name: str) -> bool:
    """Whether a time zone is a region that Java knows, too: of Python's list these are only files of an operating system.

    >>> is_region("Europe/Berlin"), is_region("localtime"), is_region("Factory")
    (True, False, False)
    """
    return name in _regions()


@functools.cache
def _regions() -> frozenset[str]:
    """Read once: Python walks the folders of all zones for it, at every release file that is checked."""
    return frozenset(zoneinfo.available_timezones() - {"Factory", "localtime", "posixrules"})
