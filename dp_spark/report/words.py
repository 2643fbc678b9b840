"""A manifest in words: the columns, whom it protects, how each number was made and how wrong it may be."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import pyarrow as pa

from dp_spark.manifest import defined_as, stddevs_for
from dp_spark.published.cells import shown, significant
from dp_spark.published.odds import PRIORS, delta_for_contents, factor, one_in, percent_down, percent_up, posteriors
from dp_spark.report.values import Released

_MEANINGS = {
    "privacy_id_count": "number of different privacy units",
    "count": "number of rows",
    "sum": "sum",
    "mean": "mean",
}
#: From a suspicion of 50 % to over 95 %: with such an epsilon the limit says little.
_WEAK_EPSILON = math.log(0.95 / 0.05)


def unit_words(manifest: Mapping[str, Any]) -> str:
    """Whom the release protects."""
    unit = manifest["guarantee"]["privacy_unit"]
    return (
        "one row" if unit == "row" else f"all rows that share one value of {', '.join(unit)}{defined_as(manifest['guarantee'])}"
    )


def columns(manifest: Mapping[str, Any], schema: pa.Schema) -> list[dict[str, str]]:
    """Each column of the table: name, type, meaning."""
    meanings = dict.fromkeys(manifest["group_by"], "Partition key: each row of the table is about one combination of the keys.")
    for item in manifest["aggregates"]:
        meanings[item["name"]] = f"{_meaning(item)}, with noise."
        meanings[f"{item['name']}_stddev"] = f"Standard deviation of the noise in {item['name']}" + (
            "; empty where too few rows are behind a mean to tell." if item["stddev"] is None else "."
        )
    return [{"name": name, "type": str(schema.field(name).type), "meaning": text} for name, text in meanings.items()]


def _meaning(item: Mapping[str, Any]) -> str:
    column, words = item.get("column"), _MEANINGS.get(item["function"], item["function"])
    if item["function"] == "count" and column:
        words = f"number of rows in which {column} has a value"
    elif column:
        words = f"{words} of {column}"
    clipped = f", each value first moved into {_bounds(item)}" if "min_value" in item else ""
    return f"{words}{clipped}"[:1].upper() + f"{words}{clipped}"[1:]


def _bounds(item: Mapping[str, Any]) -> str:
    return f"[{item['min_value']:g}, {item['max_value']:g}]"


def guarantee(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The guarantee as odds."""
    found = manifest["guarantee"]
    epsilon, delta = float(found["epsilon"]), float(found["delta"])
    contents = delta_for_contents(epsilon, delta)
    return {
        **odds(epsilon),
        "epsilon": found["epsilon"],
        "delta": found["delta"] if delta else None,
        "chance": one_in(delta) if delta else None,
        "chance_for_contents": (one_in(contents) if contents < 1 else "1 in 1") if delta else None,
        "unit": unit_words(manifest),
        "is_row": found["privacy_unit"] == "row",
        "sentence": found["sentence"],
        "accountant": found["accountant"],
        "rho": None if found["rho"] is None else significant(float(found["rho"])),
    }


def odds(epsilon: float) -> dict[str, Any]:
    """What a suspicion can become under an epsilon."""
    return {
        "factor": _factor_text(epsilon),
        "factor_for_contents": _factor_text(2 * epsilon),
        "weak": epsilon > _WEAK_EPSILON,
        "half": percent_up(posteriors(0.5, epsilon)[1]),
        "rows": [
            {
                "prior": f"{prior:.0%}".replace("%", " %"),
                "presence": _range(prior, epsilon),
                "contents": _range(prior, 2 * epsilon),
            }
            for prior in PRIORS
        ],
    }


def _range(prior: float, epsilon: float) -> dict[str, str]:
    low, high = posteriors(prior, epsilon)
    return {"low": percent_down(low), "high": percent_up(high)}


def _factor_text(epsilon: float) -> str:
    value = factor(epsilon)
    if math.isinf(value):
        return "more than 10^300"
    step = 10.0 ** (math.floor(math.log10(value)) - 2)  # rounded up: the limit that is shown is never below the true one
    return significant(math.ceil(value / step) * step)


def mechanisms(manifest: Mapping[str, Any], values: Mapping[str, Sequence[Released]]) -> list[dict[str, str]]:
    """Each aggregate: what is computed, within which bounds, with which noise, and how wrong it may be."""
    return [
        {
            "name": item["name"],
            "computed": item["function"] + (f"({item['column']})" if item.get("column") else ""),
            "clipping": _bounds(item) if "min_value" in item else "none needed",
            "mechanism": f"discrete {item['mechanism'].capitalize()}",
            **_error(item, values[item["name"]]),
        }
        for item in manifest["aggregates"]
    ]


def _error(item: Mapping[str, Any], cells: Sequence[Released]) -> dict[str, str]:
    if item["stddev"] is not None:
        return {"stddev": significant(item["stddev"]), "width": f"± {shown(item['half_width_95'], item['half_width_95'])}"}
    widths = [cell.width for cell in cells if cell.width is not None]
    if not widths:
        return {"stddev": "not known", "width": "not known"}
    text = f"± {significant(min(widths), 2)} to ± {significant(max(widths), 2)}, median ± {significant(median(widths), 2)}"
    return {"stddev": f"differs by row: see {item['name']}_stddev", "width": text}


def draws(manifest: Mapping[str, Any]) -> list[dict[str, str]]:
    """Each query that noise was drawn for: scale and stddev in the column's own unit, and what it cost."""
    return [
        {
            "query": query["query"],
            "mechanism": f"discrete {query['mechanism'].capitalize()}",
            "scale": significant(float(query["noise_scale"]) * float(query["granularity"])),
            "stddev": significant(float(query["stddev"])),
            "cost": f"epsilon {significant(float(query['epsilon']))}"
            if query["rho"] is None
            else f"rho {significant(float(query['rho']))}",
            "delta": "0" if not float(query["delta"]) else significant(float(query["delta"])),
        }
        for query in manifest["queries"]
    ]


def typical_errors(manifest: Mapping[str, Any], values: Mapping[str, Sequence[Released]]) -> list[dict[str, str]]:
    """One line for each aggregate: the half-width that half of its values keep within."""
    found = []
    for item in manifest["aggregates"]:
        widths = [cell.width for cell in values[item["name"]] if cell.width is not None]
        found.append({"name": item["name"], "width": shown(median(widths), median(widths)) if widths else "not known"})
    return found


def adding_up(manifest: Mapping[str, Any], number: int) -> dict[str, str] | None:
    """An example of adding all values of a column; None where there is one row, or no column with one noise for all rows."""
    same = next((item for item in manifest["aggregates"] if item["stddev"] is not None), None)
    if same is None or number < 2:
        return None
    total = same["stddev"] * math.sqrt(number)
    return {
        "name": same["name"],
        "number": f"{number:,}",
        "stddev": significant(same["stddev"]),
        "total": significant(total),
        "factor": significant(stddevs_for(same["mechanism"])),
        "width": significant(stddevs_for(same["mechanism"]) * total),
        "wrong": significant(number * same["half_width_95"]),
    }


def missed_intervals(cells: Iterable[Released]) -> dict[str, str]:
    """How many of an aggregate's 95 % intervals are expected to miss."""
    number = sum(1 for cell in cells if cell.interval is not None)
    return {"number": f"{number:,}", "missed": significant(0.05 * number, 2)}
