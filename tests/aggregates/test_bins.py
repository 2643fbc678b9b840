"""What a release file may say of quantiles and bins, and which draws they share."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from helpers import release_spec

from dp_spark.aggregates.cdf import added_shares, shares_of
from dp_spark.aggregates.quantiles import percent_name
from dp_spark.aggregates.query import Values
from dp_spark.aggregates.registry import BY_FUNCTION
from dp_spark.errors import SpecError
from dp_spark.plan.planning import plan_release
from dp_spark.privacy.trees import TreeShape

BOUNDS = {"column": "x", "min_value": 0, "max_value": 100}
QUANTILES = {"function": "quantiles", "name": "w", "quantiles": [0.05, 0.999, 0.125], **BOUNDS}
HISTOGRAM = {"function": "histogram", "name": "h", "column": "x"}
TEN = {"min_value": 0, "max_value": 100, "resolution": 10}


def test_names_of_quantiles() -> None:
    names = BY_FUNCTION["quantiles"].model_validate(QUANTILES).column_names()
    stems = ["w_p5", "w_p99_9", "w_p12_5"]
    assert names == [name for stem in stems for name in (stem, f"{stem}_low", f"{stem}_high")]
    shares = [index / 1000 for index in range(1, 1000)]
    assert len({percent_name(share) for share in shares}) == len(shares)
    median = BY_FUNCTION["median"].model_validate({"function": "median", "name": "w", **BOUNDS})
    assert median.column_names() == ["w", "w_low", "w_high"]


@pytest.mark.parametrize(
    ("aggregates", "where", "message"),
    [
        ([{**QUANTILES, "quantiles": [0.5, 0.5]}], "aggregates.0.quantiles", "twice"),
        ([{**QUANTILES, "quantiles": [0.5, 1]}], "aggregates.0.quantiles.1", "below 1"),
        ([{**QUANTILES, "quantiles": [0]}], "aggregates.0.quantiles.0", "above 0"),
        ([{**QUANTILES, "quantiles": [True]}], "aggregates.0.quantiles.0", "number"),
        ([{**QUANTILES, "quantiles": []}], "aggregates.0.quantiles", "too few elements: at least 1"),
        ([{**QUANTILES, "resolution": 500}], "aggregates.0.resolution", "one of 10, 100, 1000, 10000"),
        ([{**QUANTILES, "min_value": 100}], "aggregates.0", "below max_value"),
        ([{**QUANTILES, "min_value": 1e9, "max_value": 1000000000.0001}], "aggregates.w", "too narrow"),
        ([{"function": "min", "name": "m", **BOUNDS}], "aggregates.0.quantile", "is missing"),
        ([{"function": "max", "name": "m", "quantile": 0.4, **BOUNDS}], "aggregates.0.quantile", "above 0.5"),
        ([{**HISTOGRAM}], "aggregates.0", "needs its bins"),
        ([{**HISTOGRAM, "edges": [0, 1], "values": ["a"]}], "aggregates.0", "in one way"),
        ([{**HISTOGRAM, "edges": [0, 2, 1]}], "aggregates.0.edges", "ascend"),
        ([{**HISTOGRAM, "edges": [0, 1, 1]}], "aggregates.0.edges", "ascend"),
        ([{**HISTOGRAM, "edges": [0, float("nan")]}], "aggregates.0.edges", "finite"),
        ([{**HISTOGRAM, "edges": [0]}], "aggregates.0.edges", "too few elements: at least 2 (mend: list at least 2"),
        ([{**HISTOGRAM, "edges": list(range(1002))}], "aggregates.0.edges", "at most 1,001"),
        ([{**HISTOGRAM, "values": [str(text) for text in range(1001)]}], "aggregates.0.values", "at most 1,000"),
        ([{**HISTOGRAM, "edges": ["a", "b"]}], "aggregates.0.edges.0", "number"),
        ([{**HISTOGRAM, "values": [1, 2]}], "aggregates.0.values.0", "text"),
        ([{**HISTOGRAM, "values": ["a", "a"]}], "aggregates.0.values", "twice"),
        ([{**HISTOGRAM, "values": ["a", "b" * 1001]}], "aggregates.0.values.1", "at most 1000 characters (mend: shorten"),
        ([{**HISTOGRAM, "values": ["a", "b\ud800"]}], "aggregates.0.values.1", "half of a surrogate pair"),
        ([{**HISTOGRAM, "values": ["a"], "per_unit": "max"}], "aggregates.0", "per_unit"),
        ([{**HISTOGRAM, "min_value": 0, "resolution": 10}], "aggregates.0", "go together"),
        ([{**HISTOGRAM, "edges": [0, 1e-14, 1], "per_unit": "sum"}], "aggregates.h", "too narrow"),
        ([QUANTILES, {"function": "count", "name": "w_p5_LOW"}], "group_by and aggregates", "w_p5_LOW is used twice"),
        ([QUANTILES, {"function": "count", "name": "w"}], "group_by and aggregates", "w is used twice"),
    ],
)
def test_wrong_keys_are_refused_with_key_and_mend(aggregates: list[dict[str, Any]], where: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        plan_release(release_spec(aggregates=aggregates), "basic", None)
    assert caught.value.where == where
    assert message in f"{caught.value.message} (mend: {caught.value.mend}"
    assert caught.value.mend
    assert "\n" not in str(caught.value)


def test_as_many_bins_as_are_possible_are_taken() -> None:
    release_spec(aggregates=[{**HISTOGRAM, "edges": list(range(1001))}])
    release_spec(aggregates=[{**HISTOGRAM, "values": [str(text) for text in range(1000)]}])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (QUANTILES, "quantiles 0.05, 0.999, 0.125 [0, 100], resolution 1000"),
        ({**QUANTILES, "quantiles": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]}, "quantiles of 6 shares [0, 100], resolution 1000"),
        (
            {"function": "min", "name": "m", "quantile": 0.01, **BOUNDS, "resolution": 10, "per_unit": "sum", "where": "x > 1"},
            "min 0.01 of each unit's sum [0, 100], resolution 10 where x > 1",
        ),
        ({"function": "median", "name": "m", **BOUNDS}, "median [0, 100], resolution 1000"),
        ({**HISTOGRAM, **TEN, "per_unit": "max", "where": "x > 1"}, "histogram of 10 bins of each unit's max where x > 1"),
        ({**HISTOGRAM, "function": "cdf", "edges": [0, 1, 3]}, "cdf of 2 bins"),
    ],
)
def test_a_narrow_column_tells_what_is_asked(options: dict[str, Any], told: str) -> None:
    assert BY_FUNCTION[options["function"]].model_validate(options).in_short == told


def drawn(*aggregates: dict[str, Any]) -> list[str]:
    plan = plan_release(release_spec(aggregates=list(aggregates)), "basic", None)
    return [event.query for event in plan.events if event.query.startswith("bins")]


@pytest.mark.parametrize(
    ("aggregates", "published", "nodes", "bins"),
    [
        ([{**QUANTILES, "resolution": 100}], 9, 12, 102),
        ([{**QUANTILES, "resolution": 10}], 9, 0, 12),
        ([{**QUANTILES, "resolution": 100}, {"function": "median", "name": "m", **BOUNDS}], 12, 24, 102 + 1002),
        ([{**QUANTILES, "resolution": 100}, {**HISTOGRAM, "function": "cdf", **TEN, "resolution": 100}], 9 + 102, 112, 102),
        ([{**HISTOGRAM, **TEN}], 12, 0, 12),
    ],
    ids=["searched", "one level", "two trees", "read whole", "bins"],
)
def test_the_driver_is_asked_for_what_it_holds(aggregates: list[dict[str, Any]], published: int, nodes: int, bins: int) -> None:
    plan = plan_release(release_spec(aggregates=aggregates), "basic", None)
    assert (plan.published_numbers, plan.tree_nodes, plan.bins) == (1 + published, nodes, bins)


def test_one_draw_serves_quantiles_distribution_function_and_histogram_of_a_grid() -> None:
    tree = 'bins{"bins":100,"bounds":[0.0,100.0],"column":"x","levels":2}'
    quantiles = {**QUANTILES, "resolution": 100}
    even = {"min_value": 0, "max_value": 100, "resolution": 100}
    histogram, cdf = {**HISTOGRAM, **even}, {**HISTOGRAM, "function": "cdf", "name": "c", "edges": list(range(101))}
    assert drawn(quantiles, histogram, cdf, {"function": "median", "name": "m", **BOUNDS, "resolution": 100}) == [tree]
    assert drawn(histogram, cdf) == [tree]
    assert drawn(histogram) == ['bins{"bins":100,"bounds":[0.0,100.0],"column":"x"}'], "alone it needs no tree"
    assert len(drawn(quantiles, {**histogram, "where": "x > 1"})) == 2
    assert len(drawn(quantiles, {**histogram, "max_value": 99})) == 2
    assert len(drawn({**QUANTILES, "resolution": 10}, {**HISTOGRAM, **TEN})) == 1


def test_what_is_searched_for_is_what_all_ask_and_all_nodes_where_one_reads_them() -> None:
    median = {"function": "median", "name": "m", **BOUNDS}
    plan = plan_release(release_spec(aggregates=[QUANTILES, median]), "basic", None)
    [query] = [query for query in plan.mechanisms if query.label.startswith("bins")]
    aims = plan.aims(query)
    assert aims is not None
    assert aims.shares == (0.05, 0.999, 0.125, 0.5)
    cdf = {"function": "cdf", "name": "c", **BOUNDS, "resolution": 1000}
    assert plan_release(release_spec(aggregates=[QUANTILES, median, cdf]), "basic", None).aims(query) is None


def test_labels_of_other_bins_are_others() -> None:
    grids: list[dict[str, Any]] = [
        {"edges": [0, 1, 3]},
        {"edges": [0, 1, 2.5]},
        {"edges": [*range(50), 60]},
        {"edges": [*range(50), 61]},
        TEN,
        {"edges": [0, 3]},
        {"values": ["a", "b"]},
        {"values": ["b", "a"]},
        {"values": ['a","b']},
    ]
    queries = [BY_FUNCTION["histogram"].model_validate({**HISTOGRAM, **grid}).queries()[0] for grid in grids]
    labels = [query.label for query in queries]
    assert len(set(labels)) == len(labels)
    assert max(map(len, labels)) < 400


def test_labels_of_long_texts_are_short_and_their_own() -> None:
    """What a text cannot be stands for one, so no other text has its label."""
    long, other = "a" * 301, "a" * 300 + "b"
    asked: list[dict[str, Any]] = [
        {"values": [long]},
        {"values": [other]},
        {"values": [f"{text}{'x' * 900}" for text in range(1000)]},
        {"edges": [value / 7 for value in range(1001)]},
        *({"edges": [0, 1], "column": text} for text in (long, other)),
        *({"edges": [0, 1], "where": f"x = '{text}'"} for text in (long, other)),
    ]
    labels = [BY_FUNCTION["histogram"].model_validate({**HISTOGRAM, **options}).queries()[0].label for options in asked]
    assert len(set(labels)) == len(labels)
    assert max(map(len, labels)) < 400
    [digest] = json.loads(labels[0].removeprefix("bins"))["values"].items()
    as_text = BY_FUNCTION["histogram"].model_validate({**HISTOGRAM, "values": list(digest)}).queries()[0].label
    assert as_text not in labels
    assert json.loads(as_text.removeprefix("bins"))["values"] == list(digest), "short texts are told"


def test_shares_of_parties_are_weighted_and_their_weights_err() -> None:
    """dF / dn_i = (F_i - F) / n for each party, whose numbers err by themselves."""
    shares, numbers, variance = (0.2, 0.8), (100.0, 300.0), 25.0
    parts = {
        "n": sum(numbers),
        "nvar": 2 * variance,
        "var": 16.0,
        "s0": sum(share * number for share, number in zip(shares, numbers, strict=True)),
        "v0": sum(share * variance for share in shares),
        "w0": sum(share**2 * variance for share in shares),
    }
    found, [stddev] = added_shares({name: pa.chunked_array([[value]]) for name, value in parts.items()}, 1)
    assert found.tolist() == [[pytest.approx(0.65)]]
    expected = 16 + sum((share - 0.65) ** 2 * variance for share in shares)
    assert stddev == pytest.approx(expected**0.5 / 400)


def test_what_a_party_adds_is_what_the_errors_are_made_of() -> None:
    class OneParty:
        def column(self, name: str) -> pa.ChunkedArray:
            return pa.chunked_array([{"c": [[0.2, 0.6, 1.0]], "c_stddev": [0.03], "n": [50]}[name]])

        def column_of(self, label: str, function: str | None = None) -> str | None:
            return "n" if label == "count_of_column(x)" else None

        def stddev_of(self, label: str) -> float:
            return 4.0

    parts = shares_of(OneParty(), "c", Values("x"), TreeShape(1, branches=2), "bins")
    found = {name: column.to_pylist()[0] for name, column in parts.items()}
    expected = {"n": 50, "nvar": 16, "var": 1.5**2, "s1": 30, "v1": 9.6, "w1": 5.76, "s0": 10, "v0": 3.2, "w0": 0.64}
    assert {name: found[name] for name in expected} == pytest.approx(expected)
