"""Preprocess steps: what each does, that none is more than row-wise, and that no value can make a run fail."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from chispa import assert_df_equality
from frames import frame_of, tuples
from helpers import release_spec
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from source_helpers import steps

from dp_spark.engine.preprocess import check_steps
from dp_spark.engine.time_guard import guarded
from dp_spark.errors import SourceError, SpecError
from dp_spark.spark.errors import SPARK_ERRORS, condition
from dp_spark.spec.expressions import check_expression
from dp_spark.spec.row_functions import ALLOWED_FUNCTIONS

STR, INT, LONG, DOUBLE = pa.string(), pa.int32(), pa.int64(), pa.float64()


@pytest.fixture(autouse=True)
def as_in_a_release(request: pytest.FixtureRequest) -> None:
    """Tests with a session have it as a release has; the others start none."""
    if "spark" in request.fixturenames:
        request.getfixturevalue("held")


@pytest.fixture
def visits(spark: SparkSession) -> DataFrame:
    columns = {"id": INT, "test": STR, "value": DOUBLE, "raw": STR}
    return frame_of(
        spark, columns, [(1, "a", 1.5, "10"), (2, "b", None, "x"), (3, None, -4.0, None), (3, "a", math.nan, "7.9")]
    )


# --- each kind of step ------------------------------------------------------------------------------------------------


def test_no_step_changes_nothing_but_nan(spark: SparkSession, visits: DataFrame) -> None:
    assert_df_equality(steps(spark, visits), visits.withColumn("value", F.nanvl("value", F.lit(None).cast("double"))))


def test_filter_keeps_rows_for_which_it_is_true(spark: SparkSession, visits: DataFrame) -> None:
    assert tuples(steps(spark, visits, {"filter": "value > 0 and value < 9"}).select("id")) == [(1,)]
    assert tuples(steps(spark, visits, {"filter": "test <> 'a'"}).select("id")) == [(2,)], "null is not true"


@pytest.mark.parametrize("text", ["it's", '"', "\\", "a'; --", "`", "100%", "é\n\t", "\\u0041", "🚲", "${HOME}", ":since", ""])
def test_a_text_parameter_is_a_literal_whatever_it_holds(spark: SparkSession, text: str) -> None:
    frame = frame_of(spark, {"id": INT, "test": STR}, [(1, text), (2, "other"), (3, None), (4, "A")])
    found = steps(spark, frame, {"filter": "test = :wanted"}, parameters={"wanted": text})
    assert tuples(found) == [(1, text)]


def test_number_and_boolean_parameters_keep_their_type(spark: SparkSession) -> None:
    frame = frame_of(spark, {"id": INT, "x": DOUBLE}, [(-3, 0.1), (4, 0.2)])
    parameters = {"low": -3, "tenth": Decimal("0.1"), "yes": True, "negative": Decimal("-1.5")}
    step = {"derive": {"a": "id - :low", "b": "x = :tenth", "c": ":yes", "d": "1-:negative"}}
    found = steps(spark, frame, step, parameters=parameters)
    assert tuples(found.select("a", "b", "c", "d")) == [(0, True, True, 2.5), (7, False, True, 2.5)]


def test_a_later_derive_sees_an_earlier_one_and_can_replace_a_column(spark: SparkSession, visits: DataFrame) -> None:
    found = steps(
        spark,
        visits,
        {"derive": {"double_id": "id * 2", "more": "double_id + 1", "value": "coalesce(value, 0)"}},
        {"filter": "more > 3"},
        {"derive": {"MORE": "more * 10"}},
    )
    assert found.columns == ["id", "test", "value", "raw", "double_id", "MORE"]
    assert [(row[4], row[5]) for row in tuples(found)] == [(4, 50), (6, 70), (6, 70)]
    assert next(iter(tuples(found)))[2] == 0.0


def test_cast_gives_the_type_and_null_for_what_does_not_fit(spark: SparkSession, visits: DataFrame) -> None:
    found = steps(spark, visits, {"cast": {"RAW": "int", "value": "decimal(3,1)"}})
    assert found.columns == ["id", "test", "value", "raw"]
    assert [row[2:] for row in tuples(found)] == [
        (Decimal("1.5"), 10), (None, None), (Decimal("-4.0"), None), (None, None),
    ]  # fmt: skip


def test_fill_replaces_null_with_a_value_of_the_columns_type(spark: SparkSession) -> None:
    columns = {"id": INT, "s": STR, "i": LONG, "d": DOUBLE, "b": pa.bool_(), "m": pa.decimal128(6, 2), "t": pa.date32()}
    frame = frame_of(spark, columns, [(1, *[None] * 6), (2, "", 0, math.nan, False, Decimal("0.00"), dt.date(2020, 2, 29))])
    fill = {"S": "it's", "i": 7, "d": Decimal("0.5"), "b": True, "m": Decimal("1.25"), "t": "2024-01-31"}
    found = steps(spark, frame, {"fill": fill})
    assert found.dtypes == frame.dtypes
    first, second = tuples(found)
    assert first == (1, "it's", 7, 0.5, True, Decimal("1.25"), dt.date(2024, 1, 31))
    assert second[1:] == ("", 0, 0.5, False, Decimal("0.00"), dt.date(2020, 2, 29)), "only null is filled, and NaN is null"


@pytest.mark.parametrize(("name", "value"), [("i", "unknown"), ("i", Decimal("1.5")), ("s", 7), ("t", "2024-13-01"), ("b", 1)])
def test_a_fill_that_is_no_value_of_the_columns_type_is_refused(spark: SparkSession, name: str, value: object) -> None:
    frame = frame_of(spark, {"id": INT, "s": STR, "i": INT, "b": pa.bool_(), "t": pa.date32()}, [])
    with pytest.raises(SpecError, match=rf"preprocess\.0\.fill\.{name}: .* is not a value of type"):
        steps(spark, frame, {"fill": {name: value}})


def test_drop_removes_columns(spark: SparkSession, visits: DataFrame) -> None:
    assert steps(spark, visits, {"drop": ["RAW", "value"]}).columns == ["id", "test"]


def test_columns_with_dots_and_backticks_are_plain_columns(spark: SparkSession) -> None:
    frame = frame_of(spark, {"id": INT, "a.b": STR, "c`d": STR, "a": INT}, [(1, "5", None, 6)])
    found = steps(spark, frame, {"cast": {"a.b": "int"}}, {"fill": {"c`d": "x"}}, {"drop": ["a"]})
    assert found.columns == ["id", "a.b", "c`d"]
    assert tuples(found) == [(1, 5, "x")]


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["id", "ID", "Id", "day", "DAY"])
@pytest.mark.parametrize("step", ["derive", "cast", "fill", "drop"])
def test_no_step_touches_the_privacy_unit(step: str, name: str) -> None:
    value = {"derive": {"x": "1", name: "1"}, "cast": {name: "string"}, "fill": {name: 1}, "drop": ["x", name]}[step]
    spec = release_spec(privacy_unit=["id", "Day"], preprocess=[{"filter": "true"}, {step: value}])
    with pytest.raises(SpecError, match=rf"preprocess\.1: .*privacy-unit column {name}") as caught:
        check_steps(spec)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("step", "named"),
    [
        ({"filter": "nowhere > 1"}, "nowhere"),
        ({"derive": {"x": "id + nowhere"}}, "nowhere"),
        ({"derive": {"x": "later", "later": "1"}}, "later"),
        ({"cast": {"nowhere": "int"}}, "nowhere"),
        ({"fill": {"nowhere": 1}}, "nowhere"),
        ({"drop": ["nowhere"]}, "nowhere"),
    ],
)
def test_a_missing_column_is_a_source_error_that_names_it(
    spark: SparkSession, visits: DataFrame, step: Mapping[str, Any], named: str
) -> None:
    with pytest.raises(SourceError, match=f"no column {named}") as caught:
        steps(spark, visits, step)
    assert caught.value.exit_code == 4
    assert caught.value.where.startswith("preprocess.0")
    assert "raw" in caught.value.mend, "the columns that are there are listed"


def test_an_expression_of_the_wrong_type_is_a_source_error(spark: SparkSession, visits: DataFrame) -> None:
    with pytest.raises(SourceError, match=r"preprocess\.0"):
        steps(spark, visits, {"filter": "id"})


@pytest.mark.parametrize(
    "text",
    [
        "rand() < 0.5", "uuid()", "monotonically_increasing_id()", "current_timestamp()", "current_date > '2020-01-01'",
        "sum(value)", "count(*) > 1", "row_number() over (order by id)", "value > (select 1)", "id in (select id from t)",
        "explode(array(1, 2))", "reflect('java.lang.System', 'exit', '1')", "raise_error('x')", "assert_true(value > 0)",
        "_metadata.file_path", "my_udf(value)", "input_file_name()", "spark_partition_id()", "lag(value)", "value -- comment",
        "transform(array(1), x -> x)", "now()", "first(value)", "java_method('a', 'b')", "value :: int > 0; drop table t",
    ],
)  # fmt: skip
@pytest.mark.parametrize("step", ["filter", "derive"])
def test_what_is_not_row_wise_is_refused_before_spark_sees_it(step: str, text: str) -> None:
    value: Any = text if step == "filter" else {"x": text}
    with pytest.raises(SpecError) as caught:
        check_steps(release_spec(preprocess=[{step: value}]))
    assert caught.value.where.startswith(f"preprocess.0.{step}")


@pytest.mark.parametrize("kind", ["array<int>", "struct<a: int>", "int; drop", "string collate UNICODE", "interval day"])
def test_a_cast_to_anything_but_a_simple_type_is_refused(kind: str) -> None:
    with pytest.raises(SpecError, match="simple Spark SQL type"):
        check_steps(release_spec(preprocess=[{"cast": {"value": kind}}]))


# --- no value makes a run fail, or shows itself -----------------------------------------------------------------------


def test_failing_casts_and_divisions_give_null_and_show_no_value(
    spark: SparkSession, capfd: pytest.CaptureFixture[str]
) -> None:
    columns = {"id": INT, "s": STR, "z": INT, "big": LONG}
    frame = frame_of(spark, columns, [(1, "secret-4711", 0, 2**62), (2, "4712-13-45", 0, 2**62)])
    expressions = {
        "a": "cast(s as int)", "b": "cast(s as date)", "c": "1 / z", "d": "1 % z", "e": "id div z", "f": "s + 1",
        "g": "to_date(s, 'yyyy-MM-dd')", "h": "cast(big as decimal(5,2))", "i": "to_timestamp(s)",
        "j": "make_date(2024, 13, z)", "k": "cast(s as boolean)", "l": "cast(s as timestamp)", "m": "pmod(id, z)",
        "n": "unix_timestamp(s, 'yyyy')",
    }  # fmt: skip
    found = steps(spark, frame, {"derive": expressions}, {"filter": "coalesce(s > 5, true)"}, {"cast": {"s": "double"}})
    assert tuples(found.select("s", *expressions)) == [(None,) * 15] * 2
    shown = capfd.readouterr()
    for value in ("4711", "4712", str(2**62)):
        assert value not in shown.out + shown.err


def test_overflowing_arithmetic_wraps_and_casts_give_null(spark: SparkSession) -> None:
    frame = frame_of(spark, {"id": INT, "i": INT, "d": DOUBLE}, [(1, 2**31 - 1, 1e300), (2, -(2**31), math.nan)])
    found = steps(spark, frame, {"derive": {"a": "i + 1", "b": "abs(i)", "c": "cast(d as int)", "e": "-i", "f": "i * i"}})
    assert [row[3:] for row in tuples(found)] == [
        (-(2**31), 2**31 - 1, None, -(2**31) + 1, 1),
        (-(2**31) + 1, -(2**31), None, -(2**31), 0),
    ]


EXTREME = [
    "abc", "+294248-01-01", "+5881580-07-11", "-290308-01-01", "9223372036854775807", "-2147483648", "1e400", "", "NaN",
    "99999999999999999999999999999999999999", "2024-01-01 25:00:00", "+294247-01-10T04:00:54.775807Z",
    "-290308-12-21T19:59:05.224192Z", "a$1\\", "0", None, "-1",
]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        # what can be written without an error in mind
        "cast(s as bigint) div -1", "pmod(cast(s as bigint), -1)", "cast(cast(s as double) as timestamp)",
        "cast(cast(s as bigint) as timestamp)", "date_add(cast(s as date), 2147483647)", "last_day(cast(s as date))",
        "trunc(cast(s as date), 'year')",
        "datediff(cast(s as date), cast('1900-01-01' as date))",
        "round(cast(s as bigint), -18)", "cast(s as decimal(38,0)) * cast(s as decimal(38,0))",
        "substring(s, cast(s as int), cast(s as int))",
        "try_cast(cast(s as date) as timestamp)", "width_bucket(cast(s as double), 0, 10, 5)", "sha2(s, cast(s as int))",
        # and what raises for some rows, however it is called
        "add_months(cast(s as date), 24)", "cast(cast(s as date) as timestamp)", "cast(cast(s as date) as timestamp_ntz)",
        "date_trunc('week', cast(s as timestamp))", "date_trunc('day', cast(s as date))", "minute(cast(s as date))",
        "from_utc_timestamp(cast(s as timestamp), 'Asia/Tokyo')", "to_utc_timestamp(cast(s as timestamp), 'Asia/Tokyo')",
        "months_between(cast(s as timestamp), cast('2020-01-01' as timestamp))", "to_date(s, 'yyyy-MM-dd')",
        "unix_timestamp(s, 'yyyy-MM-dd')", "to_timestamp(cast(s as date))", "cast(s as date) - cast('2020-01-01' as date)",
        "regexp_extract(s, 'a', 5)", "regexp_replace(s, 'a', '$5')", "substring_index(s, 'a', cast(s as int))",
        "round(cast(s as decimal(38,0)), -38)", "split_part(s, 'a', 0)",
        # what Spark computes beforehand, since it needs it twice, or moves out of the try, since it is a condition
        "cast(cast(s as date) as timestamp) between timestamp '2020-01-01' and timestamp '2021-01-01'",
        "nullif(cast(cast(s as date) as timestamp), timestamp '2020-01-01')",
        "if(date_trunc('day', cast(s as date)) = timestamp '2020-01-01', null, timestamp '2020-01-01')",
        "case when date_trunc('day', cast(s as date)) > timestamp '2020-01-01' then date '2020-01-01' end",
        "case when date_trunc('day', cast(s as date)) > timestamp '2020-01-01' then 'late' end",
        "case when date_trunc('day', cast(s as date)) > timestamp '2020-01-01' then 1 end",
        "case when date_trunc('day', cast(s as date)) > timestamp '2020-01-01' then split(s, 'a') end",
        "coalesce(date_trunc('day', cast(s as date)) > timestamp '2020-01-01', true)",
        "case date_trunc('day', cast(s as date)) when timestamp '2020-01-01' then null else 1.5D end",
    ],
)  # fmt: skip
def test_an_expression_is_refused_or_has_a_value_for_every_row(spark: SparkSession, text: str) -> None:
    """Whether a run fails must not depend on a value (invariant 11)."""
    frame = frame_of(spark, {"id": INT, "s": STR}, list(enumerate(EXTREME)))
    try:
        check_expression(text, {}, where="preprocess.0.derive.x")
    except SpecError:
        return
    derived = steps(spark, frame, {"derive": {"x": text}})
    try:
        found = tuples(derived.select(F.hash("x")))
    except SPARK_ERRORS as error:
        failed = condition(error)
    else:
        failed = ""
    assert not failed, f"{text} fails for some values"
    assert len(found) == len(EXTREME)


# --- joins ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def units_csv(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "tests.csv"
    path.write_text("test,unit,factor\na,mg,2\nc,g,3\n")
    return {"format": "csv", "path": str(path), "schema": {"test": "string", "unit": "string", "factor": "int"}}


def join(source: Mapping[str, Any], how: str = "left", on: Sequence[str] = ("test",)) -> dict[str, Any]:
    return {"join": {"source": source, "on": list(on), "how": how}}


def parquet(spark: SparkSession, path: Path, columns: Mapping[str, pa.DataType], rows: Sequence[Any]) -> dict[str, Any]:
    frame_of(spark, columns, rows).write.mode("overwrite").parquet(str(path))
    return {"format": "parquet", "path": str(path)}


def test_a_left_join_keeps_rows_and_an_inner_join_drops_those_without_a_match(
    spark: SparkSession, visits: DataFrame, units_csv: dict[str, Any]
) -> None:
    left = steps(spark, visits, join(units_csv))
    assert left.columns == ["id", "test", "value", "raw", "unit", "factor"]
    assert sorted(tuples(left.select("id", "test", "unit", "factor")), key=repr) == [
        (1, "a", "mg", 2), (2, "b", None, None), (3, "a", "mg", 2), (3, None, None, None),
    ]  # fmt: skip
    inner = steps(spark, visits, join(units_csv, "inner"), {"derive": {"scaled": "factor * 10"}})
    assert sorted(tuples(inner.select("id", "test", "unit", "scaled"))) == [(1, "a", "mg", 20), (3, "a", "mg", 20)]


def test_two_joins_and_a_key_in_other_letters(spark: SparkSession, visits: DataFrame, tmp_path: Path) -> None:
    one = parquet(spark, tmp_path / "one", {"TEST": STR, "p": INT}, [("a", 1)])
    two = parquet(spark, tmp_path / "two", {"Raw": STR, "p": INT, "q": INT}, [("10", 5, 6)])
    found = steps(spark, visits, join(one, on=["Test"]), {"drop": ["p"]}, join(two, on=["raw"]))
    assert found.columns == ["id", "test", "value", "raw", "p", "q"]
    assert sorted(tuples(found.select("id", "test", "p", "q")), key=repr)[0] == (1, "a", 5, 6)


def test_null_join_keys_match_nothing_and_several_of_them_multiply_nothing(spark: SparkSession, tmp_path: Path) -> None:
    columns = {"k": STR, "l": INT, "extra": STR}
    rows = [(None, 1, "null"), (None, 1, "again"), ("a", None, "half"), ("a", None, "more"), ("a", 1, "found")]
    source = parquet(spark, tmp_path / "public", columns, rows)
    frame = frame_of(spark, {"id": INT, "k": STR, "l": INT}, [(1, None, 1), (2, "a", None), (3, "a", 1), (4, None, None)])
    left = steps(spark, frame, join(source, on=["k", "l"]))
    assert sorted(tuples(left.select("id", "extra"))) == [(1, None), (2, None), (3, "found"), (4, None)]
    inner = steps(spark, frame, join(source, "inner", on=["k", "l"]))
    assert tuples(inner.select("id", "extra")) == [(3, "found")]


@pytest.mark.parametrize("how", ["left", "inner"])
def test_several_rows_for_one_key_are_refused(spark: SparkSession, visits: DataFrame, tmp_path: Path, how: str) -> None:
    source = parquet(spark, tmp_path / "public", {"test": STR, "w": INT}, [("a", 1), ("b", 1), ("a", 1)])
    with pytest.raises(SourceError, match="several rows for one key") as caught:
        steps(spark, visits, join(source, how))
    assert "test" in caught.value.mend
    assert caught.value.where == "preprocess.0.join"


def test_keys_that_differ_in_one_part_or_in_letters_are_different(spark: SparkSession, tmp_path: Path) -> None:
    rows = [("a", 1, "x"), ("a", 2, "y"), ("A", 1, "z")]
    source = parquet(spark, tmp_path / "public", {"k": STR, "l": INT, "extra": STR}, rows)
    frame = frame_of(spark, {"id": INT, "k": STR, "l": INT}, [(index, row[0], row[1]) for index, row in enumerate(rows)])
    found = steps(spark, frame, join(source, "inner", on=["k", "l"]))
    assert sorted(tuples(found.select("id", "extra"))) == [(0, "x"), (1, "y"), (2, "z")]
    with pytest.raises(SourceError, match="several rows"):
        steps(spark, frame.drop("l"), join(source, on=["k"]))


def test_join_columns_must_have_the_same_type(spark: SparkSession, visits: DataFrame, tmp_path: Path) -> None:
    source = parquet(spark, tmp_path / "public", {"test": INT, "w": INT}, [(1, 1)])
    with pytest.raises(SpecError, match="test is string here and int in the public table"):
        steps(spark, visits, join(source))
    floats = parquet(spark, tmp_path / "floats", {"value": DOUBLE, "w": INT}, [(1.5, 1)])
    with pytest.raises(SourceError, match="cannot be a key"):
        steps(spark, visits, join(floats, on=["value"]))


@pytest.mark.parametrize("taken", ["id", "ID", "raw", "VALUE"])
def test_a_join_adds_no_unit_and_no_column_that_is_there(
    spark: SparkSession, visits: DataFrame, tmp_path: Path, taken: str
) -> None:
    source = parquet(spark, tmp_path / "public", {"test": STR, taken: INT}, [("a", 1)])
    with pytest.raises(SpecError, match=f"column {taken} is there already"):
        steps(spark, visits, join(source))


def test_a_dropped_unit_cannot_come_back_through_a_join(spark: SparkSession, visits: DataFrame, tmp_path: Path) -> None:
    """The unit's name is refused even where the source has no such column."""
    source = parquet(spark, tmp_path / "public", {"test": STR, "Person": INT}, [("a", 1)])
    with pytest.raises(SpecError, match="column Person is there already"):
        steps(spark, visits, join(source), privacy_unit="person")


