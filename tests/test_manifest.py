from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from statistics import NormalDist
from typing import Any

import pandas as pd
import pytest
from helpers import COUNT, MEAN, PUBLIC, SUM, UNITS, release_spec
from queries import manifest_of

from dp_spark.errors import DamageError, SpecError
from dp_spark.manifest import (
    FORMAT,
    FORMAT_1,
    column_comments,
    columns_of,
    confidence_intervals,
    from_json,
    half_width,
    to_json,
)
from dp_spark.noise_width import stddevs_for
from dp_spark.plan.planning import plan_release
from dp_spark.privacy.mechanisms.tails import upper_tail

WHEN = "2024-01-01T00:00:00Z"


def manifest(accountant: Any = "zcdp", public_keys: int | None = None, **changes: Any) -> dict[str, Any]:
    plan = plan_release(release_spec(**{"aggregates": [UNITS, COUNT, MEAN, SUM], **changes}), accountant, public_keys)
    return manifest_of(plan, release_id="r-1", sequence=7, at=WHEN)


def keys_of(value: Any, path: str = "") -> set[str]:
    if isinstance(value, dict):
        return {f"{path}{key}" for key in value}.union(*(keys_of(item, f"{path}{key}.") for key, item in value.items()))
    if isinstance(value, list):
        return set().union(*(keys_of(item, path) for item in value))
    return set()


KEYS = [
    "format",
    "name",
    "dataset",
    "release_id",
    "file_digest",
    "charge",
    "charge.sequence",
    "charge.at",
    "guarantee",
    "guarantee.epsilon",
    "guarantee.delta",
    "guarantee.rho",
    "guarantee.accountant",
    "guarantee.adjacency",
    "guarantee.privacy_unit",
    "guarantee.sentence",
    "group_by",
    "partitions",
    "partitions.selection",
    "partitions.threshold",
    "partitions.delta",
    "partitions.noise_scale",
    "partitions.units_for_50_percent",
    "partitions.units_for_95_percent",
    "contribution_bounds",
    "contribution_bounds.max_partitions_contributed",
    "contribution_bounds.max_contributions_per_partition",
    "aggregates",
    "aggregates.name",
    "aggregates.function",
    "aggregates.column",
    "aggregates.min_value",
    "aggregates.max_value",
    "aggregates.mechanism",
    "aggregates.queries",
    "aggregates.stddev",
    "aggregates.half_width_95",
    "columns",
    "columns.name",
    "columns.type",
    "columns.key",
    "columns.meaning",
    "columns.aggregate",
    "columns.range",
    "columns.notes",
    "columns.error",
    "columns.error.rule",
    "columns.error.mechanism",
    "columns.error.noise_scale",
    "columns.error.granularity",
    "columns.error.stddev",
    "columns.error.stddev_column",
    "queries",
    "queries.query",
    "queries.mechanism",
    "queries.noise_scale",
    "queries.granularity",
    "queries.stddev",
    "queries.epsilon",
    "queries.rho",
    "queries.delta",
    "timezone",
    "libraries",
    "libraries.dp_spark",
    "libraries.pyspark",
    "libraries.delta-spark",
    "libraries.opendp",
    "libraries.dp-accounting",
]


def test_every_key_is_known_to_hold_nothing_that_was_computed_from_the_data() -> None:
    assert keys_of(manifest()) == set(KEYS)


def test_keys_that_later_versions_added_are_told_where_they_are_used() -> None:
    bounds = {"max_partitions_contributed": 4, "max_contributions": 6}
    conditional = {"function": "privacy_id_count", "name": "some", "column": "value", "where": "days >= 0"}
    found = manifest(contribution_bounds=bounds, aggregates=[UNITS, COUNT, {**MEAN, "per_unit": "sum"}, SUM, conditional])
    assert keys_of(found) - set(KEYS) == {"contribution_bounds.max_contributions", "aggregates.where", "aggregates.per_unit"}
    assert found["contribution_bounds"] == {**bounds, "max_contributions_per_partition": 6}
    told = {column["name"]: column["meaning"] for column in found["columns"]}
    assert told["average"] == ("mean of value by privacy unit: of each the sum of its values, first moved into [0, 100]")
    assert told["some"] == "number of different privacy units with a value of value, of rows where days >= 0"


def test_a_manifest_is_a_function_of_the_plan_and_the_charge() -> None:
    assert manifest() == manifest()
    found = manifest()
    assert (found["release_id"], found["file_digest"], found["charge"]) == ("r-1", "sha256:f", {"sequence": 7, "at": WHEN})
    assert (found["name"], found["dataset"], found["group_by"], found["timezone"]) == ("release", "nafld", ["test"], "UTC")


