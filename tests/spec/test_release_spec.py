from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from helpers import COUNT, MEAN, PUBLIC, SUM, UNITS, minimal_spec, release_spec
from pydantic import ValidationError

from dp_spark.engine.preprocess import check_steps
from dp_spark.errors import SpecError
from dp_spark.schema.reading import parse_yaml
from dp_spark.spec.release_spec import ReleaseSpec, json_schema

EXAMPLE = """
version: 1
name: lab-values-by-test
parameters: {since: 0}
timezone: UTC
dataset: nafld
source: {format: delta, path: data/nafld}
preprocess:
  - filter: "value is not null and value > 0 and days >= :since"
  - derive: {year: "cast(floor(days / 365) as int)"}
  - cast: {value: double}
  - fill: {test: unknown}
  - drop: [other]
  - join: {source: {format: csv, path: p.csv, schema: {test: string}}, on: [test], how: left}
privacy_unit: id
contribution_bounds: {max_partitions_contributed: 4, max_contributions_per_partition: 2}
group_by: [test, year]
partitions: {private: {}}
aggregates:
  - {function: privacy_id_count, name: patients}
  - {function: count, name: measurements}
  - {function: mean, column: value, min_value: 0, max_value: 500, name: mean_value}
budget: {epsilon: 1.0, delta: 1.0e-6}
noise: {mechanism: auto}
ledger: {path: warehouse/ledger}
sink: {path: warehouse/releases/lab_values}
"""
JDBC = {"format": "jdbc", "options": {"url": "jdbc:x", "dbtable": "a.b"}}
ROW_UNIT: dict[str, Any] = {"privacy_unit": {"row": True}, "contribution_bounds": None}


def aggregate(**changes: Any) -> dict[str, Any]:
    return {"aggregates": [{**SUM, **changes}]}