@pytest.mark.parametrize("on", ["nowhere", "unit"])
def test_a_join_column_must_be_on_both_sides(
    spark: SparkSession, visits: DataFrame, units_csv: dict[str, Any], on: str
) -> None:
    with pytest.raises(SourceError, match=f"no column {on}"):
        steps(spark, visits, join(units_csv, on=[on]))


@pytest.mark.parametrize("how", ["left", "inner"])
def test_a_join_never_adds_rows_even_if_the_table_changes_after_the_check(
    spark: SparkSession, visits: DataFrame, tmp_path: Path, how: str
) -> None:
    """What was checked is what is joined: the public table is read once."""
    columns = {"test": STR, "w": INT}
    source = parquet(spark, tmp_path / "public", columns, [("a", 1), ("b", 2), (None, 3)])
    joined = steps(spark, visits, join(source, how))
    before = sorted(tuples(joined.select("id", "test", "w")), key=repr)
    parquet(spark, tmp_path / "public", columns, [("a", 1)] * 5 + [("b", 2)] * 5 + [(None, 3)] * 5)
    assert sorted(tuples(joined.select("id", "test", "w")), key=repr) == before
    assert len(before) == {"left": 4, "inner": 3}[how]


# --- NaN, and casts that do not fit -----------------------------------------------------------------------------------

