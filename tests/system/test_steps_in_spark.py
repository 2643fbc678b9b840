"""Filled times, arrays, intervals, and columns named like words of SQL, as Spark computes them."""

from __future__ import annotations

import datetime as dt
import math
import os
import time
from decimal import Decimal

import pyarrow as pa
import pytest
from frames import frame_of, tuples
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from source_helpers import steps

from dp_spark.errors import SourceError
from dp_spark.spark.settings import settings
from dp_spark.spec.row_functions import CHARSETS

STR, INT, LONG, DOUBLE = pa.string(), pa.int32(), pa.int64(), pa.float64()


pytestmark = pytest.mark.usefixtures("held")


ZONES = ["UTC", "America/New_York", "Asia/Kolkata"]
FILLS = [
    ("date", "1500-02-28"), ("date", "0001-01-01"), ("date", "9999-12-31"), ("date", "+12345-01-31"), ("date", "-0044-03-15"),
    ("timestamp", "1582-10-10 12:00:00"), ("timestamp", "0001-01-01 00:00:00"), ("timestamp", "9999-12-31 23:59:59.999999"),
    ("timestamp", "1947-06-01 12:00:00"), ("timestamp", "2024-03-10 02:30:00"), ("timestamp", "2024-11-03 01:30:00"),
    ("timestamp", "+12345-01-31 00:00:00"), ("timestamp", "2024-07-01 00:00:00+05:30"),
    ("timestamp_ntz", "2024-03-10 02:30:00"),
    ("timestamp_ntz", "1582-10-10 12:00:00"), ("timestamp_ntz", "0001-01-01 00:00:00"),
]  # fmt: skip


@pytest.mark.parametrize("zone", ZONES)
def test_a_filled_time_is_the_one_that_is_written_wherever_the_machine_is(spark: SparkSession, zone: str) -> None:
    """As Spark reads the same text; Python's calendar ends at the year 9999, Java's old one changes in 1582."""
    machine, before = {"UTC": "Pacific/Apia"}.get(zone, "UTC"), os.environ.get("TZ")
    os.environ["TZ"] = machine
    time.tzset()
    try:
        with settings(spark, {"spark.sql.session.timeZone": zone}):
            kinds = {f"c{index}": kind for index, (kind, _) in enumerate(FILLS)}
            frame = spark.range(1).select(*(F.lit(None).cast(kind).alias(name) for name, kind in kinds.items()))
            filled = steps(spark, frame, {"fill": dict(zip(kinds, (text for _, text in FILLS), strict=True))}, timezone=zone)
            written = spark.range(1).select(*(F.expr(f"{kind} '{text}'") for kind, text in FILLS))
            assert filled.dtypes == list(kinds.items())
            found, expected = (numbers(one.toArrow()) for one in (filled, written))
            assert dict(zip(FILLS, found, strict=True)) == dict(zip(FILLS, expected, strict=True))
    finally:
        os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
        time.tzset()


def numbers(table: pa.Table) -> list[int]:
    """Dates and times as numbers: Python has no years after 9999."""
    return [item.cast(pa.int32() if pa.types.is_date(item.type) else pa.int64())[0].as_py() for item in table.columns]


