"""Released numbers and keys as text: as many digits as the noise leaves a meaning, and no character that cannot be seen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from dp_spark.manifest import aggregate_of
from dp_spark.noise_width import error_width
from dp_spark.schema.moments import text_of

#: As many elements of an array are shown of each cell.
_SHOWN_ELEMENTS = 6


def plain_rows(rows: pa.Table) -> list[dict[str, Any]]:
    """Rows as Python values; a key that Python cannot hold, such as a date after the year 9999, becomes a text."""
    columns = {name: [python_value(value) for value in column] for name, column in zip(rows.column_names, rows, strict=True)}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def python_value(value: pa.Scalar) -> Any:
    """A value as Python's own; as a text where Python has none, as for years before 1 and after 9999.

    >>> python_value(pa.scalar(2932897, pa.date32())), python_value(pa.scalar(7))
    ('+10000-01-01', 7)
    """
    try:
        return value.as_py()
    except (OverflowError, ValueError):
        if pa.types.is_date32(value.type):
            return text_of(value.cast(pa.int32()).as_py(), "date")
        if pa.types.is_timestamp(value.type):
            return text_of(value.cast(pa.int64()).as_py(), "timestamp_ntz" if value.type.tz is None else "timestamp")
        return "(cannot be shown)"


def cell(row: Mapping[str, Any], column: Mapping[str, Any]) -> str:
    """A released cell with its 95 % half-width.

    Args:
        row: The row.
        column: What the manifest says of the cell's column.

    >>> error = {"rule": "per_row", "mechanism": "gaussian", "stddev_column": "mean_stddev"}
    >>> cell({"mean": 12.3456, "mean_stddev": 0.5}, {"name": "mean", "error": error})
    '12.35 ± 0.98'
    >>> error = {"rule": "interval", "low_column": "p50_low", "high_column": "p50_high"}
    >>> cell({"p50": 12.3456, "p50_low": 12.0, "p50_high": 12.5}, {"name": "p50", "error": error})
    '12.35 (12.00 to 12.50)'
    """
    value, error = row[column["name"]], column["error"]
    if error["rule"] == "interval":
        low, high = row[error["low_column"]], row[error["high_column"]]
        return f"{shown(value, high - low)} ({shown(low, high - low)} to {shown(high, high - low)})"
    width = error_width(error, row.get(error.get("stddev_column")))
    return f"{elements(value, width)} ± {'?' if width is None else shown(width, width)}"


def elements(value: Any, width: float | None) -> str:
    """A number, or the first of many.

    Args:
        value: A cell, or an exact value beside it.
        width: The size of its error, as far as one is known.

    >>> elements([1, 2], None), elements(None, 2.0)
    ('1, 2', 'null')
    """
    if value is None:
        return "null"
    if not isinstance(value, list):
        return shown(value, width)
    more = [f"… {len(value)} in all"] if len(value) > _SHOWN_ELEMENTS else []
    return ", ".join([*(shown(element, width) for element in value[:_SHOWN_ELEMENTS]), *more])


def computed(manifest: Mapping[str, Any], column: Mapping[str, Any]) -> str:
    """What is computed in a column of values, in the words of a release file.

    >>> entry = {"name": "cost", "function": "mean", "column": "price"}
    >>> computed({"aggregates": [entry]}, {"name": "cost", "aggregate": "cost"})
    'mean(price)'
    >>> computed({"aggregates": [entry | {"per_unit": "sum", "where": "days > 0"}]}, {"name": "cost", "aggregate": "cost"})
    'mean(price) per_unit sum where days > 0'
    """
    entry = aggregate_of(manifest, column["aggregate"])
    found = str(entry["function"]) + (f"({entry['column']})" if entry.get("column") else "")
    return " ".join([found, *(f"{name} {entry[name]}" for name in ("per_unit", "where") if entry.get(name))])


def noise_words(mechanism: str | None) -> str:
    """From what noise was drawn, if that is known.

    >>> noise_words("laplace"), noise_words(None)
    ('discrete laplace', 'not known')
    """
    return "not known" if mechanism is None else f"discrete {mechanism}"


def shown(value: float, width: float | None) -> str:
    """A number with as many digits as an error of ``width`` leaves a meaning.

    >>> shown(0.24037, 0.0013), shown(2311.47, 24.0), shown(7, None)
    ('0.2404', '2,311', '7')
    """
    if isinstance(value, int):
        return f"{value:,}"
    digits = 2 if not width else max(0, min(8, 1 - math.floor(math.log10(width))))
    return f"{value:,.{digits}f}"


def significant(value: float, digits: int = 3) -> str:
    """A number to so many significant digits, without an exponent where a reader can do without.

    >>> significant(37.351430), significant(3735.1430), significant(-0.0229369), significant(0), significant(2.5e17)
    ('37.4', '3,740', '-0.0229', '0', '2.5e+17')
    """
    if not value:
        return "0"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    if not -12 < places < 10:
        return f"{value:.{digits}g}"
    return f"{round(value, places):,.{max(0, places)}f}"


def key_text(value: Any) -> str:
    """A partition key as people read it; what cannot be seen, or turns the direction of writing, is written as its code.

    >>> key_text(None), key_text("a\\u202eb"), key_text(7), key_text(True)
    ('null', 'a\\\\u202eb', '7', 'true')
    """
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in text)
