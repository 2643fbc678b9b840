"""What a privacy unit is written as: a column, several, expressions over columns, or each row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from dp_spark.schema.model import Column, Model


class RowUnit(Model):
    """Each row of the source is a privacy unit of its own."""

    row: Literal[True]


UnitDefinition = Annotated[
    dict[Column, Annotated[str, Field(min_length=1)]],
    Field(description="name: a row-wise expression over the source's own columns"),
]


def unit_form(value: Any) -> Any:
    """A privacy unit as it is kept: a column that is defined as itself is a plain column.

    >>> unit_form({"id": "id"}), unit_form({"a": "a", "b": "`b`"}), unit_form({"a": "a", "b": " lower(c) "})
    ('id', ['a', 'b'], {'a': 'a', 'b': 'lower(c)'})
    """
    if not isinstance(value, Mapping) or (len(value) == 1 and isinstance(next(iter(value.values())), bool)):
        return value
    if not value or not all(isinstance(item, str) and item.strip() for pair in value.items() for item in pair):
        raise ValueError(
            "must be a column, a list of columns, {row: true}, or names with their expressions, as in "
            '{customer: "cast(CustomerID as bigint)"}'
        )
    if [(name, text.strip().lower()) for name, text in value.items()] == [("row", "true")]:
        raise ValueError("row: true stands without quotes, where each row is a privacy unit")
    unit = {name: _own_name(name, text.strip()) for name, text in value.items()}
    plain = [name for name, text in unit.items() if name == text]
    if len(plain) == len(unit):
        return plain if len(plain) > 1 else plain[0]
    for name in unit:
        if name not in plain and (not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,199}", name) or name.lower() == "_metadata"):
            raise ValueError(
                f"the name {name} is not a plain name (letters, digits and underscores, not starting with a digit)"
            )
    return unit


def _own_name(name: str, text: str) -> str:
    return name if text == "`" + name.replace("`", "``") + "`" else text
