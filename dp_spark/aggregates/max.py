"""What stands for the largest value of a column: a quantile above 0.5, which the author has to name."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field
from typing_extensions import override

from dp_spark.aggregates.places import OnePlace
from dp_spark.schema.model import no_bool


class Max(OnePlace):
    """A quantile above 0.5 of numbers clipped to [min_value, max_value]. The largest value itself is somebody's own."""

    released_as: ClassVar[str] = (
        "`<name>`, `<name>_low`, `<name>_high` DOUBLE: a quantile above 0.5 and the ends of its 95 % interval"
    )

    function: Literal["max"]
    quantile: Annotated[float, BeforeValidator(no_bool), Field(gt=0.5, lt=1)]

    @property
    @override
    def share(self) -> float:
        return self.quantile

    @property
    @override
    def notes(self) -> list[str]:
        return [f"not the largest value, which is one unit's own: the {self.quantile:g} quantile stands for it"]
