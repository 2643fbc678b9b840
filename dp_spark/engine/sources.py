"""Every read of a source: which rows there are, and of what shape, without looking at a value beforehand.

Opening a source reads metadata only. CSV and JSON have none, so they need a ``schema``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import Column, DataFrame, DataFrameReader, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from dp_spark.engine.parquet_schema import UNREADABLE, mend_of, readable_schema
from dp_spark.engine.providers import provider_of
from dp_spark.engine.source_identity import folders_outside, real_files
from dp_spark.engine.text_files import TextFiles
from dp_spark.engine.text_files import column as column
from dp_spark.engine.text_files import quoted as quoted
from dp_spark.errors import SourceError, SpecError
from dp_spark.places.paths import is_local, pattern_of, resolve, spark_path
from dp_spark.spark.errors import SPARK_ERRORS, condition
from dp_spark.spec.file_checks import TEXT_FORMATS, check_source_file
from dp_spark.spec.release_spec import Source
from dp_spark.spec.unit_definition import quoted_text
from dp_spark.tables.delta import has_local_log
from dp_spark.tables.refs import quoted_name

_READABLE_TABLES = ("MANAGED", "EXTERNAL")
#: Types whose equality is plain: no NaN, no -0.0, no collation, no bytes that no one can read.
_KEY_TYPES = (
    T.StringType, T.BooleanType, T.ByteType, T.ShortType, T.IntegerType, T.LongType, T.DecimalType, T.DateType,
    T.TimestampType, T.TimestampNTZType,
)  # fmt: skip


def open_source(spark: SparkSession, source: Source, *, where: str, types: Mapping[str, str] | None = None) -> DataFrame:
    """A source as a lazy frame; reads metadata, never a value.

    Args:
        spark: The session.
        source: The source, after ``${NAME}``.
        where: Its key in the release file, for errors.
        types: For a CSV or JSON file without a schema of its own: column -> Spark SQL type.

    Raises:
        SourceError: If it is missing, not readable, or a view.
        SpecError: If a CSV or JSON source has no schema.
    """
    if source.table is not None:
        return _open_table(spark, source.table, where)
    if source.format in TEXT_FORMATS:
        return _opened(text_files(spark, source, where=where, types=types).rows, source, where)
    return _opened(lambda: _load(spark, source, where, str(source.format), source.options, None), source, where)


def open_checked(spark: SparkSession, source: Source, *, where: str, types: Mapping[str, str] | None = None) -> DataFrame:
    """The same, after what can be told before a charge: CSV columns are bound by the name in each file's header line.

    Of a CSV file with a header it reads that one line; of all others it reads metadata.

    Raises:
        SourceError: Also if a header line does not name exactly the columns of the schema.
        SpecError: Also if Spark refuses an option.
    """
    if source.format not in TEXT_FORMATS:
        return open_source(spark, source, where=where, types=types)
    files = text_files(spark, source, where=where, types=types)
    _opened(files.rows, source, where)
    files.check_formats(where)
    return _opened(files.with_headers(where).rows, source, where)


def text_files(spark: SparkSession, source: Source, *, where: str, types: Mapping[str, str] | None = None) -> TextFiles:
    """The files of a CSV or JSON source.

    Raises:
        SpecError: If it has no schema.
    """
    schema = _schema(source, where, types)
    return TextFiles(spark, lambda *given: _load(spark, source, where, *given), str(source.format), source.options, schema)


def made_by_folders(spark: SparkSession, source: Source) -> frozenset[str]:
    """The columns of a CSV or JSON source that are in the names of folders, in lower case; of another source, none."""
    return text_files(spark, source, where="source").made if source.format in TEXT_FORMATS else frozenset()


def _load(
    spark: SparkSession, source: Source, where: str, format_name: str, options: Mapping[str, str], schema: T.StructType | None
) -> DataFrame:
    reader = spark.read.format(format_name).options(**options)
    reader = reader if schema is None else reader.schema(schema)
    if source.path is None:
        path = None
    elif format_name == "delta":  # a path of Delta is no pattern
        path = spark_path(resolve(source.path))
    else:
        path = spark_path(pattern_of(resolve(source.path), where=f"{where}.path"))
    return _loaded(spark, reader, format_name, path)


def _opened(load: Callable[[], DataFrame], source: Source, where: str) -> DataFrame:
    if source.path is not None and source.format != "delta":
        _check_not_delta([resolve(source.path)], str(source.format), where)
    try:
        frame = load()
    except SPARK_ERRORS as error:
        raise SourceError(
            f"cannot be opened as {source.format} ({condition(error)})",
            where=where,
            mend="check that it exists, is readable and has this format",
        ) from None
    if not frame.columns:
        raise SourceError("has no columns", where=where, mend="point it at a table with rows and columns")
    if source.path is not None and source.format != "delta":  # links and wildcards lead to one, too
        outside = folders_outside(resolve(source.path), frame.inputFiles(), where=where)
        _check_not_delta(outside, str(source.format), where)
    return frame


def _loaded(spark: SparkSession, reader: DataFrameReader, kind: str, path: str | None) -> DataFrame:
    try:
        return reader.load() if path is None else reader.load(path)
    except SPARK_ERRORS:
        if kind != "parquet" or path is None:
            raise
        files = real_files(reader.schema("unknown string").load(path).inputFiles())
        schema = readable_schema(spark, files[0]) if files and is_local(files[0]) else None
        if schema is None:
            raise
        return reader.schema(schema).load(path)


def _check_not_delta(folders: Iterable[str], kind: str, where: str) -> None:
    """A Delta table's folder also holds rows that were removed."""
    if any(map(_is_delta, folders)):
        raise SourceError(
            f"is a Delta table, not {kind}: its removed rows would be read again",
            where=where,
            mend="read it by format: delta and path",
        )