def source(**fields: Any) -> dict[str, Any]:
    return {"source": fields}


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"version": 2}, "version", "1"),
    ({"version": None}, "version", "missing"),
    ({"name": None}, "name", "missing"),
    ({"name": "a b"}, "name", "plain name"),
    ({"dataset": None}, "dataset", "missing"),
    ({"dataset": "../x"}, "dataset", "plain name"),
    ({"dataset": ""}, "dataset", "plain name"),
    ({"epsilonn": 1}, "epsilonn", "not a key"),
    ({"budget": {"epsilon": Decimal(1), "delt": 0}}, "budget.delt", "not a key"),
    ({"noise": {"seed": 7}}, "noise.seed", "not a key"),
    ({"timezone": "Mars/Base"}, "timezone", "time zone"),
    ({"timezone": "localtime"}, "timezone", "time zone"),
    ({"timezone": "Factory"}, "timezone", "time zone"),
    ({"source": None}, "source", "missing"),
    (source(path="x"), "source", "format"),
    (source(format="delta"), "source", "path"),
    (source(format="xml", path="x"), "source.format", "delta"),
    (source(table="a.b", path="x"), "source", "either a table"),
    (source(table="a.b", format="delta"), "source", "either a table"),
    (source(table="a.b", options={"x": "y"}), "source", "either a table"),
    (source(format="parquet", path="x", schema={"a": "int"}), "source", "csv and json"),
    (source(format="csv", path="x", options={"inferSchema": "true"}), "source.options", "inferSchema"),
    (source(format="csv", path="x", options={"INFERSCHEMA": True}), "source.options", "INFERSCHEMA"),
    (source(format="json", path="x", options={"samplingRatio": 1}), "source.options", "samplingRatio"),
    (source(format="csv", path="x", options={"mode": "failFast"}), "source.options", "FAILFAST"),
    (source(format="csv", path="x", options={"badRecordsPath": "/x"}), "source.options", "badRecordsPath"),
    (source(format="csv", path="x", options={"maxCharsPerColumn": 8}), "source.options", "maxCharsPerColumn"),
    (
        source(format="csv", path="x", options={"unescapedQuoteHandling": "RAISE_ERROR"}),
        "source.options",
        "unescapedQuoteHandling",
    ),
    (source(format="delta", path="x", options={"readChangeFeed": True}), "source.options", "repeats rows"),
    (source(format="parquet", path="x", options={"anything": 1}), "source.options", "mergeSchema"),
    (source(format="jdbc", options={"url": "u", "dbtable": "t", "Hint": "/*+ x */ * from t --"}), "source.options", "SQL text"),
    (source(table="delta.`/data/x`"), "source", "plain words"),
    (source(table="default . t"), "source", "plain words"),
    (source(table="t /* a */"), "source", "plain words"),
    (source(format="csv", path="x", options={"sep": ",", "SEP": ";"}), "source.options", "twice"),
    (source(format="csv", path="x", options={"path": "y"}), "source.options", "own key"),
    (source(format="jdbc", path="x", options=JDBC["options"]), "source", "no path"),
    (source(format="jdbc", options={"url": "u"}), "source", "dbtable"),
    (source(format="jdbc", options={"dbtable": "t"}), "source", "url"),
    (source(format="jdbc", options={"url": "u", "dbtable": "(select 1) q"}), "source", "plain table name"),
    (source(format="jdbc", options={"url": "u", "dbtable": "t", "query": "select 1"}), "source.options", "query"),
    (
        source(format="jdbc", options={"url": "u", "dbtable": "t", "sessionInitStatement": "x"}),
        "source.options",
        "sessionInitStatement",
    ),
    (source(format="jdbc", options={"url": "u", "dbtable": "t", "prepareQuery": "x"}), "source.options", "prepareQuery"),
    ({"preprocess": [{}]}, "preprocess.0", "exactly one"),
    ({"preprocess": [{"filter": "x", "drop": ["a"]}]}, "preprocess.0", "exactly one"),
    ({"preprocess": [{"filter": "x"}, {"filtr": "x"}]}, "preprocess.1.filtr", "not a key"),
    ({"preprocess": [{"filter": ""}]}, "preprocess.0.filter", "at least 1"),
    ({"preprocess": [{"fill": {"a": None}}]}, "preprocess.0", "null"),
    ({"preprocess": [{"join": {"source": JDBC, "on": ["a"], "how": "cross"}}]}, "preprocess.0.join.how", "left"),
    ({"preprocess": [{"join": {"source": JDBC, "on": [], "how": "left"}}]}, "preprocess.0.join.on", "at least 1"),
    ({"preprocess": [{"join": {"source": JDBC, "on": ["a"]}}]}, "preprocess.0.join.how", "missing"),
    ({"privacy_unit": None}, "privacy_unit", "missing"),
    ({"privacy_unit": ["id", "ID"]}, "privacy_unit", "twice"),
    ({"privacy_unit": {"rows": True}}, "privacy_unit.rows", "not a key"),
    ({"privacy_unit": {"row": False}}, "privacy_unit.row", "must be true"),
    ({"privacy_unit": []}, "privacy_unit", "too few elements"),
    ({"contribution_bounds": None}, "contribution_bounds.max_partitions_contributed", "missing"),
    (
        {"contribution_bounds": {"max_partitions_contributed": 4}},
        "contribution_bounds.max_contributions_per_partition",
        "missing",
    ),
    ({"contribution_bounds": {"max_contributions": 0}}, "contribution_bounds.max_contributions", "greater"),
    ({"contribution_bounds": {"max_contributions": "4"}}, "contribution_bounds.max_contributions", ""),
    (
        {"privacy_unit": {"row": True}, "contribution_bounds": {"max_contributions": 2}},
        "contribution_bounds.max_contributions",
        "",
    ),
    ({"contribution_bounds": {"max_partitions_contributed": 0}}, "contribution_bounds.max_partitions_contributed", "greater"),
    (
        {"contribution_bounds": {"max_partitions_contributed": True}},
        "contribution_bounds.max_partitions_contributed",
        "true or false",
    ),
    (
        {"contribution_bounds": {"max_partitions_contributed": Decimal("4.0")}},
        "contribution_bounds.max_partitions_contributed",
        "found a number with a point",
    ),
    ({"contribution_bounds": {"max_partitions_contributed": "4"}}, "contribution_bounds.max_partitions_contributed", "a text"),
    ({"contribution_bounds": {"max_partitions_contributed": 10**7}}, "contribution_bounds.max_partitions_contributed", "less"),
    ({"privacy_unit": {"row": True}}, "contribution_bounds.max_partitions_contributed", "must be 1"),
    (
        {"privacy_unit": {"row": True}, "contribution_bounds": {"max_contributions_per_partition": 2}},
        "contribution_bounds.max_contributions_per_partition",
        "must be 1",
    ),
    ({"group_by": None}, "group_by", "missing"),
    ({"group_by": ["a b"]}, "group_by.0", "plain name"),
    ({"group_by": ["1a"]}, "group_by.0", "plain name"),
    ({"group_by": ["test\n"]}, "group_by.0", "plain name"),
    ({"group_by": ["test", "TEST"]}, "group_by and aggregates", "twice"),
    ({"group_by": ["ROWS"]}, "group_by and aggregates", "twice"),
    ({"group_by": ["rows_stddev"]}, "group_by and aggregates", "twice"),
    ({"aggregates": [COUNT, {**COUNT, "name": "Rows"}]}, "group_by and aggregates", "twice"),
    ({"aggregates": [COUNT, {**COUNT, "name": "ROWS_stddev"}]}, "group_by and aggregates", "twice"),
    ({"partitions": None}, "partitions", "missing"),
    ({"partitions": {}}, "partitions", "either private or public"),
    ({"partitions": {"private": {}, **PUBLIC}}, "partitions", "either private or public"),
    ({"partitions": {"public": {}}}, "partitions.public", "values or a source"),
    ({"partitions": {"public": {"values": {"other": ["a"]}}}}, "partitions.public.values", "exactly the group_by"),
    ({"partitions": {"public": {"values": {"test": [], "x": [1]}}}}, "partitions.public.values.test", "at least 1"),
    ({"partitions": {"public": {"values": {"test": ["a"], "x": [1]}}}}, "partitions.public.values", "exactly the group_by"),
    ({"group_by": [], "partitions": PUBLIC}, "partitions.public", "group_by is empty"),
    ({"partitions": {"private": {"weight": 0}}}, "partitions.private.weight", "greater"),
    *(
        ({"partitions": {"private": {"pre_threshold": wrong}}}, "partitions.private.pre_threshold", says)
        for wrong, says in ((0, "1 or greater"), (-3, "1 or greater"), (2.5, "whole"), ("20", "whole"), (True, "number"))
    ),
    ({"partitions": {"private": {"pre_threshold": 10**7}}}, "partitions.private.pre_threshold", "or less"),
    (
        {"partitions": {"private": {"strategy": "weighted"}}},
        "partitions.private.strategy",
        "one of threshold, truncated_geometric",
    ),
    ({"partitions": {"private": {"pre_threshold": 9}, **PUBLIC}}, "partitions", "either private or public"),
    ({"partitions": {"public": {**PUBLIC["public"], "pre_threshold": 9}}}, "partitions.public.pre_threshold", "not a key"),
    ({"group_by": [], "partitions": {"private": {"pre_threshold": 9}}}, "partitions.private.pre_threshold", "empty"),
    ({"group_by": [], "partitions": {"private": {"strategy": "threshold"}}}, "partitions.private.strategy", "empty"),
    ({"aggregates": []}, "aggregates", "at least 1"),
    ({"aggregates": [{"function": "mode", "name": "m"}]}, "aggregates.0.function", "mode"),
    ({"aggregates": [{"name": "m"}]}, "aggregates.0.function", "missing"),
    ({"aggregates": [{"function": "count"}]}, "aggregates.0.name", "missing"),
    ({"aggregates": [{**COUNT, "weight": Decimal(-1)}]}, "aggregates.0.weight", "greater"),
    ({"aggregates": [{**COUNT, "weight": "2"}]}, "aggregates.0.weight", "quotes"),
    ({"aggregates": [{**COUNT, "min_value": 0}]}, "aggregates.0.min_value", "not a key"),
    ({"aggregates": [{**UNITS, "per_unit": "sum"}]}, "aggregates.0.per_unit", "not a key"),
    ({"aggregates": [{**COUNT, "where": ""}]}, "aggregates.0.where", "empty"),
    ({"aggregates": [{**COUNT, "where": True}]}, "aggregates.0.where", "must be"),
    (aggregate(per_unit="median"), "aggregates.0.per_unit", "one of sum, mean, count, min, max"),
    ({"aggregates": [{**SUM, "per_unit": "sum"}], **ROW_UNIT}, "aggregates.total.per_unit", "each row is a privacy unit"),
    (aggregate(max_value=-10), "aggregates.0", "below"),
    (aggregate(max_value=-11), "aggregates.0", "below"),
    (aggregate(min_value=float("nan")), "aggregates.0.min_value", "finite"),
    (aggregate(max_value=float("inf")), "aggregates.0.max_value", "finite"),
    (aggregate(max_value=True), "aggregates.0.max_value", "true or false"),
    (aggregate(column=None), "aggregates.0.column", "found nothing"),
    (aggregate(name="2x"), "aggregates.0.name", "plain name"),
    ({"budget": None}, "budget", "missing"),
    ({"budget": {}}, "budget.epsilon", "missing"),
    ({"budget": {"epsilon": 0}}, "budget.epsilon", "greater"),
    ({"budget": {"epsilon": Decimal(-1)}}, "budget.epsilon", "greater"),
    ({"budget": {"epsilon": "1.0"}}, "budget.epsilon", "quotes"),
    ({"budget": {"epsilon": True}}, "budget.epsilon", "quotes"),
    ({"budget": {"epsilon": float("inf")}}, "budget.epsilon", "not finite"),
    ({"budget": {"epsilon": float("nan")}}, "budget.epsilon", "finite"),
    ({"budget": {"epsilon": Decimal(1), "delta": 1}}, "budget.delta", "less"),
    ({"budget": {"epsilon": Decimal(1), "delta": Decimal("-1e-9")}}, "budget.delta", "greater"),
    ({"budget": {"epsilon": Decimal(1)}}, "budget.delta", "private partition selection"),
    ({"budget": {"epsilon": Decimal("1." + 397 * "0" + "1")}}, "budget.epsilon", "60 digits"),
    ({"budget": {"epsilon": Decimal("1e-999999999")}}, "budget.epsilon", "60 digits"),
    ({"budget": {"epsilon": Decimal("123456789." + 55 * "1")}}, "budget.epsilon", "60 digits"),
    ({"budget": {"epsilon": Decimal(1), "delta": Decimal("1e-61")}}, "budget.delta", "60 digits"),
    ({"aggregates": [{**COUNT, "weight": Decimal("0." + 61 * "1")}]}, "aggregates.0.weight", "60 digits"),
    ({"partitions": {"private": {"weight": Decimal("1e-400")}}}, "partitions.private.weight", "60 digits"),
    (
        {"partitions": {"public": {"values": {name: list(range(1500)) for name in "ab"}}}, "group_by": ["a", "b"]},
        "partitions.public.values",
        "2,000,000",
    ),
    ({"budget": {"epsilon": Decimal(1)}, "partitions": PUBLIC, "noise": {"mechanism": "gaussian"}}, "noise.mechanism", "delta"),
    ({"noise": {"mechanism": "none"}}, "noise.mechanism", "auto"),
    ({"ledger": None}, "ledger", "missing"),
    ({"ledger": {}}, "ledger", "either a path or a table"),
    ({"sink": {"path": "a", "table": "b"}}, "sink", "either a path or a table"),
    ({"sink": {"path": "a`b"}}, "sink", "backtick"),
    ({"sink": {"table": "a.b.c.d"}}, "sink", "plain words"),
    ({"sink": {"table": "a b"}}, "sink", "plain words"),
    ({"sink": {"path": ""}}, "sink.path", "at least 1"),
    ({"parameters": {"a b": 1}}, "parameters.a b", "plain name"),
    ({"parameters": {"x": None}}, "parameters.x", "found nothing"),
    ({"parameters": {"x": float("nan")}}, "parameters.x", "not finite"),
    ({"parameters": {"x": [1]}}, "parameters.x", "found a list"),
]


