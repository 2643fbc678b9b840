"""The number of rows, or of a column's values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from typing_extensions import override

from dp_spark.aggregates.base import OneQuery, is_value, sql_name
from dp_spark.aggregates.given import Need
from dp_spark.aggregates.query import Query, Values, count_of_column, count_of_rows
from dp_spark.schema.model import Column


class Count(OneQuery):
    """The number of rows, or with ``column`` the number of its values that are neither null nor NaN.

    One row changes it by one: L1 = k m, L2^2 = k m^2.
    """

    released_as: ClassVar[str] = "BIGINT: the number of rows, or with `column` of its values that are neither null nor NaN"

    function: Literal["count"]
    column: Column | None = None

    @override
    def needs(self) -> tuple[Need, ...]:
        return () if self.column is None else (Need(self.column, numeric=False),)

    @override
    def queries(self) -> tuple[Query, ...]:
        return (count_of_rows(self.where) if self.column is None else count_of_column(Values(self.column, self.where)),)

    @property
    @override
    def meaning(self) -> str:
        of_column = "" if self.column is None else f" in which {self.column} has a value"
        return f"number of rows{of_column}{self.condition}"

    @override
    def plain_sql(self, units: Sequence[str]) -> str:
        return self.filtered("count(1)" if self.column is None else f"count({sql_name(self.column)})")

    @override
    def reference(self, rows: Sequence[Mapping[str, Any]], unit: str) -> list[Any]:
        if self.column is None:
            return [len(rows), 0.0]
        return [sum(is_value(row[self.column]) for row in rows), 0.0]
