"""What the benchmark makes of what it measured: errors of quantiles, sections that are run anew, targets, the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from checkout import ROOT

from benchmarks.accuracy import errors_of_ranks, rank_errors
from benchmarks.plan import full_plan, quick_plan
from benchmarks.report import write_report
from benchmarks.results import Measurement, Occasion, Results
from benchmarks.targets import SPARKS_PART, targets

MACHINE = {"CPU": "one", "OS": "that"}


def measured(section: str, workload: str, *calls: tuple[float, dict[str, float]]) -> Measurement:
    found = Measurement(section, "dp_spark", workload, "even", 10)
    for seconds, stages in calls:
        found.add(seconds, stages, {"median": seconds / 100})
    return found


def results_of(*found: Measurement) -> Results:
    results = Results("full", "1g", tables={"even": {"rows": 10, "users": 5, "partitions": 2}}, notes={"dp_spark": "Ours."})
    for section in dict.fromkeys(item.section for item in found):
        occasion = Occasion("2026-01-01 00:00 UTC", MACHINE, {"dp_spark": {"numpy": "1"}})
        results.put(section, occasion, [item for item in found if item.section == section])
    return results


@pytest.mark.parametrize(
    ("share", "released", "error"),
    [
        (0.5, 2.0, 0.0),  # 20 % are below it and 80 % not above: it is every quantile between the two
        (0.9, 2.0, 0.1),
        (0.1, 2.0, 0.1),
        (0.5, 2.5, 0.3),
        (0.5, -1.0, 0.5),
        (0.5, 9.0, 0.5),
        (0.95, 3.0, 0.0),
    ],
)
def test_the_error_of_a_rank(share: float, released: float, error: float) -> None:
    found = errors_of_ranks(np.array([1.0, 2.0, 2.0, 2.0, 3.0]), np.array([share]), np.array([released]))
    assert found == pytest.approx([error])


def test_errors_are_of_each_key_s_own_values(tmp_path: Path) -> None:
    keys, values = [1, 0, 1, 0, 1, 3], [30.0, 2.0, 10.0, 1.0, 20.0, 5.0]
    pq.write_table(pa.table({"key": pa.array(keys, pa.int32()), "value": values}), tmp_path / "part.parquet")
    exact = [[1.5, 2.0], [15.0, 30.0], [0.0, 0.0], [5.0, 5.0], [0.0, 0.0]]  # nothing is in keys 2 and 4: they have no error
    assert rank_errors(str(tmp_path), "value", [0.5, 0.9], exact) == {"median": 0.0, "95 %": pytest.approx(0.75 / 6)}


def test_a_stage_is_of_measured_rounds_or_of_the_cold_call_where_none_followed() -> None:
    cold = measured("quantiles", "count_sum", (9.0, {"noise": 5.0}))
    assert (cold.figure, cold.stage("noise"), cold.stage("charge")) == (9.0, 5.0, None)
    warm = measured("quantiles", "count_sum", *[(seconds, {"noise": seconds / 2}) for seconds in (9.0, 4.0, 2.0, 3.0)])
    assert (warm.figure, warm.stage("noise"), warm.rank_error("median")) == (3.0, 1.5, pytest.approx(0.035))


def test_a_section_that_is_run_anew_takes_the_place_of_its_older_self_only(tmp_path: Path) -> None:
    results = results_of(measured("count_sum", "count_sum", (5.0, {})), measured("five", "five", (6.0, {})))
    results.write(tmp_path / "results.json")
    again = Results.read(tmp_path / "results.json")
    again.put(
        "five", Occasion("2026-02-02 00:00 UTC", MACHINE, {"dp_spark": {"numpy": "2"}}), [measured("five", "five", (7.0, {}))]
    )
    assert (again.figure("count_sum", "dp_spark"), again.figure("five", "dp_spark")) == (5.0, 7.0)
    assert len(again.measurements) == 2
    again.write(tmp_path / "results.json")
    write_report(tmp_path / "results.json", tmp_path / "RESULTS.md")
    lines = (tmp_path / "RESULTS.md").read_text().splitlines()
    said = [line for line in lines if line.startswith("Run on")]
    assert said == ["Run on 2026-01-01 00:00 UTC; numpy 1 (dp_spark).", "Run on 2026-02-02 00:00 UTC."]
    assert "| dp_spark | numpy 2 |" in lines


def test_quantiles_are_measured_by_spark_s_part_and_two_columns_by_all() -> None:
    found = results_of(
        measured("quantiles", "count_sum", (2.0, {SPARKS_PART: 1.0, "noise": 1.0})),
        measured("quantiles", "quantiles", (9.0, {SPARKS_PART: 1.25, "noise": 7.75})),
        measured("two_columns", "count", (2.0, {SPARKS_PART: 1.0})),
        measured("two_columns", "two_columns", (3.0, {SPARKS_PART: 1.0})),
    )
    said = {item.text: (item.measured, item.verdict) for item in targets(found) if item.measured is not None}
    assert said == {
        "dp-spark: two_columns ÷ count alone": (1.5, "missed"),
        "dp-spark: Spark's part of quantiles ÷ of count_sum": (1.25, "met"),
    }


def test_part_of_a_plan_has_what_its_contestants_need() -> None:
    part = full_plan().of(["quantile_errors", "two_columns"])
    assert [section.name for section in part.sections] == ["two_columns", "quantile_errors"]
    assert part.environments == ["dp_spark", "tumult", "pipelinedp"]
    assert [section.name for section in quick_plan().sections] == [section.name for section in full_plan().sections]


def test_the_report_that_is_kept_is_that_of_the_results_that_are_kept(tmp_path: Path) -> None:
    kept = ROOT / "benchmarks"
    (tmp_path / "results.json").write_text((kept / "results.json").read_text())
    (tmp_path / "results.svg").touch()
    write_report(tmp_path / "results.json", tmp_path / "RESULTS.md")
    assert (tmp_path / "RESULTS.md").read_text() == (kept / "RESULTS.md").read_text(), "run python -m benchmarks.report"
