"""The sum of a column's clipped values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from typing_extensions import override

from dp_spark.aggregates.base import OneQuery
from dp_spark.aggregates.clipped import Clipped
from dp_spark.aggregates.query import Query, Total, total_of_column
from dp_spark.errors import at_key
from dp_spark.privacy.lattice import sum_lattice


class Sum(Clipped, OneQuery):
    """The sum of a numeric column whose values are clipped to [min_value, max_value].

    One row changes it by at most max(|A|, |B|), the clipping bounds as lattice integers.
    """

    released_as: ClassVar[str] = "DOUBLE: the sum of values clipped to the bounds"
    whole: ClassVar[bool] = False

    function: Literal["sum"]

    @override
    def queries(self) -> tuple[Query, ...]:
        with at_key(f"aggregates.{self.name}"):
            lattice = sum_lattice(self.min_value, self.max_value, per_unit=self.per_unit is not None)
        return (total_of_column("sum", Total(self.of_values, lattice)),)

    @property
    @override
    def meaning(self) -> str:
        return self.meaning_of(f"sum of {self.column}")

    @override
    def plain_sql(self, units: Sequence[str]) -> str:
        return self.plainly("sum")

    @override
    def reference(self, rows: Sequence[Mapping[str, Any]], unit: str) -> list[Any]:
        return [float(self.clipped(rows, unit).sum()), 0.0]
