"""Units that are no plain column: definitions, fields of structs, columns without names, and mends that are followed."""

from __future__ import annotations

import json
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow as pa
import pytest
from chains import wanted
from combine_helpers import party, plan
from frames import frame_of, tuples
from helpers import COUNT as ROWS
from helpers import release_spec
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T
from release_helpers import COUNT, PATIENTS, Outcome, Place, write_delta

from dp_spark.combine.agreement import check_parties
from dp_spark.engine.features import prepare_rows
from dp_spark.engine.preprocess import check_steps
from dp_spark.engine.units import pinned_unit, require_units, with_units
from dp_spark.errors import DamageError, DpSparkError, SourceError, SpecError
from dp_spark.release.prepare import validate
from dp_spark.schema.reading import parse_yaml
from dp_spark.spark.settings import RELEASE_SETTINGS, settings
from dp_spark.spec.file_checks import check_file
from dp_spark.spec.release_spec import ReleaseSpec, json_schema
from dp_spark.spec.unit_definition import check_definition, read_by_unit

pytestmark = pytest.mark.books_in_memory

Cli = Callable[..., Outcome]
SCHEMA = {"CustomerID": "double", "name": "string", "test": "string"}
CSV = {"format": "csv", "path": "x.csv", "schema": SCHEMA}


# --- the file -----------------------------------------------------------------------------------------------------------


def test_a_definition_is_read_checked_and_in_the_schema() -> None:
    unit = {"customer": " cast(CustomerID as bigint)\n", "site": "site"}
    spec = release_spec(privacy_unit=unit)
    check_steps(spec)
    assert spec.unit_columns == ("customer", "site")
    assert list(spec.unit_definition.items()) == [("customer", "cast(CustomerID as bigint)"), ("site", "site")]
    assert spec.expand() == spec
    assert read_by_unit(spec) == {"customerid", "site"}
    assert release_spec(privacy_unit={"row": True}, contribution_bounds=None).unit_columns == ()
    assert release_spec(privacy_unit={"row": "row"}).unit_columns == ("row",)
    jsonschema.Draft202012Validator(json_schema()["properties"]["privacy_unit"] | {"$defs": json_schema()["$defs"]}).validate(
        unit
    )


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        ({}, "must be a column, a list of columns"),
        ({"customer": 5}, "must be a column, a list of columns"),
        ({"customer": " "}, "must be a column, a list of columns"),
        ({"customer": None}, "must be a column, a list of columns"),
        ({"row": "true"}, "without quotes"),
        ({"a b": "lower(a)"}, "not a plain name"),
        ({"_metadata": "lower(a)"}, "not a plain name"),
        ({"a": "lower(x)", "A": "y"}, "twice"),
    ],
)
def test_a_form_that_is_no_definition_is_refused(unit: object, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        release_spec(privacy_unit=unit)
    assert caught.value.where.startswith("privacy_unit")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("concat(a, :since)", "takes no parameters"),
        (":since", "takes no parameters"),
        ("cast(d as timestamp)", "time"),
        ("d::date", "time"),
        ("concat(a, date '2020-01-01')", "time"),
        ("year(d)", "time"),
        ("from_utc_timestamp(d, 'Europe/Berlin')", "time"),
        ("unix_timestamp(d)", "time"),
        ("months_between(d, e)", "time"),
        ("extract(day from d)", "time"),
        ("dayofyear(d)", "time"),
        ("comment || cast(cast(at as timestamp) as string)", "time"),
        ("set + cast(cast(at as timestamp) as bigint)", "time"),
        ("load || (at + interval 1 day)", "time"),
        ("refresh || at::date", "time"),
        ("lower(_metadata.file_path)", "_metadata"),
        ("rand()", "rand is not allowed"),
        ("current_user()", "not allowed"),
        ("max(a)", "not allowed"),
        ("(select 1)", "not allowed"),
        ("lower(", "not a Spark SQL expression"),
        ("${HOME}", "holds"),
    ],
)
def test_an_expression_that_no_unit_may_have_is_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        check_steps(release_spec(privacy_unit={"who": text}, parameters={"since": 1}))
    assert (caught.value.where, caught.value.exit_code) == ("privacy_unit.who", 2)


def test_names_of_dates_are_no_functions_of_dates() -> None:
    check_steps(release_spec(privacy_unit={"who": "concat(lower(date), `day`, time in ('a'))"}))


@pytest.mark.parametrize("word", ["comment", "set", "load", "refresh", "desc", "use", "array"])
def test_a_definition_may_begin_with_a_column_named_like_a_command(word: str, caplog: pytest.LogCaptureFixture) -> None:
    assert check_definition("who", word).reads == {(word,)}
    assert check_definition("who", f"{word} || p.id").reads == {(word,), ("p", "id")}
    assert not caplog.records