@pytest.mark.parametrize(
    ("changes", "where", "fragment"), BAD, ids=[f"{where}-{index}" for index, (_, where, _) in enumerate(BAD)]
)
def test_bad_files_are_refused_with_key_and_mend(changes: dict[str, Any], where: str, fragment: str) -> None:
    with pytest.raises(SpecError) as caught:
        release_spec(**changes)
    error = caught.value
    assert error.where == where
    assert fragment in error.message
    assert error.mend
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("changes", "close"),
    [
        ({"agregates": []}, "aggregates"),
        ({"privacy_units": "x"}, "privacy_unit"),
        ({"noise": {"mechanisms": "auto"}}, "mechanism"),
    ],
)
def test_a_mistyped_key_is_mended_by_the_closest_one(changes: dict[str, Any], close: str) -> None:
    with pytest.raises(SpecError) as caught:
        release_spec(**changes)
    assert f"did you mean {close}?" in caught.value.mend


GOOD: list[dict[str, Any]] = [
    {},
    ROW_UNIT,
    ROW_UNIT | {"contribution_bounds": {"max_partitions_contributed": 1, "max_contributions_per_partition": 1}},
    {"privacy_unit": ["id", "site"]},
    {"group_by": [], "partitions": None, "contribution_bounds": {"max_contributions_per_partition": 3}},
    {"contribution_bounds": {"max_contributions": 3}},
    {"contribution_bounds": {"max_contributions": 3, "max_partitions_contributed": 2}},
    {"group_by": [], "partitions": None, "contribution_bounds": {"max_contributions": 3}},
    {"partitions": PUBLIC},
    {"partitions": {"private": {"pre_threshold": 1}}},
    {"partitions": {"private": {"pre_threshold": 20, "strategy": "truncated_geometric", "weight": 2}}},
    {"partitions": {"public": {"source": {"format": "csv", "path": "keys.csv"}}}},
    {"partitions": PUBLIC, "budget": {"epsilon": Decimal(1)}},
    {"partitions": PUBLIC, "budget": {"epsilon": Decimal(1)}, "noise": {"mechanism": "laplace"}},
    {"source": {"table": "cat.schema.events"}},
    {"source": JDBC},
    {"source": {"format": "csv", "path": "x", "schema": {"a": "int"}, "options": {"header": True, "nullValue": 5}}},
    {"sink": {"table": "a.b.c"}, "ledger": {"table": "l"}},
    {"timezone": "Europe/Berlin"},
    {"budget": {"epsilon": Decimal("1." + 500 * "0"), "delta": Decimal("1e-60")}},
    {"aggregates": [UNITS, COUNT, MEAN, SUM]},
    {"parameters": {"a": 1, "b": True, "c": Decimal("0.5"), "d": "text"}},
]


