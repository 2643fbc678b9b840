"""What a release file may say: frozen pydantic models, unknown keys forbidden, errors that name key and mend.

Nothing here has a default that would weaken a guarantee: there is no default epsilon, no default bound, and no key
that switches a protection off.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import zoneinfo
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, model_validator
from pydantic import ValidationError as PydanticError

from dp_spark.errors import SpecError
from dp_spark.events import decimal_text
from dp_spark.release_file import apply_overrides, expand_variables, read_release_file
from dp_spark.spec_errors import to_spec_error

#: A constant in a release file: what YAML gives for a plain word, number or nothing.
Scalar = bool | int | Decimal | date | datetime | str | None

_REFUSED_OPTIONS = {
    "inferschema": "inferring a schema reads private values before they are paid for",
    "samplingratio": "inferring a schema reads private values before they are paid for",
    "prefersdecimal": "it belongs to schema inference",
    "query": "a query can break the stability of a user's rows; name a plain table",
    "preparequery": "a query can break the stability of a user's rows; name a plain table",
    "sessioninitstatement": "a statement sent to the database can change what is read",
    "badrecordspath": "it writes source rows to disk",
    "predicates": "it can repeat rows",
    "path": "the path has its own key",
}
_TABLE_NAME = re.compile(r"^[A-Za-z0-9_$]+(\.[A-Za-z0-9_$]+){0,2}$")


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("must be a finite number")
    return value


def _known_timezone(value: str) -> str:
    if value not in zoneinfo.available_timezones():
        raise ValueError("is not a time zone of the IANA database, such as UTC or Europe/Berlin")
    return value


def _strict_decimal(value: Any) -> Any:
    if isinstance(value, str | bool):
        raise ValueError("must be a number without quotes")
    return value


def _option_text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | Decimal | float) else value


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
ColumnName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)]
Column = Annotated[str, Field(min_length=1)]
Bound = Annotated[int, BeforeValidator(_no_bool), Field(ge=1, le=1_000_000, strict=True)]
Weight = Annotated[Decimal, BeforeValidator(_strict_decimal), Field(gt=0, le=1_000_000)]
Clip = Annotated[float, BeforeValidator(_no_bool), AfterValidator(_finite)]
OptionValue = Annotated[str, BeforeValidator(_option_text)]


class Model(BaseModel):
    """Base of every part of a release file: frozen, and a mistyped key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, populate_by_name=True)


class Source(Model):
    """Where rows are read from: a path with a format, or a table by name."""

    format: Literal["delta", "parquet", "orc", "csv", "json", "jdbc"] | None = None
    path: Annotated[str, Field(min_length=1)] | None = None
    table: Annotated[str, Field(min_length=1)] | None = None
    options: dict[str, OptionValue] = Field(default_factory=dict)
    columns: dict[str, str] | None = Field(default=None, alias="schema", description="column: Spark SQL type")

    @model_validator(mode="after")
    def _check(self) -> Source:
        if self.table is not None:
            self._check_table()
        elif self.format is None:
            raise ValueError("needs a table, or a format with a path")
        elif self.format == "jdbc":
            self._check_jdbc()
        elif self.path is None:
            raise ValueError(f"a {self.format} source needs a path")
        if self.columns is not None and self.format not in ("csv", "json"):
            raise ValueError("schema is for csv and json; other formats carry their own")
        self._check_options()
        return self

    def _check_table(self) -> None:
        if self.format is not None or self.path is not None or self.options:
            raise ValueError("a table stands alone: drop format, path and options")

    def _check_jdbc(self) -> None:
        if self.path is not None:
            raise ValueError("a jdbc source has options, no path")
        options = {key.lower(): value for key, value in self.options.items()}
        if "url" not in options or "dbtable" not in options:
            raise ValueError("a jdbc source needs the options url and dbtable")
        if not _TABLE_NAME.match(options["dbtable"]) and "${" not in options["dbtable"]:
            raise ValueError("dbtable must be a plain table name, not a query")

    def _check_options(self) -> None:
        for key, value in self.options.items():
            if key.lower() in _REFUSED_OPTIONS:
                raise ValueError(f"the option {key} is refused: {_REFUSED_OPTIONS[key.lower()]}")
            if key.lower() == "mode" and value.upper() == "FAILFAST":
                raise ValueError("the mode FAILFAST is refused: whether a run fails would depend on private values")
        lowered = [key.lower() for key in self.options]
        if len(set(lowered)) != len(lowered):
            raise ValueError("an option stands twice (upper and lower case are the same)")


