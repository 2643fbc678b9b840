"""The median of a column."""

from __future__ import annotations

from typing import ClassVar, Literal

from typing_extensions import override

from dp_spark.aggregates.places import OnePlace


class Median(OnePlace):
    """The median of numbers that are clipped to [min_value, max_value]: the 0.5 quantile."""

    released_as: ClassVar[str] = "`<name>`, `<name>_low`, `<name>_high` DOUBLE: the median and the ends of its 95 % interval"

    function: Literal["median"]

    @property
    @override
    def share(self) -> float:
        return 0.5

    @property
    @override
    def shares_told(self) -> str:
        return ""

    @override
    def said(self, share: float) -> str:
        return f"median of {self.column}"
