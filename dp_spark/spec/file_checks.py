"""What a release file alone tells about its source: options, types and columns, before a budget or a minute is spent.

These refusals are for a new charge (``preview``, ``release``). A release that is drawn is completed by the rules of the
version that drew it, so the model of the file (``spec``) stays as it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from dp_spark.errors import DpSparkError, SpecError, collected, said_together
from dp_spark.places.paths import fixed_part, is_local, resolve
from dp_spark.places.stores import overlap
from dp_spark.published.cells import key_text
from dp_spark.spec.expressions import check_expression, check_type
from dp_spark.spec.release_spec import Join, ReleaseSpec, Source, Step
from dp_spark.spec.source_options import reading_problems
from dp_spark.spec.spark_types import KEYS, NESTED, NUMBERS, canonical_type, type_kind
from dp_spark.spec.typed_constants import constant_of
from dp_spark.spec.unit_definition import ROW_UNIT, check_definition, mend, quoted_text

#: Formats whose files do not say what their columns are.
TEXT_FORMATS = ("csv", "json")
#: Where Spark would put the text of a malformed record, and how the names of our own columns begin: one of them holds it.
CORRUPT_RECORD, INTERNAL = "_corrupt_record", "__dp_spark_"
#: A column whose type the file alone does not tell.
_UNKNOWN = "unknown"


def check_file(spec: ReleaseSpec) -> None:
    """Checks sources, types and columns as far as the release file alone tells; needs no Spark.

    Args:
        spec: The release file, after ``${NAME}`` and ``preprocess.check_steps``.

    Raises:
        SpecError: Naming the key and the mend, with all ``problems``.
    """
    found: list[DpSparkError] = []
    for where, source in _sources(spec).items():
        with collected(found):
            check_source_file(source, where, needs_schema=where != "partitions.public.source")
    columns = _Columns.of(spec.source).with_units(spec)
    for index, step in enumerate(spec.preprocess):
        columns.step(step, spec, f"preprocess.{index}")
    unit = spec.unit_definition or {part: part for part in spec.unit_columns}
    for name in spec.unit_columns:
        whole = mend(unit, name, f"cast({quoted_text(name)} as bigint)", spec.source.columns or ())
        remedies = dict.fromkeys(("float", "double"), whole)
        if columns.lacks(name) and (name.lower() == "row" or re.search(r"[(:|]", name)):
            meant = mend(unit, name, name, spec.source.columns or ()) if name.lower() != "row" else ROW_UNIT
            columns.found.append(SpecError(f"there is no column {name} in source.schema", where="privacy_unit", mend=meant))
            continue
        columns.require(name, "privacy_unit", KEYS | {"binary"}, "be a privacy unit", remedies)
    for name in spec.group_by:
        columns.require(name, "group_by", KEYS, "be a key")
    _check_listed_keys(spec, columns)
    for aggregate in spec.aggregates:
        for need in aggregate.needs():
            fit = (NUMBERS, "be summed") if need.numeric else ()
            columns.require(need.column, f"aggregates.{aggregate.name}", *fit)
    if found or columns.found:
        raise said_together([*found, *columns.found])


def _check_listed_keys(spec: ReleaseSpec, columns: _Columns) -> None:
    """Public keys that are listed: each once, and of its column's type."""
    listed = spec.public_partitions.values if spec.public_partitions is not None else None
    for name, values in (listed or {}).items():
        where = f"partitions.public.values.{name}"
        seen: set[object] = set()
        for value in values:
            if value is not None:
                columns.constant(name, value, where)
            identity = (isinstance(value, bool), value)  # True is 1 to Python
            if identity in seen:
                columns.found.append(
                    SpecError(f"the key {key_text(value)} is listed twice", where=where, mend="list each key once")
                )
            seen.add(identity)


