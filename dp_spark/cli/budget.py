"""The commands ``dp-spark budget ...``: open, raise, show, history, verify."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from dp_spark.cli.options import together
from dp_spark.cli.terminal import AsJson, emit, log, out, report, session
from dp_spark.errors import DamageError, DpSparkError, SpecError
from dp_spark.privacy.accountants.registry import AccountantName

if TYPE_CHECKING:
    from dp_spark.ledger.accounts import AccountState

budget_app = typer.Typer(name="budget", help="Open, show, raise and verify privacy budgets.", no_args_is_help=True)

_LEDGER = Annotated[str, typer.Option("--ledger", help="The ledger: a path or a table name a.b.c.")]
_DATASET = Annotated[str, typer.Option("--dataset", help="The protected dataset.")]
_ANY_DATASET = Annotated[str | None, typer.Option("--dataset", help="Only this dataset.")]


@dataclass(frozen=True)
class NewAccount:
    """The options that say what is opened."""

    dataset: _DATASET
    epsilon: Annotated[str, typer.Option("--epsilon", help="The total epsilon, an exact decimal.")]
    delta: Annotated[str, typer.Option("--delta", help="The total delta, an exact decimal.")] = "0"
    accountant: Annotated[
        AccountantName | None,
        typer.Option("--accountant", help="Default: basic where delta is 0, else zcdp."),
    ] = None
    group: Annotated[
        str | None, typer.Option("--group", help="Datasets of one group share users: a charge to one counts in all.")
    ] = None
    reason: Annotated[str | None, typer.Option("--reason", help="Why, for those who read the history.")] = None


@budget_app.command("open")
@together
def budget_open(ledger: _LEDGER, new: NewAccount, as_json: AsJson = False) -> None:
    """Open the budget of a dataset; makes the ledger where there is none yet."""
    from dp_spark.ledger.books import open_account
    from dp_spark.ledger.on_delta import books_at
    from dp_spark.places.stores import unsafe_store
    from dp_spark.privacy.accountants.account import Account
    from dp_spark.spark.settings import bookkeeping
    from dp_spark.spec.release_spec import Location
    from dp_spark.tables.refs import TableRef

    total, loss = _budget(new.epsilon, new.delta)
    ref = TableRef.parse(ledger)
    Location.model_validate({"path": ref.path, "table": ref.name})
    account = Account.open(total, loss, new.accountant)
    check_name(new.dataset, "--dataset")
    if new.group is not None:
        check_name(new.group, "--group")
    spark = session()
    warning = unsafe_store(ref.path or "")
    if warning:
        log().print(f"[yellow]warning:[/yellow] {warning}", soft_wrap=True)
    with bookkeeping(spark):
        state = open_account(*books_at(spark, ref), new.dataset, account, new.reason, new.group)
    _show_account(state.account(new.dataset), as_json)


@budget_app.command("raise")
def budget_raise(
    ledger: _LEDGER,
    dataset: _DATASET,
    reason: Annotated[str, typer.Option("--reason", help="Why; it stays in the ledger.")],
    epsilon: Annotated[str | None, typer.Option("--epsilon", help="The new total epsilon.")] = None,
    delta: Annotated[str | None, typer.Option("--delta", help="The new total delta.")] = None,
    as_json: AsJson = False,
) -> None:
    """Raise the budget of a dataset to new totals, each at least the old one."""
    from dp_spark.ledger.on_delta import ledger_at
    from dp_spark.privacy.accountants.account import Account
    from dp_spark.tables.refs import TableRef

    if epsilon is None and delta is None:
        raise SpecError("nothing to raise", where="--epsilon", mend="give the new total --epsilon, --delta, or both")
    check_name(dataset, "--dataset")
    book = ledger_at(session(), TableRef.parse(ledger))
    old = book.state().account(dataset).account
    total, loss = _budget(str(old.epsilon) if epsilon is None else epsilon, str(old.delta) if delta is None else delta)
    state = book.raise_budget(dataset, Account.open(total, loss, old.accountant), reason)
    _show_account(state.account(dataset), as_json)


@budget_app.command("show")
def budget_show(ledger: _LEDGER, dataset: _ANY_DATASET = None, as_json: AsJson = False) -> None:
    """Show what a ledger's datasets have, spent and have left; of a damaged ledger what is sound, with exit code 6."""
    from dp_spark.cli.display import show_accounts
    from dp_spark.cli.documents import account_document
    from dp_spark.ledger.on_delta import ledger_at
    from dp_spark.tables.refs import TableRef

    state, damage = ledger_at(session(), TableRef.parse(ledger)).examine()
    if dataset is not None and damage is None:
        state.account(dataset)  # refused where there is none
    accounts = [account for name, account in state.accounts.items() if dataset in (None, name)]
    documents = [account_document(account) for account in accounts]
    if not as_json:
        show_accounts(out(), accounts)
    elif damage is not None:
        emit({"error": damage.to_dict(), "sound_part": documents})
    else:
        emit(documents[0] if len(documents) == 1 else documents)
    if damage is not None:
        _stop(damage, as_json)


