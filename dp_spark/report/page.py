"""The release report: one page that needs nothing but a browser, from a manifest, the released rows and, if given, the ledger.

Only published and ledger data enter it. Keys and names come from data, so the template escapes everything, and the page's
own content security policy lets it load nothing and run nothing.
"""

from __future__ import annotations

import importlib.resources
import importlib.util
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from dp_spark.errors import SpecError
from dp_spark.ledger.entries import Charge
from dp_spark.ledger.history import BudgetHistory, Step
from dp_spark.manifest import is_combined, value_columns
from dp_spark.privacy.accountants.registry import ACCOUNTANTS
from dp_spark.privacy.decimals import decimal_text
from dp_spark.privacy.selection.registry import strategy_of
from dp_spark.published.cells import cell, key_text, plain_rows, significant
from dp_spark.report import words
from dp_spark.report.values import Released, by_rank, error_counts, error_labels, largest, released

#: What one picture, and what the page's tables, can show; the page says what it leaves out.
LINES_IN_A_PICTURE = 60
ROWS_IN_THE_TABLE = 2_000
CHARGES_IN_THE_TABLE = 50


def check_installed() -> None:
    """Checks that the report can be made.

    Raises:
        SpecError: If the ``report`` extra is not installed.
    """
    absent = [name for name in ("altair", "jinja2", "vl_convert") if importlib.util.find_spec(name) is None]
    if absent:
        raise SpecError(f"a report needs {', '.join(absent)}", where="--html", mend="pip install 'dp_spark[report]'")