@pytest.mark.parametrize("changes", GOOD)
def test_good_files_are_accepted(changes: dict[str, Any]) -> None:
    assert release_spec(**changes).version == 1


def test_option_values_become_text() -> None:
    spec = release_spec(
        source={"format": "csv", "path": "x", "options": {"header": True, "quote": 5, "escape": Decimal("0.50")}}
    )
    assert spec.source.options == {"header": "true", "quote": "5", "escape": "0.50"}


def test_parameters_keep_their_types() -> None:
    parameters = {"a": 1, "b": True, "c": Decimal("1.0"), "d": "1", "e": "2024-01-01"}
    found = release_spec(parameters=parameters).parameters
    assert found == parameters
    assert [type(value) for value in found.values()] == [int, bool, Decimal, str, str]


def test_public_values_keep_their_types() -> None:
    values = ["a", "2024-01-01", 1, True, Decimal("1.5"), None]
    public = release_spec(partitions={"public": {"values": {"test": values}}}).public_partitions
    assert public is not None
    assert public.values is not None
    assert [type(value) for value in public.values["test"]] == [str, str, int, bool, Decimal, type(None)]


def test_properties_of_a_spec() -> None:
    assert release_spec(privacy_unit="id").unit_columns == ("id",)
    assert release_spec(privacy_unit=["b", "a"]).unit_columns == ("b", "a")
    assert release_spec(**ROW_UNIT).unit_columns == ()
    assert release_spec().private_partitions is not None
    assert release_spec(partitions=PUBLIC).private_partitions is None
    assert release_spec(group_by=[]).private_partitions is None
    assert release_spec().public_partitions is None


