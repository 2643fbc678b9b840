"""Dates and timestamps as whole numbers, exactly, in the proleptic Gregorian calendar, for all years that Spark has.

Python's own end at the years 1 and 9999, and pass through java.sql's old calendar and the machine's time zone on their way
to Spark. So a constant is a number of days or microseconds here, and a typed text in Spark.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Literal

#: Spark's names of the types; a timestamp_ntz is a time on the wall, without a zone.
Kind = Literal["date", "timestamp", "timestamp_ntz"]


@dataclass(frozen=True)
class Moment:
    """A date, a time on the wall or an instant.

    Attributes:
        kind: Which of them.
        number: Days, or microseconds, since 1970.
    """

    kind: Kind
    number: int

    @property
    def text(self) -> str:
        """What Spark casts to exactly this; a time on the wall becomes an instant in the session's time zone."""
        return text_of(self.number, self.kind)


_TEXT = re.compile(
    r"(?P<year>[+-]?[0-9]{4,7})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
    r"(?P<time>[T ](?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(:(?P<second>[0-9]{2})([.,](?P<fraction>[0-9]{1,6})[0-9]*)?)?"
    r"(?P<zone>Z|[+-][0-9]{2}:[0-9]{2}(:[0-9]{2})?)?)?"
)
#: The calendar repeats itself after so many years and days.
_YEARS, _DAYS = 400, 146_097
_EPOCH = dt.date(1970, 1, 1).toordinal()
_SECOND = 1_000_000
_DAY = 86_400 * _SECOND


def moment_of(text: str, kind: Kind) -> Moment | None:
    """The date or time that a text means; None where it means none, or one outside of Spark's range.

    Args:
        text: ISO 8601, the year with a sign or more digits where it needs them.
        kind: The type it is for. For a timestamp without a zone of its own the time on the wall is returned: which instant
            that is depends on the history of a zone, of which Python and Java have different editions.

    >>> moment_of("0001-01-01", "date"), moment_of("1900-02-29", "date")
    (Moment(kind='date', number=-719162), None)
    >>> moment_of("9999-12-31 23:59:59-05:00", "timestamp"), moment_of("1970-01-01 00:00:01", "timestamp")
    (Moment(kind='timestamp', number=253402318799000000), Moment(kind='timestamp_ntz', number=1000000))
    """
    found = _TEXT.fullmatch(_usual(text, kind))
    if found is None or (kind == "date" and found["time"] is not None):
        return None
    try:
        days = _days(int(found["year"]), int(found["month"]), int(found["day"]))
        time = dt.time(int(found["hour"] or 0), int(found["minute"] or 0), int(found["second"] or 0))
    except ValueError:  # no such day, no such time
        return None
    if kind == "date":
        return Moment("date", days) if -(2**31) <= days < 2**31 else None
    seconds = ((days * 24 + time.hour) * 60 + time.minute) * 60 + time.second
    zone, micros = found["zone"], int((found["fraction"] or "").ljust(6, "0"))
    if zone is None:
        number, limit = seconds * _SECOND + micros, 2**63 - 2 * _DAY  # an instant in any zone, too
        return Moment("timestamp_ntz", number) if -limit <= number < limit else None
    number = (seconds - _offset(zone)) * _SECOND + micros
    return Moment("timestamp", number) if kind == "timestamp" and -(2**63) <= number < 2**63 else None


def text_of(number: int, kind: Kind) -> str:
    """The text that Spark casts to exactly this date or timestamp, whatever its time zone.

    >>> text_of(-719163, "date"), text_of(253402300800000001, "timestamp"), text_of(0, "timestamp_ntz")
    ('0000-12-31', '+10000-01-01 00:00:00.000001Z', '1970-01-01 00:00:00')
    """
    days, micros = (number, 0) if kind == "date" else divmod(number, _DAY)
    cycles, day = divmod(days + _EPOCH - 1, _DAYS)
    date = dt.date.fromordinal(day + 1)
    year = date.year + cycles * _YEARS
    sign = "-" if year < 0 else "+" if year > 9999 else ""
    text = f"{sign}{abs(year):04}-{date.month:02}-{date.day:02}"
    if kind == "date":
        return text
    seconds, fraction = divmod(micros, _SECOND)
    text += f" {seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}" + (f".{fraction:06}" if fraction else "")
    return text + ("Z" if kind == "timestamp" else "")


def _usual(text: str, kind: Kind) -> str:
    """A text in one of the other forms of ISO 8601 in the usual one; Python only rewrites it here."""
    try:
        return dt.date.fromisoformat(text).isoformat() if kind == "date" else dt.datetime.fromisoformat(text).isoformat()
    except ValueError:
        return text


def _days(year: int, month: int, day: int) -> int:
    cycles, within = divmod(year - 1, _YEARS)
    return dt.date(within + 1, month, day).toordinal() + cycles * _DAYS - _EPOCH


def _offset(zone: str) -> int:
    """Seconds east of Greenwich of Z, +02:00 or -00:53:28."""
    if zone == "Z":
        return 0
    hours, minutes, seconds = ([*map(int, zone[1:].split(":")), 0])[:3]
    return (1 if zone[0] == "+" else -1) * ((hours * 60 + minutes) * 60 + seconds)