@pytest.mark.parametrize("name", ["user", "values", "select", "all", "current_date", "session_user", "case", "if", "date"])
def test_a_unit_named_like_a_word_of_sql_has_a_mend_that_works(name: str) -> None:
    source = {**CSV, "schema": {name: "double", "test": "string"}}
    with pytest.raises(SpecError) as caught:
        check_file(release_spec(source=source, privacy_unit=name))
    assert f"cast(`{name}` as bigint)" in caught.value.mend
    spec = release_spec(source=source, **followed(caught.value))
    check_steps(spec)
    check_file(spec)
    with pytest.raises(SpecError, match="no step may") as step:
        check_steps(release_spec(source=source, privacy_unit=name, preprocess=[{"cast": {name: "bigint"}}]))
    check_steps(release_spec(source=source, **followed(step.value)))


def test_with_a_schema_of_its_own_the_file_tells_which_columns_there_are() -> None:
    check_steps(release_spec(source=CSV, privacy_unit={"who": "cast(customerid as bigint)"}))
    nested = {**CSV, "format": "json", "schema": {"person": "struct<id: int>", "a.b": "string"}}
    check_steps(release_spec(source=nested, privacy_unit={"person.id": "person.id", "a.b": "a.b", "who": "lower(person.id)"}))
    with pytest.raises(SourceError, match="no column name"):
        check_steps(release_spec(source=nested, privacy_unit={"name": "name", "who": "lower(person.id)"}))
    with pytest.raises(SourceError, match="no column Customer") as missing:
        check_steps(release_spec(source=CSV, privacy_unit={"who": "cast(Customer as bigint)"}))
    assert missing.value.exit_code == 4
    with pytest.raises(SpecError, match="the name NAME is a column") as taken:
        check_steps(release_spec(source=CSV, privacy_unit={"NAME": "lower(name)"}))
    assert taken.value.mend == 'write privacy_unit: {NAME_unit: "lower(name)"}'
    check_steps(release_spec(source=CSV, **followed(taken.value)))


@pytest.mark.parametrize("name", ["who", "WHO", "CustomerID", "customerid", "person", "person.id"])
@pytest.mark.parametrize("step", ["derive", "cast", "fill", "drop"])
def test_no_step_touches_a_defined_unit_or_what_it_reads(step: str, name: str) -> None:
    value = {"derive": {name: "1"}, "cast": {name: "string"}, "fill": {name: 1}, "drop": [name]}[step]
    unit = {"who": "cast(CustomerID as bigint)", "person.id": "person.id"}
    with pytest.raises(SpecError, match=rf"preprocess\.0: no step may .* {name}") as caught:
        check_steps(release_spec(privacy_unit=unit, preprocess=[{step: value}]))
    assert caught.value.exit_code == 2
    if name.startswith("person"):
        with pytest.raises(SpecError, match="no step may"):
            check_steps(release_spec(privacy_unit="person.id", preprocess=[{step: value}]))


def followed(error: DpSparkError) -> dict[str, Any]:
    """The ``privacy_unit`` that a mend says to write, as it would be copied into the file."""
    _, write, text = error.mend.partition("write privacy_unit: ")
    assert write, error.mend
    return dict(parse_yaml(f"privacy_unit: {text}"))


@pytest.mark.parametrize(
    "step",
    [{"derive": {"name": "lower(trim(name))"}}, {"cast": {"NAME": "bigint"}}, {"derive": {"name": "concat(test, '/', name)"}}],
)
def test_a_step_on_the_unit_becomes_its_definition(step: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="no step may") as caught:
        check_steps(release_spec(source=CSV, privacy_unit=["name", "test"], preprocess=[step]))
    changes = followed(caught.value)
    assert list(changes["privacy_unit"]) == ["name_unit", "test"]
    check_steps(release_spec(source=CSV, **changes))


@pytest.mark.parametrize(
    "steps",
    [
        [{"derive": {"id": "date_format(day, 'y')"}}],
        [{"derive": {"clean": "trim(id)"}}, {"derive": {"id": "lower(clean)"}}],
        [{"join": {"source": CSV, "on": ["test"], "how": "left"}}, {"derive": {"id": "concat(id, name)"}}],
    ],
)
def test_a_step_that_cannot_be_a_definition_is_not_proposed_as_one(steps: list[dict[str, Any]]) -> None:
    with pytest.raises(SpecError) as caught:
        check_steps(release_spec(preprocess=steps))
    assert "privacy_unit:" not in caught.value.mend


