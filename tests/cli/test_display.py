"""What people and programs are shown: from released and public things only, and exactly what they say."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from chains import Chain, account
from helpers import COUNT, MEAN, PUBLIC, UNITS, release_spec
from queries import manifest_of, released_table
from rich.console import Console

from dp_spark.cli import display, documents
from dp_spark.ledger.accounts import AccountState
from dp_spark.ledger.entries import Charge, Written, entry_of
from dp_spark.manifest import FORMAT, columns_of
from dp_spark.plan.planning import plan_release
from dp_spark.privacy.accountants.account import Account
from dp_spark.privacy.accountants.base import Cost
from dp_spark.privacy.selection.registry import SELECTIONS
from dp_spark.release.preview import Preview
from dp_spark.release.run import ReleaseResult


def charge(release_id: str = "r1", epsilon: str = "1", rho: str | None = None) -> Written[Charge]:
    at = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
    chain = Chain().open("nafld", account("3.3", "0.00001"))
    chain.charge("nafld", release_id, at=at, epsilon=epsilon, delta="0.000001", rho=rho)
    row = chain.entries[-1]
    entry = entry_of(row)
    assert isinstance(entry, Charge)
    return Written(entry, row)


def state(spent: str = "1") -> AccountState:
    cost = Cost("epsilon", Decimal(spent), Decimal("0.000001"))
    return AccountState("nafld", Account("basic", Decimal("3.3"), Decimal("0.00001"), None), None, (charge(),), cost)


def result(keys: list[Any], *, status: Any = "published", rows: bool = True, sink: str = "/data/out") -> ReleaseResult:
    spec = release_spec(aggregates=[COUNT, MEAN], partitions=PUBLIC)
    plan = plan_release(spec, "basic", 3)
    noisy = {query: [5000 - 4999 * (index == 1) for index, _ in enumerate(keys)] for query in plan.mechanisms}
    table = released_table(plan, pa.table({"test": keys}), noisy)
    manifest = manifest_of(plan)
    return ReleaseResult("r1", status, sink, 4, table if rows else None, manifest, charge(), state())


def shown(show: Any, *arguments: Any) -> str:
    stream = io.StringIO()
    show(Console(file=stream, width=200, highlight=False), *arguments)
    return stream.getvalue()


def test_the_document_of_a_release() -> None:
    found = result(["a", "b", "c"])
    document = documents.result_document(found)
    assert json.loads(json.dumps(document)) == document
    assert document["rows"] == 3
    assert document["cost"] == {"epsilon": 1.0, "delta": 1e-6, "rho": None}
    assert document["remaining"] == {"epsilon": 2.3, "delta": 9e-6}
    count, mean = document["aggregates"]
    assert count == {"name": "rows", "stddev": found.manifest["aggregates"][0]["stddev"]}
    assert found.rows is not None
    known = [cell for cell in found.rows["average_stddev"].to_pylist() if cell is not None]
    assert len(known) == 2, "where the noisy n is tiny there is no error bar"
    assert mean["stddev"] == pytest.approx(sum(known) / 2)


def test_the_document_of_a_release_that_cannot_be_read_any_more() -> None:
    document = documents.result_document(result(["a"], status="already_published", rows=False))
    assert (document["rows"], document["version"], document["path"]) == (None, 4, "/data/out")
    assert document["aggregates"][1]["stddev"] is None


@pytest.mark.parametrize("pre_threshold", [None, 20])
@pytest.mark.parametrize("strategy", SELECTIONS)
def test_a_plan_tells_with_how_many_units_a_key_is_shown_how_often(strategy: str, pre_threshold: int | None) -> None:
    selecting = {"private": {"strategy": strategy, "pre_threshold": pre_threshold}}
    preview = Preview(plan_release(release_spec(partitions=selecting), "basic", None), None)
    selection = preview.plan.selection
    assert selection is not None
    points = [(probability, selection.units_for(probability)) for probability in (0.01, 0.5, 0.95, 0.99)]
    text = shown(display.show_plan, preview)
    for probability, units in points:
        assert f"{probability:.0%} probability from {units:,} on".replace("%", " %") in text
    assert ("never below 20" in text) == (pre_threshold is not None)
    document = documents.plan_document(preview)["partition_selection"]
    assert document["shown_from"] == [{"probability": probability, "units": units} for probability, units in points]
    assert document.get("pre_threshold") == pre_threshold
    assert document.get("strategy", "threshold") == strategy


def test_the_document_of_an_empty_release() -> None:
    empty = result([])
    assert documents.result_document(empty)["rows"] == 0
    assert documents.result_document(empty)["aggregates"][1]["stddev"] is None
    assert "0 rows" in shown(display.show_result, empty)


def test_a_release_that_says_nothing_warns_loudly() -> None:
    """No rows, or only noise around 0; with what to look at, from published numbers only. One that says something does not."""
    spec = release_spec(aggregates=[UNITS, COUNT])
    plan = plan_release(spec, "zcdp", None)
    assert plan.selection is not None
    manifest = manifest_of(plan)
    table = released_table(plan, pa.table({"test": pa.array([], pa.string())}), {query: [] for query in plan.mechanisms})
    empty = ReleaseResult("r1", "published", "/data/out", 0, table, manifest, charge(), state())
    [warning] = documents.result_document(empty)["warnings"]
    for word in ("EMPTY", "id is null", f"threshold of {plan.selection.threshold}", "contribution_bounds", "budget is spent"):
        assert word in warning
    assert f"WARNING     {warning}" in shown(display.show_result, empty)
    assert documents.result_document(empty, ["a setting"])["warnings"] == ["a setting", warning]

    def public(*sizes: float) -> list[str]:
        """Of three counts, each so many half-widths."""
        plan = plan_release(release_spec(aggregates=[COUNT], partitions=PUBLIC), "basic", 3)
        width = plan.accuracy(plan.spec.aggregates[0]).half_width_95
        assert width is not None
        counts = [round(size * width) for size in sizes]
        manifest = manifest_of(plan)
        rows = released_table(plan, pa.table({"test": list("abc")}), dict.fromkeys(plan.mechanisms, counts))
        return documents.result_warnings(ReleaseResult("r1", "published", "/x", 0, rows, manifest, charge(), state()))

    assert "noise alone" in public(0, -1, 0.5)[0]
    assert public(0, 0, 20) == []
    assert documents.result_warnings(result([], rows=False)) == []


def test_keys_are_written_as_a_release_file_has_them() -> None:
    text = shown(display.show_result, result([True, False, None]))
    assert "true" in text
    assert "True" not in text


def test_the_document_of_an_account() -> None:
    document = documents.account_document(state())
    assert document["total"] == {"epsilon": 3.3, "delta": 1e-5, "rho": None}
    assert document["spent"] == {"epsilon": 1.0, "delta": 1e-6, "rho": None}
    assert document["remaining"] == {"epsilon": 2.3, "delta": 9e-6, "rho": None}
    assert document["charges"] == [
        {"release_id": "r1", "epsilon": 1.0, "delta": 1e-6, "rho": None, "at": "2024-05-06T07:08:09+00:00"}
    ]
    text = shown(display.show_accounts, [state()])
    for word in ("nafld (basic)", "epsilon 3.3", "epsilon 2.3", "r1", "2024-05-06"):
        assert word in text


def test_the_document_of_a_zcdp_account() -> None:
    account = Account.open(Decimal(3), Decimal("0.00001"))
    assert account.rho is not None
    half = Cost("rho", account.rho / 2, Decimal("0.000001"))
    document = documents.account_document(AccountState("d", account, None, (), half))
    assert document["total"]["rho"] == float(account.rho)
    assert document["spent"]["rho"] == document["remaining"]["rho"] == pytest.approx(float(account.rho / 2))
    assert 1.5 < document["spent"]["epsilon"] < 3
    assert document["remaining"]["delta"] == pytest.approx(8e-6)


def test_a_release_for_people() -> None:
    text = shown(display.show_result, result([f"key{index:02}" for index in range(15)]))
    assert "key11" in text
    assert "key12" not in text
    assert "3 more rows" in text
    assert "Published /data/out (15 rows, version 4)" in text
    assert "Cost        epsilon 1, delta 1e-06" in text
    assert "Remaining   epsilon 2.3, delta 9e-06 for dataset nafld" in text
    again = shown(display.show_result, result(["a"], status="already_published"))
    assert "Already published, nothing was charged or drawn again" in again


def test_keys_and_paths_are_shown_as_they_are() -> None:
    """Square brackets are markup to rich; a key with them must neither vanish nor end the run."""
    text = shown(display.show_result, result(["[bold]x", "[/red]", "[link=http://x]y"], sink="/data/[green]/out"))
    for word in ("[bold]x", "[/red]", "[link=http://x]y", "/data/[green]/out"):
        assert word in text


def test_what_others_wrote_is_neither_markup_nor_a_command_to_the_terminal() -> None:
    found = result(["a\x1b]0;title\x07", "[red]b[/red]", "c"])
    text = shown(display.show_result, found)
    assert "\x1b" not in text
    assert "\\u001b]0;title\\u0007" in text
    assert "[red]b[/red]" in text
    guarantee = {**found.manifest["guarantee"], "sentence": "all rows of one patient [id] \x1b[2J [/x]"}
    manifest = {**found.manifest, "name": "lab[/x]", "guarantee": guarantee, "charge": {"at": "\x1b[2J", "sequence": "[/x]"}}
    manifest["aggregates"] = [{**item, "name": "a[/x]", "column": "weight[kg]"} for item in found.manifest["aggregates"]]
    manifest["partitions"] = {"selection": "[/x]"}
    manifest.pop("columns", None)  # as the first format has it: the columns are told from the aggregates
    text = shown(display.show_manifest, manifest)
    assert "\x1b" not in text
    for words in ("lab[/x]", "patient [id] \\u001b[2J [/x]", "mean(weight[kg])", "see a[/x]_stddev"):
        assert words in text


def test_the_document_of_a_manifest_for_people() -> None:
    found = result(["a"])
    text = shown(display.show_manifest, found.manifest)
    assert found.manifest["guarantee"]["sentence"] in text
    assert "see average_stddev" in text
    assert "Partitions  public" in text


@pytest.mark.parametrize(
    ("value", "stddev", "noise", "text"),
    [
        (12_345, 10.0, (10.0, 1.0), "12,345 ± 20"),
        (-3, 10.0, (1261.0, 0.5), "-3 ± 1,236"),
        (2.54, 1.0, None, "2.5 ± 2.0"),
        (50.0, 10.0, None, "50 ± 20"),
        (2.5, None, None, "2.50 ± ?"),
        (1234.5678, 0.01, (100.0, 0.0001), "1,234.568 ± 0.020"),
    ],
)
def test_cells(value: float, stddev: float | None, noise: tuple[float, float] | None, text: str) -> None:
    row, error = {"a": value, "a_stddev": stddev}, {"rule": "per_row", "mechanism": "gaussian", "stddev_column": "a_stddev"}
    if noise is not None:
        error |= {"rule": "constant", "noise_scale": noise[0], "granularity": noise[1], "stddev": stddev}
    assert display.cell(row, {"name": "a", "error": error}) == text
    if noise is None and stddev == 10:  # one draw of Laplace noise is beyond 1.96 stddevs more often
        assert display.cell(row, {"name": "a", "error": {**error, "mechanism": "laplace"}}) == "50 ± 21"


def test_an_error_that_this_version_does_not_know_is_said_to_be_unknown() -> None:
    """A manifest of a later version: the table is shown, and no half-width is made up."""
    found = result(["a", "b", "c"])
    assert found.rows is not None
    later = {"rule": "quantiles", "low": "rows_low", "high": "rows_high"}
    columns = [column | ({"error": later} if column["name"] == "rows" else {}) for column in columns_of(found.manifest)]
    manifest = {**found.manifest, "format": FORMAT, "columns": columns}
    assert re.search(r"rows +│ count +│ not known +│ not known +│ +│", shown(display.show_manifest, manifest))
    again = replace(found, manifest=manifest)
    assert documents.result_document(again)["aggregates"][0] == {"name": "rows", "stddev": None}
    assert f"{found.rows['rows'][0].as_py():,} ± ?" in shown(display.show_result, again)
