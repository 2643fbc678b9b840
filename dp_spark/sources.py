"""Every read of a source: which rows there are, and of what shape, without looking at a value beforehand.

Opening a source reads metadata only. CSV and JSON have none, so they need a ``schema``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from dp_spark.errors import SourceError, SpecError
from dp_spark.file_checks import TEXT_FORMATS, check_source_file
from dp_spark.paths import is_local, resolve, spark_path
from dp_spark.spark_errors import SPARK_ERRORS, condition
from dp_spark.spec import Source
from dp_spark.tables import has_local_log, quoted_name
from dp_spark.text_files import TextFiles
from dp_spark.text_files import column as column
from dp_spark.text_files import quoted as quoted

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
        return _loaded(text_files(spark, source, where=where, types=types).rows, source, where)
    return _loaded(lambda: _load(spark, source, str(source.format), source.options, None), source, where)


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
    _loaded(files.rows, source, where)
    files.check_formats(where)
    return _loaded(files.with_headers(where).rows, source, where)


def text_files(spark: SparkSession, source: Source, *, where: str, types: Mapping[str, str] | None = None) -> TextFiles:
    """The files of a CSV or JSON source.

    Raises:
        SpecError: If it has no schema.
    """
    schema = _schema(source, where, types)
    return TextFiles(spark, lambda *given: _load(spark, source, *given), str(source.format), source.options, schema)


def _load(
    spark: SparkSession, source: Source, format_name: str, options: Mapping[str, str], schema: T.StructType | None
) -> DataFrame:
    reader = spark.read.format(format_name).options(**options)
    reader = reader if schema is None else reader.schema(schema)
    return reader.load() if source.path is None else reader.load(spark_path(resolve(source.path)))


def _loaded(load: Callable[[], DataFrame], source: Source, where: str) -> DataFrame:
    _check_not_delta(source, where)
    try:
        frame = load()
        if not frame.columns:
            raise SourceError("has no columns", where=where, mend="point it at a table with rows and columns")
        return frame
    except SPARK_ERRORS as error:
        raise SourceError(
            f"cannot be opened as {source.format} ({condition(error)})",
            where=where,
            mend="check that it exists, is readable and has this format",
        ) from None


def _check_not_delta(source: Source, where: str) -> None:
    if source.path is not None and source.format != "delta" and _is_delta(resolve(source.path)):
        raise SourceError(
            f"is a Delta table, not {source.format}: its removed rows would be read again",
            where=where,
            mend="say format: delta",
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
        return spark.read.table(quoted_name(name))
    except SPARK_ERRORS as error:
        raise SourceError(
            f"the table {name} cannot be opened ({condition(error)})", where=where, mend="check its name and your grants"
        ) from None


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
        described = _described(spark, source)
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


def in_buckets(spark: SparkSession, source: Source) -> bool:
    """Whether Spark may believe the names of a source's files about its buckets."""
    described = _described(spark, source)
    return source.table is not None and (described is None or described[1].get("Num Buckets", "0") not in ("0", "-1"))


def _described(spark: SparkSession, source: Source) -> tuple[set[str], dict[str, str]] | None:
    """The columns of a catalog table in lower case, and what the catalog says about it; None where it does not say."""
    if source.table is None:
        return None
    try:
        rows = spark.sql(f"DESCRIBE TABLE EXTENDED {quoted_name(source.table)}").collect()
    except SPARK_ERRORS:
        return None
    names = [row["col_name"] for row in rows]
    if "# Detailed Table Information" not in names:
        return None
    start = names.index("# Detailed Table Information")
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


def field(frame: DataFrame, name: str) -> T.StructField | None:
    """The field of this name, without regard to case, or None."""
    found = [item for item in frame.schema.fields if item.name.lower() == name.lower()]
    return found[0] if len(found) == 1 else None


def require_key(frame: DataFrame, name: str, *, where: str, binary: bool = False) -> T.DataType:
    """The type of a column that can be a key: grouped by, joined on, or part of a privacy unit.

    Raises:
        SourceError: If it is missing, or of a type whose equality is not plain.
    """
    found = field(frame, name)
    if found is None:
        raise missing(name, where, frame)
    kind = found.dataType
    plain = isinstance(kind, _KEY_TYPES) or (binary and isinstance(kind, T.BinaryType))
    if isinstance(kind, T.StringType) and not kind.isUTF8BinaryCollation():
        plain = False
    if str((found.metadata or {}).get("__CHAR_VARCHAR_TYPE_STRING", "")).startswith("char"):
        raise SourceError(
            f"the column {name} is padded with spaces (char), so no key would match",
            where=where,
            mend=f"derive a text without them under preprocess: derive: {{trimmed: rtrim({name})}}",
        )
    if not plain:
        raise SourceError(
            f"the column {name} has type {kind.simpleString()}, which cannot be a key",
            where=where,
            mend=f"derive a whole number, decimal, text or date from it under preprocess: cast: {{{name}: ...}}",
        )
    return kind


def require_numeric(frame: DataFrame, name: str, *, where: str) -> T.DataType:
    """The type of a column that can be summed.

    Raises:
        SourceError: If it is missing or not numeric.
    """
    found = field(frame, name)
    if found is None:
        raise missing(name, where, frame)
    if not isinstance(found.dataType, T.NumericType):
        raise SourceError(
            f"the column {name} has type {found.dataType.simpleString()}, which is not numeric",
            where=where,
            mend=f"cast it under preprocess: cast: {{{name}: double}}",
        )
    return found.dataType


def missing(name: str, where: str, frame: DataFrame) -> SourceError:
    """The error for a column that is not there (or there twice)."""
    known = ", ".join(sorted(frame.columns)[:20])
    return SourceError(f"there is no column {name}", where=where, mend=f"use one of: {known}")
