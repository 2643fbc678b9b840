"""What a release file may say: one frozen pydantic model, unknown keys forbidden, errors that name key and mend.

Nothing here has a default that would weaken a guarantee: there is no default epsilon, no default bound, and no key
that switches a protection off.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, TypeAdapter, ValidationError, model_validator

from dp_spark.aggregates.base import Aggregate
from dp_spark.aggregates.registry import AnyAggregate
from dp_spark.errors import DpSparkError, SpecError, said_together
from dp_spark.schema.forms import closest, keys_of, kind_of
from dp_spark.schema.messages import ContradictionsError, problem_of
from dp_spark.schema.model import Column, ColumnName, Model, Name
from dp_spark.schema.overrides import apply_overrides
from dp_spark.schema.reading import read_release_file
from dp_spark.schema.variables import expand_variables
from dp_spark.spec.budget import Budget, Noise
from dp_spark.spec.constants import is_region
from dp_spark.spec.expressions import Expression, check_expression
from dp_spark.spec.file_digests import file_digest, unparsed_digest
from dp_spark.spec.partitions import MAX_PUBLIC_KEYS, Bounds, Partitions, PrivatePartitions, PublicPartitions
from dp_spark.spec.privacy_unit import RowUnit, UnitDefinition, unit_form
from dp_spark.spec.source import Location, Source
from dp_spark.spec.steps import Join, Step

__all__ = ["Budget", "Join", "Location", "PublicPartitions", "ReleaseSpec", "RowUnit", "Source", "Step", "json_schema"]


def _known_timezone(value: str) -> str:
    if not is_region(value):
        raise ValueError("is not a time zone of the IANA database; write one, such as UTC or Europe/Berlin")
    return value


class ReleaseSpec(Model):
    """One release file: one release."""

    version: Literal[1]
    name: Name
    parameters: dict[ColumnName, bool | int | Decimal | str] = Field(default_factory=dict)
    timezone: Annotated[str, AfterValidator(_known_timezone)] = "UTC"
    dataset: Name
    source: Source
    preprocess: tuple[Step, ...] = ()
    privacy_unit: Annotated[
        Column | Annotated[tuple[Column, ...], Field(min_length=1)] | RowUnit | UnitDefinition, BeforeValidator(unit_form)
    ]
    contribution_bounds: Bounds = Bounds()
    group_by: tuple[ColumnName, ...]
    partitions: Partitions | None = None
    aggregates: Annotated[tuple[Annotated[AnyAggregate, Discriminator("function")], ...], Field(min_length=1)]
    budget: Budget
    noise: Noise = Noise()
    ledger: Location
    sink: Location

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
            raise said_together(error.problems or [error], file=str(path)) from None
        return spec

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Checks plain data against the release file's rules.

        Raises:
            SpecError: Naming the first key, what is wrong with it, and the mend; with all ``problems``, also those between
                keys that are right each by itself.
        """
        try:
            return super().model_validate(obj, **options)
        except SpecError as error:
            found = list(error.problems or [error])
            more = [] if not isinstance(obj, Mapping) else [problem_of(text) for text in cls._other_contradictions(obj, found)]
            told = {str(problem) for problem in found}
            raise said_together([*found, *(problem for problem in more if str(problem) not in told)]) from None

    @classmethod
    def _other_contradictions(cls, data: Mapping[str, Any], found: Sequence[DpSparkError]) -> list[str]:
        """The contradictions between those keys of a file that are right by themselves."""
        wrong = {problem.where.partition(".")[0] for problem in found}
        wrong |= {closest(key, keys_of(cls)) or key for key in wrong}  # a misspelt key is not a missing one
        right: dict[str, Any] = {}
        for name in cls.model_fields:
            if name in data and name not in wrong:
                with contextlib.suppress(ValidationError):
                    right[name] = _reader(name).validate_python(data[name])
        partial = cls.model_construct(**right)
        for name in wrong & partial.__dict__.keys():  # its default is not what the author wrote
            del partial.__dict__[name]
        return partial._contradictions()

    @property
    def unit_columns(self) -> tuple[str, ...]:
        """The columns of the privacy unit, in order; empty where each row is a unit."""
        if isinstance(self.privacy_unit, RowUnit):
            return ()
        return (self.privacy_unit,) if isinstance(self.privacy_unit, str) else tuple(self.privacy_unit)

    @property
    def unit_definition(self) -> Mapping[str, str]:
        """Name -> expression of a unit that is defined, in order; a plain part is its own. Empty where all of it is plain."""
        return self.privacy_unit if isinstance(self.privacy_unit, dict) else {}

    @property
    def private_partitions(self) -> PrivatePartitions | None:
        """How partition keys are selected privately, or None where they are public or there are none."""
        return self.partitions.private if self.group_by and self.partitions is not None else None

    @property
    def public_partitions(self) -> PublicPartitions | None:
        """The public partitions, or None where keys are selected or there are none."""
        return self.partitions.public if self.partitions is not None else None

    def condition(self, aggregate: Aggregate) -> Expression:
        """The checked condition (``where``) of one of its aggregates.

        Raises:
            SpecError: If it is refused.
        """
        assert aggregate.where is not None
        return check_expression(aggregate.where, self.parameters, where=f"aggregates.{aggregate.name}.where")

    def digest(self, public_keys_digest: str = "") -> str:
        """SHA-256 of what this release is: the effective file before ``${NAME}``, with the public keys.

        Values equal to their defaults are left out, so a later version with more keys finds the same digest.
        """
        return file_digest(self._document(), public_keys_digest)

    def unparsed_digest(self, public_keys_digest: str = "") -> str | None:
        """The same without what says how a csv or json source is parsed; None for other sources."""
        return unparsed_digest(self._document(), public_keys_digest)

    def _document(self) -> dict[str, Any]:
        return self.model_dump(exclude_defaults=True, by_alias=True)

    def expand(self, environment: Mapping[str, str] | None = None) -> ReleaseSpec:
        """A copy with ``${NAME}`` replaced in paths, table names and option values, and with parameters in the conditions of
        aggregates, which are told to recipients; checked again.

        Raises:
            SpecError: If a variable is not set, or its value breaks a rule (no value is shown), or a condition is refused.
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
        located["aggregates"] = [
            {**entry, **({} if item.where is None else {"where": self.condition(item).sql})}
            for item, entry in zip(self.aggregates, document["aggregates"], strict=True)
        ]
        return ReleaseSpec.model_validate({**document, **located})

    @model_validator(mode="after")
    def _check(self) -> ReleaseSpec:
        found = self._contradictions()
        if found:
            raise ContradictionsError(found)
        return self

    def _contradictions(self) -> list[str]:
        """Each as ``key: problem; mend``; what needs a key that could not be read is left out."""
        found: list[str] = []
        for check in (self._unit_errors, self._name_clashes, self._bound_errors, self._partition_errors, self._delta_errors):
            with contextlib.suppress(AttributeError):
                found += check()
        return found

    def _unit_errors(self) -> Iterator[str]:
        yield from _repeated("privacy_unit", self.unit_columns)
        if isinstance(self.privacy_unit, RowUnit):
            for aggregate in self.aggregates:
                if getattr(aggregate, "per_unit", None) is not None:
                    yield f"aggregates.{aggregate.name}.per_unit: each row is a privacy unit and has one value; remove it"

    def _delta_errors(self) -> Iterator[str]:
        asked = self.noise.mechanism
        if asked != "auto" and self.budget.delta == 0:
            from dp_spark.privacy.accountants.registry import mechanisms_without_delta  # loads dp-accounting

            without = mechanisms_without_delta()
            if asked not in without:
                yield f"noise.mechanism: {asked} noise needs budget.delta above 0; give a delta, or use {' or '.join(without)}"
        if self.private_partitions is not None and self.budget.delta == 0:
            yield "budget.delta: private partition selection needs a delta above 0; give a delta, or list public partitions"

    def _name_clashes(self) -> Iterator[str]:
        names = [*self.group_by]
        for aggregate in self.aggregates:
            names += dict.fromkeys((aggregate.name, *aggregate.column_names()))
        yield from _repeated("group_by and aggregates", names)

    def _bound_errors(self) -> Iterator[str]:
        bounds = self.contribution_bounds
        given = {name: getattr(bounds, name) for name in type(bounds).model_fields}
        if isinstance(self.privacy_unit, RowUnit):
            for name, value in given.items():
                if value not in (None, 1):
                    yield f"contribution_bounds.{name}: must be 1 where each row is a privacy unit; write 1, or remove it"
            return
        if bounds.max_contributions is not None:
            return  # a bound that is not given counts as this one
        if bounds.max_partitions_contributed is None and self.group_by:
            yield "contribution_bounds.max_partitions_contributed: is missing; write in how many partitions a unit may count"
        if bounds.max_contributions_per_partition is None:
            yield "contribution_bounds.max_contributions_per_partition: is missing; write how many rows a unit may have in each"

    def _partition_errors(self) -> Iterator[str]:
        public = self.public_partitions
        if not self.group_by and self.partitions is not None and self.partitions.private is not None:
            for name in ("pre_threshold", "strategy"):
                if name in self.partitions.private.model_fields_set:
                    yield f"partitions.private.{name}: no keys are selected where group_by is empty; remove it"
        if not self.group_by and public is not None:
            yield "partitions.public: there are no keys where group_by is empty; remove partitions"
        elif self.group_by and self.partitions is None:
            yield "partitions: is missing; write `partitions: {private: {}}`, or list the keys under public"
        elif public is not None and public.values is not None and set(public.values) != set(self.group_by):
            columns = ", ".join(self.group_by)
            yield f"partitions.public.values: must list exactly the group_by columns {columns}; write one list of keys for each"
        elif public is not None and math.prod(map(len, (public.values or {}).values())) > MAX_PUBLIC_KEYS:
            yield f"partitions.public.values: give more than {MAX_PUBLIC_KEYS:,} keys together; list fewer values"


@functools.cache
def _reader(name: str) -> TypeAdapter[Any]:
    """What reads one key of a release file alone."""
    field = ReleaseSpec.model_fields[name]
    kind: Any = Annotated[field.annotation, field]
    return TypeAdapter(kind)


def _repeated(where: str, names: Sequence[str]) -> Iterator[str]:
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            yield f"{where}: the name {name} is used twice (case does not count, columns made of a name do); rename one"
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
            kind = "a number" if isinstance(declared[name], Decimal) else kind_of(declared[name])
            raise SpecError(f"must stay {kind}, as in the file", where=f"parameters.{name}", mend=f"give {kind}")


def _with_limits(schema: Any) -> Any:
    """A schema with its limits in JSON Schema's words: pydantic leaves its own where a validator stands before a number."""
    if isinstance(schema, list):
        return [_with_limits(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    words = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
    limits = {word: schema[word] for word in words if isinstance(schema.get(word), int | float | str)}  # no property's schema
    others = {key: _with_limits(item) for key, item in schema.items() if key not in limits}
    return others | {words[word]: float(limit) if isinstance(limit, str) else limit for word, limit in limits.items()}


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the release file, for editors and other tools."""
    schema: dict[str, Any] = _with_limits(ReleaseSpec.model_json_schema(by_alias=True, mode="validation"))
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "dp-spark release file"
    return schema
