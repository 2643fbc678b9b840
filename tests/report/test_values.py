"""Cells of many elements, and cells whose intervals stand in the row, as the report and recipients see them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from helpers import release_spec
from queries import manifest_of

from dp_spark.errors import SpecError
from dp_spark.manifest import column_comments, confidence_intervals, value_columns
from dp_spark.plan.cells import release_table
from dp_spark.plan.planning import plan_release
from dp_spark.published.cells import cell, plain_rows
from dp_spark.report.page import report_page
from dp_spark.report.values import element_names, released

BOUNDS = {"column": "value", "min_value": 0, "max_value": 100, "resolution": 10}
ASKED = [
    {"function": "median", "name": "mid", **BOUNDS},
    {"function": "histogram", "name": "bins", **BOUNDS},
    {"function": "cdf", "name": "shares", **BOUNDS},
    {"function": "histogram", "name": "texts", "column": "kind", "values": ["a", "b"]},
]


@pytest.fixture(scope="module")
def published() -> tuple[dict[str, Any], pa.Table]:
    spec = release_spec(aggregates=ASKED, group_by=["test"], partitions={"public": {"values": {"test": ["x", "y"]}}})
    plan = plan_release(spec, "basic", 2)
    nodes = {query: np.tile(np.arange(100, 100 + query.width), (2, 1)) for query in plan.mechanisms}
    return manifest_of(plan), release_table(plan, pa.table({"test": ["x", "y"]}), nodes)


def test_elements_are_cells_of_their_own(published: tuple[dict[str, Any], pa.Table]) -> None:
    manifest, rows = published
    columns = {column["name"]: column for column in value_columns(manifest)}
    found = released(manifest, columns["bins"], plain_rows(rows))
    assert len(found) == 2 * 10
    assert found[0].partition == "x: 0 to 10"
    assert found[0].value == 101, "what is below the first edge is not in a bin"
    assert [item.partition for item in released(manifest, columns["texts"], plain_rows(rows))][:2] == ["x: a", "x: b"]
    assert element_names(columns["shares"])[-2:] == ["below 90", "up to 100"]
    [half] = {round(item.interval[1] - item.value, 6) for item in found if item.interval is not None and item.value is not None}
    assert half > 0


def test_edges_that_differ_have_different_names() -> None:
    edges = [1234567.0, 1234568.0, 1234568.0000000002, 1e22]
    for kind in ("array<bigint>", "array<double>"):
        names = element_names({"edges": edges, "type": kind})
        assert len(set(names)) == len(names)


def test_intervals_in_the_row_are_the_intervals(published: tuple[dict[str, Any], pa.Table]) -> None:
    manifest, rows = published
    [median, *_] = value_columns(manifest)
    values, low, high = (rows.column(name).to_pylist() for name in ("mid", "mid_low", "mid_high"))
    assert confidence_intervals(manifest, "mid", values, ends=(low, high)) == list(zip(low, high, strict=True))
    assert confidence_intervals(manifest, "mid", values, ends=(low, high), level=0.99) == [None, None], "95 % is what is told"
    with pytest.raises(SpecError, match="mid_low and mid_high"):
        confidence_intervals(manifest, "mid", values)
    [first, _] = released(manifest, median, plain_rows(rows))
    assert first.interval == (low[0], high[0])
    assert cell(plain_rows(rows)[0], median).endswith(")")


def test_edges_and_texts_are_in_the_comments_and_the_page_shows_all(published: tuple[dict[str, Any], pa.Table]) -> None:
    manifest, rows = published
    comments = column_comments(manifest)
    assert "edges 0, 10, 20" in comments["bins"]
    assert "values a, b" in comments["texts"]
    page = report_page(manifest, rows)
    for name in ("mid_low", "bins", "shares", "texts"):
        assert name in page
