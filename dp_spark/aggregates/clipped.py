"""Aggregates of numbers that are clipped: values of a column, or what the values of each unit come to (``per_unit``)."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import model_validator
from typing_extensions import override

from dp_spark.aggregates.base import Aggregate, is_value, sql_name
from dp_spark.aggregates.given import Doubles, Need
from dp_spark.aggregates.query import Reduction, Values
from dp_spark.schema.model import Clip, Column

#: The column of what a unit's rows come to, in ``plain_sql``.
UNIT_VALUE = "unit_value"
#: What a unit's values in a partition come to, for people.
_COME_TO: Mapping[Reduction, str] = {
    "sum": "sum of its values",
    "mean": "mean of its values",
    "count": "number of its values",
    "min": "smallest of its values",
    "max": "largest of its values",
}
#: Where Spark has another name for it.
_SQL: Mapping[Reduction, str] = {"mean": "avg"}
#: The same of numbers, for ``reference``.
_REDUCE: Mapping[Reduction, Callable[[Sequence[Any]], float]] = {
    "sum": sum,
    "mean": statistics.fmean,
    "count": len,
    "min": min,
    "max": max,
}


class Clipped(Aggregate):
    """An aggregate of numbers that are clipped to [min_value, max_value]: values of a column, or one for each unit."""

    unsaid: ClassVar[tuple[str, ...]] = ("where", "per_unit")

    column: Column
    min_value: Clip
    max_value: Clip
    per_unit: Reduction | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min_value >= self.max_value:
            raise ValueError("min_value must be below max_value; swap or widen them")
        return self

    @override
    def needs(self) -> tuple[Need, ...]:
        return (Need(self.column, numeric=self.per_unit != "count"),)

    @property
    def values(self) -> Values:
        """What its measures are taken over."""
        return Values(self.column, self.where, self.per_unit)

    @property
    @override
    def in_short(self) -> str:
        reduced = "" if self.per_unit is None else f" of each unit's {self.per_unit}"
        return f"{self.function}{reduced} [{self.min_value:g}, {self.max_value:g}]{self.conditional}"

    @property
    @override
    def plain_unit_sql(self) -> str | None:
        if self.per_unit is None:
            return None
        value = self.filtered(f"{_SQL.get(self.per_unit, self.per_unit)}({sql_name(self.column)})")
        return f"nullif({value}, 0)" if self.per_unit == "count" else value

    def plainly(self, function: str) -> str:
        """A function of the values in Spark's own words, for ``plain_sql``."""
        return self.filtered(f"{function}({sql_name(self.column)})") if self.per_unit is None else f"{function}({UNIT_VALUE})"

    def meaning_of(self, what: str) -> str:
        """What its cells are, for people.

        Args:
            what: The statistic, with what has to be said of it.
        """
        clipping = f"first moved into [{self.min_value:g}, {self.max_value:g}]"
        if self.per_unit is None:
            return f"{what}, each value {clipping}{self.condition}"
        return f"{what} by privacy unit: of each the {_COME_TO[self.per_unit]}, {clipping}{self.condition}"

    @override
    def combination_note(self, *, overlapping: bool) -> str:
        return "a user of several parties has a value at each" if overlapping and self.per_unit is not None else ""

    def clipped(self, rows: Sequence[Mapping[str, Any]], unit: str) -> Doubles:
        """The values of the column that are neither null nor NaN, or what those of each unit come to, clipped."""
        found: dict[Any, list[Any]] = {}
        for index, row in enumerate(rows):
            if is_value(row[self.column]):
                found.setdefault(index if self.per_unit is None else row[unit], []).append(row[self.column])
        reduced = [_REDUCE[self.per_unit or "sum"](values) for values in found.values()]
        return np.clip(np.asarray(reduced, np.float64), self.min_value, self.max_value)