def test_a_spec_is_frozen() -> None:
    spec = release_spec()
    with pytest.raises(ValidationError):
        spec.dataset = "other"


def test_there_is_no_default_for_epsilon_or_for_any_bound() -> None:
    schema = json_schema()
    assert "default" not in schema["$defs"]["Budget"]["properties"]["epsilon"]
    assert schema["$defs"]["Budget"]["required"] == ["epsilon"]
    for clipped in ("Sum", "Mean"):
        assert {"min_value", "max_value"} <= set(schema["$defs"][clipped]["required"])


def test_json_schema_is_valid_and_accepts_the_example() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    json.dumps(schema)
    validator = jsonschema.Draft202012Validator(schema)
    document = parse_yaml(EXAMPLE)
    validator.validate(document)
    ReleaseSpec.model_validate(document)
    selected = {"private": {"pre_threshold": 20, "strategy": "truncated_geometric"}}
    validator.validate(document | {"partitions": selected})
    for change in ({"partitions": {"private": {"pre_threshold": 0}}}, {"partitions": {"private": {"strategy": "other"}}}):
        assert not validator.is_valid(document | change)
    for change in (
        {"budget": {"epsilon": 0}},
        {"budget": {"epsilon": 1e10}},
        {"contribution_bounds": {"max_partitions_contributed": 0}},
    ):
        assert not validator.is_valid(document | change)
    for change in ({"epsilonn": 1}, {"version": 2}, {"budget": {}}, {"aggregates": []}, {"noise": {"seed": 1}}, {"sink": 5}):
        assert not validator.is_valid(document | change)