class Location(Model):
    """A Delta table of ours: by path or by name."""

    path: Annotated[str, Field(min_length=1)] | None = None
    table: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Location:
        if (self.path is None) == (self.table is None):
            raise ValueError("needs either a path or a table")
        if self.table is not None and "${" not in self.table and not _TABLE_NAME.match(self.table):
            raise ValueError("a table is named by one to three plain words joined by dots")
        if "`" in (self.path or ""):
            raise ValueError("a path must not hold a backtick")
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
    cast: dict[Column, str] | None = None
    fill: dict[Column, Scalar] | None = None
    drop: tuple[Column, ...] | None = None
    join: Join | None = None

    @model_validator(mode="after")
    def _check(self) -> Step:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("a step has exactly one of filter, derive, cast, fill, drop, join")
        for name, value in (self.fill or {}).items():
            if value is None:
                raise ValueError(f"the fill of {name} must be a value, not null")
        return self


class RowUnit(Model):
    """Each row of the source is a privacy unit of its own."""

    row: Literal[True]


class Bounds(Model):
    """Contribution bounds; required where a unit can have several rows."""

    max_partitions_contributed: Bound | None = None
    max_contributions_per_partition: Bound | None = None


class PrivatePartitions(Model):
    """Partition keys are selected privately, by a noisy count of privacy units."""

    weight: Weight = Decimal(1)


class PublicPartitions(Model):
    """Partition keys are known to everybody: a product of values, or a table of keys."""

    values: dict[ColumnName, Annotated[tuple[Scalar, ...], Field(min_length=1)]] | None = None
    source: Source | None = None

    @model_validator(mode="after")
    def _check(self) -> PublicPartitions:
        if (self.values is None) == (self.source is None):
            raise ValueError("public partitions need either values or a source")
        return self


class Partitions(Model):
    """How partition keys become public: exactly one of private and public."""

    private: PrivatePartitions | None = None
    public: PublicPartitions | None = None

    @model_validator(mode="after")
    def _check(self) -> Partitions:
        if (self.private is None) == (self.public is None):
            raise ValueError("needs either private or public")
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
            raise ValueError("min_value must be below max_value")
        return self


Aggregate = PrivacyIdCount | Count | ClippedAggregate


class Budget(Model):
    """What the release may cost; exact decimals."""

    epsilon: Annotated[Decimal, BeforeValidator(_strict_decimal), Field(gt=0, le=Decimal("1e9"))]
    delta: Annotated[Decimal, BeforeValidator(_strict_decimal), Field(ge=0, lt=1)] = Decimal(0)


class Noise(Model):
    """The mechanism; ``auto`` is Laplace in a basic account and Gaussian in a zcdp one."""

    mechanism: Literal["auto", "laplace", "gaussian"] = "auto"