@budget_app.command("history")
def budget_history(ledger: _LEDGER, dataset: _ANY_DATASET = None, as_json: AsJson = False) -> None:
    """Show every entry of a ledger: who opened, raised, charged and published what, when and why."""
    from dp_spark.cli.display import show_entries
    from dp_spark.cli.documents import history_documents
    from dp_spark.ledger.on_delta import ledger_at
    from dp_spark.tables.refs import TableRef

    state, damage = ledger_at(session(), TableRef.parse(ledger)).examine()
    rows = [row for row in state.rows if dataset in (None, row.dataset)]
    if not as_json:
        show_entries(out(), rows)
    elif damage is not None:
        emit({"error": damage.to_dict(), "sound_part": history_documents(rows)})
    else:
        emit(history_documents(rows))
    if damage is not None:
        _stop(damage, as_json)


@budget_app.command("verify")
def budget_verify(ledger: _LEDGER, as_json: AsJson = False) -> None:
    """Check a ledger, its outbox and every published release it can reach; exit code 6 where something is wrong."""
    from dp_spark.cli.display import show_verification
    from dp_spark.cli.documents import verification_document
    from dp_spark.ledger.on_delta import books_at
    from dp_spark.ledger.verification import verify
    from dp_spark.tables.refs import TableRef

    spark = session()
    found = verify(spark, *books_at(spark, TableRef.parse(ledger)))
    if as_json:
        emit(verification_document(found))
    else:
        show_verification(out(), found)
    if found.damage:
        raise typer.Exit(DamageError.exit_code)


def check_name(name: str, where: str) -> str:
    """The name of a dataset or group, if a release file could have it.

    Raises:
        SpecError: If it could not.
    """
    import re

    from dp_spark.schema.model import NAME, NAME_RULE

    if not re.fullmatch(NAME, name):
        raise SpecError("is not a plain name", where=where, mend=f"use {NAME_RULE.partition(': ')[2]}")
    return name


def _show_account(state: AccountState, as_json: bool) -> None:
    from dp_spark.cli.display import show_accounts
    from dp_spark.cli.documents import account_document

    if as_json:
        emit(account_document(state))
    else:
        show_accounts(out(), [state])


def _stop(error: DpSparkError, as_json: bool) -> NoReturn:
    """Ends with an error after something was shown; with ``--json`` the document has it already."""
    raise typer.Exit(error.exit_code if as_json else report(error, as_json))


def _budget(epsilon: str, delta: str) -> tuple[Decimal, Decimal]:
    from dp_spark.spec.release_spec import Budget

    checked = Budget.model_validate({"epsilon": _decimal(epsilon, "--epsilon"), "delta": _decimal(delta, "--delta")})
    return checked.epsilon, checked.delta


def _decimal(text: str, where: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("nan")
    if not value.is_finite():
        raise SpecError("is not a number", where=where, mend="write a decimal such as 0.5 or 1e-6")
    return value