WIDE = [math.nan, 1e300, -1e300, 5.5, 2.0**31, 2.0**63, -(2.0**63) - 2048, math.inf, -0.0, 3e9, None, -5.5]


def test_a_cast_that_does_not_fit_is_null(spark: SparkSession) -> None:
    frame = frame_of(spark, {"id": INT, "x": DOUBLE, "y": DOUBLE}, [(2**31 - 1, value, value) for value in WIDE])
    texts = {
        "a": "cast(x as int)", "b": "int(x)", "c": "x::bigint", "d": "floor(x)", "e": "ceil(x)::int", "f": "tinyint(id)",
        "g": "cast(id + 1L as int)", "h": "cast(sqrt(-1) as int)", "i": "floor(acos(x + 9))",
        "j": "cast(x * 10 as decimal(3,1))",
    }  # fmt: skip
    found = tuples(steps(spark, frame, {"derive": texts}, {"cast": {"y": "bigint"}}).select("y", *texts))
    ints = [None, None, None, 5, None, None, None, None, 0, None, None, -5]
    longs = [None, None, None, 5, 2**31, None, None, None, 0, 3 * 10**9, None, -5]
    floors, ceilings = [*longs[:-1], -6], [6 if value == 5 else value for value in ints]
    for index, expected in enumerate((longs, ints, ints, longs, floors, ceilings)):
        assert [row[index] for row in found] == expected, index
    assert {row[6:] for row in found} <= {
        (None, None, None, None, value) for value in (Decimal("55.0"), Decimal("-55.0"), Decimal("0.0"), None)
    }


