"""What ``--json`` prints: plain data, from published or public things only."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from dp_spark.aggregates.given import Accuracy
from dp_spark.combine.run import CombinedResult
from dp_spark.ledger.accounts import AccountState
from dp_spark.ledger.entries import Charge, Written
from dp_spark.ledger.rows import OPEN, PUBLISHED, Row
from dp_spark.ledger.verification import Verification
from dp_spark.manifest import half_width, value_columns
from dp_spark.privacy.accountants.base import Cost
from dp_spark.privacy.selection.base import Selection
from dp_spark.privacy.selection.registry import described, strategy_of
from dp_spark.release.preview import Preview
from dp_spark.release.publication import ReleaseResult

#: What the history calls an opening that is not an account's first: the ledger stores both as one kind of entry.
RAISE = "raise"


def number(value: Decimal | str | float | None) -> float | None:
    """A decimal as a JSON number."""
    return None if value is None else float(value)


def cost_document(row: Row) -> dict[str, float | None]:
    """What an entry of the ledger cost."""
    return {"epsilon": number(row.epsilon), "delta": number(row.delta), "rho": number(row.rho)}


def _pair(pair: tuple[Decimal, Decimal]) -> dict[str, float | None]:
    return {"epsilon": number(pair[0]), "delta": number(pair[1])}


def remaining_document(state: AccountState) -> dict[str, float | None]:
    """What an account has left."""
    return _pair(state.account.remaining_display(state.spent))


def account_document(state: AccountState) -> dict[str, Any]:
    """An account, as ``budget show --json`` prints it."""
    account, spent = state.account, state.spent
    rho_left = None if account.rho is None else account.rho - spent.amount
    return {
        "dataset": state.dataset,
        "accountant": account.accountant,
        "total": {**_pair((account.epsilon, account.delta)), "rho": number(account.rho)},
        "spent": {**_pair(account.spent_display(spent)), "rho": None if account.rho is None else number(spent.amount)},
        "remaining": {**remaining_document(state), "rho": number(rho_left)},
        **({} if state.group is None else {"group": state.group}),
        "charges": [_charge_document(charge, state) for charge in state.charges],
    }


def _charge_document(written: Written[Charge], state: AccountState) -> dict[str, Any]:
    charge, at = written.entry, written.at.isoformat(timespec="seconds")
    document = {"release_id": charge.release_id, **cost_document(written.row), "at": at}
    return document if charge.dataset == state.dataset else {**document, "dataset": charge.dataset}


def history_documents(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """A ledger's rows, as ``budget history --json`` prints them: a later opening of one account is what raised it."""
    opened: set[str] = set()
    documents = []
    for row in rows:
        raised = row.entry == OPEN and row.dataset in opened
        documents.append(_row_document(row, RAISE if raised else row.entry))
        opened |= {row.dataset} if row.entry == OPEN else set()
    return documents


def _row_document(row: Row, word: str) -> dict[str, Any]:
    events = json.loads(row.events)
    return {
        "sequence": row.sequence,
        "at": row.at.isoformat(timespec="seconds"),
        "who": row.who,
        "entry": word,
        "dataset": row.dataset,
        "release_id": row.release_id,
        **(cost_document(row) if row.entry != PUBLISHED else {}),
        **(events if isinstance(events, dict) and row.entry in (OPEN, PUBLISHED) else {}),
        "reason": row.reason,
    }


def verification_document(found: Verification) -> dict[str, Any]:
    """What ``budget verify --json`` prints."""
    return {
        "sound": not found.damage,
        "entries": len(found.state.entries),
        "damage": [asdict(item) for item in found.damage],
        "verified": list(found.verified),
        "unfinished": list(found.unfinished),
        "unreachable": list(found.unreachable),
        **({"advice": dict(found.advice)} if found.unfinished else {}),
    }


def result_document(result: ReleaseResult, warnings: Sequence[str] = ()) -> dict[str, Any]:
    """A release, as ``run --json`` prints it, with warnings of the run before those of the result."""
    return {
        "release_id": result.release_id,
        "status": result.status,
        "path": result.sink,
        "version": result.version,
        "rows": None if result.rows is None else result.rows.num_rows,
        "cost": cost_document(result.charge.row),
        "remaining": remaining_document(result.account),
        "aggregates": [{"name": item["name"], "stddev": _stddev(result, item)} for item in value_columns(result.manifest)],
        **({"note": result.note} if result.note else {}),
        "warnings": [*warnings, *result_warnings(result)],
    }


