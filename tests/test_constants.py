"""Constants that the release file alone shows to be wrong: ``plan`` refuses them, before any Spark."""

from __future__ import annotations

import pytest
from helpers import release_spec

from dp_spark.constants import zone_problems
from dp_spark.errors import SpecError
from dp_spark.preprocess import check_steps


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
