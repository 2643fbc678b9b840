"""A manifest in words: the columns, whom it protects, how each number was made and how wrong it may be."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import pyarrow as pa

from dp_spark.manifest import aggregate_of, columns_of, defined_as, value_columns
from dp_spark.noise_width import error_width, stddevs_for
from dp_spark.published.cells import computed, noise_words, shown, significant
from dp_spark.published.odds import PRIORS, delta_for_contents, factor, one_in, percent_down, percent_up, posteriors
from dp_spark.report.values import Released

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
    return [
        {"name": column["name"], "type": str(schema.field(column["name"]).type), "meaning": _meaning(column)}
        for column in columns_of(manifest)
    ]


def _meaning(column: Mapping[str, Any]) -> str:
    if column.get("key"):
        return "Partition key: each row of the table is about one combination of the keys."
    text = "; ".join([column["meaning"] + (", with noise" if "error" in column else ""), *column.get("notes", [])])
    return f"{text[:1].upper()}{text[1:]}."


def _clipping(manifest: Mapping[str, Any], column: Mapping[str, Any]) -> str:
    entry = aggregate_of(manifest, column["aggregate"])
    return f"[{entry['min_value']:g}, {entry['max_value']:g}]" if "min_value" in entry else "none needed"


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
    """Each column of values: what is computed, within which bounds, with which noise, and how wrong it may be."""
    return [
        {
            "name": column["name"],
            "computed": computed(manifest, column),
            "clipping": _clipping(manifest, column),
            "mechanism": _mechanism(column["error"].get("mechanism")),
            **_error(column["error"], values[column["name"]]),
        }
        for column in value_columns(manifest)
    ]


def _mechanism(name: str | None) -> str:
    return noise_words(None if name is None else name.capitalize())


def _error(error: Mapping[str, Any], cells: Sequence[Released]) -> dict[str, str]:
    width = error_width(error)
    if width is not None:
        return {"stddev": significant(error["stddev"]), "width": f"± {shown(width, width)}"}
    widths = [cell.width for cell in cells if cell.width is not None]
    if not widths:
        return {"stddev": "not known", "width": "not known"}
    text = f"± {significant(min(widths), 2)} to ± {significant(max(widths), 2)}, median ± {significant(median(widths), 2)}"
    if error["rule"] == "interval":
        return {"stddev": f"differs by row: see {error['low_column']} and {error['high_column']}", "width": text}
    return {"stddev": f"differs by row: see {error['stddev_column']}", "width": text}


def draws(manifest: Mapping[str, Any]) -> list[dict[str, str]]:
    """Each query that noise was drawn for: scale and stddev in the column's own unit, and what it cost."""
    return [
        {
            "query": query["query"],
            "mechanism": _mechanism(query["mechanism"]),
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
    """One line for each column of values: the half-width that half of its values keep within."""
    found = []
    for item in value_columns(manifest):
        widths = [cell.width for cell in values[item["name"]] if cell.width is not None]
        found.append({"name": item["name"], "width": shown(median(widths), median(widths)) if widths else "not known"})
    return found


def adding_up(manifest: Mapping[str, Any], number: int) -> dict[str, str] | None:
    """An example of adding all values of a column; None where there is one row, or no column with one noise for all rows."""
    known = [(column, error_width(column["error"])) for column in value_columns(manifest)]
    same, width = next(((column, width) for column, width in known if width is not None), (None, None))
    if same is None or width is None or number < 2:
        return None
    error = same["error"]
    total, factor_95 = error["stddev"] * math.sqrt(number), stddevs_for(error["mechanism"])
    return {
        "name": same["name"],
        "number": f"{number:,}",
        "stddev": significant(error["stddev"]),
        "total": significant(total),
        "factor": significant(factor_95),
        "width": significant(factor_95 * total),
        "wrong": significant(number * width),
    }


def missed_intervals(cells: Iterable[Released]) -> dict[str, str]:
    """How many of an aggregate's 95 % intervals are expected to miss."""
    number = sum(1 for cell in cells if cell.interval is not None)
    return {"number": f"{number:,}", "missed": significant(0.05 * number, 2)}
