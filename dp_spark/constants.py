"""Constants that Spark would read to null for every row, or refuse once rows are there: checked by list, without Spark."""

from __future__ import annotations

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
    return zone in _SHORT.split() or zone in zoneinfo.available_timezones() - {"Factory", "localtime", "posixrules"}
