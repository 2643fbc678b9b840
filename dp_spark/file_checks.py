"""What a release file alone tells about its source: options, types and columns, before a budget or a minute is spent.

These refusals are for a new charge (``preview``, ``release``). A release that is drawn is completed by the rules of the
version that drew it, so the model of the file (``spec``) stays as it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dp_spark.errors import SpecError
from dp_spark.expressions import check_expression, check_type
from dp_spark.source_options import reading_problems
from dp_spark.spark_types import KEYS, NESTED, NUMBERS, type_kind
from dp_spark.spec import ClippedAggregate, Count, ReleaseSpec, Source, Step
from dp_spark.unit_definition import check_definition, mend, quoted_text

#: Formats whose files do not say what their columns are.
TEXT_FORMATS = ("csv", "json")
#: Where Spark would put the text of a malformed record.
CORRUPT_RECORD = "_corrupt_record"
#: A column whose type the file alone does not tell.
_UNKNOWN = "unknown"


def check_file(spec: ReleaseSpec) -> None:
    """Checks sources, types and columns as far as the release file alone tells; needs no Spark.

    Args:
        spec: The release file, after ``${NAME}`` and ``preprocess.check_steps``.

    Raises:
        SpecError: Naming the key and the mend.
    """
    for where, source in _sources(spec).items():
        check_source_file(source, where, needs_schema=where != "partitions.public.source")
    columns = _Columns.of(spec.source).with_units(spec)
    for index, step in enumerate(spec.preprocess):
        columns.step(step, spec, f"preprocess.{index}")
    unit = spec.unit_definition or {part: part for part in spec.unit_columns}
    for name in spec.unit_columns:
        whole = mend(unit, name, f"cast({quoted_text(name)} as bigint)", spec.source.columns or ())
        remedies = dict.fromkeys(("float", "double"), whole)
        columns.require(name, "privacy_unit", KEYS | {"binary"}, "be a privacy unit", remedies)
    for name in spec.group_by:
        columns.require(name, "group_by", KEYS, "be a key")
    for aggregate in spec.aggregates:
        if isinstance(aggregate, ClippedAggregate):
            columns.require(aggregate.column, f"aggregates.{aggregate.name}", NUMBERS, "be summed")
        elif isinstance(aggregate, Count) and aggregate.column is not None:
            columns.require(aggregate.column, f"aggregates.{aggregate.name}")


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
    for key, problem, remedy in reading_problems(source.format, source.options):
        raise SpecError(f"the option {key} {problem}", where=f"{where}.options.{key}", mend=remedy)
    if source.format not in TEXT_FORMATS:
        return
    if not source.columns and needs_schema:
        raise SpecError(
            f"a {source.format} source needs a schema: inferring one would read private values",
            where=f"{where}.schema",
            mend="add schema: {column: type, ...} with every column of the file",
        )
    for problem, name, remedy in _schema_problems(source.format, source.columns or {}):
        raise SpecError(problem, where=f"{where}.schema.{name}", mend=remedy)


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
        seen.add(name.lower())


class _Columns:
    """The columns that the file alone tells of, step by step: lower-case name -> kind of type. None: it tells of none."""

    def __init__(self, kinds: dict[str, str] | None) -> None:
        self._kinds = kinds

    @staticmethod
    def of(source: Source) -> _Columns:
        if source.format not in TEXT_FORMATS or source.columns is None:
            return _Columns(None)
        return _Columns({name.lower(): type_kind(text, nested=True) or _UNKNOWN for name, text in source.columns.items()})

    def with_units(self, spec: ReleaseSpec) -> _Columns:
        """The same with the columns of a defined privacy unit (``unit_definition.check_unit`` has checked what they read)."""
        defined = {name.lower(): _UNKNOWN for name, text in spec.unit_definition.items() if name != text}
        return self if self._kinds is None else _Columns({**self._kinds, **defined})

    def step(self, step: Step, spec: ReleaseSpec, where: str) -> None:
        if self._kinds is None:
            return
        if step.filter is not None:
            self._expression(step.filter, spec, f"{where}.filter")
        for name, text in (step.derive or {}).items():
            self._expression(text, spec, f"{where}.derive.{name}")
            self._kinds[name.lower()] = _UNKNOWN
        for name, text in (step.cast or {}).items():
            self.require(name, f"{where}.cast")
            self._kinds[name.lower()] = type_kind(check_type(text, where=f"{where}.cast.{name}")) or _UNKNOWN
        for name in [*(step.fill or {}), *(step.drop or ())]:
            self.require(name, where)
        for name in step.drop or ():
            self._kinds.pop(name.lower(), None)
        if step.join is not None:
            for name in step.join.on:
                self.require(name, f"{where}.join.on", KEYS, "be joined on")
            added = _Columns.of(step.join.source)._kinds
            self._kinds = None if added is None else {**added, **self._kinds}

    def _expression(self, text: str, spec: ReleaseSpec, where: str) -> None:
        for name in sorted(check_expression(text, spec.parameters, where=where).columns):
            self.require(name, where)

    def require(
        self,
        name: str,
        where: str,
        kinds: frozenset[str] | set[str] | None = None,
        use: str = "",
        remedies: Mapping[str, str] | None = None,
    ) -> None:
        if self._kinds is None:
            return
        kind = self._kinds.get(name.lower())
        if kind is None and self._kinds.get(name.lower().partition(".")[0]) in ("struct", "map"):
            return  # a field of it, which Spark knows
        if kind is None:
            known = ", ".join(sorted(self._kinds)[:20])
            raise SpecError(
                f"there is no column {name} in source.schema and the steps before",
                where=where,
                mend=f"use one of: {known}; or list {name} under source.schema, also where folders such as {name}=1 make it",
            )
        if kinds is not None and kind != _UNKNOWN and kind not in kinds:
            remedy = (remedies or {}).get(kind) or _mend(name, kind, use)
            raise SpecError(f"the column {name} has type {kind}, which cannot {use}", where=where, mend=remedy)


def _mend(name: str, kind: str, use: str) -> str:
    if use == "be summed":
        return (
            f"cast it under preprocess: cast: {{{name}: double}}" if kind in ("string", "boolean") else "use a numeric column"
        )
    if kind in ("float", "double"):
        return f'write {name}: "decimal(20,0)" for whole numbers, or {name}: string, in source.schema'
    return "use a column of text, whole numbers, decimals, booleans, dates or timestamps"


def columns_used(spec: ReleaseSpec) -> dict[str, None]:
    """The names, in lower case and in order, that a release reads: unit, keys, aggregates and steps.

    Of a field of a struct, both the way to it and the column that holds it.
    """
    used = [*unit_sources(spec), *spec.group_by]
    used += [item.column for item in spec.aggregates if isinstance(item, ClippedAggregate | Count) and item.column is not None]
    for step in spec.preprocess:
        for text in [*(step.derive or {}).values(), *([step.filter] if step.filter is not None else [])]:
            used += sorted(check_expression(text, spec.parameters, where="preprocess").columns)
        used += [*(step.cast or {}), *(step.fill or {}), *(step.join.on if step.join is not None else ())]
    columns = {name.lower() for name in spec.source.columns or ()}
    return dict.fromkeys(part for name in used for part in _with_column(name.lower(), columns))


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
    needed = {*unit_sources(spec), *spec.group_by}
    needed |= {
        item.column for item in spec.aggregates if isinstance(item, ClippedAggregate | Count) and item.column is not None
    }
    columns = {name.lower() for name in spec.source.columns or ()}
    lowered = {part for name in needed for part in _with_column(name.lower(), columns)}
    found = {
        name: casts.get(name.lower(), text) for name, text in (spec.source.columns or {}).items() if name.lower() in lowered
    }
    return {name: text for name, text in found.items() if type_kind(text, nested=True) != "string"}