def result_warnings(result: ReleaseResult) -> list[str]:
    """What somebody should look into although the release went well: it says nothing, or nothing but noise.

    Only the published rows and the manifest are looked at, so this tells nothing that they do not.
    """
    if result.rows is None:
        return []
    unit, partitions = result.manifest["guarantee"]["privacy_unit"], result.manifest["partitions"]
    look = "see whether the steps keep any rows, and whether each value is read as its type (dates, numbers, encoding)"
    if unit != "row":
        look = f"see whether {' or '.join(unit)} is null in all rows (these are dropped); {look}"
    if result.rows.num_rows == 0:
        why, strategy = "", strategy_of(partitions)
        if strategy is not None:
            reason, more = strategy.none_shown(partitions)
            why = f": {reason}"
            look = f"{look}; group by coarser keys; see whether contribution_bounds spread a unit over enough keys; {more}"
        return [f"the release is EMPTY, and its budget is spent{why}. What to look at: {look}"]
    return [f"no released count is larger than noise alone can be. What to look at: {look}"] if _all_noise(result) else []


def _all_noise(result: ReleaseResult) -> bool:
    """Whether every count is as near to 0 as noise around 0 would be, with 99 % probability for all of them together."""
    counts = [item["name"] for item in value_columns(result.manifest) if item["type"] == "bigint"]
    widths = [
        abs(value) / width
        for name in counts
        if (width := half_width(result.manifest, name)) and result.rows is not None
        for value in result.rows.column(name).to_pylist()
    ]
    # The tail of Laplace noise at m half-widths is 20^-m; that of Gaussian noise is lighter.
    return bool(widths) and max(widths) <= math.log(100 * len(widths), 20)


def _stddev(result: ReleaseResult, column: Mapping[str, Any]) -> float | None:
    """The stddev of a column's cells; where it differs by cell, as for a mean, the median of the released ones."""
    error = column["error"]
    if "stddev" in error or "stddev_column" not in error or result.rows is None:
        return number(error.get("stddev"))
    cells = [cell for cell in result.rows.column(error["stddev_column"]).to_pylist() if cell is not None]
    return statistics.median(cells) if cells else None


def plan_document(preview: Preview) -> dict[str, Any]:
    """A plan, as ``plan --json`` prints it."""
    plan, account = preview.plan, preview.account
    return {
        "name": plan.spec.name,
        "dataset": plan.spec.dataset,
        "privacy_unit": list(plan.spec.unit_columns) or "row",
        **({"privacy_unit_definition": dict(plan.spec.unit_definition)} if plan.spec.unit_definition else {}),
        "accountant": plan.accountant,
        "cost": {
            **_pair((plan.guarantee_epsilon, plan.guarantee_delta)),
            "rho": number(plan.cost.amount) if plan.cost.currency == "rho" else None,
        },
        "contribution_bounds": plan.bounds.describe(),
        "aggregates": [
            {"name": item.name, "function": item.function, **_noise_document(plan.accuracy(item))}
            for item in plan.spec.aggregates
        ],
        "queries": [event.to_dict() for event in plan.events],
        "partition_selection": None if plan.selection is None else _selection_document(plan.selection),
        "account": None if account is None else account_document(account),
        "remaining_after": remaining_after(preview),
        "fits": fits(preview),
    }


def _selection_document(selection: Selection) -> dict[str, Any]:
    """What the manifest will tell of it, and from how many units on a key is shown how often.

    Delta is a number here, and the noise stands among the queries.
    """
    among_queries = ("selection", "epsilon", "delta", "noise_scale")
    told = {name: value for name, value in described(selection).items() if name not in among_queries}
    curve = [{"probability": probability, "units": units} for probability, units in selection.curve().items()]
    return {**told, "delta": number(selection.noise.event.delta), "shown_from": curve}


def _noise_document(noise: Accuracy) -> dict[str, Any]:
    at = noise.half_width_95_at
    return {
        "stddev": noise.stddev,
        "half_width_95": noise.half_width_95,
        "half_width_95_at": None if at is None else {str(n): width for n, width in at.items()},
        **({"half_width_95_is": "a share of the partition's values"} if noise.of_rank else {}),
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


def combined_document(result: CombinedResult) -> dict[str, Any]:
    """A combined table, as ``combine --json`` prints it."""
    manifest = result.manifest
    return {
        "release_id": manifest["release_id"],
        "status": result.status,
        "path": result.sink,
        "version": result.version,
        "rows": result.rows.num_rows,
        "partial_rows": result.partial_rows,
        "same_file": manifest["same_file"],
        "guarantee": manifest["guarantee"],
        "inputs": [{name: given[name] for name in ("dataset", "release_id", "file_digest")} for given in manifest["inputs"]],
    }
