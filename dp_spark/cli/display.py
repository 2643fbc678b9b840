"""What people see on a terminal, from published or public things only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dp_spark.cli.documents import (
    account_document,
    cost_document,
    history_documents,
    plan_document,
    remaining_document,
    result_warnings,
)
from dp_spark.combine.run import CombinedResult
from dp_spark.ledger.accounts import AccountState
from dp_spark.ledger.rows import Row
from dp_spark.ledger.verification import Verification
from dp_spark.manifest import PARTIES, is_combined, value_columns
from dp_spark.noise_width import error_width
from dp_spark.privacy.selection.base import Selection
from dp_spark.privacy.selection.registry import strategy_of
from dp_spark.published.cells import cell, computed, key_text, noise_words, plain_rows
from dp_spark.release.preview import Preview
from dp_spark.release.publication import ReleaseResult
from dp_spark.spec.columns_used import parsed_from_text

_SHOWN_ROWS = 12


def show_result(console: Console, result: ReleaseResult) -> None:
    """The final table of a run: what was released, how wrong it may be, what it cost, what remains."""
    if result.rows is not None:
        console.print(rows_table(plain_rows(result.rows.slice(0, _SHOWN_ROWS)), result.manifest))
        hidden = result.rows.num_rows - _SHOWN_ROWS
        if hidden > 0:
            console.print(f"… and {hidden} more rows", style="dim")
    else:
        console.print("The published table is no longer there to be read.", style="yellow")
    word = "Published" if result.status == "published" else "Already published, nothing was charged or drawn again:"
    count = "" if result.rows is None else f"{result.rows.num_rows} rows, "
    console.print(f"[bold]{word}[/bold] {escape(result.sink)} ({count}version {result.version})", soft_wrap=True)
    console.print(f"Release id  {result.release_id}", soft_wrap=True)
    if result.note:
        console.print(f"Note        {escape(result.note)}", style="yellow", soft_wrap=True)
    cost, left = cost_document(result.charge.row), remaining_document(result.account)
    console.print(f"Cost        {_budget(cost)}")
    console.print(f"Remaining   {_budget(left)} for dataset {result.account.dataset}")
    for warning in result_warnings(result):
        console.print(f"[bold red]WARNING[/bold red]     {_safe(warning)}", soft_wrap=True)


def _safe(text: Any) -> str:
    """Somebody else's text: no markup of rich in it, and nothing that a terminal would obey."""
    return escape(key_text(text))


def _budget(document: dict[str, float | None]) -> str:
    return ", ".join(f"{name} {value:.6g}" for name, value in document.items() if value is not None)


def rows_table(rows: Sequence[dict[str, Any]], manifest: Any) -> Table:
    """Released rows with the 95 % half-width of each cell."""
    table = Table(title=f"{_safe(manifest['name'])} (± is the 95 % half-width of the noise)", title_justify="left")
    for key in manifest["group_by"]:
        table.add_column(_safe(key))
    values = value_columns(manifest)
    for column in values:
        table.add_column(_safe(column["name"]), justify="right")
    for row in rows:
        cells = [_safe(row[key]) for key in manifest["group_by"]]
        table.add_row(*cells, *(cell(row, column) for column in values))
    return table