def test_nan_is_null_as_it_is_read_and_after_each_step_however_deep(spark: SparkSession, tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": pa.array([1], INT), "x": pa.array([math.nan]), "f": pa.array([math.nan], pa.float32()),
            "one": pa.array([-1.0]),
            "s": pa.array([{"a": math.nan, "l": [math.nan, 2.0]}]), "m": pa.array([[("k", math.nan)]], pa.map_(STR, DOUBLE)),
        }
    )  # fmt: skip
    right = {"one": pa.int64(), "joined": DOUBLE}
    public = parquet(spark, tmp_path / "right", right, [(-1, math.nan)])
    found = steps(
        spark,
        spark.createDataFrame(table),
        {
            "derive": {
                "big": "x > 5",
                "deep": "s.a > 5",
                "nan": "isnan(x) or isnan(s.a)",
                "root": "sqrt(one)",
                "k": "cast(one as bigint)",
            }
        },
        {"derive": {"after": "root > 5", "ink": "cast(x as int)"}},
        {"cast": {"one": "bigint"}},
        join(public, on=("one",)),
        {"fill": {"f": 7, "x": 8}},
        {"derive": {"j": "joined > 5"}},
    )
    row = found.toArrow().to_pylist()[0]
    assert {name: row[name] for name in ("big", "deep", "root", "after", "ink", "joined", "j")} == dict.fromkeys(
        ("big", "deep", "root", "after", "ink", "joined", "j")
    )
    assert (row["x"], row["f"], row["nan"], row["s"], row["m"]) == (
        8.0,
        7.0,
        False,
        {"a": None, "l": [None, 2.0]},
        [("k", None)],
    )


