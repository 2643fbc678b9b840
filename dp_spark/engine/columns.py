"""Columns of a source: found by name, and refused where their type cannot be a key or a number."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from dp_spark.engine.parquet_schema import UNREADABLE, mend_of
from dp_spark.errors import SourceError
from dp_spark.spec.file_columns import NO_NUMBER, NO_TEXT, OR_VALUES, text_mend
from dp_spark.spec.unit_definition import quoted_text

#: Types whose equality is plain: no NaN, no -0.0, no collation, no bytes that no one can read.
_KEY_TYPES = (
    T.StringType, T.BooleanType, T.ByteType, T.ShortType, T.IntegerType, T.LongType, T.DecimalType, T.DateType,
    T.TimestampType, T.TimestampNTZType,
)  # fmt: skip


def quoted(name: str) -> str:
    """A column or table name as Spark SQL reads it literally."""
    return "`" + name.replace("`", "``") + "`"


def column(name: str) -> Column:
    """The column of exactly this name (dots are part of it)."""
    return F.col(quoted(name))


def readable_key(frame: DataFrame, name: str) -> Column:
    """A key column; null where a text is no UTF-8: other readers of a published table would fail at its bytes."""
    found = field(frame, name)
    is_text = found is not None and isinstance(found.dataType, T.StringType)
    return F.try_validate_utf8(column(name)) if is_text else column(name)


def field(frame: DataFrame, name: str) -> T.StructField | None:
    """The field of this name, without regard to case, or None."""
    found = [item for item in frame.schema.fields if item.name.lower() == name.lower()]
    return found[0] if len(found) == 1 else None


def nested(frame: DataFrame, parts: Sequence[str]) -> tuple[Column, T.StructField] | None:
    """The column, or the field of a struct, that these names lead to without regard to case; None where they lead nowhere."""
    found: list[T.StructField] = []
    fields = frame.schema.fields
    for part in parts:
        matching = [item for item in fields if item.name.lower() == part.lower()]
        if len(matching) != 1:
            return None
        found.append(matching[0])
        fields = matching[0].dataType.fields if isinstance(matching[0].dataType, T.StructType) else []
    return (F.col(".".join(quoted(item.name) for item in found)), found[-1]) if found else None


def located(frame: DataFrame, name: str) -> tuple[Column, T.StructField] | None:
    """The column of exactly this name, or else the field of a struct that a dotted name leads to; None where neither is."""
    return nested(frame, [name]) or nested(frame, name.split("."))


def is_ambiguous(frame: DataFrame, name: str) -> bool:
    """Whether a dotted name is both a column's own and the way to a field of a struct."""
    return "." in name and None not in (nested(frame, [name]), nested(frame, name.split(".")))


def require_value(frame: DataFrame, name: str, *, where: str) -> T.StructField:
    """The column or field of a struct that an aggregate reads.

    Raises:
        SourceError: If it is missing, or a dotted name is both a column's and a field's.
    """
    found = located(frame, name)
    if found is None:
        raise missing(name, where, frame)
    if is_ambiguous(frame, name):
        raise SourceError(
            f"{name} is both a column and a field of a struct",
            where=where,
            mend=f'derive the one that is meant under preprocess, as in derive: {{chosen: "{quoted(name)}"}}, and use that',
        )
    return found[1]


def require_key(frame: DataFrame, name: str, *, where: str, binary: bool = False) -> T.DataType:
    """The type of a column that can be a key: grouped by, joined on, or part of a privacy unit.

    Raises:
        SourceError: If it is missing, or of a type whose equality is not plain.
    """
    found = field(frame, name)
    if found is None:
        raise missing(name, where, frame)
    kind = found.dataType
    if is_padded(found):
        raise SourceError(
            f"the column {name} is padded with spaces (char), so no key would match",
            where=where,
            mend=f'add a step to preprocess: {{derive: {{{name}_trimmed: "rtrim({quoted_text(name)})"}}}}, '
            f"and use {name}_trimmed",
        )
    if not is_plain_key(kind, binary=binary):
        raise SourceError(
            f"the column {name} has type {kind.simpleString()}, which cannot be a key",
            where=where,
            mend=_key_mend(name, kind),
        )
    return kind


