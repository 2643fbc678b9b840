"""What the release file alone tells about its source is refused without Spark, by ``plan`` and by ``run`` before its charge."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from helpers import COUNT, SUM, release_spec
from pyspark.sql import SparkSession
from pyspark.sql import types as T

from dp_spark.engine.preprocess import check_steps
from dp_spark.engine.typed_literals import constant_of_type
from dp_spark.errors import DpSparkError, SourceError, SpecError
from dp_spark.release.preview import preview_release
from dp_spark.schema.reading import parse_yaml
from dp_spark.spec.file_checks import check_file
from dp_spark.spec.release_spec import ReleaseSpec
from dp_spark.spec.source_options import reading_problems
from dp_spark.spec.typed_constants import constant_of

SCHEMA = {"id": "bigint", "test": "string", "value": "double"}


def no_spark() -> SparkSession:
    raise AssertionError("no session is needed here")


def csv(**changes: Any) -> dict[str, Any]:
    return {"format": "csv", "path": "x.csv", "schema": SCHEMA} | changes


def refused(tmp_path: Path, **changes: Any) -> SpecError:
    """What a plan refuses without a session."""
    with pytest.raises(SpecError) as caught:
        preview_release(release_spec(ledger={"path": str(tmp_path / "none")}, **changes), no_spark)
    assert caught.value.exit_code == 2
    assert caught.value.mend
    return caught.value


@pytest.mark.parametrize("kind", ["integr", "decimal(39,1)", "decimal(2,3)", "array<int>", "varchar(3)", "variant"])
def test_a_type_in_the_schema_or_a_cast_is_judged_by_plan(tmp_path: Path, kind: str) -> None:
    assert refused(tmp_path, source=csv(schema={**SCHEMA, "more": kind})).where == "source.schema.more"
    assert refused(tmp_path, preprocess=[{"cast": {"value": kind}}]).where == "preprocess.0.cast.value"
    assert refused(tmp_path, preprocess=[{"filter": f"cast(value as {kind}) > 0"}]).where == "preprocess.0.filter"
    joined = {"source": csv(schema={"test": kind}), "on": ["test"], "how": "left"}
    assert refused(tmp_path, preprocess=[{"join": joined}]).where == "preprocess.0.join.source.schema.test"


def test_json_may_hold_what_csv_may_not(tmp_path: Path) -> None:
    check_file(release_spec(source=csv(format="json", schema={**SCHEMA, "place": "struct<city: string>"})))


@pytest.mark.parametrize("name", ["_corrupt_record", "__dp_spark_malformed", "__DP_Spark_line"])
@pytest.mark.parametrize("kind", ["csv", "json"])
def test_no_column_gets_the_text_of_whole_records(tmp_path: Path, kind: str, name: str) -> None:
    schema = {**SCHEMA, name: "string"}
    assert refused(tmp_path, source=csv(format=kind, schema=schema)).where == f"source.schema.{name}"
    joined = {"source": csv(format=kind, schema={"test": "string", name: "string"}), "on": ["test"], "how": "left"}
    assert refused(tmp_path, preprocess=[{"join": joined}]).where == f"preprocess.0.join.source.schema.{name}"


# --- schema and options ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_a_text_source_needs_a_schema(tmp_path: Path, kind: str) -> None:
    bare = {"format": kind, "path": "x"}
    assert refused(tmp_path, source=bare).where == "source.schema"
    assert refused(tmp_path, source={**bare, "schema": {}}).where == "source.schema"
    joined = {"source": bare, "on": ["test"], "how": "left"}
    assert refused(tmp_path, preprocess=[{"join": joined}]).where == "preprocess.0.join.source.schema"
    check_file(release_spec(partitions={"public": {"source": bare}}))


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("csv", {"multiLine": True}, "Parquet"),
        ("json", {"MULTILINE": "True"}, "Parquet"),
        ("csv", {"encoding": "UTF-16"}, "UTF-8"),
        ("csv", {"charset": "utf-16le", "lineSep": "\n"}, "UTF-8"),
        ("json", {"encoding": "UTF-32BE"}, "UTF-8"),
        ("csv", {"encoding": "IBM037"}, "UTF-8"),
        ("csv", {"encoding": "windows-1252"}, "UTF-8"),
        ("csv", {"quote": "ab"}, "one character"),
        ("csv", {"header": "yes"}, "true or false"),
        ("csv", {"sep": ""}, "empty"),
        ("csv", {"lineSep": "\r\n"}, "one character"),
        ("json", {"timeZone": "Mars/Olympus"}, "time zone"),
        ("json", {"allowComments": 1}, "true or false"),
    ],
)
def test_options_that_spoil_the_reading_are_refused_by_plan(tmp_path: Path, kind: str, options: Any, said: str) -> None:
    found = refused(tmp_path, source=csv(format=kind, options=options))
    assert found.where == f"source.options.{next(iter(options))}"
    assert said in f"{found.message} {found.mend}"


def test_one_value_must_not_fail_a_jdbc_source() -> None:
    assert [problem[0] for problem in reading_problems("jdbc", {"customSchema": "id INT"})] == ["customSchema"]


@pytest.mark.parametrize("options", [{"multiLine": False}, {"encoding": "utf-8"}, {"charset": "ISO-8859-1"}, {"quote": ""}])
def test_harmless_options_are_taken(options: Any) -> None:
    check_file(release_spec(source=csv(options=options)))


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        ({**SCHEMA, "ID": "int"}, "ID"),
        ({**SCHEMA, "_Corrupt_Record": "string"}, "_Corrupt_Record"),
        ({**SCHEMA, "": "int"}, ""),
    ],
)
def test_names_that_no_file_can_have(tmp_path: Path, schema: Any, name: str) -> None:
    assert refused(tmp_path, source=csv(schema=schema)).where == f"source.schema.{name}"


# --- columns ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"group_by": ["ward"]}, "group_by"),
        ({"privacy_unit": "patient"}, "privacy_unit"),
        ({"privacy_unit": ["id", "patient"]}, "privacy_unit"),
        ({"aggregates": [{**SUM, "column": "cost"}]}, "aggregates.total"),
        ({"aggregates": [{**COUNT, "column": "cost"}]}, "aggregates.rows"),
        ({"preprocess": [{"filter": "cost > 1"}]}, "preprocess.0.filter"),
        ({"preprocess": [{"derive": {"a": "value + 1"}}, {"derive": {"b": "c"}}]}, "preprocess.1.derive.b"),
        ({"preprocess": [{"cast": {"cost": "int"}}]}, "preprocess.0.cast"),
        ({"preprocess": [{"fill": {"cost": 1}}]}, "preprocess.0"),
        ({"preprocess": [{"drop": ["cost"]}]}, "preprocess.0"),
        ({"preprocess": [{"drop": ["test"]}]}, "group_by"),
        ({"preprocess": [{"drop": ["value"]}, {"filter": "value > 0"}]}, "preprocess.1.filter"),
        ({"aggregates": [{"function": "count", "name": "n", "where": "cost > 1"}]}, "aggregates.n.where"),
        (
            {"preprocess": [{"join": {"source": csv(schema={"test": "string", "a": "int"}), "on": ["ward"], "how": "left"}}]},
            "preprocess.0.join.on",
        ),
        ({"aggregates": [{**SUM, "column": "test"}]}, "aggregates.total"),
        ({"group_by": ["value"]}, "group_by"),
        ({"privacy_unit": "value"}, "privacy_unit"),
        ({"preprocess": [{"cast": {"test": "double"}}]}, "group_by"),
    ],
)
def test_columns_that_the_file_does_not_have_are_refused_by_plan(tmp_path: Path, changes: Any, where: str) -> None:
    assert refused(tmp_path, **{"source": csv(), **changes}).where == where


@pytest.mark.parametrize(
    "changes",
    [
        {"group_by": ["TEST"], "privacy_unit": "Id"},
        {"group_by": ["ward"], "preprocess": [{"derive": {"ward": "upper(test)"}}]},
        {
            "group_by": ["kind"],
            "preprocess": [{"join": {"source": csv(schema={"test": "string", "kind": "int"}), "on": ["test"], "how": "left"}}],
        },
        {"group_by": ["kind"], "preprocess": [{"join": {"source": {"table": "a.b"}, "on": ["test"], "how": "left"}}]},
        {"aggregates": [{**SUM, "column": "test"}], "preprocess": [{"cast": {"test": "double"}}], "group_by": ["id"]},
        {"source": {"format": "parquet", "path": "x"}, "group_by": ["ward"]},
        {"source": {"table": "a.b"}, "group_by": ["ward"]},
    ],
)
def test_columns_that_may_be_there_are_not_refused(changes: Any) -> None:
    spec = release_spec(**{"source": csv(), **changes})
    check_steps(spec)
    check_file(spec)


def test_the_mend_for_an_unfit_unit_works_as_it_is_written() -> None:
    with pytest.raises(SpecError) as caught:
        check_file(release_spec(source=csv(schema={**SCHEMA, "id": "double"})))
    unit = parse_yaml(caught.value.mend.partition("privacy_unit: ")[2])
    assert unit == {"id_unit": "cast(id as bigint)"}
    check_file(release_spec(source=csv(schema={**SCHEMA, "id": "double"}), privacy_unit=unit))


# --- constants and joins ------------------------------------------------------------------------------------------------

TYPES = {"s": "string", "t": "tinyint", "d": "date", "b": "boolean", "x": "double", "m": "decimal(3,1)", "at": "timestamp"}


def listed(column: str, *values: Any) -> dict[str, Any]:
    return {"group_by": [column], "partitions": {"public": {"values": {column: list(values)}}}}


@pytest.mark.parametrize("kind", ["csv", "json"])
@pytest.mark.parametrize(
    ("changes", "where"),
    [
        (listed("s", "a", "a"), "partitions.public.values.s"),
        (listed("s", None, None), "partitions.public.values.s"),
        (listed("t", 1, 2, 1), "partitions.public.values.t"),
        (listed("s", 1, 2), "partitions.public.values.s"),
        (listed("t", 1, 300), "partitions.public.values.t"),
        (listed("d", "2020-13-01"), "partitions.public.values.d"),
        (listed("b", 1), "partitions.public.values.b"),
        (listed("m", Decimal("0.55")), "partitions.public.values.m"),
        ({"preprocess": [{"fill": {"x": "abc"}}]}, "preprocess.0.fill.x"),
        ({"preprocess": [{"fill": {"s": 5}}]}, "preprocess.0.fill.s"),
        ({"preprocess": [{"cast": {"s": "date"}}, {"fill": {"S": "today"}}]}, "preprocess.1.fill.S"),
    ],
)
def test_constants_that_are_no_value_of_their_column_are_refused_by_plan(
    tmp_path: Path, kind: str, changes: Any, where: str
) -> None:
    source = csv(format=kind, schema={**SCHEMA, **TYPES})
    assert refused(tmp_path, **{"source": source, "group_by": ["s"], **changes}).where == where


@pytest.mark.parametrize(
    "changes",
    [
        listed("s", "a", "A", None, "1"),
        listed("b", True, False),
        listed("t", 0, 1, -128),
        listed("at", "2020-01-01", "2020-01-01 00:00:01"),
        {"preprocess": [{"derive": {"s": "1"}}], **listed("s", 1)},
        {"group_by": ["s"], "preprocess": [{"fill": {"x": 1, "m": 99, "d": "0001-01-01"}}]},
        {"group_by": ["s"], "preprocess": [{"cast": {"s": "INTEGER"}}, {"fill": {"s": 5}}]},
    ],
)
def test_constants_of_their_columns_type_are_let_through(changes: Any) -> None:
    check_file(release_spec(source=csv(schema={**SCHEMA, **TYPES}), **changes))


def test_the_file_and_spark_agree_about_constants() -> None:
    """The types of a schema as text, and as Spark has them: one value is a constant of both or of neither."""
    values = ["a", "2020-01-01", "2020-01-01 10:00:00", 1, 127, 128, Decimal("99.9"), Decimal("0.55"), True, "\ud800", 2**63]
    kinds = [
        T.StringType(),
        T.ByteType(),
        T.DateType(),
        T.BooleanType(),
        T.DoubleType(),
        T.DecimalType(3, 1),
        T.TimestampType(),
    ]
    for text, kind in zip(TYPES.values(), kinds, strict=True):
        assert [constant_of(value, text) for value in values] == [constant_of_type(value, kind) for value in values]
    assert constant_of("a", "string") == constant_of_type("a", T.StringType("UNICODE_CI")) == "a"


@pytest.mark.parametrize(
    ("schema", "source", "where"),
    [
        ({"ward": "int"}, csv(), "preprocess.0.join.on"),
        ({"test": "int"}, csv(), "preprocess.0.join.on"),
        ({"test": "double"}, None, "preprocess.0.join.on"),
        ({"test": "string", "VALUE": "int"}, csv(), "preprocess.0.join"),
        ({"test": "string", "ID": "int"}, None, "preprocess.0.join"),
    ],
)
def test_a_join_whose_schema_does_not_fit_is_refused_by_plan(tmp_path: Path, schema: Any, source: Any, where: str) -> None:
    join = {"source": csv(path="y.csv", schema=schema), "on": ["test"], "how": "left"}
    changes = {"preprocess": [{"join": join}], **({"source": source} if source else {})}
    assert refused(tmp_path, **changes).where == where


def test_the_mend_for_a_join_on_another_type_works_as_it_is_written(tmp_path: Path) -> None:
    source, join = (
        csv(schema={**SCHEMA, "test": "dec(4)"}),
        {"source": csv(schema={"test": "int"}), "on": ["test"], "how": "left"},
    )
    found = refused(tmp_path, source=source, preprocess=[{"join": join}])
    join["source"] = csv(schema=parse_yaml(found.mend.partition("write ")[2].partition(" in ")[0]))
    check_file(release_spec(source=source, preprocess=[{"join": join}]))


# --- all at once -----------------------------------------------------------------------------------------------------


def test_all_that_the_file_tells_of_its_steps_is_said_at_once() -> None:
    counted = {"function": "count", "name": "n", "where": "rand() < 0.5"}
    steps = [{"derive": {"a": "cast(x as integr)", "b": "x::integr"}}, {"filter": "rand() < 1"}, {"cast": {"a": "x"}}]
    with pytest.raises(SpecError) as caught:
        check_steps(release_spec(preprocess=[*steps, {"drop": ["id"]}], aggregates=[counted]))
    where = ["0.derive.a", "0.derive.b", "1.filter", "2.cast.a", "3"]
    assert [found.where for found in caught.value.problems] == [*(f"preprocess.{key}" for key in where), "aggregates.n.where"]
    assert [found.message for found in caught.value.problems][:2] == ["the type integr is not allowed"] * 2


def test_all_that_the_file_tells_of_its_schema_and_columns_is_said_at_once(tmp_path: Path) -> None:
    schema = {"id": "integr", "test": "str", "x": "float64", "k": "string"}
    steps = [{"derive": {"a": "q + 1"}}, {"fill": {"k": 3}}, {"drop": ["nix"]}, {"filter": "a > 0"}]
    found = refused(tmp_path, source=csv(schema=schema, options={"sep": ""}), preprocess=steps, aggregates=[SUM])
    assert [one.where for one in found.problems] == [
        "source.options.sep", "source.schema.id", "source.schema.test", "source.schema.x", "preprocess.0.derive.a",
        "preprocess.1.fill.k", "preprocess.2", "aggregates.total",
    ]  # fmt: skip


def checked(spec: ReleaseSpec) -> None:
    check_steps(spec)
    check_file(spec)


@pytest.mark.parametrize(
    ("unit", "kind", "missing"),
    [
        ("lower(test)", SpecError, "lower(test) in source.schema"),
        ("cast(id as string)", SpecError, "cast(id as string) in source.schema"),
        ("id::string", SpecError, "id::string in source.schema"),
        ("test || 'a'", SpecError, "test || 'a' in source.schema"),
        (["id", "lower(test)"], SpecError, "lower(test) in source.schema"),
        ("row", SpecError, "row in source.schema"),
        ({"row": "yes"}, SourceError, "yes"),
    ],
)
def test_a_unit_that_is_an_expression_or_every_row_is_mended_as_it_is_told(
    unit: Any, kind: type[DpSparkError], missing: str
) -> None:
    spec = release_spec(source=csv(), privacy_unit=unit)
    with pytest.raises(kind) as caught:
        checked(spec)
    assert caught.value.message == f"there is no column {missing}"
    mended = parse_yaml(caught.value.mend.partition("privacy_unit: ")[2])
    bounds = {"contribution_bounds": None} if mended == {"row": True} else {}
    checked(release_spec(source=csv(), privacy_unit=mended, **bounds))


def test_the_mend_for_a_sum_of_a_text_works_as_it_is_written() -> None:
    changes: dict[str, Any] = {"source": csv(schema={**SCHEMA, "value": "string"}), "aggregates": [SUM]}
    with pytest.raises(SpecError) as caught:
        check_file(release_spec(**changes))
    check_file(release_spec(**changes, **parse_yaml(caught.value.mend.partition("step: ")[2])))


HISTOGRAM = {"function": "histogram", "name": "bins", "column": "value"}


@pytest.mark.parametrize("kind", ["double", "int", "boolean", "date"])
def test_a_histogram_of_texts_leaves_the_column_to_other_aggregates(tmp_path: Path, kind: str) -> None:
    """The mend adds a column; a cast would take the number from another aggregate."""
    source = csv(schema={**SCHEMA, "value": kind})
    told = refused(tmp_path, source=source, aggregates=[{**HISTOGRAM, "values": ["1", "2"]}])
    assert (told.where, told.message) == (
        "aggregates.bins",
        f"the column value has type {kind}, which is not compared with texts",
    )
    step, name = re.search(r"preprocess: (\{.*\}), and use (\w+); or use edges", told.mend).groups()  # type: ignore[union-attr]
    mended = {**HISTOGRAM, "column": name, "values": ["1", "2"]}
    others = [SUM] if kind in ("double", "int") else []
    check_file(release_spec(source=source, preprocess=[parse_yaml(step)], aggregates=[mended, *others]))


def test_a_text_is_not_a_number_and_only_a_histogram_can_list_texts(tmp_path: Path) -> None:
    source = csv(schema={**SCHEMA, "value": "string"})
    for aggregate, listed in (({**HISTOGRAM, "edges": [0, 1]}, True), (SUM, False)):
        told = refused(tmp_path, source=source, aggregates=[aggregate])
        assert told.message == "the column value has type string, which is not a number"
        assert told.mend.endswith("or use values in place of edges") == listed
    check_file(release_spec(source=source, aggregates=[{**HISTOGRAM, "values": ["a"]}]))
