"""The number of privacy units in a partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from typing_extensions import override

from dp_spark.aggregates.base import OneQuery, is_value, sql_name
from dp_spark.aggregates.given import Need
from dp_spark.aggregates.query import Query, count_of_units
from dp_spark.schema.model import Column


class PrivacyIdCount(OneQuery):
    """The number of privacy units in a partition, or with ``column`` of those that have a value of it.

    A unit counts once in each partition in which one of its rows survives bounding (and has a value, and fulfils ``where``):
    L1 = k, L2^2 = k. Alone, with private selection, it is the very draw that keys are selected by.
    """

    released_as: ClassVar[str] = "BIGINT: the number of privacy units, or with `column` of those with a value of it"
    unsaid: ClassVar[tuple[str, ...]] = ("where", "column")

    function: Literal["privacy_id_count"]
    column: Column | None = None

    @override
    def needs(self) -> tuple[Need, ...]:
        return () if self.column is None else (Need(self.column, numeric=False),)

    @override
    def queries(self) -> tuple[Query, ...]:
        return (count_of_units(self.where, self.column),)

    @property
    @override
    def meaning(self) -> str:
        of_column = "" if self.column is None else f" with a value of {self.column}"
        return f"number of different privacy units{of_column}{self.condition}"

    @override
    def combination_note(self, *, overlapping: bool) -> str:
        return "a user of several parties is counted once in each" if overlapping else ""

    @override
    def plain_sql(self, units: Sequence[str]) -> str:
        counted = f"count(distinct {', '.join(map(sql_name, units))})" if units else "count(1)"
        return self.filtered(counted, *([] if self.column is None else [f"{sql_name(self.column)} is not null"]))

    @override
    def reference(self, rows: Sequence[Mapping[str, Any]], unit: str) -> list[Any]:
        return [len({row[unit] for row in rows if self.column is None or is_value(row[self.column])}), 0.0]
