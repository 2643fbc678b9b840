"""The number of privacy units in a partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from typing_extensions import override

from dp_spark.aggregates.base import OneQuery, sql_name
from dp_spark.aggregates.given import Need
from dp_spark.aggregates.query import PRIVACY_ID_COUNT, Query


class PrivacyIdCount(OneQuery):
    """The number of privacy units in a partition.

    A unit counts once in each partition in which one of its rows survives bounding: L1 = k, L2^2 = k. With private
    selection it is the very draw that keys are selected by.
    """

    released_as: ClassVar[str] = "BIGINT: the number of privacy units"

    function: Literal["privacy_id_count"]

    @override
    def needs(self) -> tuple[Need, ...]:
        return ()

    @override
    def queries(self) -> tuple[Query, ...]:
        return (PRIVACY_ID_COUNT,)

    @property
    @override
    def meaning(self) -> str:
        return "number of different privacy units"

    @override
    def combination_note(self, *, overlapping: bool) -> str:
        return "a user of several parties is counted once in each" if overlapping else ""

    @override
    def plain_sql(self, units: Sequence[str]) -> str:
        return f"count(distinct {', '.join(map(sql_name, units))})" if units else "count(1)"

    @override
    def reference(self, rows: Sequence[Mapping[str, Any]], unit: str) -> list[Any]:
        return [len({row[unit] for row in rows}), 0.0]
