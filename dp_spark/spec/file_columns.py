"""The columns that the release file alone tells of, followed through the steps, and what they cannot be used for."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from dp_spark.aggregates.given import Need
from dp_spark.errors import DpSparkError, SpecError
from dp_spark.published.cells import key_text
from dp_spark.spec.expressions import check_expression, check_type
from dp_spark.spec.release_spec import Join, ReleaseSpec, Source, Step
from dp_spark.spec.source_checks import TEXT_FORMATS
from dp_spark.spec.spark_types import KEYS, NUMBERS, canonical_type, type_kind
from dp_spark.spec.typed_constants import constant_of
from dp_spark.spec.unit_definition import quoted_text

#: A column whose type the file alone does not tell.
_UNKNOWN = "unknown"
#: What is wrong with columns that aggregates read.
NO_NUMBER, NO_TEXT = "is not a number", "is not compared with texts"
#: What else can be done where a histogram's column is one of texts.
OR_VALUES = ", or use values in place of edges"


class FileColumns:
    """The columns that the file alone tells of, step by step: lower-case name -> type. None: it tells of none."""

    def __init__(self, types: dict[str, str] | None, schema: str = "source.schema") -> None:
        self._types, self._schema = types, schema
        self.found: list[DpSparkError] = []  # what is wrong, in the file's order

    @staticmethod
    def of(source: Source, schema: str = "source.schema") -> FileColumns:
        """Those of a source; ``schema`` is the key that lists them, for errors."""
        if source.format not in TEXT_FORMATS or source.columns is None:
            return FileColumns(None)
        return FileColumns({name.lower(): text for name, text in source.columns.items()}, schema)

    def with_units(self, spec: ReleaseSpec) -> FileColumns:
        """The same with the columns of a defined privacy unit (``unit_definition.check_unit`` has checked what they read)."""
        defined = {name.lower(): _UNKNOWN for name, text in spec.unit_definition.items() if name != text}
        return self if self._types is None else FileColumns({**self._types, **defined})

    def step(self, step: Step, spec: ReleaseSpec, where: str) -> None:
        """Follows the columns through one step of ``preprocess``; what it cannot do is added to ``found``."""
        if step.join is not None:
            self._join(step.join, spec, f"{where}.join")
        if self._types is None:
            return
        if step.filter is not None:
            self.expression(step.filter, spec, f"{where}.filter")
        for name, text in (step.derive or {}).items():
            self.expression(text, spec, f"{where}.derive.{name}")
            self._types[name.lower()] = _UNKNOWN
        for name, text in (step.cast or {}).items():
            self.require(name, f"{where}.cast")
            self._types[name.lower()] = check_type(text, where=f"{where}.cast.{name}")
        for name in [*(step.fill or {}), *(step.drop or ())]:
            self.require(name, where)
        for name, value in (step.fill or {}).items():
            self.constant(name, value, f"{where}.fill.{name}")
        for name in step.drop or ():
            self._types.pop(name.lower(), None)

    def _join(self, join: Join, spec: ReleaseSpec, where: str) -> None:
        """What ``preprocess`` requires of a join: keys of the same type on both sides, and no name that is taken."""
        right = FileColumns.of(join.source, f"{where}.source.schema")
        right.found = self.found
        for name in join.on:
            self.require(name, f"{where}.on", KEYS, "cannot be joined on")
            right.require(name, f"{where}.on", KEYS, "cannot be joined on")
            ours, theirs = self.type_of(name), right.type_of(name)
            if ours is not None and theirs is not None and ours != theirs:
                self.found.append(
                    SpecError(
                        f"the column {name} is {ours} here and {theirs} in the public table",
                        where=f"{where}.on",
                        mend=f'write {name}: "{ours}" in {where}.source.schema',
                    )
                )
        keys = {name.lower() for name in join.on}
        taken = {name.lower() for name in spec.unit_columns} | set(self._types or ())
        for name in [name for name in right._types or () if name not in keys]:
            if name in taken:
                self.found.append(
                    SpecError(f"the public table's column {name} is there already", where=where, mend="drop or rename it first")
                )
        if self._types is not None:
            self._types = None if right._types is None else {**right._types, **self._types}

    def lacks(self, name: str) -> bool:
        """Whether the file tells of the columns, and this is none of them."""
        return self._types is not None and name.lower() not in self._types

    def type_of(self, name: str) -> str | None:
        """A column's type in its one spelling; None where the file does not tell it."""
        return canonical_type((self._types or {}).get(name.lower(), _UNKNOWN))

    def constant(self, name: str, value: object, where: str) -> None:
        """Checks that a constant of the file is a value of a column's type."""
        kind = self.type_of(name)
        if kind is not None and constant_of(value, kind) is None:
            self.found.append(
                SpecError(
                    f"{key_text(value)} is not a value of type {kind}, the type of {name}",
                    where=where,
                    mend=f"write a value of type {kind}",
                )
            )

    def expression(self, text: str, spec: ReleaseSpec, where: str) -> None:
        """Adds to ``found`` the columns that an expression reads and that are not there."""
        for name in sorted(check_expression(text, spec.parameters, where=where).columns):
            self.require(name, where)

    def _kind(self, name: str) -> str | None:
        """A column's kind of type; None where there is no such column."""
        text = (self._types or {}).get(name)
        return None if text is None else type_kind(text, nested=True) or _UNKNOWN

    def require_need(self, need: Need, where: str) -> None:
        """Adds to ``found`` what is wrong with a column that an aggregate reads."""
        if need.numeric:
            cast = _mend(need.column, "string", NO_NUMBER)
            instead = {"string": f"{cast}{OR_VALUES}"} if need.or_texts else None
            self.require(need.column, where, NUMBERS, NO_NUMBER, instead)
        elif need.text:
            self.require(need.column, where, {"string"}, NO_TEXT)
        else:
            self.require(need.column, where)

    def require(
        self,
        name: str,
        where: str,
        kinds: frozenset[str] | set[str] | None = None,
        use: str = "",
        remedies: Mapping[str, str] | None = None,
    ) -> None:
        """Adds to ``found`` what is wrong with the use of a column.

        Args:
            name: The column, or the way to a field of a struct in it.
            where: The key that uses it.
            kinds: The kinds of types that it may have; any where there are none.
            use: What is wrong with a column of another kind, as in ``cannot be a key``.
            remedies: Kind -> how to mend it, where the common advice is not right.
        """
        if self._types is None:
            return
        kind = self._kind(name.lower())
        if kind is None and self._kind(name.lower().partition(".")[0]) in ("struct", "map"):
            return  # a field of it, which Spark knows
        if kind is None:
            known = ", ".join(sorted(self._types)[:20])
            steps = " and the steps before" if self._schema == "source.schema" else ""
            self.found.append(
                SpecError(
                    f"there is no column {name} in {self._schema}{steps}",
                    where=where,
                    mend=f"use one of: {known}; or list {name} under {self._schema}, also where folders {name}=1 make it",
                )
            )
        elif kinds is not None and kind != _UNKNOWN and kind not in kinds:
            remedy = (remedies or {}).get(kind) or _mend(name, kind, use)
            self.found.append(SpecError(f"the column {name} has type {kind}, which {use}", where=where, mend=remedy))


def text_mend(name: str, read: str) -> str:
    """How to count a column by texts: a column of its own, as other aggregates may need it as it is.

    Args:
        name: The column.
        read: The text of it, as an expression.

    >>> text_mend("in.x", "cast(`in`.x as string)")
    'add a step to preprocess: {derive: {in_x_text: "cast(`in`.x as string)"}}, and use in_x_text; or use edges'
    """
    derived = re.sub(r"^(?=\d)|\W", "_", f"{name}_text", flags=re.ASCII)
    return f"add a step to preprocess: {{derive: {{{derived}: {json.dumps(read)}}}}}, and use {derived}; or use edges"


def _mend(name: str, kind: str, use: str) -> str:
    if use == NO_NUMBER:
        cast = f"add a step: preprocess: [{{cast: {{{name}: double}}}}]"
        return cast if kind in ("string", "boolean") else "use a numeric column"
    if use == NO_TEXT:
        return text_mend(name, f"cast({quoted_text(name)} as string)")
    if kind in ("float", "double"):
        return f'write {name}: "decimal(20,0)" for whole numbers, or {name}: string, in source.schema'
    return "use a column of text, whole numbers, decimals, booleans, dates or timestamps"
