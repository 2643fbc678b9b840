"""What does not fit is null: which characters of an author's text change, and that no others do."""

from __future__ import annotations

from decimal import Decimal

import pytest

from dp_spark.spec.conversions import TIME_OF_DAY, fitted
from dp_spark.spec.expressions import check_expression

CHANGED = [
    ("cast(x as int)", "try_cast(x as int)"),
    ("CAST (x  as INT)", "try_cast (x  as INT)"),
    ("cast(cast(x as int) as bigint)", "try_cast(try_cast(x as int) as bigint)"),
    ("int(x) + Bigint( y )", "try_cast(x as int) + try_cast( y  as bigint)"),
    ("x::int", "try_cast(x as int)"),
    ("x::int::string", "try_cast(try_cast(x as int) as string)"),
    ("-x::int", "-try_cast(x as int)"),
    ("a-1::int", "a-try_cast(1 as int)"),
    ("a * -1::tinyint", "a * try_cast(-1 as tinyint)"),
    ("(a + b)::decimal(10, 2) > 1", "try_cast((a + b) as decimal(10, 2)) > 1"),
    ("abs(x)::int", "try_cast(abs(x) as int)"),
    ("s.`a b`::int", "try_cast(s.`a b` as int)"),
    ("not (x)::boolean", "not try_cast((x) as boolean)"),
    ("case when a then case b when 1 then 2 end end::int", "try_cast(case when a then case b when 1 then 2 end end as int)"),
    ("-5L::int * 1.5BD", "try_cast(-5L as int) * 1.5BD"),
    ("'1' '2'::int", "try_cast('1' '2' as int)"),
    ("date '2020-01-01'::string", "try_cast(date '2020-01-01' as string)"),
    ("int(x::double)", "try_cast(try_cast(x as double) as int)"),
    ("5L::int", "try_cast(5L as int)"),
    ("x in (1L, 2S::bigint)", "x in (1L, try_cast(2S as bigint))"),
    (".5::int", "try_cast(.5 as int)"),
    ("case when a then -.5D::int end", "case when a then try_cast(-.5D as int) end"),
    ("x::int -1::int", "try_cast(x as int) -try_cast(1 as int)"),
    ("`a b`.c -.5::int + values -2::int", "`a b`.c -try_cast(.5 as int) + values -try_cast(2 as int)"),
    ("cast((x)::double as decimal(3,1))", "try_cast(try_cast((x) as double) as decimal(3,1))"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), CHANGED)
def test_casts_become_casts_that_give_null(text: str, expected: str) -> None:
    assert fitted(text, lambda part: "int") == expected


@pytest.mark.parametrize(
    "text",
    [
        "'cast(x as int)'",
        "`cast`  > 1",
        "`int` + `x::int`",
        "string(x)",
        "floor(x)",
        "floor(x, 2)",
        "try_cast(x as int)",
        "x",
        "x > 1L + 0.5D",
        "x > 5L",
        "x in (1l, 2L)",
        "2S + 3Y",
        "1BD < .5BD",
        "1e3D - 1.5e-3D",
        "x > .5D and y < 0.5F",
        "x - 5L * -.5",
        "- 1.d",
    ],
)
def test_nothing_else_changes(text: str) -> None:
    assert fitted(text, lambda part: "decimal(10,2)") == text


@pytest.mark.parametrize("value", ["0.5", "-0.5", "2", "-1e30", "0.000001"])
def test_a_decimal_parameter_stays_a_literal(value: str) -> None:
    bound = check_expression("x > :p and floor(y / :p) < 3", {"p": Decimal(value)}, where="filter").sql
    assert fitted(bound, lambda part: "decimal(10,2)") == bound


def test_a_floor_of_a_double_is_null_at_the_ends_of_a_bigint() -> None:
    asked = []
    around = "try_add(try_subtract(try_add({}, 1L), 2L), 1L)"
    assert fitted("ceil(a / 2)::int", lambda part: asked.append(part) or "double") == (
        f"try_cast({around.format('ceil(nanvl(a / 2, null))')} as int)"
    )
    assert asked == ["a / 2"]


@pytest.mark.parametrize("text", ["cast(x as bigint)", "bigint(x)", "x::long", "try_cast(x as long)"])
def test_a_double_of_two_to_the_63_is_no_bigint(text: str) -> None:
    kind = "long" if "long" in text else "bigint"
    assert fitted(text, lambda part: "double") == f"try_subtract(try_add(try_cast(x as {kind}), 1L), 1L)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cast(s as timestamp)", "try_cast({s} as timestamp)"),
        ("s::timestamp", "try_cast({s} as timestamp)"),
        ("hour(s)", "hour({s})"),
        ("extract(day from s)", "extract(day from {s})"),
        ("date_trunc('day', s)", "date_trunc('day', {s})"),
        ("to_timestamp(s)", "to_timestamp({s})"),
        ("to_timestamp(s, 'HH')", "to_timestamp(s, 'HH')"),
        ("cast(s as date)", "try_cast(s as date)"),
        ("datediff(s, at)", "datediff(s, at)"),
        ("date_add(s, 1)", "date_add(s, 1)"),
        ("date_add(day, 1, s)", "date_add(day, 1, {s})"),
        ("DateDiff(HOUR, s, s)", "DateDiff(HOUR, {s}, {s})"),
        ("date_diff(minute, '12:30' , s)", "date_diff(minute, {l} , {s})"),
    ],
)
def test_a_text_that_becomes_a_timestamp_has_a_date(text: str, expected: str) -> None:
    assert fitted(text, lambda part: "string") == expected.format(
        s=f"regexp_replace(s, '{TIME_OF_DAY}', '')", l=f"regexp_replace('12:30', '{TIME_OF_DAY}', '')"
    )
    assert TIME_OF_DAY not in fitted(text, lambda part: "timestamp")
