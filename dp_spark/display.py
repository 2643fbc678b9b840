"""What people see on a terminal, from published or public things only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dp_spark.documents import account_document, cost_document, entry_document, plan_document, remaining_document
from dp_spark.entries import Entry
from dp_spark.ledger_state import AccountState
from dp_spark.preview import Preview
from dp_spark.publication import ReleaseResult
from dp_spark.spec import ClippedAggregate
from dp_spark.verification import Verification

_SHOWN_ROWS = 12
_NORMAL_95 = 1.96


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
    cost, left = cost_document(result.charge), remaining_document(result.account)
    console.print(f"Cost        {_budget(cost)}")
    console.print(f"Remaining   {_budget(left)} for dataset {result.account.dataset}")


def _budget(document: dict[str, float | None]) -> str:
    return ", ".join(f"{name} {value:.6g}" for name, value in document.items() if value is not None)


def plain_rows(rows: pa.Table) -> list[dict[str, Any]]:
    """Rows as Python values; a key that Python cannot hold, such as a date after the year 9999, becomes a text."""
    columns = {name: [_python_value(value) for value in column] for name, column in zip(rows.column_names, rows, strict=True)}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _python_value(value: pa.Scalar) -> Any:
    try:
        return value.as_py()
    except (OverflowError, ValueError):
        return "(cannot be shown)"


def rows_table(rows: Sequence[dict[str, Any]], manifest: Any) -> Table:
    """Released rows with the 95 % half-width of each cell."""
    table = Table(title=f"{manifest['name']} (± is the 95 % half-width of the noise)", title_justify="left")
    for key in manifest["group_by"]:
        table.add_column(key)
    for aggregate in manifest["aggregates"]:
        table.add_column(aggregate["name"], justify="right")
    for row in rows:
        cells = [escape(str(row[key])) for key in manifest["group_by"]]
        table.add_row(*cells, *(cell(row, item) for item in manifest["aggregates"]))
    return table


def cell(row: dict[str, Any], aggregate: dict[str, Any]) -> str:
    """A released cell with its half-width.

    >>> cell({"mean": 12.3456, "mean_stddev": 0.5}, {"name": "mean", "half_width_95": None})
    '12.35 ± 0.98'
    """
    value, stddev = row[aggregate["name"]], row[f"{aggregate['name']}_stddev"]
    width = aggregate["half_width_95"]
    if width is None and stddev is not None:
        width = _NORMAL_95 * stddev
    return f"{shown(value, width)} ± {'?' if width is None else shown(width, width)}"


def shown(value: float, width: float | None) -> str:
    """A number with as many digits as an error of ``width`` leaves a meaning.

    >>> shown(0.24037, 0.0013), shown(2311.47, 24.0), shown(7, None)
    ('0.2404', '2,311', '7')
    """
    if isinstance(value, int):
        return f"{value:,}"
    digits = 2 if not width else max(0, min(8, 1 - math.floor(math.log10(width))))
    return f"{value:,.{digits}f}"


def show_plan(console: Console, preview: Preview) -> None:
    """A plan for people."""
    plan = preview.plan
    table = Table(title=f"{plan.spec.name}: noise per released cell", title_justify="left")
    for name, justify in (("aggregate", "left"), ("function", "left"), ("stddev", "right"), ("95 % half-width", "right")):
        table.add_column(name, justify="right" if justify == "right" else "left")
    for aggregate in plan.spec.aggregates:
        noise = plan.aggregate_noise(aggregate)
        clip = f" [{aggregate.min_value:g}, {aggregate.max_value:g}]" if isinstance(aggregate, ClippedAggregate) else ""
        if noise.half_width_95_at is None:
            table.add_row(aggregate.name, aggregate.function + clip, f"{noise.stddev:,.4g}", f"{noise.half_width_95:,.4g}")
        else:
            widths = "; ".join(f"±{width:,.3g} at n = {n:,}" for n, width in noise.half_width_95_at.items())
            table.add_row(aggregate.name, aggregate.function + clip, "depends on n", f"at most {widths}")
    console.print(table)
    if plan.selection is not None:
        console.print(
            f"A partition is shown with 50 % probability at {plan.selection.units_for(0.5):,} users and with 95 % at "
            f"{plan.selection.units_for(0.95):,} (threshold {plan.selection.threshold:,})."
        )
    document = plan_document(preview)
    console.print(f"Cost        {_budget(document['cost'])} ({plan.accountant} account)")
    _show_account(console, preview, document)


def _show_account(console: Console, preview: Preview, document: dict[str, Any]) -> None:
    spec = preview.plan.spec
    if preview.account is None:
        where = spec.ledger.path or spec.ledger.table
        console.print(f"No budget is open for {spec.dataset} yet:")
        console.print(f"  dp-spark budget open --ledger {where} --dataset {spec.dataset} --epsilon E --delta D", soft_wrap=True)
        return
    console.print(f"Remaining   {_budget(remaining_document(preview.account))}")
    after = document["remaining_after"]
    console.print("Afterwards  " + (_budget(after) if after else "[red]the budget does not bear this release[/red]"))


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
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else escape(str(value))


def show_entries(console: Console, entries: Sequence[Entry]) -> None:
    """A ledger's entries, for people."""
    names = ("sequence", "at", "who", "entry", "dataset", "release_id", "epsilon", "delta", "rho", "reason")
    table = Table()
    for name in names:
        table.add_column(name, overflow="fold")
    for entry in entries:
        document = entry_document(entry)
        table.add_row(*(_text(document.get(name)) for name in names))
    console.print(table)