def test_a_null_struct_stays_null(spark: SparkSession) -> None:
    table = pa.table({"id": pa.array([1, 2], INT), "s": pa.array([None, {"a": 1.0}])})
    assert [row[1] for row in tuples(steps(spark, spark.createDataFrame(table)))] == [None, {"a": 1.0}]


def test_the_mend_for_a_double_key_gives_right_counts(spark: SparkSession) -> None:
    """817 true zeros and 690 NaN: NaN is no zero."""
    frame = frame_of(spark, {"id": INT, "g": DOUBLE}, [(i, 0.0 if i < 817 else math.nan) for i in range(1507)])
    found = steps(spark, frame, {"cast": {"g": "int"}}).groupBy("g").count()
    assert dict(tuples(found)) == {0: 817, None: 690}


# --- the clock --------------------------------------------------------------------------------------------------------


def test_words_and_times_of_day_in_the_data_are_not_the_clock(spark: SparkSession) -> None:
    texts = ["now", "today", " tomorrow", "\x01now", "epoch", "12:30", "T12", " \t12:30:01.5", "T1:2"]
    frame = frame_of(spark, {"id": INT, "s": STR, "t": STR}, [(i, text, text) for i, text in enumerate(texts)])
    expressions = {
        "a": "cast(s as timestamp)", "b": "s::date", "c": "to_timestamp(s)", "d": "try_to_timestamp(s)", "e": "timestamp(s)",
        "f": "date_trunc('day', s)", "g": "date_format(s, 'yyyy')", "h": "extract(day from s)", "i": "hour(s)",
        "j": "months_between(s, '2020-01-01')", "k": "from_utc_timestamp(s, 'UTC')", "l": "cast(concat(s, '') as timestamp)",
        "m": "cast('12:30' as timestamp)", "n": "cast(s as timestamp_ntz)", "o": "date_part('year', s)",
        "p": "try_cast(s as timestamp)", "q": "datediff(hour, s, timestamp '2020-01-01 00:00:00')", "r": "date_add(day, 1, s)",
        "u": "date_diff(day, timestamp '2020-01-01 00:00:00', '12:30')",
    }  # fmt: skip
    found = steps(spark, frame, {"derive": expressions}, {"cast": {"t": "timestamp"}})
    assert set(tuples(found.select("t", *expressions))) == {(None,) * 20}


