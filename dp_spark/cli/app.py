"""The command line: arguments in, exit code out; one line for an error, and with ``--json`` one document on stdout."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from dp_spark.cli.budget import budget_app
from dp_spark.cli.combine import combine
from dp_spark.cli.share import share_app
from dp_spark.cli.terminal import AsJson, emit, home, log, out, report, session, settings_warning, stages, warn
from dp_spark.errors import DpSparkError, SpecError, foreseen

if TYPE_CHECKING:
    from dp_spark.tables.refs import TableRef

app = typer.Typer(
    name="dp-spark",
    help="Differentially private releases of Spark tables, under a budget that a ledger enforces.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # it would show local variables, and with them private values
)
app.add_typer(budget_app)
app.add_typer(share_app)
app.command()(combine)

_PACKAGE = Path(__file__).parents[1]
_FILE = Annotated[Path, typer.Argument(metavar="FILE", help="The release file (YAML).")]
_SET = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="A.B=VALUE",
        help="Override a key, as budget.epsilon=0.5 or aggregates.0.max_value=20 (the value is YAML); repeatable.",
    ),
]


class Scenario(StrEnum):
    """The demos."""

    healthcare = "healthcare"
    transport = "transport"
    finance = "finance"


@app.command()
def run(
    file: _FILE,
    release_id: Annotated[
        str | None,
        typer.Option("--release-id", help="Makes retries safe: the same id is charged, drawn and published once."),
    ] = None,
    overrides: _SET = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not warn of the platform's settings.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run a release: charge the ledger, compute, add noise, publish."""
    from dp_spark.cli.display import show_result
    from dp_spark.cli.documents import result_document
    from dp_spark.release.run import run_release
    from dp_spark.spec.release_spec import ReleaseSpec

    spec = ReleaseSpec.from_yaml(file, overrides or [])
    try:
        spark = session()
        warnings = [] if quiet else settings_warning(spark)
        for warning in [] if as_json else warnings:  # under spark-submit stderr is stdout, where one document is promised
            warn(warning)
        result = run_release(spark, spec, release_id=release_id, on_stage=stages())
    except DpSparkError:
        raise
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - it goes on, with what a retry needs
        raise _unexpected(error) from None
    if as_json:
        emit(result_document(result, warnings))
        return
    show_result(out(), result)
    if release_id is None:
        log().print(f"To make a retry of this very run safe, repeat it with --release-id {result.release_id}", style="dim")


@app.command()
def plan(file: _FILE, overrides: _SET = None, as_json: AsJson = False) -> None:
    """Show noise, thresholds, cost and what would remain; touches no private data."""
    from dp_spark.cli.display import show_plan
    from dp_spark.cli.documents import plan_document
    from dp_spark.release.preview import preview_release
    from dp_spark.spec.release_spec import ReleaseSpec

    preview = preview_release(ReleaseSpec.from_yaml(file, overrides or []), session)
    if as_json:
        emit(plan_document(preview))
    else:
        show_plan(out(), preview)


@app.command()
def check(
    file: _FILE,
    overrides: _SET = None,
    confidential: Annotated[
        bool,
        typer.Option(
            "--confidential", help="Print although stdout is not a terminal: what is printed is as secret as the source."
        ),
    ] = False,
) -> None:
    """For the data owner's terminal: count what is lost as the source is read; writes nothing, charges nothing.

    For mending how the source is read, not for choosing bounds: the counts are exact and CONFIDENTIAL.
    """
    from dp_spark.cli.source_reading import show_reading
    from dp_spark.release.source_reading import check_reading
    from dp_spark.spec.release_spec import ReleaseSpec

    if not (sys.stdout.isatty() or confidential):
        raise SpecError(
            "stdout is not a terminal, and exact counts of private rows would be printed",
            where="check",
            mend="run it in a terminal, or give --confidential where only the data's owner reads what is printed",
        )
    reading = check_reading(session(), ReleaseSpec.from_yaml(file, overrides or []))
    show_reading(out(), reading)
    if reading.problem is not None:
        raise reading.problem


@app.command()
def show(
    release: Annotated[str, typer.Argument(metavar="RELEASE", help="A published table: a path or a name a.b.c.")],
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", callback=home, help="Write a report for people, as one page.")
    ] = None,
    ledger: Annotated[
        str | None, typer.Option("--ledger", help="Put the budget into the report: the ledger, a path or a table name a.b.c.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the manifest of a published table; with --html, write a report on it."""
    from dp_spark.cli.display import show_manifest
    from dp_spark.release.reading import read_manifest
    from dp_spark.tables.refs import TableRef

    ref = TableRef.parse(release)
    if html is not None:
        manifest = _write_report(ref, html, ledger)
    elif ledger is not None:
        raise SpecError("goes into a report only", where="--ledger", mend="give --html FILE as well")
    else:
        manifest = read_manifest(session(), ref)
    if as_json:
        emit(manifest)
    else:
        show_manifest(out(), manifest)
    if html is not None and not as_json:
        out().print(f"Report      {escape(str(html))}", soft_wrap=True)


def _write_report(release: TableRef, file: Path, ledger: str | None) -> dict[str, Any]:
    """Writes the report on a release; returns its manifest."""
    from dp_spark.release.reading import read_history, read_release
    from dp_spark.report.page import check_installed, report_page, write_page
    from dp_spark.tables.refs import TableRef

    check_installed()
    spark = session()
    manifest, rows = read_release(spark, release)
    history = None if ledger is None else read_history(spark, TableRef.parse(ledger), release)
    write_page(file, report_page(manifest, rows, history))
    return manifest


@app.command()
def schema() -> None:
    """Print the JSON Schema of the release file, for editors."""
    from dp_spark.spec.release_spec import json_schema

    emit(json_schema())


@app.command()
def demo(
    scenario: Annotated[Scenario, typer.Argument(help="Which real data to release.")] = Scenario.healthcare,
    folder: Annotated[Path, typer.Option("--out", callback=home, help="Where source, ledger, release and chart go.")] = Path(
        "demo-out"
    ),
) -> None:
    """Release real, public data and show exact against released values side by side."""
    from dp_spark.cli.demo import run_demo

    run_demo(scenario.value, folder, session, out(), stages())


def _unexpected(error: BaseException) -> DpSparkError:
    """An error nobody foresaw: its kind and its place, but not its text, which can quote private values."""
    if isinstance(error, KeyboardInterrupt):
        return foreseen(error, DpSparkError("interrupted", mend="a retry with the same --release-id is safe"))
    trace, place = error.__traceback__, ""
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if file.is_relative_to(_PACKAGE):
            place = f"{file.relative_to(_PACKAGE)}:{trace.tb_lineno}"
        trace = trace.tb_next
    mend = "report it; a retry with the same --release-id is safe"
    return foreseen(error, DpSparkError(f"unexpected {type(error).__name__}", where=place, mend=mend))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in arguments
    try:
        app(args=arguments, prog_name="dp-spark")
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
        if code == SpecError.exit_code and as_json:
            emit({"error": SpecError("bad usage", where="command line", mend="see --help").to_dict()})
        return code
    except DpSparkError as error:
        return report(error, as_json)
    except Exception as error:  # noqa: BLE001 - the last line of defence: no traceback, no private value
        return report(_unexpected(error), as_json)
    return 0


def entry_point() -> None:
    """The console script, and the entry point of a Databricks wheel task, for which any SystemExit is a failure, even of 0."""
    code = main()
    if code:
        sys.exit(code)