# --- the source ---------------------------------------------------------------------------------------------------------


KINDS = """SELECT 'a' AS test, 1.5D AS real, 1.5F AS single, array('x') AS list, map('k', 1) AS dict,
named_struct('at', 1.5D, 'no', named_struct('x', 2)) AS deep, named_struct('w', 1.5D, 'id', 7) AS person,
'A' COLLATE UTF8_LCASE AS any_case, interval 1 day AS span, 1.5D AS `odd "name`, 2D AS real_unit,
named_struct('b', 1) AS a, 5 AS `a.b`"""


@pytest.mark.parametrize(
    "unit",
    ["real", "single", "list", "dict", "deep", "person", "any_case", "span", 'odd "name', "deep.at", "a.b", "padded",
     ["test", "real"], {"who": "real * 2"}, {"who": "padded"}],
)  # fmt: skip
def test_the_mend_of_every_refused_type_works(spark: SparkSession, held: None, unit: Any) -> None:
    frame = spark.sql(KINDS)
    if "padded" in str(unit):
        spark.sql("CREATE OR REPLACE TEMPORARY VIEW nothing_padded AS SELECT 1")
        spark.sql("CREATE TABLE IF NOT EXISTS padded_ids (padded CHAR(5), test STRING) USING parquet")
        frame = spark.table("padded_ids")
    try:
        spec = release_spec(privacy_unit=unit)
        with pytest.raises(SourceError) as caught:
            require_units(with_units(frame, spec), spec)
        assert (caught.value.where, caught.value.exit_code) == ("privacy_unit", 4)
        mended = release_spec(**followed(caught.value))
        check_steps(mended)
        found = with_units(frame, mended)
        require_units(found, mended)
        assert prepare_rows(found, mended.unit_columns, ["test"], [], None).frame.count() == (0 if "padded" in str(unit) else 1)
    finally:
        spark.sql("DROP TABLE IF EXISTS padded_ids")


@pytest.fixture
def people(spark: SparkSession) -> DataFrame:
    person = pa.struct({"Id": pa.float64(), "age": pa.int64(), "at": pa.timestamp("us", "UTC")})
    columns = {"CustomerID": pa.float64(), "name": pa.string(), "person": person, "seen": pa.timestamp("us", "UTC")}
    nan = float("nan")
    rows = [
        (17850.0, " Ann ", {"Id": 1.0, "age": 30, "at": None}, None),
        (17850.0, "ann", {"Id": None, "age": 31, "at": None}, None),
        (nan, "BOB", {"Id": 3.0, "age": None, "at": None}, None),
        (0.0, None, None, None),
        (None, "bob", {"Id": 3.0, "age": 50, "at": None}, None),
    ]
    return frame_of(spark, columns, rows)


def units_of(frame: DataFrame, unit: Any) -> list[tuple[Any, ...]]:
    spec = release_spec(privacy_unit=unit)
    check_steps(spec)
    found = with_units(frame, spec)
    require_units(found, spec)
    return sorted(tuples(prepare_rows(found, spec.unit_columns, [], [], None).frame))


def test_what_is_hashed_is_the_defined_value(people: DataFrame, held: None) -> None:
    assert units_of(people, {"c": "cast(CustomerID as bigint)"}) == [(0,), (17850,), (17850,)], "NaN is null, and no id 0"
    assert units_of(people, {"who": "lower(trim(name))"}) == [("ann",), ("ann",), ("bob",), ("bob",)]
    assert units_of(people, {"c": "cast(customerid as bigint)", "who": "lower(trim(name))"}) == [(17850, "ann")] * 2
    assert units_of(people, "person.age") == [(30,), (31,), (50,)]
    assert units_of(people, {"p": "cast(person.id as bigint)"}) == [(1,), (3,), (3,)]
    assert units_of(people, {"all": "1"}) == [(1,)] * 5
    assert units_of(people, {"none": "cast(null as string)"}) == []


def test_a_definition_that_the_source_does_not_fit_is_refused(people: DataFrame, held: None) -> None:
    for unit, error, message in (
        ({"who": "lower(nobody)"}, SourceError, "no column nobody"),
        ({"who": "lower(person.nobody)"}, SourceError, r"no column person\.nobody"),
        ({"a": "lower(name)", "b": "concat(a, name)"}, SourceError, "no column a"),
        ({"customerid": "cast(CustomerID as bigint)"}, SpecError, "column of the source already"),
        ({"who": "cast(seen as string)"}, SpecError, "seen is a timestamp"),
        ({"who": "cast(person as string)"}, SpecError, "person is a timestamp"),
        ({"who": "person.name.x"}, SourceError, "no column"),
    ):
        with pytest.raises(error, match=message) as caught:
            units_of(people, unit)
        assert caught.value.where.startswith("privacy_unit.")


