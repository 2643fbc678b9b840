"""The command line: arguments in, exit code out; one line for an error, and with ``--json`` one document on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from dp_spark.errors import DpSparkError, SpecError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

app = typer.Typer(
    name="dp-spark",
    help="Differentially private releases of Spark tables, under a budget that a ledger enforces.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # it would show local variables, and with them private values
)
budget_app = typer.Typer(name="budget", help="Open and show privacy budgets.", no_args_is_help=True)
app.add_typer(budget_app)

_FILE = Annotated[Path, typer.Argument(metavar="FILE", help="The release file (YAML).")]
_SET = Annotated[list[str] | None, typer.Option("--set", metavar="A.B=VALUE", help="Override a key of the file; repeatable.")]
_JSON = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document on stdout.")]
_LEDGER = Annotated[str, typer.Option("--ledger", help="The ledger: a path or a table name a.b.c.")]


class AccountantName(StrEnum):
    """How charges of an account add up."""

    basic = "basic"
    zcdp = "zcdp"


class Scenario(StrEnum):
    """The demos."""

    healthcare = "healthcare"
    transport = "transport"
    finance = "finance"


def _out() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=120)


def _log() -> Console:
    return Console(stderr=True, highlight=False)


def _emit(document: Any) -> None:
    sys.stdout.write(json.dumps(document) + "\n")


def _session() -> SparkSession:
    from dp_spark.session import get_session

    return get_session(console_progress=sys.stderr.isatty())


def _stages() -> Callable[[str], None]:
    """Names each stage on stderr where a person is watching; says nothing otherwise."""
    console = _log()
    if not console.is_terminal:
        return lambda stage: None
    return lambda stage: console.print(f"[dim]▸[/dim] {stage}")


@app.command()
def run(
    file: _FILE,
    release_id: Annotated[
        str | None,
        typer.Option("--release-id", help="Makes retries safe: the same id is charged, drawn and published once."),
    ] = None,
    overrides: _SET = None,
    as_json: _JSON = False,
) -> None:
    """Run a release: charge the ledger, compute, add noise, publish."""
    from dp_spark.display import result_document, show_result
    from dp_spark.release import run_release
    from dp_spark.spec import ReleaseSpec

    spec = ReleaseSpec.from_yaml(file, overrides or [])
    result = run_release(_session(), spec, release_id=release_id, on_stage=_stages())
    if as_json:
        _emit(result_document(result))
        return
    show_result(_out(), result)
    if release_id is None:
        _log().print(f"To make a retry of this very run safe, repeat it with --release-id {result.release_id}", style="dim")


@app.command()
def plan(file: _FILE, overrides: _SET = None, as_json: _JSON = False) -> None:
    """Show noise, thresholds, cost and what would remain; touches no private data."""
    from dp_spark.display import plan_document, show_plan
    from dp_spark.preview import preview_release
    from dp_spark.spec import ReleaseSpec

    preview = preview_release(ReleaseSpec.from_yaml(file, overrides or []), _session)
    if as_json:
        _emit(plan_document(preview))
    else:
        show_plan(_out(), preview)


@budget_app.command("open")
def budget_open(
    ledger: _LEDGER,
    dataset: Annotated[str, typer.Option("--dataset", help="The protected dataset.")],
    epsilon: Annotated[str, typer.Option("--epsilon", help="The total epsilon, an exact decimal.")],
    delta: Annotated[str, typer.Option("--delta", help="The total delta, an exact decimal.")] = "0",
    accountant: Annotated[
        AccountantName | None, typer.Option("--accountant", help="Default: basic where delta is 0, else zcdp.")
    ] = None,
    as_json: _JSON = False,
) -> None:
    """Open the budget of a dataset; makes the ledger where there is none yet."""
    from dp_spark.accounting import Account
    from dp_spark.display import account_document, show_accounts
    from dp_spark.ledger import Ledger
    from dp_spark.spec import Budget, Location
    from dp_spark.tables import TableRef

    checked = Budget.model_validate({"epsilon": _decimal(epsilon, "--epsilon"), "delta": _decimal(delta, "--delta")})
    ref = TableRef.parse(ledger)
    Location.model_validate({"path": ref.path, "table": ref.name})
    account = Account.open(checked.epsilon, checked.delta, accountant.value if accountant is not None else None)
    state = Ledger(_session(), ref).open(check_dataset(dataset), account).account(dataset)
    if as_json:
        _emit(account_document(state))
    else:
        show_accounts(_out(), [state])


@budget_app.command("show")
def budget_show(
    ledger: _LEDGER,
    dataset: Annotated[str | None, typer.Option("--dataset", help="Only this dataset.")] = None,
    as_json: _JSON = False,
) -> None:
    """Show what a ledger's datasets have, spent and have left."""
    from dp_spark.display import account_document, show_accounts
    from dp_spark.ledger import Ledger
    from dp_spark.tables import TableRef

    state = Ledger(_session(), TableRef.parse(ledger)).state()
    accounts = [state.account(dataset)] if dataset is not None else list(state.accounts.values())
    if not as_json:
        show_accounts(_out(), accounts)
    elif len(accounts) == 1:
        _emit(account_document(accounts[0]))
    else:
        _emit([account_document(account) for account in accounts])