def test_a_text_with_a_date_is_still_a_timestamp(spark: SparkSession) -> None:
    texts = ["2020-01-01 12:30", "2020-01-01T12:30:00Z", " 2020-1-1", "+2020-01-01", "2020"]
    frame = frame_of(spark, {"id": INT, "s": STR}, [(i, text) for i, text in enumerate(texts)])
    found = steps(spark, frame, {"derive": {"y": "year(cast(s as timestamp))", "h": "hour(s)"}}).select("y", "h")
    assert tuples(found) == [(2020, 12), (2020, 12), (2020, 0), (2020, 0), (2020, 0)]


@pytest.mark.parametrize(
    "text",
    ["at > s", "s = at", "at > '12:30'", "at in (s)", "at between s and '2021-01-01'", "nullif(at, s) is null",
     "case at when s then true end", "d = concat('to', 'day')", "p.d > 'today'", "p.d = 'no' || 'w'",
     "decode(at, s, 1, 0) = 1", "m[s] = 1", "s + interval '1' day > ''", "try_subtract(s, i) > ''",
     "s + i > ''", "'now' + i > ''",
     "interval 1 day + s is null", "(s - interval '1' hour) = ''", "'12:30' + interval 1 day = s",
     "s + (at - at) = ''", "s + (d - d) = ''", "s - nt > interval 1 hour", "nt - s > interval 1 hour"],
)  # fmt: skip
def test_a_text_beside_a_date_or_timestamp_that_could_be_the_clock_is_refused(spark: SparkSession, text: str) -> None:
    columns = {"id": INT, "s": STR, "at": pa.timestamp("us", "UTC"), "d": pa.date32(), "p": pa.struct([("d", pa.date32())])}
    columns["nt"] = pa.timestamp("us")
    frame = frame_of(spark, columns, []).selectExpr("*", "map(at, id) as m", "interval '1' day as i")
    with pytest.raises(SpecError, match=r"clock|time of day"):
        steps(spark, frame, {"filter": text})