def test_what_is_pinned_is_name_expression_and_input_types(people: DataFrame) -> None:
    spec = release_spec(privacy_unit={"who": "concat(name, person.Id)", "CustomerID": "CustomerID"})
    assert json.loads(pinned_unit(people, spec)) == {
        "unit": ["who", "CustomerID"],
        "definition": [["who", "concat(name, person.Id)"], ["CustomerID", "CustomerID"]],
        "types": {"name": "string", "person.Id": "double", "CustomerID": "double"},
    }
    headerless = release_spec(source={**CSV, "options": {"Header": False}}, privacy_unit={"who": "concat(test, customerid)"})
    assert json.loads(pinned_unit(people.selectExpr("1D CustomerID", "name", "name test"), headerless))["positions"] == {
        "CustomerID": 1,
        "test": 3,
    }
    for source in (
        {**CSV, "options": {"header": " true"}},
        CSV | {"options": {"header": True}},
        CSV,
        {**CSV, "format": "json"},
    ):
        by_position = source.get("options") == {"header": " true"}
        text = pinned_unit(people, release_spec(source=source, privacy_unit=["test", "Name"]))
        assert text == (
            '{"unit": ["test", "Name"], "positions": {"name": 2, "test": 3}}' if by_position else '["test", "Name"]'
        )


# --- a whole release ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_double_id_is_published_by_following_the_error(place: Place, spark: SparkSession, cli: Cli) -> None:
    """What every pandas export with gaps has: ids as doubles, with NaN and null among them."""
    ids = [17850.0 + person % 20 for person in range(100)] + [float("nan")] * 5 + [None] * 5
    rows = [{"CustomerID": value, "ward": "er", "place": {"zip": index % 7}} for index, value in enumerate(ids)]
    source = {"format": "delta", "path": str(write_delta(spark, place.folder / "people", rows))}
    paid = {"dataset": "rich", "source": source, "budget": {"epsilon": 1_000_000}, "aggregates": [PATIENTS]}
    zips = {"function": "sum", "name": "zips", "column": "place.zip", "min_value": 0, "max_value": 8}
    failed = cli("run", place.file(**paid, privacy_unit="CustomerID"), "--json")
    assert (failed.code, failed.error["where"]) == (4, "privacy_unit")
    changes = followed(SourceError(failed.error["message"], mend=failed.error["mend"]))
    bounds = {"max_partitions_contributed": 1, "max_contributions_per_partition": 10}
    file = place.file(**paid | changes | {"aggregates": [PATIENTS, zips], "contribution_bounds": bounds})
    planned = cli("plan", file, "--json").document
    assert planned["privacy_unit_definition"] == {"CustomerID_unit": "cast(CustomerID as bigint)"}
    assert "Unit        CustomerID_unit = cast(CustomerID as bigint)" in cli("plan", file).out
    assert cli("run", file, "--release-id", "r1").code == 0
    row = next(row for row in place.sink_rows() if row["ward"] == "er")
    assert row["patients"] == 20
    assert row["zips"] == pytest.approx(sum(index % 7 for index in range(100)), abs=1)
    guarantee = cli("show", place.sink, "--json").document["guarantee"]
    assert guarantee["privacy_unit"] == ["CustomerID_unit"]
    assert guarantee["privacy_unit_definition"] == {"CustomerID_unit": "cast(CustomerID as bigint)"}
    assert "with CustomerID_unit = cast(CustomerID as bigint)" in cli("show", place.sink).out
    for unit in ("place.zip", {"CustomerID_unit": "cast(CustomerID as int)"}):
        other = cli("run", place.file(**paid, privacy_unit=unit), "--release-id", "r2", "--json")
        assert (other.code, other.error["where"]) == (3, "privacy_unit")
    assert place.kinds() == [("charge", "r1"), ("published", "r1")]


