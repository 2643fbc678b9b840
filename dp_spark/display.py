"""What people see on a terminal, and what ``--json`` prints; both from published or public things only."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dp_spark.accounting import Cost
from dp_spark.entries import Entry
from dp_spark.ledger_state import AccountState
from dp_spark.planning import AggregateNoise
from dp_spark.preview import Preview
from dp_spark.publication import ReleaseResult
from dp_spark.spec import ClippedAggregate

_SHOWN_ROWS = 12
_NORMAL_95 = 1.96


def number(value: Decimal | str | float | None) -> float | None:
    """A decimal as a JSON number."""
    return None if value is None else float(value)


def cost_document(charge: Entry) -> dict[str, float | None]:
    """What a charge cost."""
    return {"epsilon": number(charge.epsilon), "delta": number(charge.delta), "rho": number(charge.rho)}


def _pair(pair: tuple[Decimal, Decimal]) -> dict[str, float | None]:
    return {"epsilon": number(pair[0]), "delta": number(pair[1])}


def remaining_document(state: AccountState) -> dict[str, float | None]:
    """What an account has left."""
    return _pair(state.account.remaining_display(state.spent))


def account_document(state: AccountState) -> dict[str, Any]:
    """An account, as ``budget show --json`` prints it."""
    account, spent = state.account, state.spent
    rho_left = None if account.rho is None else account.rho - spent.rho
    return {
        "dataset": state.dataset,
        "accountant": account.accountant,
        "total": {**_pair((account.epsilon, account.delta)), "rho": number(account.rho)},
        "spent": {**_pair(account.spent_display(spent)), "rho": None if account.rho is None else number(spent.rho)},
        "remaining": {**remaining_document(state), "rho": number(rho_left)},
        "charges": [
            {"release_id": charge.release_id, **cost_document(charge), "at": charge.at.isoformat(timespec="seconds")}
            for charge in state.charges
        ],
    }


def result_document(result: ReleaseResult) -> dict[str, Any]:
    """A release, as ``run --json`` prints it."""
    return {
        "release_id": result.release_id,
        "status": result.status,
        "path": result.sink,
        "version": result.version,
        "rows": None if result.rows is None else result.rows.num_rows,
        "cost": cost_document(result.charge),
        "remaining": remaining_document(result.account),
        "aggregates": [{"name": item["name"], "stddev": _stddev(result, item)} for item in result.manifest["aggregates"]],
    }


def _stddev(result: ReleaseResult, aggregate: dict[str, Any]) -> float | None:
    """The stddev of an aggregate's cells; for a mean the median of its released stddevs."""
    if aggregate["stddev"] is not None or result.rows is None:
        return number(aggregate["stddev"])
    cells = [cell for cell in result.rows.column(f"{aggregate['name']}_stddev").to_pylist() if cell is not None]
    return statistics.median(cells) if cells else None


def plan_document(preview: Preview) -> dict[str, Any]:
    """A plan, as ``plan --json`` prints it."""
    plan, account = preview.plan, preview.account
    return {
        "name": plan.spec.name,
        "dataset": plan.spec.dataset,
        "accountant": plan.accountant,
        "cost": {
            **_pair((plan.guarantee_epsilon, plan.guarantee_delta)),
            "rho": number(plan.cost.rho) if plan.accountant == "zcdp" else None,
        },
        "contribution_bounds": {
            "max_partitions_contributed": plan.bounds.max_partitions_contributed,
            "max_contributions_per_partition": plan.bounds.max_contributions_per_partition,
        },
        "aggregates": [
            {"name": item.name, "function": item.function, **_noise_document(plan.aggregate_noise(item))}
            for item in plan.spec.aggregates
        ],
        "queries": [event.to_dict() for event in plan.events],
        "partition_selection": None
        if plan.selection is None
        else {
            "threshold": plan.selection.threshold,
            "units_for_50_percent": plan.selection.units_for(0.5),
            "units_for_95_percent": plan.selection.units_for(0.95),
            "delta": number(plan.selection.noise.event.delta),
        },
        "account": None if account is None else account_document(account),
        "remaining_after": remaining_after(preview),
        "fits": fits(preview),
    }


def _noise_document(noise: AggregateNoise) -> dict[str, Any]:
    at = noise.half_width_95_at
    return {
        "stddev": noise.stddev,
        "half_width_95": noise.half_width_95,
        "half_width_95_at": None if at is None else {str(n): width for n, width in at.items()},
    }


def _after(preview: Preview) -> Cost | None:
    return None if preview.account is None else preview.account.spent.plus(preview.plan.cost)


def fits(preview: Preview) -> bool | None:
    """Whether the account can bear the plan; None where there is no account yet."""
    after = _after(preview)
    return None if preview.account is None or after is None else preview.account.account.bears(after)


def remaining_after(preview: Preview) -> dict[str, float | None] | None:
    """What the account would have left; None where there is no account, or it cannot bear the plan."""
    after = _after(preview)
    if preview.account is None or after is None or not fits(preview):
        return None
    return _pair(preview.account.account.remaining_display(after))


def show_result(console: Console, result: ReleaseResult) -> None:
    """The final table of a run: what was released, how wrong it may be, what it cost, what remains."""
    if result.rows is not None:
        console.print(rows_table(result.rows.slice(0, _SHOWN_ROWS).to_pylist(), result.manifest))
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
        console.print(f"[bold]{state.dataset}[/bold] ({state.account.accountant})")
        for name in ("total", "spent", "remaining"):
            console.print(f"  {name:<10} {_budget(document[name])}")
        table = Table("release_id", "epsilon", "delta", "rho", "at")
        for charge in document["charges"]:
            table.add_row(
                *("" if value is None else f"{value:.6g}" if isinstance(value, float) else value for value in charge.values())
            )
        if document["charges"]:
            console.print(table)


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
