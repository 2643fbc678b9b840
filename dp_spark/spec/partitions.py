"""Contribution bounds, and how partition keys become public."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from dp_spark.privacy.selection.registry import UNNAMED, SelectionName
from dp_spark.schema.model import ColumnName, Model, Weight, no_bool
from dp_spark.spec.source import Source
from dp_spark.spec.steps import Scalar

#: More public keys than this belong into a smaller question.
MAX_PUBLIC_KEYS = 2_000_000

Bound = Annotated[int, BeforeValidator(no_bool), Field(ge=1, le=1_000_000, strict=True)]


class Bounds(Model):
    """Contribution bounds; required where a unit can have several rows."""

    max_partitions_contributed: Bound | None = None
    max_contributions_per_partition: Bound | None = None
    max_contributions: Bound | None = None


class PrivatePartitions(Model):
    """Partition keys are selected privately, by how many privacy units they have after bounding, with noise."""

    weight: Weight = Decimal(1)
    pre_threshold: Bound | None = None
    strategy: SelectionName = UNNAMED


class PublicPartitions(Model):
    """Partition keys are known to everybody: a product of values, or a table of keys."""

    example = "{values: {COLUMN: [KEY, KEY]}}"

    values: dict[ColumnName, Annotated[tuple[Scalar, ...], Field(min_length=1)]] | None = None
    source: Source | None = None

    @classmethod
    def where_other_keys_belong(cls, key: str) -> str:
        """The mend for a key with a list that was written without ``values``."""
        return f"put it under `values`: public: {{values: {{{key}: [...]}}}}"

    @model_validator(mode="after")
    def _check(self) -> PublicPartitions:
        if (self.values is None) == (self.source is None):
            raise ValueError("public partitions need either values or a source; write values: {column: [keys]}, or source:")
        return self


class Partitions(Model):
    """How partition keys become public: exactly one of private and public."""

    example = "{private: {}}, or {public: {values: {COLUMN: [KEY, KEY]}}}"

    private: PrivatePartitions | None = None
    public: PublicPartitions | None = None

    @model_validator(mode="after")
    def _check(self) -> Partitions:
        if self.private is not None and self.public is not None:
            raise ValueError(
                "needs either private or public, not both; remove `private`: public keys are not selected (or `public`)"
            )
        if self.private is None and self.public is None:
            raise ValueError("needs either private or public; write `private: {}`, or list the keys under public")
        return self