def show_verification(console: Console, found: Verification) -> None:
    """What was verified, for people."""
    console.print(f"{len(found.state.entries)} entries, {len(found.verified)} published releases compared with the outbox")
    for release_id in found.unreachable:
        console.print(f"  {release_id}: its table or version is gone; it could not be compared", soft_wrap=True)
    for release_id in found.unfinished:
        console.print(f"  {release_id}: charged and not published; run it again with --release-id {release_id}", soft_wrap=True)
    for item in found.damage:
        console.print(f"[red]damaged[/red] {escape(item.where)}: {escape(item.message)}", soft_wrap=True)
    console.print("[red]The ledger or a release is damaged.[/red]" if found.damage else "All of it is sound.")


def show_manifest(console: Console, manifest: dict[str, Any]) -> None:
    """A manifest for people."""
    guarantee, bounds = manifest["guarantee"], manifest["contribution_bounds"]
    console.print(f"[bold]{manifest['name']}[/bold], a release of {manifest['dataset']}")
    console.print(guarantee["sentence"], soft_wrap=True)
    console.print(f"Release id  {manifest['release_id']}", soft_wrap=True)
    console.print(f"Charged     {manifest['charge']['at']}, entry {manifest['charge']['sequence']} of the ledger")
    console.print(
        f"Bounds      each unit: at most {bounds['max_partitions_contributed']} partitions, "
        f"{bounds['max_contributions_per_partition']} rows in each"
    )
    selection = manifest["partitions"]
    if selection["selection"] == "private":
        console.print(
            f"Partitions  shown where a noisy count of users reaches {selection['threshold']}; "
            f"95 % of those with {selection['units_for_95_percent']} users are"
        )
    else:
        console.print(f"Partitions  {selection['selection']}")
    table = Table("aggregate", "function", "mechanism", "stddev", "95 % half-width")
    for item in manifest["aggregates"]:
        stddev, width = item["stddev"], item["half_width_95"]
        table.add_row(
            item["name"],
            item["function"] + (f"({item['column']})" if item.get("column") else ""),
            f"discrete {item['mechanism']}",
            f"see {item['name']}_stddev" if stddev is None else f"{stddev:,.4g}",
            "" if width is None else f"{width:,.4g}",
        )
    console.print(table)
