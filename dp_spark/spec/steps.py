"""Preprocess steps: row-wise, one at a time."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from dp_spark.schema.model import Column, Model
from dp_spark.spec.source import Source, whole_types

#: A constant in a release file: what YAML gives for a plain word, number or nothing.
Scalar = bool | int | Decimal | date | datetime | str | None


class Join(Model):
    """A join with a public table, one row per key."""

    source: Source
    on: Annotated[tuple[Column, ...], Field(min_length=1)]
    how: Literal["left", "inner"]


class Step(Model):
    """One row-wise preprocess step; it has exactly one of the keys."""

    filter: Annotated[str, Field(min_length=1)] | None = None
    derive: dict[Column, str] | None = None
    cast: Annotated[dict[Column, str] | None, BeforeValidator(whole_types)] = None
    fill: dict[Column, Scalar] | None = None
    drop: tuple[Column, ...] | None = None
    join: Join | None = None

    @model_validator(mode="after")
    def _check(self) -> Step:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                "a step has exactly one of filter, derive, cast, fill, drop, join; write each as a step of its own"
            )
        for name, value in (self.fill or {}).items():
            if value is None:
                raise ValueError(f"the fill of {name} must be a value, not null; write the value")
        return self