def test_neither_places_nor_option_values_nor_expressions_are_told() -> None:
    changes = {
        "source": {"format": "csv", "path": "hunter2", "options": {"nullValue": "hunter2"}, "schema": {"id": "int"}},
        "sink": {"path": "hunter2"},
        "ledger": {"path": "hunter2"},
        "preprocess": [{"filter": "x = 'hunter2'"}],
        "parameters": {"p": "hunter2"},
    }
    assert "hunter2" not in to_json(manifest(**changes))


def test_the_sentence_tells_unit_epsilon_and_delta() -> None:
    budget = {"epsilon": Decimal("1.250"), "delta": Decimal("1e-6")}
    guarantee = manifest(privacy_unit=["id", "site"], budget=budget)["guarantee"]
    for word in ("(id, site)", "(1.25, 0.000001)", "exp(1.25)", "plus at most 0.000001", "'nafld'", "adding or removing"):
        assert word in guarantee["sentence"]
    assert (guarantee["epsilon"], guarantee["delta"], guarantee["privacy_unit"]) == ("1.25", "0.000001", ["id", "site"])
    assert guarantee["accountant"] == "zcdp"
    assert Decimal(guarantee["rho"]) > 0


def test_the_sentence_of_a_pure_release_of_rows() -> None:
    changes = {"privacy_unit": {"row": True}, "contribution_bounds": None, "budget": {"epsilon": Decimal(2)}}
    guarantee = manifest("basic", 3, partitions=PUBLIC, **changes)["guarantee"]
    assert "one row" in guarantee["sentence"]
    assert "(2, 0)" in guarantee["sentence"]
    assert "plus at most" not in guarantee["sentence"]
    assert (guarantee["privacy_unit"], guarantee["rho"], guarantee["delta"]) == ("row", None, "0")


def test_private_partitions_tell_how_they_were_selected() -> None:
    spec = release_spec(aggregates=[UNITS, COUNT, MEAN, SUM])
    plan = plan_release(spec, "zcdp", None)
    found = manifest()["partitions"]
    assert plan.selection is not None
    assert found == {
        "selection": "private",
        "threshold": plan.selection.threshold,
        "delta": "0.0000005",
        "noise_scale": plan.selection.noise.scale,
        "units_for_50_percent": plan.selection.units_for(0.5),
        "units_for_95_percent": plan.selection.units_for(0.95),
    }
    assert found["threshold"] <= found["units_for_50_percent"] < found["units_for_95_percent"]


def test_other_private_partitions_tell_their_strategy_and_pre_threshold() -> None:
    private = {"private": {"strategy": "truncated_geometric", "pre_threshold": 20}}
    plan = plan_release(release_spec(partitions=private), "basic", None)
    found = manifest("basic", partitions=private, aggregates=[COUNT])["partitions"]
    assert plan.selection is not None
    event = plan.selection.noise.event
    assert found == {
        "selection": "private",
        "strategy": "truncated_geometric",
        "truncated_at": event.truncated_at,
        "epsilon": "0.5",
        "pre_threshold": 20,
        "delta": "0.000001",
        "noise_scale": event.scale,
        "units_for_50_percent": plan.selection.units_for(0.5),
        "units_for_95_percent": plan.selection.units_for(0.95),
        "units_for_100_percent": 20 + 2 * event.truncated_at,
    }
    later = manifest(partitions={"private": {"pre_threshold": 20}})["partitions"]
    before = manifest()["partitions"]
    assert (later.pop("pre_threshold"), later["threshold"]) == (20, before["threshold"] + 19)
    assert later.keys() == before.keys()


def test_public_and_missing_partitions_say_so() -> None:
    assert manifest("zcdp", 3, partitions=PUBLIC)["partitions"] == {"selection": "public"}
    assert manifest("zcdp", None, group_by=[], partitions=None)["partitions"] == {"selection": "none"}


def test_the_charges_of_the_queries_sum_to_the_cost() -> None:
    found = manifest()
    assert sum(Decimal(query["rho"]) for query in found["queries"]) == Decimal(found["guarantee"]["rho"])
    assert sum(Decimal(query["delta"]) for query in found["queries"]) == Decimal(found["partitions"]["delta"])
    basic = manifest("basic")
    assert sum(Decimal(query["epsilon"]) for query in basic["queries"]) == 1


