"""Aggregates of a column's values: of all rows that count, or of what those of each privacy unit come to."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import model_validator
from typing_extensions import override

from dp_spark.aggregates.base import Aggregate, is_value, sql_name
from dp_spark.aggregates.given import Need, PartyCells
from dp_spark.aggregates.query import Reduction, Values, count_of_column
from dp_spark.privacy.integers import Doubles
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


class OverValues(Aggregate):
    """An aggregate of a column's values, or with ``per_unit`` of one value for each unit."""

    unsaid: ClassVar[tuple[str, ...]] = ("where", "per_unit")

    column: Column
    per_unit: Reduction | None = None

    @property
    def of_values(self) -> Values:
        """What its measures are taken over."""
        return Values(self.column, self.where, self.per_unit)

    def entry_beside(self, function: str, **options: float) -> str:
        """Another aggregate of the same values, as a release file has it; its name is the author's to give.

        Args:
            function: Its function.
            options: What else it is asked with, exactly.
        """
        same = {"per_unit": self.per_unit, "where": self.where}
        given = {"function": function, "column": self.column, **options, **{key: value for key, value in same.items() if value}}
        return f"{{{', '.join(f'{key}: {_in_flow(value)}' for key, value in given.items())}, name: ...}}"

    @property
    def count_beside(self) -> str:
        """The number of its values, as a release file has it: where each unit has one, the number of units that have it."""
        if self.per_unit is None:
            return self.entry_beside("count")
        return self.model_copy(update={"per_unit": None}).entry_beside("privacy_id_count")

    def counted_by(self, party: PartyCells) -> str | None:
        """The column of a party's table that tells the number of its values, or None."""
        return party.column_of(count_of_column(self.of_values).label)

    @override
    def needs(self) -> tuple[Need, ...]:
        return (Need(self.column, numeric=self.per_unit != "count"),)

    @property
    @override
    def plain_unit_sql(self) -> str | None:
        if self.per_unit is None:
            return None
        value = self.filtered(f"{_SQL.get(self.per_unit, self.per_unit)}({sql_name(self.column)})")
        return f"nullif({value}, 0)" if self.per_unit == "count" else value

    @property
    def value_sql(self) -> str:
        """One value in Spark's own words, for ``plain_sql``."""
        return sql_name(self.column) if self.per_unit is None else UNIT_VALUE

    def plainly(self, function: str, *more: str) -> str:
        """A function of the values in Spark's own words, for ``plain_sql``."""
        return self.over(f"{function}({', '.join([self.value_sql, *more])})")

    def over(self, aggregate: str) -> str:
        """An aggregate of ``value_sql`` over the rows that count, or over units, of which all count that have a value."""
        return self.filtered(aggregate) if self.per_unit is None else aggregate

    @property
    def reduced(self) -> str:
        """What its values are of each unit, behind a blank; empty where each row has its own."""
        return "" if self.per_unit is None else f" of each unit's {self.per_unit}"

    def what_of(self, what: str, each: str) -> str:
        """What its cells are, for people.

        Args:
            what: The statistic, with what has to be said of it.
            each: What is done with each value; empty where nothing.
        """
        if self.per_unit is None:
            done = f", each value {each}" if each else ""
            return f"{what}{done}{self.condition}"
        done = f", {each}" if each else ""
        return f"{what} by privacy unit: of each the {_COME_TO[self.per_unit]}{done}{self.condition}"

    @override
    def combination_note(self, *, overlapping: bool) -> str:
        return "a user of several parties has a value at each" if overlapping and self.per_unit is not None else ""

    def numbers(self, rows: Sequence[Mapping[str, Any]], unit: str) -> list[Any]:
        """The values of the column that are neither null nor NaN, or what those of each unit come to; for ``reference``."""
        found: dict[Any, list[Any]] = {}
        for index, row in enumerate(rows):
            if is_value(row[self.column]):
                found.setdefault(index if self.per_unit is None else row[unit], []).append(row[self.column])
        if self.per_unit is None:
            return [value for values in found.values() for value in values]
        return [_REDUCE[self.per_unit](values) for values in found.values()]


def _in_flow(value: str | float) -> str:
    """A value within braces: numbers with all their digits, and in quotes what is not read as the same text without."""
    is_plain = isinstance(value, str) and re.fullmatch(r"(?!(true|false|null)$)[a-z_][a-z0-9_.]*", value, re.IGNORECASE)
    return str(value) if is_plain else json.dumps(value, ensure_ascii=False)


class Clipped(OverValues):
    """An aggregate of numbers that are clipped to [min_value, max_value]: values of a column, or one for each unit."""

    min_value: Clip
    max_value: Clip

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min_value >= self.max_value:
            raise ValueError("min_value must be below max_value; swap or widen them")
        return self

    @property
    @override
    def in_short(self) -> str:
        return f"{self.function}{self.reduced} [{self.min_value:g}, {self.max_value:g}]{self.conditional}"

    def meaning_of(self, what: str) -> str:
        """What its cells are, for people.

        Args:
            what: The statistic, with what has to be said of it.
        """
        return self.what_of(what, f"first moved into [{self.min_value:g}, {self.max_value:g}]")

    def clipped(self, rows: Sequence[Mapping[str, Any]], unit: str) -> Doubles:
        """The values of the column that are neither null nor NaN, or what those of each unit come to, clipped."""
        return np.clip(np.asarray(self.numbers(rows, unit), np.float64), self.min_value, self.max_value)