def _key_mend(name: str, kind: T.DataType) -> str:
    if isinstance(kind, T.BinaryType):
        return f'add a step to preprocess: {{derive: {{{name}_hex: "hex({quoted_text(name)})"}}}}, and use {name}_hex'
    simple = "bigint" if isinstance(kind, T.FloatType | T.DoubleType) else "string"
    return f"add a step to preprocess: {{cast: {{{name}: {simple}}}}}"


def _number_mend(name: str, kind: T.DataType) -> str:
    if isinstance(kind, T.StringType | T.BooleanType | T.NullType):
        return f"add a step to preprocess: {{cast: {{{name}: double}}}}"
    number = {
        T.DateType: ("days", "unix_date"), T.TimestampType: ("seconds", "unix_timestamp"),
        T.TimestampNTZType: ("seconds", "unix_timestamp"), T.BinaryType: ("length", "length"),
        T.ArrayType: ("size", "size"), T.MapType: ("size", "size"),
    }.get(type(kind))  # fmt: skip
    if number is None:
        return "name a column of numbers, or derive one from it"
    ending, function = number
    step = f'{{derive: {{{name}_{ending}: "{function}({quoted_text(name)})"}}}}'
    return f"add a step to preprocess: {step}, and use {name}_{ending}"


def is_padded(found: T.StructField) -> bool:
    """Whether a column is a CHAR(n), which Spark pads with spaces."""
    return str((found.metadata or {}).get("__CHAR_VARCHAR_TYPE_STRING", "")).startswith("char")


def is_plain_key(kind: T.DataType, *, binary: bool = False) -> bool:
    """Whether two values of a type are equal exactly where they look equal."""
    if isinstance(kind, T.StringType):
        return bool(kind.isUTF8BinaryCollation())
    return isinstance(kind, _KEY_TYPES) or (binary and isinstance(kind, T.BinaryType))


def require_numeric(frame: DataFrame, name: str, *, where: str, or_texts: bool = False) -> T.DataType:
    """The type of a column of numbers; with ``or_texts`` the author can list texts instead.

    Raises:
        SourceError: If it is missing or not numeric.
    """
    found = require_value(frame, name, where=where)
    if not isinstance(found.dataType, T.NumericType):
        mend = _number_mend(name, found.dataType)
        if field(frame, name) is None:
            number = f'derive: {{number: "cast({_path(frame, name)} as double)"}}'
            mend = f"derive it under preprocess: {number}, and say column: number"
        if or_texts and isinstance(found.dataType, T.StringType):
            mend += OR_VALUES
        raise SourceError(
            f"the column {name} has type {found.dataType.simpleString()}, which {NO_NUMBER}", where=where, mend=mend
        )
    return found.dataType


def require_text(frame: DataFrame, name: str, *, where: str) -> T.DataType:
    """The type of a column that is compared with texts.

    Raises:
        SourceError: If it is missing, or not of texts whose equality is plain.
    """
    found = require_value(frame, name, where=where)
    if is_padded(found) or not isinstance(found.dataType, T.StringType) or not is_plain_key(found.dataType):
        path = _path(frame, name)
        raise SourceError(
            f"the column {name} has type {found.dataType.simpleString()}, which {NO_TEXT}",
            where=where,
            mend=text_mend(name, f"rtrim({path})" if is_padded(found) else f"cast({path} as string)"),
        )
    return found.dataType


def _path(frame: DataFrame, name: str) -> str:
    """A column, or the field of a struct that a dotted name leads to, as an expression reads it."""
    return quoted_text(name) if field(frame, name) is not None else ".".join(map(quoted_text, name.split(".")))


def is_number(double: Column) -> Column:
    """Whether a floating-point column has a value: neither null nor NaN."""
    return double.isNotNull() & ~F.isnan(double)


def missing(name: str, where: str, frame: DataFrame) -> SourceError:
    """The error for a column that is not there (or there twice), or that Spark cannot read."""
    for item in frame.schema.fields:
        unreadable = (item.metadata or {}).get(UNREADABLE, {})
        for other, kind in unreadable.items():
            if other.lower() == name.lower():
                return SourceError(
                    f"the column {other} has the type {kind} of Parquet, which Spark cannot read",
                    where=where,
                    mend=mend_of(kind, other),
                )
    known = ", ".join(sorted(frame.columns)[:20])
    return SourceError(f"there is no column {name}", where=where, mend=f"use one of: {known}")
