"""The number of rows, or of a column's values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from typing_extensions import override

from dp_spark.aggregates.base import OneQuery, sql_name
from dp_spark.aggregates.given import Need
from dp_spark.aggregates.query import ROW_COUNT, Query, count_of_column
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
        return (ROW_COUNT if self.column is None else count_of_column(self.column),)

    @property
    @override
    def meaning(self) -> str:
        return "number of rows" if self.column is None else f"number of rows in which {self.column} has a value"

    @override
    def plain_sql(self, units: Sequence[str]) -> str:
        return "count(1)" if self.column is None else f"count({sql_name(self.column)})"

    @override
    def reference(self, rows: Sequence[Mapping[str, Any]], unit: str) -> list[Any]:
        if self.column is None:
            return [len(rows), 0.0]
        found = [row[self.column] for row in rows]
        return [sum(not (item is None or (isinstance(item, float) and math.isnan(item))) for item in found), 0.0]
