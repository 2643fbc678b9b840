"""What only Spark can judge is asked before the charge, over made-up rows: patterns in expressions and in options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers import release_spec
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T
from release_helpers import Outcome, Place

from dp_spark.engine import trial as trials
from dp_spark.engine.preprocess import check_steps
from dp_spark.engine.trial import check_trial
from dp_spark.errors import SpecError
from dp_spark.spark.settings import AS_DRAWN, bookkeeping

pytestmark = pytest.mark.books_in_memory

TYPES = "id int, s string, d date, at timestamp, n timestamp_ntz, x double, m decimal(2,2), b binary, l array<double>, " \
    "k map<string,double>, p struct<a: double, q: array<date>>, v variant, i interval day to second"  # fmt: skip


def trial(spark: SparkSession, *steps: dict[str, Any], **changes: Any) -> None:
    spec = release_spec(preprocess=list(steps), **changes)
    check_steps(spec)
    check_trial(spark, spec, T._parse_datatype_string(TYPES), {})


@pytest.mark.parametrize(
    "text",
    [
        "date_format(d, 'YYYY-MM')", "to_date(s, 'DD/MM/YYYY')", "try_to_timestamp(s, 'nnn')", "unix_timestamp(s, 'YYYY')",
        "case when s = 'x' then date_format(at, 'b') end", "to_timestamp(s, :pattern)",
        "s rlike '['", "regexp_replace(s, '(', '')", "if(x > 9, regexp_extract(s, 'a{', 0), s)", "s like 'a@' escape '@'",
    ],
)  # fmt: skip
@pytest.mark.usefixtures("held")
def test_a_pattern_that_spark_refuses_is_refused_before_the_charge(spark: SparkSession, text: str) -> None:
    with pytest.raises(SpecError) as caught:
        trial(spark, {"filter": "x > 100"}, {"derive": {"y": text}}, parameters={"pattern": "YYYY"})
    assert (caught.value.exit_code, caught.value.where[:12]) == (2, "preprocess.1")


@pytest.mark.usefixtures("held")
def test_what_is_tried_runs_as_a_draw_does(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own small queries are interpreted; what the trial is to find out must come from the code that a draw runs."""
    seen, original = [], trials._evaluate

    def evaluate(frame: DataFrame) -> None:
        seen.append([spark.conf.get(name) for name in AS_DRAWN])
        original(frame)

    monkeypatch.setattr(trials, "_evaluate", evaluate)
    with bookkeeping(spark):
        trial(spark, {"filter": "x > 0"})
    assert seen == [["true", "FALLBACK"]] == [[spark.conf.get(name) for name in AS_DRAWN]]


def test_a_pattern_in_a_condition_is_refused_by_its_aggregate(spark: SparkSession) -> None:
    counts = [{"function": "count", "name": name, "where": text} for name, text in (
        ("a", "x > 3 and date_format(d, 'yyyy') = '2000'"), ("b", "s like 'a%'"), ("c", "date_format(d, 'YYYY-MM') = :month"),
    )]  # fmt: skip
    with pytest.raises(SpecError) as caught:
        trial(spark, {"filter": "x > 100"}, parameters={"month": "2000-01"}, aggregates=counts)
    assert (caught.value.exit_code, caught.value.where) == (2, "aggregates.c.where")
    trial(spark, {"derive": {"y": "x + 1"}}, aggregates=[*counts[:2], {"function": "count", "name": "c", "where": "y > 0"}])


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize(("text", "said"), [("x", "double"), ("s", "string"), ("null", "void"), ("x + 1", "double")])
def test_a_condition_that_is_not_true_or_false_is_refused(spark: SparkSession, text: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        trial(spark, aggregates=[{"function": "count", "name": "n", "where": text}])
    assert (caught.value.exit_code, caught.value.where) == (2, "aggregates.n.where")
    assert said in caught.value.message


@pytest.mark.usefixtures("held")
def test_what_spark_takes_passes_on_columns_of_every_type(spark: SparkSession) -> None:
    trial(
        spark,
        {"derive": {"a": "date_format(d, 'yyyy-MM')", "e": "regexp_extract(s, '(\\\\d+)', 1)", "f": "p.a + floor(x)"}},
        {"filter": "to_date(s, 'dd/MM/yyyy') is null and s like 'a@%' escape '@'"},
        {"cast": {"x": "int", "at": "date"}},
        {"fill": {"s": "unknown"}},
        {"drop": ["v"]},
    )


OPTIONS: list[tuple[str, dict[str, str]]] = [
    ("csv", {"dateFormat": "YYYY"}),
    ("csv", {"timestampFormat": "DD/MM/YYYY", "sep": ";"}),
    ("csv", {"timestampNTZFormat": "YYYY"}),
    ("csv", {"encoding": "latin-9000"}),
    ("csv", {"quote": "ab"}),
    ("json", {"timeZone": "Foo"}),
    ("json", {"dateFormat": "YYYY", "mode": "DROPMALFORMED"}),
]


@pytest.mark.parametrize(("name", "options"), OPTIONS)
@pytest.mark.usefixtures("held")
def test_an_option_that_spark_refuses_is_refused_before_the_charge(
    spark: SparkSession, name: str, options: dict[str, str]
) -> None:
    schema = {"d": "date", "t": "timestamp", "n": "timestamp_ntz", "test": "string"}
    spec = release_spec(source={"format": name, "path": "x", "options": options, "schema": schema})
    with pytest.raises(SpecError, match=r"source\.options"):
        check_trial(spark, spec, T._parse_datatype_string("d date, t timestamp, n timestamp_ntz, test string"), {})


@pytest.mark.usefixtures("held")
def test_options_that_spark_takes_pass(spark: SparkSession) -> None:
    options = {"sep": "|", "dateFormat": "dd.MM.yyyy", "timestampFormat": "dd.MM.yyyy HH:mm", "encoding": "ISO-8859-1"}
    spec = release_spec(source={"format": "csv", "path": "x", "options": options, "schema": {"a": "date"}})
    check_trial(spark, spec, T._parse_datatype_string("a date, t timestamp, r array<int>"), {})


@pytest.mark.slow
def test_a_bad_pattern_costs_nothing_and_the_corrected_file_runs_under_the_same_id(
    place: Place, cli: Any, tmp_path: Path
) -> None:
    source = tmp_path / "visits.csv"
    source.write_text("patient,ward,day\na,er,31/12/2023\nb,gp,1/1/2024\n", encoding="utf-8")
    csv = {"format": "csv", "path": str(source), "schema": {"patient": "string", "ward": "string", "day": "string"}}

    def run(pattern: str) -> Outcome:
        steps = [{"derive": {"seen": f"to_date(day, '{pattern}')"}}, {"filter": "seen is not null"}]
        outcome: Outcome = cli("run", place.file(source=csv, preprocess=steps), "--release-id", "r1", "--json")
        return outcome

    refused = run("DD/MM/YYYY")
    assert (refused.code, refused.error["where"]) == (2, "preprocess.0")
    assert place.kinds() == []
    assert run("d/M/yyyy").code == 0
