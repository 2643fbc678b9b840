"""What stands for the smallest value of a column: a quantile below 0.5, which the author has to name."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field
from typing_extensions import override

from dp_spark.aggregates.places import OnePlace
from dp_spark.schema.model import no_bool


class Min(OnePlace):
    """A quantile below 0.5 of numbers clipped to [min_value, max_value]. The smallest value itself is somebody's own."""

    released_as: ClassVar[str] = (
        "`<name>`, `<name>_low`, `<name>_high` DOUBLE: a quantile below 0.5 and the ends of its 95 % interval"
    )

    function: Literal["min"]
    quantile: Annotated[float, BeforeValidator(no_bool), Field(gt=0, lt=0.5)]

    @property
    @override
    def share(self) -> float:
        return self.quantile

    @property
    @override
    def notes(self) -> list[str]:
        return [f"not the smallest value, which is one unit's own: the {self.quantile:g} quantile stands for it"]
