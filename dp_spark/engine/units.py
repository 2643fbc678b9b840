"""The privacy unit on the source: computed where it is defined, and refused before the charge where it cannot be one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from dp_spark.engine.catalog import partition_columns
from dp_spark.engine.columns import column, field, is_ambiguous, is_padded, is_plain_key, located, missing, nested, quoted
from dp_spark.engine.source_identity import has_link_to_another
from dp_spark.engine.time_guard import guarded
from dp_spark.errors import SourceError, SpecError
from dp_spark.spark.errors import translated
from dp_spark.spec.release_spec import ReleaseSpec, Source
from dp_spark.spec.unit_definition import check_definition, check_names, mend, quoted_text, read_by_unit
from dp_spark.spec.unit_pin import IN_FOLDERS, unit_text

#: How many bits of a hash tell partitions apart: so many times the files of a partitioned table are listed, from a cache.
_SPLITS = 24


def with_units(frame: DataFrame, spec: ReleaseSpec) -> DataFrame:
    """The source with the columns of a defined privacy unit; before the first step, and still lazy.

    Args:
        frame: The source as it is read.
        spec: The release file, after ``preprocess.check_steps``.

    Raises:
        SourceError: If a definition reads a column that is not there.
        SpecError: If its name is a column's, or it reads a timestamp.

    Guarantees: each new column is a function of its row alone, and not of the session's time zone.
    """
    defined = {name: check_definition(name, text) for name, text in spec.unit_definition.items() if name != text}
    for name, definition in defined.items():
        check_names(spec, name, {parts[0] for parts in definition.reads}, frame.columns)
        for parts in sorted(definition.reads):
            _check_read(frame, parts, f"privacy_unit.{name}")
    source = _without_nan(frame, {parts[0] for definition in defined.values() for parts in definition.reads})
    computed = source
    for name, definition in defined.items():
        where = f"privacy_unit.{name}"
        with translated(SourceError, "Spark cannot resolve it", where=where, mend="check column names and types"):
            computed = computed.withColumn(name, guarded(source, definition.expression, where))
            _ = computed.schema
    return computed


def _check_read(frame: DataFrame, parts: tuple[str, ...], where: str) -> None:
    found, name = nested(frame, parts), ".".join(parts)
    if found is None:
        raise missing(name, where, frame)
    if len(parts) > 1 and field(frame, name) is not None:
        raise SourceError(
            f"{name} is both a column and a field of a struct",
            where=where,
            mend=f"write the column in backticks ({quoted(name)}); the field cannot be told from it",
        )
    if any(isinstance(kind, T.TimestampType) for kind in _kinds(found[1].dataType)):
        raise SpecError(
            f"{name} is a timestamp: a privacy unit must not depend on a time zone",
            where=where,
            mend="define it by texts and numbers of the row",
        )


def _kinds(kind: T.DataType) -> Iterator[T.DataType]:
    yield kind
    if isinstance(kind, T.StructType):
        inner = [item.dataType for item in kind.fields]
    elif isinstance(kind, T.MapType):
        inner = [kind.keyType, kind.valueType]
    else:
        inner = [kind.elementType] if isinstance(kind, T.ArrayType) else []
    for item in inner:
        yield from _kinds(item)


def _without_nan(frame: DataFrame, names: set[str]) -> DataFrame:
    """NaN is no id: where a definition reads it, it is null, so that no cast makes the id 0 of it."""
    read = [found for found in (field(frame, name) for name in sorted(names)) if found is not None]
    floats = [found.name for found in read if isinstance(found.dataType, T.FloatType | T.DoubleType)]
    clean = {name: F.when(~F.isnan(column(name)), column(name)) for name in floats}
    return frame.withColumns(clean) if clean else frame


def require_units(frame: DataFrame, spec: ReleaseSpec) -> None:
    """Checks that every part of the privacy unit is there and has a type whose equality is plain, or that a row is read once.

    Args:
        frame: The source after ``with_units``.
        spec: The release file.

    Raises:
        SourceError: With the definition to write instead.
    """
    if not spec.unit_columns:
        _check_read_once(frame, spec.source)
    for name in spec.unit_columns:
        found = located(frame, name)
        if found is None:
            raise missing(name, "privacy_unit", frame)
        if isinstance(found[1].dataType, T.NullType):
            raise SourceError(f"{name} is always null", where="privacy_unit", mend="use a column that has values")
        if is_ambiguous(frame, name):
            problem, better = f"{name} is both a column and a field of a struct", quoted(name)
        elif is_padded(found[1]):
            problem, better = f"the column {name} is padded with spaces (char)", f"rtrim({_text(spec, name)})"
        elif not is_plain_key(found[1].dataType, binary=True):
            kind = found[1].dataType.simpleString()
            problem = f"the column {name} has type {kind}, which cannot be a privacy unit"
            better = _as_key(found[1].dataType, _text(spec, name))
        else:
            continue
        unit = spec.unit_definition or {part: part for part in spec.unit_columns}
        source = [item for item in frame.columns if item not in unit or unit[item] == item]
        raise SourceError(problem, where="privacy_unit", mend=mend(unit, name, better, source))


def _check_read_once(frame: DataFrame, source: Source) -> None:
    """Where each row is a unit, a stored row that is read twice would be two units."""
    with translated(SourceError, "its files cannot be listed", where="source", mend="check your grants"):
        if has_link_to_another(frame.inputFiles()):
            raise SourceError(
                "a file is read twice, since a link leads to it; where each row is a privacy unit, it would be two",
                where="source.path",
                mend="remove the link, or name the folder that it leads to",
            )
        columns = partition_columns(frame.sparkSession, source)
        if columns and _share_files(frame, columns):
            raise SourceError(
                "two partitions of the table have files in common; where each row is a privacy unit, it would be two",
                where="source.table",
                mend="drop one of them (ALTER TABLE ... DROP PARTITION), or make a Delta table of it",
            )


def _share_files(frame: DataFrame, columns: Sequence[str]) -> bool:
    """Whether two partitions have a file in common; lists files and reads none.

    Spark names a file once, however many partitions have it. So the partitions are split in two, each time by another bit
    of a hash: two that share a file are in different halves for one of the bits.
    """
    number = F.xxhash64(*map(column, columns))
    for bit in range(_SPLITS):
        chosen = F.shiftright(number, bit).bitwiseAND(F.lit(1)) == 1
        if not set(frame.where(chosen).inputFiles()).isdisjoint(frame.where(~chosen).inputFiles()):
            return True
    return False


def _text(spec: ReleaseSpec, name: str) -> str:
    text = spec.unit_definition.get(name, name)
    return text if text != name else ".".join(quoted_text(part) for part in name.split("."))


def _as_key(kind: T.DataType, text: str) -> str:
    """An expression of a value that makes a key of it."""
    if isinstance(kind, T.FloatType | T.DoubleType):
        return f"cast({text} as bigint)"
    if isinstance(kind, T.StructType):
        inner = sorted(kind.fields, key=lambda item: not is_plain_key(item.dataType))
        chosen = inner[0]
        path = f"{text}.{quoted_text(chosen.name)}"
        return path if is_plain_key(chosen.dataType) else _as_key(chosen.dataType, path)
    return f"cast({text} as string)"


def pinned_unit(frame: DataFrame, spec: ReleaseSpec, made: Collection[str] = ()) -> str:
    """The privacy unit as the ledger keeps it.

    Args:
        frame: The source as it is read.
        spec: The release file, after ``${NAME}``.
        made: The columns that folders make, in lower case (``sources.made_by_folders``).

    Guarantees: where a source is read by position, one text is one place in a line, whatever folders it lies in.
    """
    types: dict[str, str] = {}
    for name, text in spec.unit_definition.items():
        for parts in sorted({(name,)} if name == text else check_definition(name, text).reads):
            found = located(frame, name) if name == text else nested(frame, parts)
            types |= {} if found is None else {".".join(parts): found[1].dataType.simpleString()}
    positions: dict[str, int] = {}
    if spec.source.by_position:
        read, schema = read_by_unit(spec), list(spec.source.columns or ())
        in_lines = [name for name in schema if name.lower() not in made]
        positions = dict.fromkeys((name for name in schema if name.lower() in read), IN_FOLDERS)
        positions |= {name: place for place, name in enumerate(in_lines, start=1) if name in positions}
    return unit_text(spec.unit_columns, spec.unit_definition, types, positions)
