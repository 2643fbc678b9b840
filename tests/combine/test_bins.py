"""Histograms, distribution functions and quantiles of two parties, from their tables as Spark reads them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from combine_helpers import plan
from queries import manifest_of

from dp_spark.aggregates.query import Bins
from dp_spark.combine.agreement import Party, check_parties
from dp_spark.combine.arithmetic import combine_rows
from dp_spark.combine.manifest import Users, combined_manifest
from dp_spark.errors import SourceError
from dp_spark.manifest import value_columns
from dp_spark.plan.cells import release_table
from dp_spark.plan.planning import ReleasePlan
from dp_spark.schema.reading import parse_yaml

GRID = {"column": "value", "min_value": 0, "max_value": 100, "resolution": 10}
MEDIAN = {"function": "median", "name": "mid", **GRID}
BINS = {"function": "histogram", "name": "bins", **GRID}
SHARES = {"function": "cdf", "name": "shares", **GRID}
COUNT = {"function": "count", "name": "n", "column": "value"}


def party(found: ReleasePlan, label: str, leaves: list[int]) -> Party:
    """A release of three equal rows, read back by Spark: it calls the elements of a list ``element``."""
    drawn = {
        query: np.tile(leaves if isinstance(query.measure, Bins) else [sum(leaves)], (3, 1)).astype(np.int64)
        for query in found.mechanisms
    }
    rows = release_table(found, pa.table({"test": ["a", "b", "c"]}), drawn)
    read = [pa.list_(pa.field("element", kind.value_type)) if pa.types.is_list(kind) else kind for kind in rows.schema.types]
    manifest = manifest_of(found, release_id=f"r-{label}", at="2026-01-01T00:00:00+00:00", ledger=f"sha256:{label}")
    return Party(label, manifest, rows.cast(pa.schema(list(zip(rows.column_names, read, strict=True)))))


def test_bins_add_up_and_quantiles_come_of_the_distribution_function_of_all() -> None:
    found = plan(MEDIAN, BINS, SHARES, COUNT, budget={"epsilon": 50_000, "delta": 1e-6})
    low, high = [0, 400, *[0] * 10], [100, *[0] * 9, 500, 0]
    parties = [party(found, "A", low), party(found, "B", high)]
    check_parties(parties)
    [row, *_] = combine_rows(parties).to_pylist()
    assert row["bins"] == [400, *[0] * 8, 500]
    assert row["shares"] == pytest.approx([0.1, *[0.5] * 9, 1.0], abs=1e-6)
    assert (row["mid_low"], row["mid_high"]) == (0, 100), "half of all are in the first bin, half in the last"
    columns = {column["name"]: column["error"] for column in value_columns(combined_manifest(parties, Users.disjoint))}
    assert columns["mid"]["rule"] == "interval"
    assert (columns["bins"]["rule"], columns["shares"]["rule"]) == ("per_row", "per_row")


@pytest.mark.parametrize(
    ("asked", "reason"),
    [([MEDIAN, COUNT], "distribution functions"), ([MEDIAN, SHARES], "number of values"), ([SHARES], "number of values")],
    ids=["no cdf", "no count", "cdf alone"],
)
def test_what_parties_lack_is_said_with_a_mend(asked: list[dict[str, Any]], reason: str) -> None:
    found = plan(*asked)
    with pytest.raises(SourceError, match=reason) as caught:
        combine_rows([party(found, "A", [1] * 12), party(found, "B", [1] * 12)])
    assert "release again" in caught.value.mend


def test_what_is_said_of_a_tree_that_is_finer_than_a_cdf_is_followed_word_for_word() -> None:
    """A cdf has at most 1,000 bins, so a median of 10,000 leaves is to have as many."""
    fine = {"column": "value", "min_value": 0, "max_value": 100, "resolution": 10_000, "where": "value > 1"}
    asked: list[dict[str, Any]] = [{"function": "median", "name": "mid", **fine}]
    with pytest.raises(SourceError, match="distribution functions do") as caught:
        combined(asked)
    [(resolution, name)] = re.findall(r"set resolution: (\d+) in (\w+)", caught.value.mend)
    asked = [{**asked[0], "name": name, "resolution": int(resolution)}]
    for text in re.findall(r"\{.*?, name: \.\.\.\}", caught.value.mend):
        asked.append({**parse_yaml(text), "name": f"beside_{len(asked)}"})
    assert [entry["function"] for entry in asked] == ["median", "cdf", "count"]
    [row] = combined(asked).to_pylist()
    assert row["mid_low"] <= 50 <= row["mid_high"]
    assert row["mid"] == pytest.approx(50)


def combined(asked: list[dict[str, Any]]) -> pa.Table:
    """Two parties with one value in each leaf, or a thousand in all."""
    found = plan(*asked, group_by=[], partitions=None, budget={"epsilon": 50_000, "delta": 1e-6})
    drawn = {query: np.full((1, query.width), 1000) for query in found.mechanisms}
    for query, nodes in drawn.items():
        if isinstance(query.measure, Bins):
            shape = query.measure.shape
            for level in range(1, shape.levels + 1):
                nodes[:, shape.start(level) :] = shape.leaves // shape.nodes(level)
            nodes[:, [0, shape.branches + 1]] = 0
    rows = release_table(found, pa.table({"none": [0]}), drawn).drop_columns(["none"])
    manifests = [manifest_of(found, release_id=f"r-{label}", ledger=f"sha256:{label}") for label in "AB"]
    return combine_rows([Party(label, manifest, rows) for label, manifest in zip("AB", manifests, strict=True)])