def check_places(spec: ReleaseSpec) -> None:
    """Checks that the local folders of a release are different ones; what lies elsewhere only Spark can compare.

    Args:
        spec: The release file, after ``${NAME}``.

    Raises:
        SpecError: If the sink overlaps a source, the ledger or its outbox, or the ledger is a source.
    """
    ledger, sink = _local(spec.ledger.path), _local(spec.sink.path)
    read = {where: place for where, source in _sources(spec).items() if (place := _local(source.path)) is not None}
    books = {} if ledger is None else {"ledger": ledger, "outbox": f"{ledger}_outbox"}
    for role, place in {**books, **{where: fixed_part(place) for where, place in read.items()}}.items():
        if sink is not None and overlap(sink, place):
            raise SpecError(f"the sink is the {role}, or inside or above it", where="sink", mend="give it a place of its own")
    for role, place in read.items():
        if ledger == place:
            raise SpecError(f"the ledger is the {role}", where="ledger", mend="give it a place of its own")


def _local(path: str | None) -> str | None:
    return resolve(path) if path is not None and is_local(path) else None


def _sources(spec: ReleaseSpec) -> dict[str, Source]:
    joined = {f"preprocess.{index}.join.source": step.join.source for index, step in enumerate(spec.preprocess) if step.join}
    public = spec.public_partitions
    keys = {"partitions.public.source": public.source} if public is not None and public.source is not None else {}
    return {"source": spec.source, **joined, **keys}


def check_source_file(source: Source, where: str, *, needs_schema: bool = True) -> None:
    """Checks the options and the schema of one source.

    Raises:
        SpecError: If an option or a type is refused, or a CSV or JSON source has no schema and needs one.
    """
    if source.format is None:
        return
    found = [
        SpecError(f"the option {key} {problem}", where=f"{where}.options.{key}", mend=remedy)
        for key, problem, remedy in reading_problems(source.format, source.options)
    ]
    if source.format in TEXT_FORMATS and not source.columns and needs_schema:
        problem = f"a {source.format} source needs a schema: inferring one would read private values"
        found.append(
            SpecError(problem, where=f"{where}.schema", mend="add schema: {column: type, ...} with every column of the file")
        )
    if source.format in TEXT_FORMATS:
        found += [
            SpecError(problem, where=f"{where}.schema.{name}", mend=remedy)
            for problem, name, remedy in _schema_problems(source.format, source.columns or {})
        ]
    if found:
        raise said_together(found)