def test_reading_a_file_with_overrides(tmp_path: Path) -> None:
    path = tmp_path / "release.yaml"
    path.write_text(EXAMPLE)
    spec = ReleaseSpec.from_yaml(path, ["parameters.since=365", "budget.epsilon=0.5", "aggregates.2.max_value=10"])
    assert spec.parameters == {"since": 365}
    assert spec.budget.epsilon == Decimal("0.5")
    assert spec.aggregates[2].model_dump()["max_value"] == 10.0
    assert ReleaseSpec.from_yaml(path).digest() != spec.digest()


@pytest.mark.parametrize(
    ("override", "where"),
    [
        ("parameters.since='0 or rand() > 0'", "parameters.since"),
        ("parameters.since=true", "parameters.since"),
        ("parameters.since=0.5", "parameters.since"),
        ("parameters.other=1", "parameters.other"),
        ("budget.epsilon=-1", "budget.epsilon"),
        ("DATASET=x", "DATASET"),
    ],
)
def test_bad_overrides_are_refused_with_file_and_key(tmp_path: Path, override: str, where: str) -> None:
    path = tmp_path / "release.yaml"
    path.write_text(EXAMPLE)
    with pytest.raises(SpecError) as caught:
        ReleaseSpec.from_yaml(path, [override])
    assert caught.value.where == f"{path}: {where}"


def test_a_condition_is_told_with_its_parameters_filled_in() -> None:
    counted = {**COUNT, "where": "days >= :since and kind <> ':since'"}
    one, other = (release_spec(parameters={"since": since}, aggregates=[counted, SUM]) for since in (3, 4))
    assert one.expand().aggregates[0].where == "days >= 3 and kind <> ':since'"
    assert one.expand().aggregates[0].queries() != other.expand().aggregates[0].queries()
    assert one.digest() != other.digest() != release_spec(parameters={"since": 4}, aggregates=[COUNT, SUM]).digest()
    assert one.expand().expand() == one.expand()


@pytest.mark.parametrize(
    ("text", "said"),
    [("rand() < 0.5", "rand"), ("days >= :until", "until"), ("sum(x) > 1", "sum"), ("x >", ""), (" ", "empty")],
)
def test_a_condition_is_refused_as_a_filter_is(text: str, said: str) -> None:
    spec = release_spec(aggregates=[{**COUNT, "where": text}])
    with pytest.raises(SpecError) as caught:
        check_steps(spec)
    with pytest.raises(SpecError) as of_a_filter:
        check_steps(release_spec(preprocess=[{"filter": text}]))
    assert caught.value.where == "aggregates.rows.where"
    assert said in caught.value.message
    assert (caught.value.message, caught.value.mend) == (of_a_filter.value.message, of_a_filter.value.mend)


def test_a_decimal_parameter_may_become_a_whole_number(tmp_path: Path) -> None:
    path = tmp_path / "release.yaml"
    path.write_text(EXAMPLE.replace("{since: 0}", "{since: 0.5, text: a}"))
    assert ReleaseSpec.from_yaml(path, ["parameters.since=3"]).parameters["since"] == 3
    with pytest.raises(SpecError, match="must stay a text"):
        ReleaseSpec.from_yaml(path, ["parameters.text=3"])


DECLARED = {"parameters": {"since": 3}, "partitions": PUBLIC, "aggregates": [dict(SUM)]}


