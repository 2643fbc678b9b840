"""The base of every model of ours that a file is read into: frozen, and a mistyped key is an error; and its plain types."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from dp_spark.errors import said_together
from dp_spark.schema.messages import to_spec_error
from dp_spark.schema.texts import half_characters

#: The most digits of a budget or weight, before and behind the point: far more than anybody means.
MAX_PLACES = 60


def no_bool(value: Any) -> Any:
    """A value that is not true or false, which Python takes for numbers."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false; write a number")
    return value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("must be a finite number; write a number such as 0.5 or 200")
    return value


def strict_decimal(value: Any) -> Any:
    """A number that was written as one."""
    if isinstance(value, str | bool):
        raise ValueError("must be a number without quotes; write a number such as 0.5 or 1e-6")
    return value


def short(value: Decimal) -> Decimal:
    """Budgets are added up exactly and stored as text, so their length is bounded where they are read."""
    _, digits, exponent = value.as_tuple()
    shown = "".join(map(str, digits)).rstrip("0")  # Decimal.normalize would round, or underflow to zero
    places = -int(exponent) - (len(digits) - len(shown))
    if shown and (places > MAX_PLACES or len(shown) > MAX_PLACES):
        raise ValueError(f"must have at most {MAX_PLACES} digits, and at most {MAX_PLACES} behind the point")
    return value


#: What a release, a dataset or a group may be called, and the same in words.
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
NAME_RULE = (
    "a plain name: letters, digits, dots, hyphens and underscores, beginning with a letter or a digit, at most 128 characters"
)
_COLUMN_RULE = "a plain name: letters, digits and underscores, not beginning with a digit, at most 200 characters"

Name = Annotated[str, Field(pattern=NAME, description=NAME_RULE)]
ColumnName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200, description=_COLUMN_RULE)]
Column = Annotated[str, Field(min_length=1)]
Weight = Annotated[Decimal, BeforeValidator(strict_decimal), Field(gt=0, le=1_000_000), AfterValidator(short)]
Clip = Annotated[float, BeforeValidator(no_bool), AfterValidator(_finite)]


class Model(BaseModel):
    """Base of every part of a release file: frozen, and a mistyped key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    #: What an author can write there; empty where the keys say it.
    example: ClassVar[str] = ""

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Checks plain data against the release file's rules.

        Raises:
            SpecError: Naming the key, what is wrong with it, and the mend.
        """
        halves = list(half_characters(obj))
        if halves:
            raise said_together(halves)
        try:
            return super().model_validate(obj, **options)
        except ValidationError as error:
            raise to_spec_error(error, cls) from None