@pytest.mark.parametrize(
    "text",
    ["at > cast(s as timestamp)", "at >= '2024-01-01'", "d = s", "date_format(at, 'HH:mm') > s",
     "cast(s as timestamp) + interval 1 day > at", "'2024-01-01' + interval 1 day = s", "s - id > 5L and s + 0.5D > 1"],
)  # fmt: skip
def test_what_the_mend_says_is_accepted(spark: SparkSession, text: str) -> None:
    columns = {"id": INT, "s": STR, "at": pa.timestamp("us", "UTC"), "d": pa.date32()}
    steps(spark, frame_of(spark, columns, []), {"filter": text})


@pytest.mark.slow
def test_no_allowed_function_takes_the_clock_from_a_word_that_we_let_through(spark: SparkSession) -> None:
    """Each function, at each place: a literal word gives what a column with this word gives."""
    frame = frame_of(spark, {"id": INT, "w": STR, "t": STR}, [(1, "today", "12:30")])
    pairs = []
    shapes = ("{}({})", "{}({}, date '2020-01-01')", "{}(date '2020-01-01', {})")
    for name, word, shape in itertools.product(sorted(ALLOWED_FUNCTIONS), ("w", "t"), shapes):
        calls = [shape.format(name, item) for item in ("'today'" if word == "w" else "'12:30'", word)]
        with contextlib.suppress(*SPARK_ERRORS, SpecError):
            columns = [guarded(frame, check_expression(call, {}, where="x"), "x") for call in calls]
            _ = frame.select(*columns).schema
            pairs.append((calls[0], columns))
    assert len(pairs) > 100
    row = frame.select(*(F.hash(item) for _, columns in pairs for item in columns)).toArrow()
    values = [item[0].as_py() for item in row.columns]
    assert [call for index, (call, _) in enumerate(pairs) if values[2 * index] != values[2 * index + 1]] == []