def test_digest_does_not_depend_on_key_order_or_spelling_of_numbers() -> None:
    digest = release_spec(**DECLARED).digest()
    assert digest.startswith("sha256-2:")
    assert len(digest) == 73
    backwards = dict(reversed(minimal_spec(**DECLARED).items()))
    assert ReleaseSpec.model_validate(backwards).digest() == digest
    for epsilon, delta in (("1.00", "0.000001"), ("1", "1.0E-6"), ("1.0", "1e-6")):
        assert release_spec(**DECLARED, budget={"epsilon": Decimal(epsilon), "delta": Decimal(delta)}).digest() == digest
    assert release_spec(**DECLARED, timezone="UTC", noise={"mechanism": "auto"}, preprocess=[]).digest() == digest
    assert release_spec(**DECLARED | aggregate(min_value=Decimal("-10.0"), max_value=30.0)).digest() == digest


@pytest.mark.parametrize("field", ["weight", "parameter"])
def test_digest_does_not_depend_on_trailing_zeros(field: str) -> None:
    def digest(number: str) -> str:
        if field == "weight":
            return release_spec(**aggregate(weight=Decimal(number))).digest()
        return release_spec(parameters={"x": Decimal(number)}).digest()

    assert digest("2.50") == digest("2.5")


@pytest.mark.parametrize(
    "changes",
    [
        {"sink": {"path": "warehouse/other"}},
        {"sink": {"table": "warehouse.release"}},
        {"ledger": {"path": "other"}},
        {"name": "other"},
        {"dataset": "other"},
        {"source": {"format": "parquet", "path": "data/nafld"}},
        {"source": {"format": "delta", "path": "data/other"}},
        {"budget": {"epsilon": Decimal("1.1"), "delta": Decimal("1e-6")}},
        {"budget": {"epsilon": Decimal("1.0"), "delta": Decimal("1e-7")}},
        {"budget": {"epsilon": Decimal("1.00000000000000000000000000000000001"), "delta": Decimal("1e-6")}},
        {"contribution_bounds": {"max_partitions_contributed": 5, "max_contributions_per_partition": 2}},
        {"contribution_bounds": {"max_partitions_contributed": 4, "max_contributions_per_partition": 3}},
        {"parameters": {"since": 4}},
        {"parameters": {"since": "3"}},
        {"parameters": {"since": True}},
        {"parameters": None},
        {"partitions": {"private": {}}},
        {"partitions": {"public": {"values": {"test": ["a", "b"]}}}},
        {"partitions": {"public": {"values": {"test": ["a", "c", "b"]}}}},
        {"privacy_unit": ["id", "site"]},
        {"noise": {"mechanism": "laplace"}},
        {"timezone": "Europe/Berlin"},
        {"preprocess": [{"filter": "value > 0"}]},
        aggregate(max_value=31),
        aggregate(function="mean"),
        aggregate(weight=Decimal(2)),
        {"aggregates": [SUM, COUNT]},
    ],
)
def test_digest_changes_with_what_is_released(changes: dict[str, Any]) -> None:
    assert release_spec(**(DECLARED | changes)).digest() != release_spec(**DECLARED).digest()


def test_digest_tells_a_number_from_a_text() -> None:
    number = Decimal("1.5")
    pairs = [
        ({"parameters": {"x": number}}, {"parameters": {"x": str(number)}}),
        ({"preprocess": [{"fill": {"c": number}}]}, {"preprocess": [{"fill": {"c": str(number)}}]}),
    ]
    for one, other in pairs:
        assert release_spec(**one).digest() != release_spec(**other).digest()


def test_digest_changes_with_the_public_keys() -> None:
    spec = release_spec(partitions={"public": {"source": {"format": "csv", "path": "keys.csv"}}})
    assert len({spec.digest(), spec.digest("sha256:1"), spec.digest("sha256:2")}) == 3


def test_digest_does_not_depend_on_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"source": {"format": "delta", "path": "${LAKE}/x"}}
    digests = set()
    for lake in ("/a", "/b"):
        monkeypatch.setenv("LAKE", lake)
        spec = release_spec(**changes)
        expanded = spec.expand()
        assert expanded.source.path == f"{lake}/x"
        assert spec.source.path == "${LAKE}/x"
        digests.add(spec.digest())
    assert len(digests) == 1


VARIABLES = {"X": "value", "T": "a.b", "PW": "hunter2"}


