"""Dates and timestamps as numbers and as texts for Spark, in years that Python does not have."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp_spark.schema.moments import Kind, Moment, moment_of, text_of

EPOCH = dt.datetime(1970, 1, 1)
KINDS: dict[Kind, tuple[int, int]] = {
    "date": (-(2**31), 2**31 - 1),
    "timestamp": (-(2**63), 2**63 - 1),
    "timestamp_ntz": (-(2**63) + 2 * 86_400_000_000, 2**63 - 1 - 2 * 86_400_000_000),
}


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
def test_every_moment_of_spark_has_a_text_and_the_text_means_it(kind: Kind, data: st.DataObject) -> None:
    number = data.draw(st.sampled_from(KINDS[kind]) | st.integers(*KINDS[kind]))
    assert moment_of(text_of(number, kind), kind) == Moment(kind, number)


@given(st.datetimes())
def test_where_python_has_years_it_agrees(moment: dt.datetime) -> None:
    micros = (moment - EPOCH) // dt.timedelta(microseconds=1)
    assert moment_of(moment.isoformat(), "timestamp_ntz") == Moment("timestamp_ntz", micros)
    assert moment_of(moment.date().isoformat(), "date") == Moment("date", moment.toordinal() - EPOCH.toordinal())
    east = moment_of(f"{moment.isoformat()}+00:53:28", "timestamp")
    assert east == Moment("timestamp", micros - 3_208_000_000)


@pytest.mark.parametrize(
    ("text", "kind", "number"),
    [
        ("1582-10-10", "date", -141_432),  # a day that the calendar of java.sql.Timestamp lacks
        ("-0001-12-31", "date", -719_529),
        ("0000-02-29", "date", -719_469),
        ("+5881580-07-11", "date", 2**31 - 1),
        ("20240229", "date", 19_782),  # as Python has always read a listed key
        ("9999-12-31 23:59:59.999999-12:00", "timestamp", 253_402_343_999_999_999),
        ("0001-01-01T00:00:00+12:00", "timestamp", -62_135_640_000_000_000),
        ("+10000-01-01", "timestamp_ntz", 253_402_300_800_000_000),
        ("2024-01-01 10:00", "timestamp_ntz", 1_704_103_200_000_000),
    ],
)
def test_old_far_and_short_texts(text: str, kind: Kind, number: int) -> None:
    assert moment_of(text, kind) == Moment(kind, number)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1500-02-29", "date"), ("+5881580-07-12", "date"), ("2024-01-01 10:00:00", "date"), ("now", "date"), ("", "date"),
        ("+12345-13-01", "date"), ("+12345-01-01 24:00:00", "timestamp"), ("+294247-01-10 04:00:54.775808Z", "timestamp"),
        ("-290308-12-21 19:59:05.224191Z", "timestamp"), ("2024-01-01 00:00:00Z", "timestamp_ntz"), ("today", "timestamp"),
        ("+300000-01-01 00:00:00", "timestamp"), ("2024-01-01\n", "timestamp_ntz"), ("٢٠٢٤-01-01", "date"),
    ],
)  # fmt: skip
def test_what_spark_has_not_is_no_moment(text: str, kind: Kind) -> None:
    assert moment_of(text, kind) is None