@app.command()
def show(
    release: Annotated[str, typer.Argument(metavar="RELEASE", help="A published table: a path or a name a.b.c.")],
    as_json: _JSON = False,
) -> None:
    """Show the manifest of a published table."""
    from dp_spark.display import show_manifest
    from dp_spark.tables import TableRef, require_manifest

    manifest = require_manifest(_session(), TableRef.parse(release))
    if as_json:
        _emit(manifest)
    else:
        show_manifest(_out(), manifest)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the release file, for editors."""
    from dp_spark.spec import json_schema

    _emit(json_schema())


@app.command()
def demo(
    scenario: Annotated[Scenario, typer.Argument(help="Which real data to release.")] = Scenario.healthcare,
    out: Annotated[Path, typer.Option("--out", help="Where source, ledger, release and chart go.")] = Path("demo-out"),
) -> None:
    """Release real, public data and show exact against released values side by side."""
    from dp_spark.demo import run_demo

    run_demo(scenario.value, out, _session, _out(), _stages())


def check_dataset(name: str) -> str:
    """The dataset's name, if a release file could have it.

    Raises:
        SpecError: If it could not.
    """
    import re

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", name):
        raise SpecError("is not a plain name", where="--dataset", mend="use letters, digits, dots, hyphens, underscores")
    return name


def _decimal(text: str, where: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("nan")
    if not value.is_finite():
        raise SpecError("is not a number", where=where, mend="write a decimal such as 0.5 or 1e-6")
    return value


def _report(error: DpSparkError, as_json: bool) -> int:
    if as_json:
        _emit({"error": error.to_dict()})
    else:
        _log().print("[red]dp-spark:[/red] ", end="")
        sys.stderr.write(" ".join(str(error).split()) + "\n")
    return error.exit_code


def _unexpected(error: Exception) -> DpSparkError:
    """An error nobody foresaw: its kind and its place, but not its text, which can quote private values."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if file.parent.name == "dp_spark":
            place = f"{file.name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return DpSparkError(
        f"unexpected {type(error).__name__}", where=place, mend="report it; a retry with the same --release-id is safe"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in arguments
    try:
        app(args=arguments, prog_name="dp-spark")
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
        if code == SpecError.exit_code and as_json:
            _emit({"error": SpecError("bad usage", where="command line", mend="see --help").to_dict()})
        return code
    except DpSparkError as error:
        return _report(error, as_json)
    except Exception as error:  # noqa: BLE001 - the last line of defence: no traceback, no private value
        return _report(_unexpected(error), as_json)
    return 0


def entry_point() -> None:
    """The console script."""
    sys.exit(main())