def _open_table(spark: SparkSession, name: str, where: str) -> DataFrame:
    try:
        kind = spark.catalog.getTable(quoted_name(name)).tableType
        if kind not in _READABLE_TABLES:
            raise SourceError(
                f"{name} is not a plain table but of type {kind}",
                where=where,
                mend="name the table under the view: a view's limits and windows break the guarantee",
            )
        described = _described(spark, name)
        provider = provider_of(name, {} if described is None else described[1], where=where)
        frame = spark.read.table(quoted_name(name))
    except SPARK_ERRORS as error:
        raise SourceError(
            f"the table {name} cannot be opened ({condition(error)})", where=where, mend="check its name and your grants"
        ) from None
    if provider != "delta":
        _check_not_delta(folders_outside("", frame.inputFiles(), where=where), provider, where)
    return frame


@dataclass(frozen=True)
class Buckets:
    """How a catalog table is stored in buckets, so that Spark reads the rows of one unit together, without a shuffle.

    Attributes:
        columns: The columns whose hash says in which bucket a row is.
        number: How many buckets there are.
    """

    columns: tuple[str, ...]
    number: int

    @staticmethod
    def of(spark: SparkSession, source: Source, units: Sequence[str]) -> Buckets | None:
        """The buckets of a table that Spark itself filled and that keep each unit together, or None."""
        described = None if source.table is None else _described(spark, source.table)
        if described is None:
            return None
        names, about = described
        if about.get("Type") != "MANAGED" or about.get("Provider") not in ("parquet", "orc") or "Num Buckets" not in about:
            return None
        if "_metadata" in names:  # it would hide the file names
            return None
        found = tuple(re.findall(r"`([^`]+)`", about["Bucket Columns"]))
        within = {name.lower() for name in found} <= {unit.lower() for unit in units}
        return Buckets(found, int(about["Num Buckets"])) if found and within else None

    def only_in_place(self, frame: DataFrame) -> DataFrame:
        """The rows that are in the bucket where they belong: in a table that Spark filled, all of them.

        Guarantees: what is left of one unit is read by one task, whatever files somebody put there. Spark takes a
        file's bucket from its name and believes it.
        """
        named = F.regexp_extract(F.col("_metadata.file_name"), r".*_(\d+)(?:\..*)?$", 1).try_cast("int")
        return frame.where(named == F.pmod(F.hash(*map(column, self.columns)), F.lit(self.number)))


def partition_columns(spark: SparkSession, source: Source) -> list[str]:
    """The columns that the partitions of a catalog table make, where the catalog says for each partition where it lies."""
    described = None if source.table is None else _described(spark, source.table)
    if source.table is None or (described is not None and described[1].get("Provider", "").lower() == "delta"):
        return []
    return [item.name for item in spark.catalog.listColumns(quoted_name(source.table)) if item.isPartition]


def in_buckets(spark: SparkSession, source: Source) -> bool:
    """Whether Spark may believe the names of a source's files about its buckets."""
    described = None if source.table is None else _described(spark, source.table)
    return source.table is not None and (described is None or described[1].get("Num Buckets", "0") not in ("0", "-1"))


def _described(spark: SparkSession, name: str) -> tuple[set[str], dict[str, str]] | None:
    """The columns of a catalog table in lower case, and what the catalog says about it; None where it does not say."""
    try:
        rows = spark.sql(f"DESCRIBE TABLE EXTENDED {quoted_name(name)}").collect()
    except SPARK_ERRORS:
        return None
    names = [row["col_name"] for row in rows]
    header = "# Detailed Table Information"
    if header not in names:
        return None
    start = len(names) - names[::-1].index(header)  # a column may be called so, too
    return {name.lower() for name in names[:start]}, {row["col_name"]: row["data_type"] for row in rows[start:]}


def _is_delta(path: str) -> bool:
    """Whether a local path is a Delta table or inside one."""
    folders = [Path(path), *Path(path).parents] if is_local(path) else []
    return any(has_local_log(str(folder)) for folder in folders)


def _schema(source: Source, where: str, types: Mapping[str, str] | None) -> T.StructType:
    check_source_file(source, where, needs_schema=not types)
    columns = source.columns or types or {}
    ddl = ", ".join(f"{quoted(name)} {kind}" for name, kind in columns.items())
    try:
        parsed = T.StructType.fromDDL(ddl)
    except SPARK_ERRORS:
        parsed = T.StructType([])
    if not isinstance(parsed, T.StructType) or parsed.names != list(columns):
        raise SpecError("holds an unknown type", where=f"{where}.schema", mend="use Spark SQL types such as double or date")
    return parsed


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


def require_numeric(frame: DataFrame, name: str, *, where: str) -> T.DataType:
    """The type of a column that can be summed.

    Raises:
        SourceError: If it is missing or not numeric.
    """
    found = require_value(frame, name, where=where)
    if not isinstance(found.dataType, T.NumericType):
        mend = _number_mend(name, found.dataType)
        if field(frame, name) is None:
            path = ".".join(quoted_text(part) for part in name.split("."))
            mend = f'derive it under preprocess: derive: {{number: "cast({path} as double)"}}, and say column: number'
        raise SourceError(
            f"the column {name} has type {found.dataType.simpleString()}, which is not numeric", where=where, mend=mend
        )
    return found.dataType


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