def _schema_problems(format_name: str, columns: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    simple = 'use string, boolean, int, bigint, double, "decimal(p,s)", date or timestamp'
    seen: set[str] = set()
    for name, text in columns.items():
        kind = type_kind(text, nested=True)
        if kind is None:
            yield "is not a Spark SQL type that can be read", name, simple
        elif kind in NESTED and format_name == "csv":
            yield f"is of type {kind}, which a CSV file cannot hold", name, "read it as string"
        if not name:
            yield "a column has no name", name, "name each column (pandas: to_csv(..., index=False))"
        if name.lower() in seen:
            yield "the column is listed twice (upper and lower case are the same)", name, "name each column once"
        if name.lower() == CORRUPT_RECORD:
            yield "is no column of the file: Spark puts the text of records there that it cannot read", name, "leave it out"
        if name.lower().startswith(INTERNAL):
            yield f"names that begin with {INTERNAL} are those of internal columns", name, "name the column otherwise"
        seen.add(name.lower())


class _Columns:
    """The columns that the file alone tells of, step by step: lower-case name -> type. None: it tells of none."""

    def __init__(self, types: dict[str, str] | None, schema: str = "source.schema") -> None:
        self._types, self._schema = types, schema
        self.found: list[DpSparkError] = []  # what is wrong, in the file's order

    @staticmethod
    def of(source: Source, schema: str = "source.schema") -> _Columns:
        if source.format not in TEXT_FORMATS or source.columns is None:
            return _Columns(None)
        return _Columns({name.lower(): text for name, text in source.columns.items()}, schema)

    def with_units(self, spec: ReleaseSpec) -> _Columns:
        """The same with the columns of a defined privacy unit (``unit_definition.check_unit`` has checked what they read)."""
        defined = {name.lower(): _UNKNOWN for name, text in spec.unit_definition.items() if name != text}
        return self if self._types is None else _Columns({**self._types, **defined})

    def step(self, step: Step, spec: ReleaseSpec, where: str) -> None:
        if step.join is not None:
            self._join(step.join, spec, f"{where}.join")
        if self._types is None:
            return
        if step.filter is not None:
            self._expression(step.filter, spec, f"{where}.filter")
        for name, text in (step.derive or {}).items():
            self._expression(text, spec, f"{where}.derive.{name}")
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
        right = _Columns.of(join.source, f"{where}.source.schema")
        right.found = self.found
        for name in join.on:
            self.require(name, f"{where}.on", KEYS, "be joined on")
            right.require(name, f"{where}.on", KEYS, "be joined on")
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

    def _expression(self, text: str, spec: ReleaseSpec, where: str) -> None:
        for name in sorted(check_expression(text, spec.parameters, where=where).columns):
            self.require(name, where)

    def _kind(self, name: str) -> str | None:
        """A column's kind of type; None where there is no such column."""
        text = (self._types or {}).get(name)
        return None if text is None else type_kind(text, nested=True) or _UNKNOWN

    def require(
        self,
        name: str,
        where: str,
        kinds: frozenset[str] | set[str] | None = None,
        use: str = "",
        remedies: Mapping[str, str] | None = None,
    ) -> None:
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
            self.found.append(SpecError(f"the column {name} has type {kind}, which cannot {use}", where=where, mend=remedy))


def _mend(name: str, kind: str, use: str) -> str:
    if use == "be summed":
        cast = f"add a step: preprocess: [{{cast: {{{name}: double}}}}]"
        return cast if kind in ("string", "boolean") else "use a numeric column"
    if kind in ("float", "double"):
        return f'write {name}: "decimal(20,0)" for whole numbers, or {name}: string, in source.schema'
    return "use a column of text, whole numbers, decimals, booleans, dates or timestamps"


def columns_used(spec: ReleaseSpec) -> dict[str, None]:
    """The names, in lower case and in order, that a release reads: unit, keys, aggregates and steps.

    Of a field of a struct, both the way to it and the column that holds it.
    """
    used = [*unit_sources(spec), *spec.group_by]
    used += _columns_of_aggregates(spec)
    for step in spec.preprocess:
        for text in [*(step.derive or {}).values(), *([step.filter] if step.filter is not None else [])]:
            used += sorted(check_expression(text, spec.parameters, where="preprocess").columns)
        used += [*(step.cast or {}), *(step.fill or {}), *(step.join.on if step.join is not None else ())]
    columns = {name.lower() for name in spec.source.columns or ()}
    return dict.fromkeys(part for name in used for part in _with_column(name.lower(), columns))


def _columns_of_aggregates(spec: ReleaseSpec) -> list[str]:
    return [need.column for item in spec.aggregates for need in item.needs()]


def _with_column(name: str, columns: set[str]) -> tuple[str, ...]:
    return (name,) if name in columns else tuple(dict.fromkeys((name, name.partition(".")[0])))


def unit_sources(spec: ReleaseSpec) -> list[str]:
    """The source's columns, and fields of structs in them, that the privacy unit is made of."""
    defined = {name: text for name, text in spec.unit_definition.items() if name != text}
    read = {".".join(parts) for name, text in defined.items() for parts in check_definition(name, text).reads}
    return [*(name for name in spec.unit_columns if name not in defined), *sorted(read)]


def parsed_from_text(spec: ReleaseSpec) -> dict[str, str]:
    """The unit, key and value columns that a CSV or JSON file holds as text and the release needs as another type."""
    if spec.source.format not in TEXT_FORMATS:
        return {}
    casts = {name.lower(): text for step in spec.preprocess for name, text in (step.cast or {}).items()}
    needed = {*unit_sources(spec), *spec.group_by, *_columns_of_aggregates(spec)}
    columns = {name.lower() for name in spec.source.columns or ()}
    lowered = {part for name in needed for part in _with_column(name.lower(), columns)}
    found = {
        name: casts.get(name.lower(), text) for name, text in (spec.source.columns or {}).items() if name.lower() in lowered
    }
    return {name: text for name, text in found.items() if type_kind(text, nested=True) != "string"}