def show_plan(console: Console, preview: Preview) -> None:
    """A plan for people."""
    plan = preview.plan
    table = Table(title=f"{plan.spec.name}: noise per released cell", title_justify="left")
    for name, justify in (("aggregate", "left"), ("function", "left"), ("stddev", "right"), ("95 % half-width", "right")):
        table.add_column(name, justify="right" if justify == "right" else "left")
    for aggregate in plan.spec.aggregates:
        noise = plan.accuracy(aggregate)
        if noise.half_width_95_at is None:
            table.add_row(aggregate.name, aggregate.in_short, f"{noise.stddev:,.4g}", f"{noise.half_width_95:,.4g}")
        else:
            form = ".2%" if noise.of_rank else ",.3g"
            widths = "; ".join(f"±{width:{form}} at n = {n:,}" for n, width in noise.half_width_95_at.items())
            what = "of the values below it: " if noise.of_rank else ""
            table.add_row(aggregate.name, aggregate.in_short, "depends on n", f"{what}at most {widths}")
    console.print(table)
    if plan.selection is not None:
        console.print(_curve(plan.selection), soft_wrap=True)
    if plan.spec.unit_definition:
        parts = ", ".join(f"{name} = {text}" for name, text in plan.spec.unit_definition.items())
        console.print(f"Unit        {_safe(parts)}", soft_wrap=True)
    parsed = parsed_from_text(plan.spec)
    if parsed:
        named = ", ".join(f"{name} ({kind})" for name, kind in parsed.items())
        said = f"Parsed      from text: {_safe(named)}; what does not parse is null (`dp-spark check FILE` counts it)"
        console.print(said, soft_wrap=True)
    document = plan_document(preview)
    console.print(f"Cost        {_budget(document['cost'])} ({plan.accountant} account)")
    _show_account(console, preview, document)


def _curve(selection: Selection) -> str:
    """With how many units a key is shown how often: the least number for each of some probabilities."""
    points = ", ".join(
        f"{probability * 100:.4g} % probability from {units:,} on" for probability, units in selection.curve().items()
    )
    least = "" if selection.pre_threshold == 1 else f" and never below {selection.pre_threshold:,}"
    return f"A key is shown by its number of privacy units: with {points}{least} ({selection.in_short})."


def _show_account(console: Console, preview: Preview, document: dict[str, Any]) -> None:
    spec = preview.plan.spec
    if preview.account is None:
        where = spec.ledger.path or spec.ledger.table
        if preview.has_ledger:
            console.print(f"No budget is open for {spec.dataset} yet:")
        else:
            console.print(f"There is no ledger at {where}. Correct `ledger`, or open the first budget there:", soft_wrap=True)
        console.print(f"  dp-spark budget open --ledger {where} --dataset {spec.dataset} --epsilon E --delta D", soft_wrap=True)
        return
    console.print(f"Remaining   {_budget(remaining_document(preview.account))}")
    after = document["remaining_after"]
    console.print(
        "Afterwards  " + (_budget(after) if after else "[red]too little is left of the budget for this release[/red]")
    )


def show_accounts(console: Console, states: Sequence[AccountState]) -> None:
    """Accounts with their charges, for people."""
    for state in states:
        document = account_document(state)
        shares = "" if state.group is None else f", shares users with the group {state.group}"
        console.print(f"[bold]{state.dataset}[/bold] ({state.account.accountant}{shares})")
        for name in ("total", "spent", "remaining"):
            console.print(f"  {name:<10} {_budget(document[name])}")
        table = Table("release_id", "epsilon", "delta", "rho", "at", *([] if state.group is None else ["of dataset"]))
        for charge in document["charges"]:
            table.add_row(*map(_text, charge.values()))
        if document["charges"]:
            console.print(table)


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else _safe(value)


def show_entries(console: Console, rows: Sequence[Row]) -> None:
    """A ledger's entries, for people."""
    names = ("sequence", "at", "who", "entry", "dataset", "release_id", "epsilon", "delta", "rho", "reason")
    table = Table()
    for name in names:
        table.add_column(name, overflow="fold")
    for document in history_documents(rows):
        table.add_row(*(_text(document.get(name)) for name in names))
    console.print(table)


def show_verification(console: Console, found: Verification) -> None:
    """What was verified, for people."""
    console.print(f"{len(found.state.entries)} entries, {len(found.verified)} published releases compared with the outbox")
    for release_id in found.unreachable:
        console.print(f"  {release_id}: its table or version is gone; it could not be compared", soft_wrap=True)
    for release_id in found.unfinished:
        console.print(f"  {release_id}: {_safe(found.advice[release_id])}", soft_wrap=True)
    for item in found.damage:
        console.print(f"[red]damaged[/red] {_safe(item.where)}: {_safe(item.message)}", soft_wrap=True)
    console.print("[red]The ledger or a release is damaged.[/red]" if found.damage else "All of it is sound.")


