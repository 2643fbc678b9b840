"""A plan touches no private table and shows exactly what a run is then charged."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT
from helpers import of_each_kind
from pyspark.sql import SparkSession
from release_helpers import COUNT, MEAN, PATIENTS, TOTAL, Outcome, Place, snapshot

from dp_spark.privacy.events import Event
from dp_spark.release.preview import preview_release
from dp_spark.spec.release_spec import Location, ReleaseSpec

pytestmark = pytest.mark.books_in_memory

Cli = Callable[..., Outcome]
ALL = [PATIENTS, COUNT, TOTAL, MEAN]
SHAPES: dict[str, dict[str, Any]] = {
    "basic, public": {"aggregates": ALL},
    "basic, private": {"aggregates": ALL, "partitions": {"private": {}}, "budget": {"epsilon": 1, "delta": 1e-6}},
    "basic, private, truncated": {
        "aggregates": ALL,
        "partitions": {"private": {"pre_threshold": 5, "strategy": "truncated_geometric"}},
        "budget": {"epsilon": 1, "delta": 1e-6},
    },
    "zcdp, private": {
        "aggregates": ALL,
        "dataset": "gauss",
        "partitions": {"private": {"weight": 2}},
        "budget": {"epsilon": 1, "delta": 1e-6},
    },
    "zcdp, laplace": {"dataset": "gauss", "noise": {"mechanism": "laplace"}, "budget": {"epsilon": 1, "delta": 1e-6}},
}


def no_spark() -> SparkSession:
    raise AssertionError("a plan needs no session here")


@pytest.mark.slow
@pytest.mark.parametrize("shape", of_each_kind(SHAPES, "basic, public", "basic, private, truncated", "zcdp, private"))
def test_a_plan_is_what_the_run_is_charged(place: Place, cli: Cli, shape: str) -> None:
    changes = SHAPES[shape]
    plan = cli("plan", place.file(**changes), "--json").document
    before = cli("budget", "show", "--ledger", place.ledger, "--json").document
    assert plan["fits"] is True
    run = cli("run", place.file(**changes), "--release-id", "r1", "--json").document
    assert run["cost"] == plan["cost"]
    assert run["remaining"] == plan["remaining_after"]
    [charge] = [entry for entry in place.entries() if entry.entry == "charge"]
    assert [event.to_dict() for event in _events(charge.events)] == plan["queries"]
    manifest = cli("show", place.sink, "--json").document
    shown = {item["name"]: (item["stddev"], item["half_width_95"]) for item in manifest["aggregates"]}
    assert {item["name"]: (item["stddev"], item["half_width_95"]) for item in plan["aggregates"]} == shown
    if "private" in shape:
        told = manifest["partitions"]
        among_queries = {"selection": "private", "noise_scale": told["noise_scale"], "delta": told["delta"]}
        selection = plan["partition_selection"]
        assert told.items() - {"epsilon": told.get("epsilon")}.items() <= (selection | among_queries).items()
        points = {point["probability"]: point["units"] for point in selection["shown_from"]}
        assert list(points) == [0.01, 0.5, 0.95, 0.99]
        assert (points[0.5], points[0.95]) == (told["units_for_50_percent"], told["units_for_95_percent"])
    else:
        assert plan["partition_selection"] is None
    assert plan["account"] == next(item for item in before if item["dataset"] == plan["dataset"])


def _events(text: str) -> list[Event]:
    return [Event.from_dict(item) for item in json.loads(text)]


def test_a_plan_touches_nothing(place: Place, cli: Cli) -> None:
    """The source is not even there."""
    file = place.file(source={"format": "delta", "path": str(place.folder / "gone")}, aggregates=ALL)
    before = snapshot(place.folder)
    document = cli("plan", file, "--json").document
    assert snapshot(place.folder) == before
    expected = ["name", "dataset", "privacy_unit", "accountant", "cost", "contribution_bounds", "aggregates", "queries"]
    assert list(document) == [*expected, "partition_selection", "account", "remaining_after", "fits"]
    assert document["remaining_after"] == {"epsilon": 9.0, "delta": 0.001}
    average = document["aggregates"][3]
    assert average["stddev"] is None
    assert list(average["half_width_95_at"]) == ["100", "1000", "10000"]


def test_a_plan_without_a_ledger_starts_no_session(place: Place) -> None:
    spec = place.spec(ledger={"path": str(place.folder / "none")}, aggregates=ALL)
    preview = preview_release(spec, no_spark)
    assert (preview.account, preview.plan.accountant) == (None, "basic")
    private = place.spec(
        ledger={"path": str(place.folder / "none")}, partitions={"private": {}}, budget={"epsilon": 1, "delta": 1e-6}
    )
    assert preview_release(private, no_spark).plan.accountant == "zcdp"


def test_a_plan_that_does_not_fit(place: Place, cli: Cli) -> None:
    file = place.file(dataset="poor")
    document = cli("plan", file, "--json").document
    assert (document["fits"], document["remaining_after"]) == (False, None)
    text = cli("plan", file)
    assert text.code == 0
    assert "too little is left of the budget" in text.out
    assert cli("run", file).code == 3


def test_a_plan_without_an_account(place: Place, cli: Cli) -> None:
    file = place.file(dataset="unknown")
    document = cli("plan", file, "--json").document
    assert (document["fits"], document["account"], document["remaining_after"]) == (None, None, None)
    text = cli("plan", file)
    assert text.code == 0
    assert f"dp-spark budget open --ledger {place.ledger} --dataset unknown" in text.out


def test_a_plan_for_people(place: Place, cli: Cli) -> None:
    text = cli("plan", place.file(**SHAPES["basic, private"]))
    assert text.code == 0
    for word in ("total", "sum [0, 100]", "depends on n", "50 % probability", "Cost", "Remaining", "Afterwards"):
        assert word in text.out


@pytest.mark.slow
def test_public_keys_from_a_table_are_counted(place: Place, cli: Cli) -> None:
    """k is at most the number of keys, so the plan has to know it."""
    (place.folder / "keys.csv").write_text("day\n3\n")
    keys = {"public": {"source": {"format": "csv", "path": str(place.folder / "keys.csv")}}}
    changes: dict[str, Any] = {"group_by": ["day"], "partitions": keys}
    document = cli("plan", place.file(**changes), "--json").document
    assert document["contribution_bounds"]["max_partitions_contributed"] == 1
    run = cli("run", place.file(**changes), "--release-id", "r1", "--json").document
    assert run["aggregates"][0]["stddev"] == document["aggregates"][0]["stddev"]
    assert run["cost"] == document["cost"]
    (place.folder / "keys.csv").unlink()
    assert cli("plan", place.file(**changes), "--json").code == 4


def test_a_plan_does_not_count_the_rows_of_a_protected_table(place: Place, cli: Cli) -> None:
    """Declared as public keys it would: k is at most their number, and a plan shows k and costs nothing."""
    bounds = {"max_partitions_contributed": 1_000_000, "max_contributions_per_partition": 1}
    file = place.file(
        partitions={"public": {"source": {"format": "delta", "path": str(place.source)}}}, contribution_bounds=bounds
    )
    outcome = cli("plan", file, "--json")
    assert (outcome.code, outcome.error["where"]) == (2, "partitions.public.source")


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        (2, {"preprocess": [{"filter": "rand() < 1"}]}),
        (2, {"preprocess": [{"drop": ["patient"]}]}),
        (2, {"noise": {"mechanism": "gaussian"}, "budget": {"epsilon": 1, "delta": 1e-6}}),
        (
            2,
            {
                "dataset": "gauss",
                "partitions": {"private": {"strategy": "truncated_geometric"}},
                "budget": {"epsilon": 1, "delta": 1e-6},
            },
        ),
        (2, {"sink": {"path": "${DP_SPARK_NOT_SET}"}}),
        (2, {"typo": 1}),
    ],
)
def test_a_plan_refuses_what_a_run_refuses(place: Place, cli: Cli, code: int, changes: dict[str, Any]) -> None:
    assert cli("plan", place.file(**changes), "--json").code == code
    assert cli("run", place.file(**changes), "--json").code == code


@pytest.mark.parametrize("file", sorted((ROOT / "conf").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_can_be_planned(file: Path, tmp_path: Path) -> None:
    spec = ReleaseSpec.from_yaml(file).model_copy(
        update={"ledger": Location.model_validate({"path": str(tmp_path / "ledger")})}
    )
    plan = preview_release(spec, no_spark).plan
    assert plan.cost.amount == spec.budget.epsilon if plan.cost.currency == "epsilon" else plan.cost.amount > 0
    assert plan.guarantee_epsilon == Decimal(spec.budget.epsilon)


@pytest.mark.slow
def test_a_plan_without_a_ledger_starts_no_jvm(tmp_path: Path) -> None:
    import dp_spark

    code = (
        "import sys; from dp_spark.cli.app import main; "
        f"code = main(['plan', {str(ROOT / 'conf' / 'finance.yaml')!r}, '--json']); "
        "from pyspark import SparkContext; assert SparkContext._gateway is None; sys.exit(code)"
    )
    environment = {"PATH": "/nowhere", "PYTHONPATH": str(Path(dp_spark.__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["fits"] is None
    assert list(tmp_path.iterdir()) == []
