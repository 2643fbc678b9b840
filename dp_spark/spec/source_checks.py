"""What the release file alone tells about one source: its options and the types of its schema; and which sources there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dp_spark.errors import SpecError, said_together
from dp_spark.spec.release_spec import ReleaseSpec, Source
from dp_spark.spec.source_options import reading_problems
from dp_spark.spec.spark_types import NESTED, type_kind

#: Formats whose files do not say what their columns are.
TEXT_FORMATS = ("csv", "json")
#: Where Spark would put the text of a malformed record, and how the names of our own columns begin: one of them holds it.
_CORRUPT_RECORD, _INTERNAL = "_corrupt_record", "__dp_spark_"


def sources_of(spec: ReleaseSpec) -> dict[str, Source]:
    """Everything that a release reads: key of the release file -> source, the private one first."""
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
        if name.lower() == _CORRUPT_RECORD:
            yield "is no column of the file: Spark puts the text of records there that it cannot read", name, "leave it out"
        if name.lower().startswith(_INTERNAL):
            yield f"names that begin with {_INTERNAL} are those of internal columns", name, "name the column otherwise"
        seen.add(name.lower())