def show_manifest(console: Console, manifest: dict[str, Any]) -> None:
    """A manifest for people."""
    guarantee, bounds = manifest["guarantee"], manifest["contribution_bounds"]
    combined = is_combined(manifest)
    kind = "combination" if combined else "release"
    console.print(f"[bold]{_safe(manifest['name'])}[/bold], a {kind} of {_safe(manifest['dataset'])}")
    console.print(_safe(guarantee["sentence"]), soft_wrap=True)
    console.print(f"Release id  {_safe(manifest['release_id'])}", soft_wrap=True)
    if combined:
        for given in manifest["inputs"]:
            promise = f"{given['release_id']} of {given['dataset']}: {_promise(given)}"
            console.print(f"Combines    {_safe(promise)}", soft_wrap=True)
    else:
        charge = manifest["charge"]
        console.print(f"Charged     {_safe(charge['at'])}, entry {_safe(charge['sequence'])} of the ledger")
    in_all = f", {_safe(bounds['max_contributions'])} rows in all" if "max_contributions" in bounds else ""
    console.print(
        f"Bounds      each unit: at most {_safe(bounds['max_partitions_contributed'])} partitions, "
        f"{_safe(bounds['max_contributions_per_partition'])} rows in each{in_all}{', at each party' if combined else ''}"
    )
    console.print(f"Partitions  {_safe(_selection(manifest['partitions']))}", soft_wrap=True)
    table = Table("aggregate", "function", "mechanism", "stddev", "95 % half-width")
    for column in value_columns(manifest):
        error, width = column["error"], error_width(column["error"])
        table.add_row(
            _safe(column["name"]),
            _safe(computed(manifest, column)),
            _safe(noise_words(error.get("mechanism"))),
            _safe(_stddev(error)),
            "" if width is None else f"{width:,.4g}",
        )
    console.print(table)


def _stddev(error: Mapping[str, Any]) -> str:
    if "stddev" in error:
        return f"{error['stddev']:,.4g}"
    if error["rule"] == "interval":
        return f"see {error['low_column']} and {error['high_column']}"
    return f"see {error['stddev_column']}" if "stddev_column" in error else "not known"


def _promise(manifest: dict[str, Any]) -> str:
    return f"epsilon {manifest['guarantee']['epsilon']}, delta {manifest['guarantee']['delta']}"


def _selection(partitions: dict[str, Any]) -> str:
    strategy = strategy_of(partitions)
    return str(partitions["selection"]) if strategy is None else strategy.shown_where(partitions)


def show_combined(console: Console, result: CombinedResult) -> None:
    """A combined table: its first rows, how many parties they cover, and what is guaranteed."""
    manifest, rows = result.manifest, result.rows
    shown_as = {**manifest, "group_by": [*manifest["group_by"], PARTIES]}
    console.print(rows_table(plain_rows(rows.slice(0, _SHOWN_ROWS)), shown_as))
    hidden = rows.num_rows - _SHOWN_ROWS
    if hidden > 0:
        console.print(f"… and {hidden} more rows", style="dim")
    partial = result.partial_rows
    if partial:
        console.print(
            f"{partial} of {rows.num_rows} rows cover fewer than all {len(manifest['inputs'])} parties: see {PARTIES}"
        )
    word = "Published" if result.status == "published" else "Already published, and the same:"
    console.print(f"[bold]{word}[/bold] {escape(result.sink)} ({rows.num_rows} rows, version {result.version})", soft_wrap=True)
    console.print(f"Release id  {manifest['release_id']}", soft_wrap=True)
    console.print(_safe(manifest["guarantee"]["sentence"]), soft_wrap=True)