def test_aggregates_are_told_with_their_settings_and_noise() -> None:
    patients, rows, average, total = manifest("zcdp", 3, partitions=PUBLIC)["aggregates"]
    assert (patients["function"], patients["mechanism"], patients["queries"]) == (
        "privacy_id_count",
        "gaussian",
        ["privacy_id_count"],
    )
    assert rows["column"] is None
    assert rows["stddev"] > 0
    assert (average["min_value"], average["max_value"], average["stddev"], average["half_width_95"]) == (0, 100, None, None)
    assert average["queries"] == ["count_of_column(value)", "centred_sum(value, 0.0, 100.0)"]
    assert total["half_width_95"] == pytest.approx(1.96 * total["stddev"], rel=1e-3)


def test_the_stddev_of_a_query_is_in_the_columns_unit() -> None:
    (found,) = manifest("zcdp", 3, partitions=PUBLIC, aggregates=[SUM])["queries"]
    assert found["stddev"] == pytest.approx(found["noise_scale"] * found["granularity"])
    assert found["granularity"] == 2.0**-17


@pytest.mark.parametrize("level", [0.05, 0.5, 0.68, 0.8, 0.9, 0.95, 0.99, 0.999])
@pytest.mark.parametrize("share", [0.001, 0.1, 0.3, 0.499, 0.75, 0.999])
def test_the_noise_of_a_mean_keeps_within_its_interval(share: float, level: float) -> None:
    """The tail of a sum of two Laplace variables of variance 1, of which one has this share."""
    scales = math.sqrt(share / 2), math.sqrt((1 - share) / 2)
    width = stddevs_for("laplace", level)
    weights = [scale**2 * math.exp(-width / scale) for scale in scales]
    tail = (weights[0] - weights[1]) / (scales[0] ** 2 - scales[1] ** 2)
    assert tail <= (1 - level) * (1 + 1e-9)
    assert stddevs_for("gaussian", level) == pytest.approx(NormalDist().inv_cdf((1 + level) / 2))


def test_a_mean_with_laplace_noise_has_wider_intervals() -> None:
    found = manifest("basic", 3, partitions=PUBLIC, budget={"epsilon": Decimal(1)})
    [[low, high]] = confidence_intervals(found, "average", [50.0], [1.0])  # type: ignore[misc]
    assert (high - low) / 2 == pytest.approx(math.log(20) / math.sqrt(2))