def report_page(manifest: Mapping[str, Any], rows: pa.Table, history: BudgetHistory | None = None) -> str:
    """The report on one release as HTML.

    Args:
        manifest: The release's manifest.
        rows: The released rows.
        history: The account that paid, or None for a report without the ledger.

    Raises:
        SpecError: If the manifest is of something else than one release.
    """
    import jinja2

    if is_combined(manifest):
        raise SpecError(
            "there is no report on this kind of table", where="--html", mend="make one of each release it came from"
        )

    template = importlib.resources.files("dp_spark.report").joinpath("page.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(_content(manifest, rows, history))


def write_page(file: Path, page: str) -> None:
    """Writes a report.

    Raises:
        SpecError: If it cannot be written there.
    """
    try:
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise SpecError(
            f"cannot be written ({error.strerror})", where=str(file), mend="give a file in a folder that is there and writable"
        ) from None


def _content(manifest: Mapping[str, Any], rows: pa.Table, history: BudgetHistory | None) -> dict[str, Any]:
    plain, strategy = plain_rows(rows), strategy_of(manifest["partitions"])
    values = {column["name"]: released(manifest, column, plain) for column in value_columns(manifest)}
    return {
        "manifest": manifest,
        "charged_at": str(manifest["charge"]["at"])[:10],
        "rows": f"{len(plain):,}",
        "has_rows": bool(plain),
        "columns": words.columns(manifest, rows.schema),
        "guarantee": words.guarantee(manifest),
        "typical": words.typical_errors(manifest, values),
        "mechanisms": words.mechanisms(manifest, values),
        "draws": words.draws(manifest),
        "pictures": [_values_figure(name, cells) for name, cells in values.items() if cells],
        "table": _rows_table(manifest, plain),
        "errors": _errors(values),
        "adding": words.adding_up(manifest, len(plain)),
        "missed": words.missed_intervals(next(iter(values.values()))),
        "negative": _negatives(manifest, values),
        "shown_where": None if strategy is None else strategy.shown_where(manifest["partitions"]),
        "biased": any(item["queries"] == ["privacy_id_count"] for item in manifest["aggregates"]),
        "budget": None if history is None else _budget(history, manifest),
    }


# --- values ----------------------------------------------------------------------------------------------------------


def _values_figure(name: str, cells: Sequence[Released]) -> dict[str, Any]:
    from dp_spark.report.charts import ranks_picture, values_picture

    drawn = largest(cells, LINES_IN_A_PICTURE)
    left_out = len(cells) - len(drawn)
    ranked = by_rank(cells)
    return {
        "name": name,
        "number": f"{len(cells):,}",
        "drawn": f"{len(drawn):,}",
        "left_out": f"{left_out:,}" if left_out else None,
        "least": "none" if not ranked else significant(ranked[-1].value or 0),
        "most": "none" if not ranked else significant(ranked[0].value or 0),
        "picture": values_picture(drawn, name),
        "ranks": ranks_picture(ranked, name) if left_out else None,
    }


def _rows_table(manifest: Mapping[str, Any], plain: Sequence[dict[str, Any]]) -> dict[str, Any]:
    listed, columns = plain[:ROWS_IN_THE_TABLE], value_columns(manifest)
    return {
        "rows": [
            {
                "keys": [key_text(row[key]) for key in manifest["group_by"]],
                "cells": [cell(row, column) for column in columns],
            }
            for row in listed
        ],
        "listed": f"{len(listed):,}",
        "left_out": f"{len(plain) - len(listed):,}" if len(plain) > len(listed) else None,
    }


def _errors(values: Mapping[str, Sequence[Released]]) -> dict[str, Any]:
    from dp_spark.report.charts import errors_picture

    labels, counts = error_labels(), {name: error_counts(cells) for name, cells in values.items()}
    return {
        "names": list(counts),
        "table": [(label, [f"{found[index]:,}" for found in counts.values()]) for index, label in enumerate(labels)],
        "pictures": [
            {
                "name": name,
                "picture": errors_picture(labels, found),
                "within": f"{sum(found[:3]):,}",
                "over": f"{found[-2]:,}",
                "number": f"{sum(found):,}",
            }
            for name, found in counts.items()
        ],
    }


def _negatives(manifest: Mapping[str, Any], values: Mapping[str, Sequence[Released]]) -> str | None:
    """How many released counts are below 0; None where the release has no counts."""
    counts = [column["name"] for column in value_columns(manifest) if column["type"] == "bigint"]
    if not counts:
        return None
    number = sum(1 for name in counts for item in values[name] if (item.value or 0) < 0)
    return {0: "no count is", 1: "1 count is"}.get(number, f"{number:,} counts are")


# --- budget ----------------------------------------------------------------------------------------------------------


def _budget(history: BudgetHistory, manifest: Mapping[str, Any]) -> dict[str, Any]:
    from dp_spark.report.charts import budget_picture

    last, charges = history.last, history.charges
    listed = charges[-CHARGES_IN_THE_TABLE:]
    account = last.account
    spent, left = account.spent_display(last.spent), account.remaining_display(last.spent)
    return {
        "dataset": history.dataset,
        "group": history.group,
        "adds_up": ACCOUNTANTS[account.accountant].adds_up,
        "total": _pair(account.epsilon, account.delta),
        "spent": _pair(*spent),
        "left": _pair(*left),
        "as_of": _moment(last.at.isoformat()),
        "number": len(charges),
        "charges": [_charge(charge, step, history, manifest) for charge, step in listed],
        "left_out": len(charges) - len(listed),
        "picture": budget_picture(history),
        "odds_so_far": words.odds(float(spent[0])),
        "odds_in_all": words.odds(float(account.epsilon)),
        "delta": decimal_text(account.delta) if account.delta else None,
        "shares": {part: f"{share:.1%}".replace("%", " %") for part, share in last.shares_left.items()},
    }


def _charge(charge: Charge, step: Step, history: BudgetHistory, manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "release_id": charge.release_id,
        "this": charge.release_id == manifest["release_id"],
        "dataset": None if charge.dataset == history.dataset else charge.dataset,
        "at": _moment(step.at.isoformat()),
        "cost": _pair(charge.epsilon, charge.delta),
        "left": _pair(*step.account.remaining_display(step.spent)),
    }


def _pair(epsilon: Decimal, delta: Decimal) -> dict[str, str]:
    six = Context(prec=6)
    return {"epsilon": decimal_text(six.create_decimal(epsilon)), "delta": decimal_text(six.create_decimal(delta))}


def _moment(text: str) -> str:
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