@pytest.mark.slow
def test_without_a_header_another_position_is_another_unit(place: Place, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns that folders make have none, wherever the schema lists them."""
    path = place.folder / "visits"
    (path / "year=1").mkdir(parents=True)
    (path / "year=1" / "x.csv").write_text("".join(f"p{index % 5},er,w\n" for index in range(50)))
    schema = {"year": "string", "patient": "string", "ward": "string", "note": "string"}
    source = {"format": "csv", "path": str(path), "schema": schema, "options": {"header": "${HEADER}"}}
    changes = {"dataset": "rich", "source": source, "budget": {"epsilon": 1_000}, "aggregates": [COUNT]}
    monkeypatch.setenv("HEADER", "false")
    # An account of the version before positions were pinned.
    old = wanted(place.book().state(), "rich", *place_events(place, changes), unit='["patient"]', source=str(path))
    place.book().charge(replace(old, release_id="old", file_digest="sha256:old"))
    assert cli("run", place.file(**changes), "--release-id", "r1").code == 0
    assert place.entries()[-2].privacy_unit == '{"unit": ["patient"], "positions": {"patient": 1}}'
    inside = cli("run", place.file(**changes), "--set", f"source.path={path}/year=1", "--release-id", "r2", "--json")
    assert (inside.code, inside.error["where"]) == (3, "privacy_unit"), "the patient would be the ward"
    swapped = {"ward": "string", "note": "string", "patient": "string", "year": "string"}
    other = cli("run", place.file(**changes | {"source": {**source, "schema": swapped}}), "--release-id", "r2", "--json")
    assert (other.code, other.error["where"]) == (3, "privacy_unit")
    assert "patient at position 1 of schema" in other.error["message"]
    for override in (f"source.schema={json.dumps(swapped)}", "source.options.header=true", "source.options={sep: e}"):
        assert cli("run", place.file(**changes), "--set", override).code == 2


@pytest.mark.parametrize(
    ("columns", "unit", "made", "positions"),
    [
        ("p id x", "id", {"p"}, {"id": 1}),
        ("id x p", "id", {"p"}, {"id": 1}),
        ("p id x", "id", set(), {"id": 2}),
        ("x P Id", "id", {"p"}, {"Id": 2}),
        ("p q id", {"u": "concat(p, id)"}, {"p", "q"}, {"p": 0, "id": 1}),
        ("id p", "p", {"p"}, {"p": 0}),
    ],
)
def test_a_position_is_one_in_a_line(columns: str, unit: Any, made: set[str], positions: dict[str, int]) -> None:
    """Folders make columns that are in no line, and whether they do depends on the path."""
    source = {**CSV, "schema": dict.fromkeys(columns.split(), "string"), "options": {"header": False}}
    unread = types.SimpleNamespace(schema=T.StructType([]))
    pinned = pinned_unit(unread, release_spec(source=source, privacy_unit=unit), made)  # type: ignore[arg-type]
    assert json.loads(pinned)["positions"] == positions


def place_events(place: Place, changes: dict[str, Any]) -> tuple[Any, ...]:
    from dp_spark.plan.planning import plan_release

    return plan_release(place.spec(**changes), "basic", 3).events


@pytest.mark.slow
def test_a_release_goes_on_only_with_the_unit_that_it_was_charged_for(place: Place, cli: Cli) -> None:
    file = place.file()
    spec = ReleaseSpec.from_yaml(file)
    other = wanted(place.book().state(), "visits", *place_events(place, {}), unit='["ward"]', source=str(place.source))
    place.book().charge(replace(other, release_id="r1", file_digest=spec.digest()))
    failed = cli("run", file, "--release-id", "r1", "--json")
    assert (failed.code, failed.error["where"]) == (3, "privacy_unit")


def test_buckets_are_not_used_for_a_definition(place: Place, spark: SparkSession) -> None:
    spark.sql("CREATE TABLE bucketed_people (patient STRING, ward STRING) USING parquet CLUSTERED BY (patient) INTO 2 BUCKETS")
    try:
        for unit, clustered in (("patient", True), ({"patient": "patient", "at": "lower(ward)"}, False)):
            spec = place.spec(source={"table": "bucketed_people"}, privacy_unit=unit)
            with settings(spark, RELEASE_SETTINGS):
                assert validate(spark, spec, spec, place.book().state(), "r1").clustered is clustered
    finally:
        spark.sql("DROP TABLE bucketed_people")


# --- recipients ---------------------------------------------------------------------------------------------------------


def test_parties_agree_on_the_definition(tmp_path: Path) -> None:
    defined = plan(ROWS, privacy_unit={"who": "lower(id)"})
    check_parties([party(defined), party(defined, label="B", sequence=2)])
    for other in (plan(ROWS, privacy_unit={"who": "upper(id)"}), plan(ROWS, privacy_unit="who")):
        with pytest.raises(SourceError, match=r"privacy_unit_definition is who = lower\(id\) in A"):
            check_parties([party(defined, label="A"), party(other, label="B")])
    given = party(defined)
    for wrong in ([], {"other": "lower(id)"}, {"who": 5}):
        given.manifest["guarantee"]["privacy_unit_definition"] = wrong
        with pytest.raises(DamageError, match="does not hold what its manifest says"):
            check_parties([given, party(defined, label="B")])