HOSTILE = {
    "l": (LONG, [0, -1, 2**63 - 1, -(2**63), 253_402_300_800, 10**15, 9_223_372_036_855, None, 1, 2]),
    "i": (INT, [0, -1, 2**31 - 1, -(2**31), None, 1, 2, 3, 4, 5]),
    "x": (DOUBLE, [0.0, math.nan, math.inf, -math.inf, 1e300, -1e300, 5e-324, 1.5, None, 9.3e12]),
    "s": (STR, ["", "a,b", ",", "now", "+294247-01-10 04:00:54.775807", "%", "\\", "2024-01-01", None, "9" * 30]),
    "d": (pa.date32(), [0, 2**31 - 1, -(2**31), -719162, 2932896, None, 106751991, -106751991, 1, 2]),
    "t": (pa.timestamp("us", "UTC"), [0, 2**63 - 1, -(2**63), 253402300799999999, None, -1, 10**15, -(10**15), 1, 2]),
    "b": (pa.binary(), [b"", b"\xff", b"\xed\xa0\x80", None, b"\x00", b"\xd8\x00", b"\xfe\xff", b"\xff" * 4, b"a", b"ab"]),
    "a": (pa.list_(STR), [[], None, ["a"], [None], ["a", None], ["x"] * 5, [""], ["a", "b"], [","], ["now"]]),
    "m": (pa.map_(STR, STR), [[], None, [("k", "v")], [("k", None)], [("", "x")], [("now", "0")], [], [], [], []]),
    "e": (pa.decimal128(38, 9), [None, *map(Decimal, ("9" * 29 + "." + "9" * 9, "-1e28", "0.123456789", *"123456"))]),
}  # fmt: skip
ROW_WISE = [
    "a[0]", "a[i]", "a[l]", "a[-1]", "m['k']", "m[s]", "element_at(a, 1)", "element_at(a, -999999999)", "element_at(m, 'k')",
    "array_contains(a, s)", "array_size(a)", "split(s, ',')[0]", "split(s, '', 3)[i]", "split(cast(b as string), 'a')[0]",
    "size(split(s, '[,a]'))", "split(date_format(t, 'yyyy-MM'), '-')[0]", "split(date_format(d, 'yyyy-MM'), '-')",
    "d + interval 1 day", "d - interval '1' month", "d + interval 100000 year", "d + interval 1 hour", "t + interval 1 day",
    "t - interval '1 day 2 hours'", "t + interval '99999999' day", "t - interval '1-2' year to month",
    "cast(s as timestamp) + interval 1 day",
    "cast(t as timestamp_ntz) + interval 1 second", "interval 1 day + t", "t + (-interval 1 month)",
    "t - d < interval 30 minutes", "t - d between interval 1 day and interval 2 days", "d - d > interval 30 days",
    "from_unixtime(l)", "from_unixtime(x, 'yyyy')", "from_unixtime(s)", "timestamp_seconds(l)", "timestamp_seconds(x)",
    "timestamp_seconds(e)", "timestamp_millis(l)", "timestamp_micros(l)", "timestampdiff(day, d, t)",
    "timestampdiff(year, s, t)",
    "timestampdiff(MICROSECOND, d, t)", "dayname(d)", "dayname(t)", "dayname(s)", "monthname(d)", "monthname(t)",
    "monthname(s)",
    *(f"decode(b, '{name.lower()}')" for name in CHARSETS), "decode(s, 'utf-16be')", "decode(l, 1, 'one', 2, 'two', 'other')",
    "decode(s, 'a', d, t)", "decode(x, l, 'same')", "s like any ('a%', '%b')", "s like all ('a%', '_')",
    "s not ilike any ('A')",
    "s like some ('a%')", "cast(b as string) like any ('%a')", "coalesce(m[s], element_at(a, 1), dayname(d))",
    "case when x > 0 then a[i] else split(s, ',')[0] end", "if(array_contains(a, s), timestamp_millis(l), t)",
]  # fmt: skip


@pytest.mark.slow
def test_no_value_makes_arrays_intervals_and_their_functions_fail(spark: SparkSession) -> None:
    """One job over every expression: whether a run fails must not depend on a value."""
    frame = frame_of(
        spark, {name: kind for name, (kind, _) in HOSTILE.items()}, zip(*(v for _, v in HOSTILE.values()), strict=True)
    )
    with settings(spark, {"spark.sql.session.timeZone": "America/New_York"}):
        found = steps(spark, frame, {"derive": {f"c{index}": text for index, text in enumerate(ROW_WISE)}})
        texts = found.repartition(2).select(*(F.col(f"c{index}").cast("string") for index in range(len(ROW_WISE))))
        assert texts.select(F.hash(*texts.columns)).toArrow().num_rows == 10


def test_arrays_intervals_and_their_functions_mean_what_they_do_in_spark(spark: SparkSession) -> None:
    columns = {"a": pa.list_(STR), "m": pa.map_(STR, INT), "d": pa.date32(), "s": STR, "b": pa.binary(), "n": LONG}
    frame = frame_of(spark, columns, [(["x", "y"], [("k", 7)], dt.date(2024, 1, 31), "p,q", b"\xe9", 86_400)])
    expected = {
        "a[1]": "y", "a[2]": None, "m['k']": 7, "m['other']": None, "element_at(a, -1)": "y", "array_contains(a, 'x')": True,
        "array_size(a)": 2, "split(s, ',')[1]": "q", "d + interval 1 month": dt.date(2024, 2, 29),
        "d - date '2024-01-01' > interval 29 days": True, "from_unixtime(n)": "1970-01-02 00:00:00",
        "unix_timestamp(timestamp_millis(n))": 86, "timestampdiff(MONTH, date '2023-01-31', d)": 12, "dayname(d)": "Wed",
        "monthname(d)": "Jan", "decode(b, 'iso-8859-1')": "é", "decode(b, 'utf-8')": None,
        "decode(n, 1, 'one', 'other')": "other",
        "s like any ('x%', '%q')": True, "s like all ('p%', '%x')": False,
    }  # fmt: skip
    with settings(spark, {"spark.sql.session.timeZone": "UTC"}):
        found = steps(spark, frame, {"derive": {f"c{index}": text for index, text in enumerate(expected)}})
        [row] = tuples(found.select(*(f"c{index}" for index in range(len(expected)))))
    assert dict(zip(expected, row, strict=True)) == expected


def test_a_column_may_be_a_word_of_sql_and_never_a_function(spark: SparkSession) -> None:
    frame = frame_of(spark, {"user": STR, "current_date": STR, "set": INT, "values": INT}, [("ann", "x", 1, 2)])
    found = steps(spark, frame, {"filter": "`user` = 'ann' and set = 1"}, {"derive": {"y": "`current_date`", "z": "`values`"}})
    assert tuples(found.select("y", "z")) == [("x", 2)]
    for name in ("user", "current_date", "current_timestamp"):
        with pytest.raises(SourceError, match=f"no column {name}"):
            steps(spark, frame.select("set"), {"filter": f"`{name}` is not null"})