def of_first_format(found: dict[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in found.items() if name != "columns"} | {"format": FORMAT_1}


def described(found: dict[str, Any]) -> dict[str, Any]:
    columns = [{name: item for name, item in column.items() if name != "comment"} for column in columns_of(found)]
    return {**found, "format": FORMAT, "columns": columns}


def test_a_comment_is_short_however_long_the_texts_are() -> None:
    """Beside what the manifest has in full: a listed text, and a condition in the meaning."""
    told = {"name": "h", "type": "array<bigint>", "meaning": "values where " + "x" * 9_000, "notes": ["others are not counted"]}
    found = described(manifest())
    found["columns"] += [{**told, "values": ["a", *("y" * 1000 for _ in range(49))]}]
    comment = column_comments(found)["h"]
    assert len(comment) < 3_500
    assert re.fullmatch(r"values where x+\.\.\.; values a(, y{37}\.\.\.){49}; others are not counted", comment)


def test_each_column_has_a_comment() -> None:
    for found, rows, clipped in (
        (of_first_format(manifest()), "count", "values clipped to [0.0, 100.0]"),
        (described(manifest()), "number of rows", "each value first moved into [0, 100]"),
    ):
        comments = column_comments(found)
        assert list(comments) == [
            "test", "patients", "patients_stddev", "rows", "rows_stddev", "average", "average_stddev", "total", "total_stddev",
        ]  # fmt: skip
        assert comments["test"] == "partition key"
        assert comments["average"] == f"mean of value, {clipped}; with discrete gaussian noise"
        assert comments["rows"] == f"{rows}; with discrete gaussian noise"
        assert "rows" in comments["rows_stddev"]


def test_a_manifest_survives_its_stored_form() -> None:
    found = manifest(dataset="nafld", name="release")
    text = to_json(found)
    assert "\n" not in text
    assert text.isascii()
    assert from_json(text, where="t") == json.loads(text) == found


@pytest.mark.parametrize(
    "text",
    ["", "not json", "{", "[]", "[1]", "5", "null", '"dp_spark.manifest/1"', "{}", '{"format": "dp_spark.manifest/3"}',
     '{"format": null}', '["format"]', '{"name": "x"}', "NaN"],
)  # fmt: skip
def test_what_is_no_manifest_is_damage(text: str) -> None:
    with pytest.raises(DamageError) as caught:
        from_json(text, where="warehouse/x")
    assert caught.value.where == "warehouse/x"


@pytest.mark.parametrize("accountant", ["basic", "zcdp"])
def test_the_first_format_tells_the_columns_that_this_version_writes(accountant: Any) -> None:
    """An upgraded manifest and a new one of the same release describe the same columns."""
    values = {"function": "count", "column": "value", "name": "values"}
    found = manifest(accountant, 3, partitions=PUBLIC, aggregates=[UNITS, COUNT, values, MEAN, SUM])
    for column, told in zip(columns_of(of_first_format(found)), columns_of(found), strict=True):
        untold = {"type": "string"} if column.get("key") else {}
        assert {**untold, **column, "comment": None} == {**told, "comment": None}


# --- what a recipient computes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("accountant", ["basic", "zcdp"])
@pytest.mark.parametrize("epsilon", ["0.01", "1", "100"])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
def test_a_half_width_covers_the_noise_and_is_no_wider_than_it_must_be(accountant: Any, epsilon: str, level: float) -> None:
    """Against the exact tails of the discrete distributions that the draws come from."""
    delta = Decimal("1e-6") if accountant == "zcdp" else Decimal(0)
    found = manifest(
        accountant, 3, partitions=PUBLIC, budget={"epsilon": Decimal(epsilon), "delta": delta}, aggregates=[COUNT, SUM]
    )
    for aggregate, query in zip(found["aggregates"], found["queries"], strict=True):
        width = half_width(found, aggregate["name"], level=level)
        assert width is not None
        steps = round(width / query["granularity"])
        name, scale = query["mechanism"], query["noise_scale"]
        assert 2 * upper_tail(name, scale, steps + 1) <= (1 - level) * 1.001 + 1e-15
        spare = 1 if name == "laplace" else 2 + scale / 100
        assert steps == 0 or 2 * upper_tail(name, scale, int(steps + 1 - spare)) > (1 - level) * 0.999


def test_intervals_are_around_the_cells_and_a_mean_needs_its_stddevs() -> None:
    found = manifest()
    width = half_width(found, "rows")
    assert width == half_width(found, "ROWS") == found["aggregates"][1]["half_width_95"]
    assert width is not None
    assert confidence_intervals(found, "rows", [10, None, -3.0]) == [(10 - width, 10 + width), None, (-3 - width, -3 + width)]
    assert half_width(found, "average") is None
    series = pd.Series([2.0, 3.0])  # whose truth is ambiguous
    assert len(confidence_intervals(found, "average", pd.Series([50.0, 51.0]), series)) == 2
    stddevs = [2.0, None, float("nan"), 1.0]
    [first, *others] = confidence_intervals(found, "average", [50.0, 50.0, 50.0, None], stddevs)
    assert first == pytest.approx((50 - 2 * 1.959964, 50 + 2 * 1.959964))
    assert others == [None, None, None]
    with pytest.raises(SpecError, match="differs") as caught:
        confidence_intervals(found, "average", [50.0])
    assert "average_stddev" in caught.value.mend
    with pytest.raises(ValueError, match="zip"):
        confidence_intervals(found, "average", [50.0, 51.0], [1.0])


@pytest.mark.parametrize(
    "error",
    [
        {"rule": "quantiles", "mechanism": "gaussian", "stddev_column": "rows_stddev"},
        {"rule": "constant", "mechanism": "staircase", "noise_scale": 5.0, "granularity": 1.0, "stddev": 7.0},
        {"rule": "per_row", "mechanism": "gaussian and staircase", "stddev_column": "rows_stddev"},
    ],
)
def test_no_interval_is_told_by_a_rule_or_for_noise_that_this_version_does_not_know(error: dict[str, Any]) -> None:
    """A manifest of a later version is read; its keys that are known mean what they meant."""
    found = described(manifest())
    columns = [column | ({"error": error} if column["name"] == "rows" else {}) for column in found["columns"]]
    later = from_json(to_json({**found, "columns": columns, "more": 1}), where="t")
    assert half_width(later, "rows") is None
    assert confidence_intervals(later, "rows", [10, 20], [1.0, 2.0]) == [None, None]
    assert half_width(later, "total") == half_width(manifest(), "total") is not None


def test_a_column_that_was_not_released_and_a_level_that_is_none_are_refused() -> None:
    with pytest.raises(SpecError, match="is not an aggregate") as caught:
        half_width(manifest(), "elsewhere")
    assert "rows" in caught.value.mend
    for level in (0.0, 1.0, 95.0, float("nan")):
        with pytest.raises(SpecError, match="is not a probability"):
            half_width(manifest(), "rows", level=level)
