"""The parts of a release file: sources, steps, bounds, partitions, aggregates, budget, noise and places."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from dp_spark.schema.messages import ContradictionsError, to_spec_error
from dp_spark.spec.constants import is_region
from dp_spark.spec.source_options import option_problems
from dp_spark.spec.table_names import RULE, is_table_name

#: A constant in a release file: what YAML gives for a plain word, number or nothing.
Scalar = bool | int | Decimal | date | datetime | str | None

#: The most digits of a budget or weight, before and behind the point: far more than anybody means.
MAX_PLACES = 60
#: More public keys than this belong into a smaller question.
MAX_PUBLIC_KEYS = 2_000_000
#: A name that a database is told as it is written.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_$]+(\.[A-Za-z0-9_$]+){0,2}")


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false; write a number")
    return value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("must be a finite number; write a number such as 0.5 or 200")
    return value


def known_timezone(value: str) -> str:
    """The name of a time zone, if it is one."""
    if not is_region(value):
        raise ValueError("is not a time zone of the IANA database; write one, such as UTC or Europe/Berlin")
    return value


def _strict_decimal(value: Any) -> Any:
    if isinstance(value, str | bool):
        raise ValueError("must be a number without quotes; write a number such as 0.5 or 1e-6")
    return value


def _short(value: Decimal) -> Decimal:
    """Budgets are added up exactly and stored as text, so their length is bounded where they are read."""
    _, digits, exponent = value.as_tuple()
    shown = "".join(map(str, digits)).rstrip("0")  # Decimal.normalize would round, or underflow to zero
    places = -int(exponent) - (len(digits) - len(shown))
    if shown and (places > MAX_PLACES or len(shown) > MAX_PLACES):
        raise ValueError(f"must have at most {MAX_PLACES} digits, and at most {MAX_PLACES} behind the point")
    return value


def _option_text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | Decimal | float) else value


def _whole_types(value: Any) -> Any:
    """In ``{x: decimal(10,2)}`` without quotes YAML reads two keys: x with ``decimal(10``, and ``2)`` with nothing."""
    items = list(value.items()) if isinstance(value, Mapping) else []
    for (name, text), (rest, nothing) in itertools.pairwise(items):
        if nothing is None and isinstance(text, str) and text.count("(") + text.count("<") > text.count(")") + text.count(">"):
            raise ValueError(f'the type of {name} has a comma and needs quotes; write {name}: "{text},{rest}"')
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
Bound = Annotated[int, BeforeValidator(_no_bool), Field(ge=1, le=1_000_000, strict=True)]
Weight = Annotated[Decimal, BeforeValidator(_strict_decimal), Field(gt=0, le=1_000_000), AfterValidator(_short)]
Clip = Annotated[float, BeforeValidator(_no_bool), AfterValidator(_finite)]
OptionValue = Annotated[str, BeforeValidator(_option_text)]


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
        try:
            return super().model_validate(obj, **options)
        except ValidationError as error:
            raise to_spec_error(error, cls) from None


class Source(Model):
    """Where rows are read from: a path with a format, or a table by name."""

    example = "{format: delta, path: FOLDER}, or {table: NAME}"

    format: Literal["delta", "parquet", "orc", "csv", "json", "jdbc"] | None = None
    path: Annotated[str, Field(min_length=1)] | None = None
    table: Annotated[str, Field(min_length=1)] | None = None
    options: dict[str, OptionValue] = Field(default_factory=dict)
    columns: Annotated[dict[str, str] | None, BeforeValidator(_whole_types)] = Field(
        default=None, alias="schema", description="column: Spark SQL type"
    )

    @property
    def by_position(self) -> bool:
        """Whether only their position tells the columns apart: a CSV file without a header."""
        options = {key.lower(): value for key, value in self.options.items()}
        return self.format == "csv" and options.get("header", "true").lower() != "true"

    @model_validator(mode="after")
    def _check(self) -> Source:
        if self.table is not None:
            self._check_table()
        elif self.format is None:
            raise ValueError("needs a table, or a format with a path; add format: and path:, or table:")
        elif self.format == "jdbc":
            self._check_jdbc()
        elif self.path is None:
            raise ValueError(f"a {self.format} source needs a path; add path:")
        if self.columns is not None and self.format not in ("csv", "json"):
            raise ValueError("schema is for csv and json, other formats have their own; remove schema")
        self._check_options()
        return self

    def _check_table(self) -> None:
        if self.format is not None or self.path is not None or self.options:
            raise ValueError(
                "a source has either a table, or a format with a path; next to table remove format, path and options"
            )
        if not is_table_name(str(self.table)):
            raise ValueError(RULE)

    def _check_jdbc(self) -> None:
        if self.path is not None:
            raise ValueError("a jdbc source has options, no path; remove path")
        options = {key.lower(): value for key, value in self.options.items()}
        if "url" not in options or "dbtable" not in options:
            raise ValueError("a jdbc source needs the options url and dbtable; add them under options")
        if _PLAIN_NAME.fullmatch(re.sub(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}", "x", options["dbtable"])) is None:
            raise ValueError("dbtable must be a plain table name, not a query; write schema.table")

    def _check_options(self) -> None:
        if self.format is not None:
            problems = list(option_problems(self.format, self.options))
            if problems:
                told = [problem if "; " in problem else f"{problem}; remove it" for problem in problems]
                raise ContradictionsError(told, key="options")


class Location(Model):
    """A Delta table of ours: by path or by name."""

    example = "{path: FOLDER}, or {table: NAME}"

    path: Annotated[str, Field(min_length=1)] | None = None
    table: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Location:
        if (self.path is None) == (self.table is None):
            raise ValueError("needs either a path or a table; write one of {path: ...} and {table: ...}")
        if self.table is not None and not is_table_name(self.table):
            raise ValueError(RULE)
        if "`" in (self.path or ""):
            raise ValueError("a path must not contain a backtick; choose another name")
        if re.search(r"@(v[0-9]+|[0-9]{17})/*$", self.path or "", re.IGNORECASE):
            raise ValueError("a path must not end like a version of a Delta table (@v3); choose another name")
        return self


class Join(Model):
    """A join with a public table, one row per key."""

    source: Source
    on: Annotated[tuple[Column, ...], Field(min_length=1)]
    how: Literal["left", "inner"]


class Step(Model):
    """One row-wise preprocess step; it has exactly one of the keys."""

    filter: Annotated[str, Field(min_length=1)] | None = None
    derive: dict[Column, str] | None = None
    cast: Annotated[dict[Column, str] | None, BeforeValidator(_whole_types)] = None
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


class RowUnit(Model):
    """Each row of the source is a privacy unit of its own."""

    row: Literal[True]


UnitDefinition = Annotated[
    dict[Column, Annotated[str, Field(min_length=1)]],
    Field(description="name: a row-wise expression over the source's own columns"),
]


def unit_form(value: Any) -> Any:
    """A privacy unit as it is kept: a column that is defined as itself is a plain column.

    >>> unit_form({"id": "id"}), unit_form({"a": "a", "b": "`b`"}), unit_form({"a": "a", "b": " lower(c) "})
    ('id', ['a', 'b'], {'a': 'a', 'b': 'lower(c)'})
    """
    if not isinstance(value, Mapping) or (len(value) == 1 and isinstance(next(iter(value.values())), bool)):
        return value
    if not value or not all(isinstance(item, str) and item.strip() for pair in value.items() for item in pair):
        raise ValueError(
            "must be a column, a list of columns, {row: true}, or names with their expressions, as in "
            '{customer: "cast(CustomerID as bigint)"}'
        )
    if [(name, text.strip().lower()) for name, text in value.items()] == [("row", "true")]:
        raise ValueError("row: true stands without quotes, where each row is a privacy unit")
    unit = {name: _own_name(name, text.strip()) for name, text in value.items()}
    plain = [name for name, text in unit.items() if name == text]
    if len(plain) == len(unit):
        return plain if len(plain) > 1 else plain[0]
    for name in unit:
        if name not in plain and (not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,199}", name) or name.lower() == "_metadata"):
            raise ValueError(
                f"the name {name} is not a plain name (letters, digits and underscores, not starting with a digit)"
            )
    return unit


def _own_name(name: str, text: str) -> str:
    return name if text == "`" + name.replace("`", "``") + "`" else text


class Bounds(Model):
    """Contribution bounds; required where a unit can have several rows."""

    max_partitions_contributed: Bound | None = None
    max_contributions_per_partition: Bound | None = None


class PrivatePartitions(Model):
    """Partition keys are selected privately, by a noisy count of privacy units."""

    weight: Weight = Decimal(1)


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
        if (self.private is None) == (self.public is None):
            raise ValueError("needs either private or public; write `private: {}`, or list the keys under public")
        return self


class _Aggregate(Model):
    name: ColumnName
    weight: Weight = Decimal(1)


class PrivacyIdCount(_Aggregate):
    """The number of privacy units in a partition."""

    function: Literal["privacy_id_count"]


class Count(_Aggregate):
    """The number of rows, or with ``column`` the number of its values that are neither null nor NaN."""

    function: Literal["count"]
    column: Column | None = None


class ClippedAggregate(_Aggregate):
    """A sum or mean of a numeric column whose values are clipped to [min_value, max_value]."""

    function: Literal["sum", "mean"]
    column: Column
    min_value: Clip
    max_value: Clip

    @model_validator(mode="after")
    def _check(self) -> ClippedAggregate:
        if self.min_value >= self.max_value:
            raise ValueError("min_value must be below max_value; swap or widen them")
        return self


Aggregate = PrivacyIdCount | Count | ClippedAggregate


class Budget(Model):
    """What the release may cost; exact decimals."""

    epsilon: Annotated[Decimal, BeforeValidator(_strict_decimal), Field(gt=0, le=Decimal("1e9")), AfterValidator(_short)]
    delta: Annotated[Decimal, BeforeValidator(_strict_decimal), Field(ge=0, lt=1), AfterValidator(_short)] = Decimal(0)


class Noise(Model):
    """The mechanism; ``auto`` is Laplace in a basic account and Gaussian in a zcdp one."""

    mechanism: Literal["auto", "laplace", "gaussian"] = "auto"
