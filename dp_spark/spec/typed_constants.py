"""A constant of a release file as a value of a column's type: nothing is bent to fit."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Context, Decimal, InvalidOperation
from typing import Any

from dp_spark.schema.moments import Kind, moment_of
from dp_spark.spec.spark_types import canonical_type

_BITS = {"tinyint": 8, "smallint": 16, "int": 32, "bigint": 64}
_TIMES: dict[str, Kind] = {"date": "date", "timestamp": "timestamp", "timestamp_ntz": "timestamp_ntz"}


def constant_of(value: Any, type_text: str) -> Any:
    """A YAML constant as a Python value of a type (a date or timestamp as a ``Moment``), or None where it is not one.

    Args:
        value: The constant.
        type_text: The name of a simple Spark type.

    >>> constant_of(300, "tinyint"), constant_of(300, "int"), constant_of("a", "double"), constant_of(Decimal("0.5"), "real")
    (None, 300, None, 0.5)
    """
    kind = canonical_type(type_text) or ""
    if kind == "string":
        return value if isinstance(value, str) and _is_text(value) else None
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if kind in _TIMES:
        text = value.isoformat() if isinstance(value, dt.date) else value  # a Python caller's own date; YAML has texts
        return moment_of(text, _TIMES[kind]) if isinstance(text, str) else None
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    if kind in _BITS:
        limit = 2 ** (_BITS[kind] - 1)
        return value if isinstance(value, int) and -limit <= value < limit else None
    if kind in ("float", "double"):
        return float(value)
    return _decimal(value, kind) if kind.startswith("decimal") else None


def _is_text(value: str) -> bool:
    """Whether it has bytes in UTF-8: half of a surrogate pair, which YAML can write, has none."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _decimal(value: int | Decimal, kind: str) -> Decimal | None:
    precision, scale = map(int, re.findall("[0-9]+", kind))
    try:
        fitted = Decimal(value).quantize(Decimal(1).scaleb(-scale), context=Context(prec=80))
    except InvalidOperation:
        return None
    return fitted if fitted == value and len(fitted.as_tuple().digits) <= precision else None
