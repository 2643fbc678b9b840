"""What a release may cost, and its noise."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from dp_spark.privacy.mechanisms.registry import MechanismName
from dp_spark.schema.model import Model, short, strict_decimal


class Budget(Model):
    """What the release may cost; exact decimals."""

    epsilon: Annotated[Decimal, BeforeValidator(strict_decimal), Field(gt=0, le=Decimal("1e9")), AfterValidator(short)]
    delta: Annotated[Decimal, BeforeValidator(strict_decimal), Field(ge=0, lt=1), AfterValidator(short)] = Decimal(0)


class Noise(Model):
    """The mechanism; ``auto`` is Laplace in a basic account and Gaussian in a zcdp one."""

    mechanism: Literal["auto", MechanismName] = "auto"