def test_expand_reaches_paths_tables_and_options_everywhere() -> None:
    join = {"source": {**JDBC, "options": {**JDBC["options"], "password": "${PW}"}}, "on": ["a"], "how": "left"}
    spec = release_spec(
        source={"format": "csv", "path": "/${X}/p", "options": {"sep": "${X}"}, "schema": {"a": "int"}},
        preprocess=[{"filter": "a > 0"}, {"join": join}],
        partitions={"public": {"source": {"table": "${T}"}}},
        ledger={"path": "${X}"},
        sink={"table": "${T}"},
    ).expand(VARIABLES)
    assert spec.source.path == "/value/p"
    assert spec.source.options == {"sep": "value"}
    assert spec.source.columns == {"a": "int"}
    assert spec.preprocess[1].join is not None
    assert spec.preprocess[1].join.source.options["password"] == "hunter2"
    assert spec.public_partitions is not None
    assert spec.public_partitions.source is not None
    assert spec.public_partitions.source.table == "a.b"
    assert (spec.ledger.path, spec.sink.table) == ("value", "a.b")


def test_expand_leaves_everything_else_alone() -> None:
    join = {"source": {"format": "csv", "path": "p", "schema": {"a": "${X}"}}, "on": ["${X}"], "how": "left"}
    changes: dict[str, Any] = {
        "source": {"format": "csv", "path": "p", "schema": {"a": "${X}"}},
        "preprocess": [
            {"join": join},
            {"filter": "name = '${X}'"},
            {"derive": {"path": "'${X}'", "table": "'${X}'"}},
            {"fill": {"path": "${X}", "options": "${X}"}},
        ],
        "partitions": {"public": {"values": {"test": ["${X}"]}}},
        "parameters": {"path": "${X}"},
        "privacy_unit": "${X}",
    }
    spec = release_spec(**changes)
    assert spec.expand({}) == spec


def test_expand_refuses_what_is_not_set_and_names_the_key() -> None:
    with pytest.raises(SpecError) as caught:
        release_spec(source={**JDBC, "options": {**JDBC["options"], "password": "${NOPE}"}}).expand(VARIABLES)
    assert caught.value.where == "source.options.password"
    assert "NOPE" in caught.value.message


@pytest.mark.parametrize(
    "changes",
    [
        {"source": {"format": "csv", "path": "x", "options": {"mode": "${M}"}}},
        {"source": {"format": "jdbc", "options": {"url": "u", "dbtable": "${Q}"}}},
        {"sink": {"table": "${Q}"}},
        {"sink": {"path": "${B}"}},
    ],
)
def test_expanded_values_are_checked_again_and_never_shown(changes: dict[str, Any]) -> None:
    hostile = {"M": "FAILFAST", "Q": "(select hunter2) q", "B": "hunter2`"}
    with pytest.raises(SpecError) as caught:
        release_spec(**changes).expand(hostile)
    assert "hunter2" not in f"{caught.value}{caught.value.__cause__}{caught.value.to_dict()}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (source(format="jdbc", options={"url": "u", "dbtable": "(select id from t limit 5) q --${"}), "plain table name"),
        (source(format="jdbc", options={"url": "u", "dbtable": "${Q}"}), "plain table name"),
        ({"sink": {"table": "a b ${"}}, "one to three plain words"),
        ({"ledger": {"table": "${Q}"}}, "one to three plain words"),
    ],
)
def test_a_dollar_brace_does_not_switch_the_check_of_a_name_off(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        release_spec(**changes).expand({"Q": "(select id from t limit 5) q --${"})


@pytest.mark.parametrize(
    "changes",
    [
        {"source": {"format": "jdbc", "options": {"url": "u", "dbtable": "(hunter2)"}}},
        {"source": {"format": "jdbc", "options": {"url": "jdbc:hunter2", "password": "hunter2"}}},
        {"source": {"format": "csv", "path": "x", "options": {"password": ["hunter2"]}}},
        {"source": {"format": "csv", "path": "x", "options": {"query": "hunter2"}}},
        {"source": {"format": "csv", "path": "x", "option": {"password": "hunter2"}}},
    ],
)
def test_errors_never_show_option_values(changes: dict[str, Any]) -> None:
    with pytest.raises(SpecError) as caught:
        release_spec(**changes)
    assert "hunter2" not in f"{caught.value}{caught.value.__cause__}"
    assert caught.value.__suppress_context__