class ReleaseSpec(Model):
    """One release file: one release."""

    version: Literal[1]
    name: Name
    parameters: dict[ColumnName, bool | int | Decimal | str] = Field(default_factory=dict)
    timezone: Annotated[str, AfterValidator(_known_timezone)] = "UTC"
    dataset: Name
    source: Source
    preprocess: tuple[Step, ...] = ()
    privacy_unit: Column | Annotated[tuple[Column, ...], Field(min_length=1)] | RowUnit
    contribution_bounds: Bounds = Bounds()
    group_by: tuple[ColumnName, ...]
    partitions: Partitions | None = None
    aggregates: Annotated[tuple[Annotated[Aggregate, Discriminator("function")], ...], Field(min_length=1)]
    budget: Budget
    noise: Noise = Noise()
    ledger: Location
    sink: Location

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> ReleaseSpec:
        """Checks plain data against the release file's rules.

        Raises:
            SpecError: Naming the key, what is wrong with it, and the mend.
        """
        try:
            return super().model_validate(obj, **options)
        except PydanticError as error:
            raise to_spec_error(error, ReleaseSpec) from None

    @classmethod
    def from_yaml(cls, path: str | Path, overrides: Sequence[str] = ()) -> ReleaseSpec:
        """Reads a release file, applies ``--set`` overrides, and checks the result.

        Raises:
            SpecError: Naming the file, the key, what is wrong, and the mend.
        """
        data = read_release_file(path)
        changed = apply_overrides(data, overrides)
        try:
            spec = cls.model_validate(changed)
            _check_parameter_types(data, spec)
        except SpecError as error:
            where = f"{path}: {error.where}" if error.where else str(path)
            raise SpecError(error.message, where=where, mend=error.mend) from None
        return spec

    @property
    def unit_columns(self) -> tuple[str, ...]:
        """The columns of the privacy unit, in order; empty where each row is a unit."""
        if isinstance(self.privacy_unit, RowUnit):
            return ()
        return (self.privacy_unit,) if isinstance(self.privacy_unit, str) else self.privacy_unit

    @property
    def selects_privately(self) -> bool:
        """Whether partition keys come from private selection."""
        return bool(self.group_by) and self.partitions is not None and self.partitions.private is not None

    @property
    def public_partitions(self) -> PublicPartitions | None:
        """The public partitions, or None where keys are selected or there are none."""
        return self.partitions.public if self.partitions is not None else None

    def digest(self, public_keys_digest: str = "") -> str:
        """SHA-256 of what this release is: the effective file before ``${NAME}``, with the public keys.

        Values equal to their defaults are left out, so a later version with more keys finds the same digest.
        """
        document = self.model_dump(mode="json", exclude_defaults=True, by_alias=True)
        document["budget"] = {key: decimal_text(value) for key, value in self.budget.model_dump().items()}
        document["_public_keys"] = public_keys_digest
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    def expand(self, environment: Mapping[str, str] | None = None) -> ReleaseSpec:
        """A copy with ``${NAME}`` replaced in paths, table names and option values; checked again.

        Raises:
            SpecError: If a variable is not set, or its value breaks a rule. No value is shown.
        """

        def walk(value: Any, where: str, inside: bool) -> Any:
            if isinstance(value, dict):
                return {
                    key: walk(item, f"{where}.{key}".lstrip("."), inside or key in ("path", "table", "options"))
                    for key, item in value.items()
                }
            if isinstance(value, list | tuple):
                return [walk(item, f"{where}.{index}", inside) for index, item in enumerate(value)]
            return expand_variables(value, where=where, environment=environment) if inside and isinstance(value, str) else value

        document = self.model_dump(by_alias=True, exclude_unset=True)
        located = {key: walk(document[key], key, False) for key in ("source", "ledger", "sink")}
        if "preprocess" in document:
            located["preprocess"] = [
                {"join": walk(step["join"], f"preprocess.{index}.join", False)} if step.get("join") else step
                for index, step in enumerate(document["preprocess"])
            ]
        if self.public_partitions is not None and self.public_partitions.source is not None:
            located["partitions"] = walk(document["partitions"], "partitions", False)
        return ReleaseSpec.model_validate({**document, **located})

    @model_validator(mode="after")
    def _check(self) -> ReleaseSpec:
        for message in self._contradictions():
            raise ValueError(message)
        return self

    def _contradictions(self) -> Iterator[str]:
        yield from _repeated("privacy_unit", self.unit_columns)
        yield from self._name_clashes()
        yield from self._bound_errors()
        yield from self._partition_errors()
        if self.noise.mechanism == "gaussian" and self.budget.delta == 0:
            yield "noise.mechanism: gaussian noise needs budget.delta above 0; give a delta, or use laplace"
        if self.selects_privately and self.budget.delta == 0:
            yield "budget.delta: private partition selection needs a delta above 0; give a delta, or list public partitions"

    def _name_clashes(self) -> Iterator[str]:
        names = [*self.group_by]
        for aggregate in self.aggregates:
            names += [aggregate.name, f"{aggregate.name}_stddev"]
        yield from _repeated("group_by and aggregates", names)

    def _bound_errors(self) -> Iterator[str]:
        bounds = self.contribution_bounds
        given = {name: getattr(bounds, name) for name in type(bounds).model_fields}
        if isinstance(self.privacy_unit, RowUnit):
            for name, value in given.items():
                if value not in (None, 1):
                    yield f"contribution_bounds.{name}: must be 1, or left out, where each row is a privacy unit"
            return
        if bounds.max_partitions_contributed is None and self.group_by:
            yield "contribution_bounds.max_partitions_contributed: is missing; say in how many partitions a unit may count"
        if bounds.max_contributions_per_partition is None:
            yield "contribution_bounds.max_contributions_per_partition: is missing; say how many rows a unit may have in each"

    def _partition_errors(self) -> Iterator[str]:
        public = self.public_partitions
        if not self.group_by and public is not None:
            yield "partitions.public: there are no keys where group_by is empty; drop partitions"
        elif self.group_by and self.partitions is None:
            yield "partitions: is missing; say `private: {}` or list the public keys"
        elif public is not None and public.values is not None and set(public.values) != set(self.group_by):
            yield f"partitions.public.values: must list exactly the group_by columns {', '.join(self.group_by)}"


def _repeated(where: str, names: Sequence[str]) -> Iterator[str]:
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            yield f"{where}: the name {name} stands twice (upper and lower case are the same, and so is _stddev)"
        seen.add(name.lower())


def _check_parameter_types(data: Mapping[str, Any], spec: ReleaseSpec) -> None:
    """A parameter keeps the type it was written with: an override with text must not reach an expression as SQL."""
    declared = data.get("parameters")
    declared = declared if isinstance(declared, Mapping) else {}
    for name, value in spec.parameters.items():
        if name not in declared:
            raise SpecError("no such parameter in the file", where=f"parameters.{name}", mend="declare it in the file")
        kinds = (Decimal, int) if isinstance(declared[name], Decimal) else (type(declared[name]),)
        if not isinstance(value, kinds) or isinstance(value, bool) != isinstance(declared[name], bool):
            kind = type(declared[name]).__name__
            raise SpecError(f"must stay of type {kind}", where=f"parameters.{name}", mend=f"give a value of type {kind}")


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the release file, for editors and other tools."""
    schema = ReleaseSpec.model_json_schema(by_alias=True, mode="validation")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "dp-spark release file"
    return schema
