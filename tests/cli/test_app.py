"""The command line's contract: exit codes, one JSON document on stdout, one line for an error, and never a value."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from checkout import ROOT
from memory_books import MemoryBooks
from pyspark.sql import SparkSession
from release_helpers import COUNT, MEAN, PATIENTS, TOTAL, Outcome, Place, snapshot

import dp_spark.release.run
from dp_spark.cli import app as command_line
from dp_spark.cli import main
from dp_spark.errors import BudgetError, ConflictError, DamageError, DpSparkError, SourceError, SpecError
from dp_spark.schema.reading import parse_yaml

pytestmark = pytest.mark.books_in_memory

Cli = Callable[..., Outcome]


# --- run -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_run_json(place: Place, cli: Cli) -> None:
    file = place.file(aggregates=[PATIENTS, COUNT, TOTAL, MEAN])
    outcome = cli("run", file, "--release-id", "r1", "--json")
    assert outcome.code == 0
    document = outcome.document
    assert list(document) == ["release_id", "status", "path", "version", "rows", "cost", "remaining", "aggregates", "warnings"]
    assert (document["release_id"], document["status"], document["path"]) == ("r1", "published", str(place.sink))
    assert (document["version"], document["rows"]) == (0, 3)
    assert document["cost"] == {"epsilon": 1.0, "delta": 0.0, "rho": None}
    assert document["remaining"] == {"epsilon": 9.0, "delta": 0.001}
    rows = place.sink_rows()
    manifest = cli("show", place.sink, "--json").document
    stddevs = {item["name"]: item["stddev"] for item in document["aggregates"]}
    assert list(stddevs) == ["patients", "visits", "total", "average"]
    for item in manifest["aggregates"][:3]:
        assert stddevs[item["name"]] == item["stddev"] == rows[0][f"{item['name']}_stddev"]
    assert outcome.err == ""
    again = cli("run", file, "--release-id", "r1", "--json")
    assert again.code == 0
    assert again.document == {**document, "status": "already_published"}


@pytest.mark.slow
def test_a_run_that_publishes_nothing_says_so(place: Place, cli: Cli) -> None:
    """All units null, and keys that are selected: 0 rows at the full price."""
    steps = [{"filter": "cost < -1"}]
    file = place.file(preprocess=steps, partitions={"private": {}}, budget={"epsilon": 1.0, "delta": 0.0001})
    outcome = cli("run", file, "--release-id", "empty")
    assert (outcome.code, "(0 rows" in outcome.out) == (0, True)
    assert "WARNING     the release is EMPTY" in outcome.out
    again = cli("run", file, "--release-id", "empty", "--json").document
    assert again["rows"] == 0
    assert "patient is null" in again["warnings"][0]


@pytest.mark.slow
def test_run_in_a_zcdp_account(place: Place, cli: Cli) -> None:
    document = cli("run", place.file(dataset="gauss", budget={"epsilon": 10, "delta": 0.00001}), "--json").document
    assert document["cost"]["epsilon"] == 10
    assert document["cost"]["delta"] == 0.00001
    assert document["cost"]["rho"] > 0
    assert document["remaining"]["epsilon"] == 0, "asking for exactly what was opened fits, and leaves nothing"


@pytest.mark.slow
def test_run_for_people(place: Place, cli: Cli) -> None:
    outcome = cli("run", place.file())
    assert outcome.code == 0
    release_id = re.search(r"Release id +(\S+)", outcome.out)
    assert release_id is not None
    for text in ("Published", str(place.sink), "Cost", "epsilon 1", "Remaining", "epsilon 9", "icu", "±"):
        assert text in outcome.out
    assert f"--release-id {release_id.group(1)}" in " ".join(outcome.err.split())
    assert "--release-id" not in outcome.out
    again = cli("run", place.file(), "--release-id", release_id.group(1))
    assert again.code == 0
    assert "Already published" in again.out
    assert again.err == ""
    shutil.rmtree(place.sink)
    gone = cli("run", place.file(), "--release-id", release_id.group(1))
    assert gone.code == 0
    assert "no longer there" in gone.out


@pytest.mark.parametrize("name", ["nowhere.visits", "no_catalog.gold.visits"])
def test_a_sink_in_a_schema_that_is_not_there_costs_nothing(place: Place, cli: Cli, name: str) -> None:
    before = place.entries()
    outcome = cli("run", place.file(sink={"table": name}), "--json")
    assert (outcome.code, outcome.error["where"]) == (2, "sink")
    assert outcome.error["message"].startswith(f"there is no schema {name.rpartition('.')[0]} ")
    assert place.entries() == before


def test_a_release_that_is_too_wide_is_said_to_cost_nothing(place: Place, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dp_spark.spark.memory.MOST_CELLS", 8)
    before = place.entries()
    outcome = cli("run", place.file(), "--json")
    assert (outcome.code, outcome.error["where"]) == (2, "partitions.public")
    assert "--release-id" not in outcome.error["mend"]
    assert place.entries() == before


@pytest.mark.slow
def test_set_and_variables(place: Place, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DP_SPARK_TEST_SINK", str(place.folder / "from-variable"))
    file = place.file(sink={"path": "${DP_SPARK_TEST_SINK}"}, parameters={"since": 0}, preprocess=[{"filter": "day >= :since"}])
    given = ["--set", "budget.epsilon=0.5", "--set", "parameters.since=3", "--set", "aggregates.0.name=late_visits"]
    document = cli("run", file, "--release-id", "r1", "--json", *given).document
    assert document["path"] == str(place.folder / "from-variable")
    assert document["cost"]["epsilon"] == 0.5
    assert [item["name"] for item in document["aggregates"]] == ["late_visits"]
    other = cli("run", file, "--release-id", "r1", "--json", *given[:2])
    assert (other.code, other.error["where"]) == (3, "--release-id"), "another --set is another file"


@pytest.mark.slow
@pytest.mark.books_on_delta
def test_ledger_and_sink_as_tables_by_name(place: Place, cli: Cli, spark: SparkSession) -> None:
    spark.sql("CREATE DATABASE IF NOT EXISTS cli_test")
    spark.sql(f"CREATE TABLE IF NOT EXISTS cli_test.visits USING delta LOCATION '{place.own_source()}'")
    opened = cli("budget", "open", "--ledger", "cli_test.ledger", "--dataset", "visits", "--epsilon", "1", "--json")
    assert opened.code == 0, opened.err
    names = {"source": {"table": "cli_test.visits"}, "ledger": {"table": "cli_test.ledger"}, "sink": {"table": "cli_test.out"}}
    done = cli("run", place.file(**names), "--release-id", "r1", "--json")
    assert done.code == 0, done.out
    assert done.document["path"] == "cli_test.out"
    assert cli("run", place.file(**names), "--release-id", "r1", "--json").document["status"] == "already_published"
    assert spark.table("cli_test.out").count() == 3
    assert cli("show", "cli_test.out", "--json").document["release_id"] == "r1"
    assert cli("budget", "verify", "--ledger", "cli_test.ledger", "--json").document["verified"] == ["r1"]
    shown = cli("budget", "show", "--ledger", "cli_test.ledger", "--json").document
    assert (shown["remaining"]["epsilon"], [item["release_id"] for item in shown["charges"]]) == (0, ["r1"])
    by_path = cli("run", place.file(**names | {"source": {"format": "delta", "path": str(place.own_source())}}, dataset="x"))
    assert by_path.code == 3
    spark.sql("DROP DATABASE cli_test CASCADE")


# --- plan, budget, show, schema --------------------------------------------------------------------------------------


def test_budget_open_and_show(tmp_path: Path, budget: Cli) -> None:
    ledger = tmp_path / "new" / "ledger"
    opened = budget("open", "--ledger", ledger, "--dataset", "a", "--epsilon", "0.3", "--json")
    assert opened.code == 0
    document = opened.document
    assert list(document) == ["dataset", "accountant", "total", "spent", "remaining", "charges"]
    assert (document["dataset"], document["accountant"], document["charges"]) == ("a", "basic", [])
    assert document["total"] == document["remaining"] == {"epsilon": 0.3, "delta": 0.0, "rho": None}
    assert document["spent"]["epsilon"] == 0
    assert budget("show", "--ledger", ledger, "--json").document == document
    second = budget("open", "--ledger", ledger, "--dataset", "b", "--epsilon", "1", "--delta", "1e-6")
    assert second.code == 0
    assert "b (zcdp)" in second.out
    one = budget("show", "--ledger", ledger, "--dataset", "b", "--json").document
    assert (one["dataset"], one["accountant"], one["total"]["delta"]) == ("b", "zcdp", 1e-6)
    assert one["remaining"]["rho"] == one["total"]["rho"] > 0
    assert [item["dataset"] for item in budget("show", "--ledger", ledger, "--json").document] == ["a", "b"]
    text = budget("show", "--ledger", ledger)
    assert text.code == 0
    for word in ("a (basic)", "b (zcdp)", "total", "spent", "remaining"):
        assert word in text.out
    twice = budget("open", "--ledger", ledger, "--dataset", "a", "--epsilon", "9", "--json")
    assert (twice.code, twice.error["code"]) == (3, "budget_refused")
    unknown = budget("show", "--ledger", ledger, "--dataset", "c", "--json")
    assert (unknown.code, unknown.error["code"]) == (3, "budget_refused")


def test_budget_show_lists_charges(books: MemoryBooks, budget: Cli) -> None:
    books.opened().charge("r1", "1")
    document = budget("show", "--ledger", books.ref, "--dataset", "visits", "--json").document
    assert document["spent"]["epsilon"] == 1
    assert document["remaining"]["epsilon"] == 9
    [charge] = document["charges"]
    assert list(charge) == ["release_id", "epsilon", "delta", "rho", "at"]
    assert (charge["release_id"], charge["epsilon"], charge["delta"], charge["rho"]) == ("r1", 1.0, 0.0, None)
    assert "r1" in budget("show", "--ledger", books.ref, "--dataset", "visits").out


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (["--dataset", "a", "--epsilon", "much"], "--epsilon"),
        (["--dataset", "a", "--epsilon", "nan"], "--epsilon"),
        (["--dataset", "a", "--epsilon", "inf"], "--epsilon"),
        (["--dataset", "a", "--epsilon", "0"], "epsilon"),
        (["--dataset", "a", "--epsilon", "-1"], "epsilon"),
        (["--dataset", "a", "--epsilon", "1", "--delta", "1"], "delta"),
        (["--dataset", "a", "--epsilon", "1", "--delta", "-0.1"], "delta"),
        (["--dataset", "a", "--epsilon", "1", "--delta", "x"], "--delta"),
        (["--dataset", "a b", "--epsilon", "1"], "--dataset"),
        (["--dataset", "", "--epsilon", "1"], "--dataset"),
        (["--dataset", "a\n", "--epsilon", "1"], "--dataset"),
    ],
)
def test_bad_budgets_are_refused(tmp_path: Path, budget: Cli, arguments: list[str], where: str) -> None:
    outcome = budget("open", "--ledger", tmp_path / "ledger", *arguments, "--json")
    assert outcome.code == 2
    assert where in outcome.error["where"]
    assert list(tmp_path.iterdir()) == []


def test_show(released: Place, cli: Cli) -> None:
    manifest = released.drawn("r2").manifest
    assert cli("show", released.sink, "--json").document == manifest
    text = cli("show", released.sink)
    assert text.code == 0
    assert manifest["guarantee"]["sentence"] in text.out
    for word in ("r2", "visits", "average", "laplace", "at most 2 partitions"):
        assert word in text.out
    for place_of_nothing in (released.folder / "nowhere", released.source):
        outcome = cli("show", place_of_nothing, "--json")
        assert (outcome.code, outcome.error["code"]) == (4, "bad_source")


def test_schema_accepts_the_examples_and_refuses_mistakes(cli: Cli) -> None:
    outcome = cli("schema")
    assert outcome.code == 0
    validator = jsonschema.Draft202012Validator(outcome.document)
    examples = sorted((ROOT / "conf").glob("*.yaml"))
    assert len(examples) == 4
    for file in examples:
        data = json.loads(json.dumps(parse_yaml(file.read_text()), default=float))
        assert list(validator.iter_errors(data)) == []
        assert list(validator.iter_errors({**data, "bugdet": 1}))
        assert list(validator.iter_errors({key: value for key, value in data.items() if key != "budget"}))


def test_help_tells_what_there_is(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    top = cli("--help")
    assert top.code == 0
    for word in ("run", "plan", "budget", "show", "schema", "demo"):
        assert re.search(rf"\b{word}\b", top.out)
    expected = {
        ("run",): ["FILE", "--release-id", "--set", "--json"],
        ("plan",): ["FILE", "--json"],
        ("budget", "open"): ["--ledger", "--dataset", "--epsilon", "--delta", "--accountant", "basic", "zcdp"],
        ("budget", "show"): ["--ledger", "--dataset", "--json"],
        ("show",): ["RELEASE", "--json"],
        ("schema",): [],
        ("demo",): ["healthcare", "transport", "finance", "--out"],
    }
    for command, words in expected.items():
        outcome = cli(*command, "--help")
        assert outcome.code == 0
        assert outcome.err == ""
        for word in words:
            assert word in outcome.out
    assert "Usage" in cli().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "a.yaml", "--sett", "x=1"],
        ["publish"],
        ["budget", "open", "--ledger", "x"],
        ["budget", "open", "--ledger", "x", "--dataset", "d", "--epsilon", "1", "--accountant", "rdp"],
        ["demo", "weather"],
    ],
)
def test_bad_usage(cli: Cli, arguments: list[str]) -> None:
    plain = cli(*arguments)
    assert plain.code == 2
    assert plain.out == ""
    assert plain.err
    structured = cli(*arguments, "--json")
    assert structured.code == 2
    assert structured.error["where"] == "command line"


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "code"),
    [(SpecError, 2), (BudgetError, 3), (SourceError, 4), (ConflictError, 5), (DamageError, 6), (DpSparkError, 1)],
)
def test_exit_codes(place: Place, cli: Cli, monkeypatch: pytest.MonkeyPatch, kind: type[DpSparkError], code: int) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise kind("what", where="here", mend="so")

    monkeypatch.setattr(dp_spark.release.run, "run_release", fail)
    plain = cli("run", place.file())
    assert (plain.code, plain.out, plain.err) == (code, "", "dp-spark: here: what (mend: so)\n")
    structured = cli("run", place.file(), "--json")
    assert structured.code == code
    assert structured.error == {"code": kind.code, "message": "what", "where": "here", "mend": "so"}
    assert structured.err == ""


@pytest.mark.parametrize("kind", [RuntimeError, ValueError, KeyError, AssertionError, OSError, MemoryError])
def test_an_unforeseen_error_says_nothing_of_its_text(
    place: Place, cli: Cli, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise kind("secret 123456")

    monkeypatch.setattr(dp_spark.release.run, "validate", fail)
    for more in ([], ["--json"]):
        outcome = cli("run", place.file(), *more)
        assert outcome.code == 1
        assert "secret" not in outcome.out + outcome.err
        assert "123456" not in outcome.out + outcome.err
        assert kind.__name__ in outcome.out + outcome.err
        assert len((outcome.out + outcome.err).splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("dp_spark.engine.aggregation", "aggregate"),
        ("dp_spark.release.draw", "release_table"),
        ("dp_spark.release.draw", "build_manifest"),
        ("dp_spark.tables.delta", "read_rows"),
    ],
)
def test_an_unforeseen_error_after_the_charge_is_as_quiet(
    place: Place, cli: Cli, monkeypatch: pytest.MonkeyPatch, module: str, name: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret 123456")

    monkeypatch.setattr(f"{module}.{name}", fail)
    outcome = cli("run", place.file(), "--release-id", "r1", "--json")
    assert outcome.code == 1
    assert "RuntimeError" in outcome.error["message"]
    assert "secret" not in outcome.out + outcome.err
    assert "123456" not in outcome.out + outcome.err
    assert ("charge", "r1") in place.kinds()


def test_an_interrupt_shows_no_traceback(place: Place, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dp_spark.release.run, "run_release", stop)
    outcome = cli("run", place.file())
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "dp-spark: interrupted (mend: a retry with the same --release-id is safe)\n"


def test_the_entry_point_exits_with_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["dp-spark", "run", "nowhere.yaml"])
    with pytest.raises(SystemExit) as caught:
        command_line.entry_point()
    assert caught.value.code == 2
    assert main(["run", "nowhere.yaml"]) == 2


# --- bad inputs ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def surroundings(made_once: Place, spark: SparkSession) -> None:
    """Everything that bad inputs need around the releases that tests share."""
    place, folder = made_once, made_once.folder
    place.own_source()
    shutil.copytree(place.source, folder / "foreign")
    (folder / "full").mkdir()
    (folder / "full" / "notes.txt").write_text("x")
    (folder / "visits.csv").write_text("patient,ward\np1,er\n")
    (folder / "keys.csv").write_text("ward\ner\nicu\ner\n")
    (folder / "letters.csv").write_text("day\n1\nmonday\n")
    (folder / "other.csv").write_text("station\ner\n")
    (folder / "wards.csv").write_text("ward,beds\ner,3\ner,4\n")
    spark.read.format("delta").load(str(place.source)).createOrReplaceTempView("visits_view")


def _csv(place: Place, name: str, **more: Any) -> dict[str, Any]:
    return {"format": "csv", "path": str(place.folder / name), **more}


def _private(**changes: Any) -> dict[str, Any]:
    return {"partitions": {"private": {}}, "budget": {"epsilon": 0.1, "delta": 1e-6}, **changes}


def _join(place: Place, name: str, schema: dict[str, str]) -> dict[str, Any]:
    return _joined(_csv(place, name, schema=schema))


def _joined(source: dict[str, Any]) -> dict[str, Any]:
    return {"preprocess": [{"join": {"source": source, "on": ["ward"], "how": "left"}}]}


def _public(**values: Any) -> dict[str, Any]:
    return {"partitions": {"public": {"values": values}}, "group_by": list(values)}


def _keys(source: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"partitions": {"public": {"source": source}}, **changes}


def _days(place: Place) -> dict[str, Any]:
    return _keys(_csv(place, "letters.csv"), group_by=["day"])


def _delta(path: Path) -> dict[str, Any]:
    return {"format": "delta", "path": str(path)}


_QUERY = {"format": "jdbc", "options": {"url": "jdbc:x:y", "dbtable": "(select 1) t"}}
_NO_MAX = {"function": "sum", "column": "cost", "name": "s", "min_value": 0}
_BEDS = {"ward": "string", "beds": "int"}


#: name -> (exit code, what the line names as the place, changes of the release file, more arguments)
Changes = Callable[[Place], dict[str, Any]]
BAD: dict[str, tuple[int, str, Changes, list[str]]] = {
    "unknown key": (2, "bugdet", lambda p: {"bugdet": {}}, []),
    "unknown nested key": (2, "budget.epsilom", lambda p: {"budget": {"epsilon": 1, "epsilom": 1}}, []),
    "no epsilon": (2, "budget.epsilon", lambda p: {"budget": {}}, []),
    "no budget": (2, "budget", lambda p: {"budget": None}, []),
    "quoted epsilon": (2, "budget.epsilon", lambda p: {"budget": {"epsilon": "1"}}, []),
    "epsilon zero": (2, "budget.epsilon", lambda p: {"budget": {"epsilon": 0}}, []),
    "no bounds": (2, "contribution_bounds", lambda p: {"contribution_bounds": {}}, []),
    "bounds for row units": (2, "contribution_bounds", lambda p: {"privacy_unit": {"row": True}}, []),
    "bad time zone": (2, "timezone", lambda p: {"timezone": "Mars/Olympus"}, []),
    "clipping bounds swapped": (2, "aggregates.0", lambda p: {"aggregates": [{**TOTAL, "min_value": 100, "max_value": 0}]}, []),
    "no clipping bounds": (2, "aggregates.0.max_value", lambda p: {"aggregates": [_NO_MAX]}, []),
    "name twice": (2, "group_by and aggregates", lambda p: {"aggregates": [COUNT, {**COUNT, "name": "Ward"}]}, []),
    "private partitions without delta": (2, "budget.delta", lambda p: {"partitions": {"private": {}}}, []),
    "gaussian without delta": (2, "noise.mechanism", lambda p: {"noise": {"mechanism": "gaussian"}}, []),
    "gaussian in a basic account": (2, "noise.mechanism", lambda p: _private(noise={"mechanism": "gaussian"}), []),
    "zcdp account without delta": (2, "budget.delta", lambda p: {"dataset": "gauss"}, []),
    "unset variable": (2, "sink.path", lambda p: {"sink": {"path": "${DP_SPARK_NOT_SET}/x"}}, []),
    "csv without schema": (2, "source.schema", lambda p: {"source": _csv(p, "visits.csv")}, []),
    "csv with inferSchema": (2, "source", lambda p: {"source": _csv(p, "visits.csv", options={"inferSchema": True})}, []),
    "csv that fails fast": (2, "source", lambda p: {"source": _csv(p, "visits.csv", options={"mode": "failfast"})}, []),
    "jdbc query": (2, "source", lambda p: {"source": _QUERY}, []),
    "refused function": (2, "preprocess.0.filter", lambda p: {"preprocess": [{"filter": "rand() < 0.5"}]}, []),
    "refused subquery": (2, "preprocess.0.filter", lambda p: {"preprocess": [{"filter": "day in (select 1)"}]}, []),
    "step on the unit": (2, "preprocess.0", lambda p: {"preprocess": [{"derive": {"Patient": "note"}}]}, []),
    "step drops the unit": (2, "preprocess.0", lambda p: {"preprocess": [{"drop": ["patient"]}]}, []),
    "step on no column": (4, "preprocess.0.filter", lambda p: {"preprocess": [{"filter": "nothing > 1"}]}, []),
    "join of many rows per key": (4, "preprocess.0.join", lambda p: _join(p, "wards.csv", _BEDS), []),
    "join of other types": (2, "preprocess.0.join.on", lambda p: _join(p, "wards.csv", {"ward": "int", "beds": "int"}), []),
    "join with the source itself": (2, "join.source: this table is prot", lambda p: _joined(_delta(p.source)), []),
    "missing group_by column": (4, "group_by", lambda p: _public(station=["a"]), []),
    "missing unit column": (4, "privacy_unit", lambda p: {"privacy_unit": "person"}, []),
    "missing value column": (4, "aggregates.total", lambda p: {"aggregates": [{**TOTAL, "column": "price"}]}, []),
    "missing counted column": (4, "aggregates.visits", lambda p: {"aggregates": [{**COUNT, "column": "price"}]}, []),
    "text as value column": (4, "aggregates.total", lambda p: {"aggregates": [{**TOTAL, "column": "note"}]}, []),
    "float key": (4, "group_by", lambda p: _private(group_by=["weight"]), []),
    "binary key": (4, "group_by", lambda p: _private(group_by=["blob"]), []),
    "nested key": (4, "group_by", lambda p: _private(group_by=["place"]), []),
    "float unit": (4, "privacy_unit", lambda p: {"privacy_unit": "weight"}, []),
    "source gone": (4, "source", lambda p: {"source": _delta(p.folder / "gone")}, []),
    "source of another format": (4, "source", lambda p: {"source": {"format": "orc", "path": str(p.folder / "full")}}, []),
    "no such table": (4, "source", lambda p: {"source": {"table": "no_such_table"}}, []),
    "view as source": (4, "source", lambda p: {"source": {"table": "visits_view"}}, []),
    "public key of another type": (2, "partitions.public.values.ward", lambda p: _public(ward=[1, 2]), []),
    "public key out of range": (2, "partitions.public.values.day", lambda p: _public(day=[2**63]), []),
    "public key twice": (2, "partitions.public.values", lambda p: _public(ward=["er", "er"]), []),
    "public keys twice in a file": (2, "partitions.public.source", lambda p: _keys(_csv(p, "keys.csv")), []),
    "public keys that do not parse": (2, "partitions.public.source", _days, []),
    "public keys under another header": (4, "partitions.public.source", lambda p: _keys(_csv(p, "other.csv")), []),
    "public keys from the source": (2, "partitions.public.source: this table is prot", lambda p: _keys(_delta(p.source)), []),
    "over budget": (3, "ledger", lambda p: {"budget": {"epsilon": 8.0000001}}, []),
    "no ledger": (3, "nowhere", lambda p: {"ledger": {"path": str(p.folder / "nowhere")}}, []),
    "no account": (3, "ledger", lambda p: {"dataset": "unknown"}, []),
    "another unit": (3, "privacy_unit", lambda p: {"privacy_unit": "day"}, []),
    "row as unit": (3, "privacy_unit", lambda p: {"privacy_unit": {"row": True}, "contribution_bounds": {}}, []),
    "same source, another dataset": (3, "dataset", lambda p: {"dataset": "rich", "sink": {"path": str(p.folder / "new")}}, []),
    "bad release id": (2, "--release-id", lambda p: {}, ["--release-id", "a b"]),
    "empty release id": (2, "--release-id", lambda p: {}, ["--release-id", ""]),
    "release id of another file": (3, "--release-id", lambda p: {"name": "renamed"}, ["--release-id", "r1"]),
    "sink is the source": (2, "sink", lambda p: {"sink": {"path": str(p.source)}}, []),
    "sink above the source": (2, "sink", lambda p: {"sink": {"path": str(p.source.parent)}}, []),
    "sink inside the source": (2, "sink", lambda p: {"sink": {"path": str(p.source / "x")}}, []),
    "sink is the ledger": (2, "sink", lambda p: {"sink": {"path": str(p.ledger)}}, []),
    "sink inside the ledger": (2, "sink", lambda p: {"sink": {"path": f"{p.ledger}/x/../y"}}, []),
    "sink is the outbox": (2, "sink", lambda p: {"sink": {"path": str(p.outbox_path)}}, []),
    "sink above the ledger": (2, "sink", lambda p: {"sink": {"path": str(p.folder)}}, []),
    "sink is a foreign table": (2, "sink", lambda p: {"sink": {"path": str(p.folder / "foreign")}}, []),
    "sink is a folder of files": (2, "sink", lambda p: {"sink": {"path": str(p.folder / "full")}}, []),
    "sink is another dataset's release": (2, "sink", lambda p: {"dataset": "rich", "source": _delta(p.folder / "source")}, []),
    "set of the dataset": (2, "--set dataset", lambda p: {}, ["--set", "dataset=rich"]),
    "set of the unit": (2, "--set privacy_unit", lambda p: {}, ["--set", "privacy_unit=day"]),
    "set without a value": (2, "--set", lambda p: {}, ["--set", "budget.epsilon"]),
    "set of an undeclared parameter": (2, "parameters.since", lambda p: {}, ["--set", "parameters.since=1"]),
    "set of another type": (2, "parameters.since", lambda p: {"parameters": {"since": 0}}, ["--set", "parameters.since='0)'"]),
}  # fmt: skip


@pytest.mark.usefixtures("surroundings")
@pytest.mark.parametrize("name", BAD)
def test_bad_inputs_change_nothing(released: Place, cli: Cli, name: str) -> None:
    code, where, changes, arguments = BAD[name]
    before = {folder: snapshot(released.folder / folder) for folder in ("foreign", "full")}
    given = {"budget": {"epsilon": 0.1}, **changes(released)}
    outcome = cli("run", released.file(**given), *arguments)
    assert outcome.code == code, outcome.err
    assert outcome.out == ""
    problem = r"[^\n]*: [^\n]+ \(mend: [^\n]+\)\n"
    assert re.fullmatch(rf"dp-spark: ({problem}|\d+ problems\n({problem})+)", outcome.err), outcome.err
    assert where in outcome.err.rpartition(" (mend: ")[0]
    after = {folder: snapshot(released.folder / folder) for folder in before}
    assert after == before
    assert not (released.folder / "new").exists()


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("version: [", "line"),
        ("- a\n- b\n", "release.yaml"),
        ("version: 1\nname: a\nname: b\n", "line 3"),
        ("", "release.yaml"),
        ("version: !!python/object:os.system x", "line 1"),
    ],
)
def test_files_that_are_no_release_file(cli: Cli, tmp_path: Path, text: str, where: str) -> None:
    file = tmp_path / "release.yaml"
    file.write_text(text)
    outcome = cli("run", file, "--json")
    assert outcome.code == 2
    assert where in outcome.error["where"]
    assert outcome.error["mend"]


def test_a_missing_release_file(cli: Cli, tmp_path: Path) -> None:
    for command in ("run", "plan"):
        outcome = cli(command, tmp_path / "missing.yaml", "--json")
        assert outcome.code == 2
        assert "missing.yaml" in outcome.error["where"]
        assert outcome.error["mend"]
