"""Constants that the release file alone shows to be wrong: ``plan`` refuses them, before any Spark."""

from __future__ import annotations

import pytest
from helpers import release_spec

from dp_spark.engine.preprocess import check_steps
from dp_spark.errors import SpecError
from dp_spark.spec.constants import zone_problems


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("from_utc_timestamp(at, 'Nowhere/City')", "Nowhere/City"),
        ("to_utc_timestamp(at, :zone)", "Mars/Base"),
        ("trunc(d, 'foo')", "foo"),
        ("trunc(d, 'day')", "day"),
        ("date_trunc('fortnight', at)", "fortnight"),
        ("date_part('foo', d)", "foo"),
        ("extract(foo from d)", "FOO"),
        ("next_day(d, 'Someday')", "Someday"),
        ("sha2(s, 100)", "100"),
        ("get_json_object(s, 'name')", "begin with"),
        ("width_bucket(x, 5, 5, 10)", "two different ends"),
        ("width_bucket(x, 0, 5, 0)", "above 0"),
        ("timestampdiff(fortnight, a, b)", "no unit fortnight"),
        ("timestampdiff('day', a, b)", "without quotes"),
        ("datediff(foo, a, b)", "no unit foo"),
        ("date_diff(`day`, a, b)", "without quotes"),
        ("date_add(foo, 1, d)", "no unit foo"),
        ("date_add(d, 'x')", "whole number, not 'x'"),
        ("add_months(d, '1.5')", "whole number"),
        ("d + interval 1 fortnight", "no unit"),
        ("d + interval 1 quarter", "no unit"),
        ("at + interval 1 nanosecond", "no unit"),
        ("timestampdiff(dayofyear, a, b)", "no unit dayofyear"),
        ("d + interval 'x' day", "whole number, not 'x'"),
        ("d + interval 1.5 day", "whole number"),
        ("date '2020-13-45'", "no date '2020-13-45'"),
        (f"date '{'9' * 5000}'", "must start with a year"),
        ("date '2020:30'", "must start with a year"),
        ("timestamp '2021-02-29 10:00:00'", "no timestamp"),
        ("timestamp_ntz '2021-02-28 24:00:00'", "no timestamp_ntz"),
    ],
)
def test_a_constant_that_gives_null_for_every_row_is_refused(text: str, named: str) -> None:
    with pytest.raises(SpecError, match=named) as caught:
        check_steps(release_spec(parameters={"zone": "Mars/Base"}, preprocess=[{"derive": {"y": text}}]))
    assert (caught.value.exit_code, caught.value.where) == (2, "preprocess.0.derive.y")


@pytest.mark.parametrize(
    "text",
    [
        "from_utc_timestamp(at, 'Europe/Berlin')", "trunc(d, 'mon')", "date_trunc('Week', at)", "extract(dow from d)",
        "date_part('YEAR', d)", "next_day(d, 'tue')", "sha2(s, 256)", "get_json_object(s, '$.a')", "width_bucket(x, 0, 5, 3)",
        "timestampdiff(Day, a, b)", "datediff(a, b)", "date_add(d, ' -1 ')", "d + interval 2 weeks", "d + interval '-1' Month",
        "d + interval 1.5 seconds", "d + interval '1 day 2 hours'", "d + interval '1-2' year to month", "date '2024-02-29'",
        "date '2024-2'", "timestamp '2024-02-29T23:59:59.999 Europe/Berlin'",
    ],
)  # fmt: skip
def test_what_spark_knows_is_let_through(text: str) -> None:
    check_steps(release_spec(preprocess=[{"derive": {"y": text}}]))


@pytest.mark.parametrize(
    ("zone", "known"),
    [("UTC", True), ("Z", True), ("EST", True), ("+1:30", True), ("UTC+01:00", True), ("GMT-5", True), ("-18:00", True),
     ("utc", False), ("CEST", False), ("+25:00", False), ("+18:30", False), ("", False), ("europe/berlin", False)],
)  # fmt: skip
def test_zones_are_those_of_java(zone: str, known: bool) -> None:
    assert (not list(zone_problems(zone))) == known
