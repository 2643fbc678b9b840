"""Every read of a source: which rows there are, and of what shape, without looking at a value beforehand.

Opening a source reads metadata only. CSV and JSON have none, so they need a ``schema``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pyspark.sql import DataFrame, DataFrameReader, SparkSession
from pyspark.sql import types as T

from dp_spark.engine.catalog import describe
from dp_spark.engine.columns import quoted
from dp_spark.engine.csv_files import CsvFiles
from dp_spark.engine.json_files import JsonFiles
from dp_spark.engine.parquet_schema import readable_schema
from dp_spark.engine.providers import provider_of
from dp_spark.engine.source_identity import folders_outside, real_files
from dp_spark.engine.text_files import TextFiles
from dp_spark.errors import SourceError, SpecError
from dp_spark.places.paths import is_local, pattern_of, resolve, spark_path
from dp_spark.spark.errors import SPARK_ERRORS, condition
from dp_spark.spec.release_spec import Source
from dp_spark.spec.source_checks import TEXT_FORMATS, check_source_file
from dp_spark.tables.refs import has_local_log, quoted_name

_READABLE_TABLES = ("MANAGED", "EXTERNAL")


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
    files = CsvFiles if source.format == "csv" else JsonFiles
    return files(spark, lambda *given: _load(spark, source, where, *given), source.options, schema)


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
        described = describe(spark, name)
        provider = provider_of(name, {} if described is None else described[1], where=where)
        frame = spark.read.table(quoted_name(name))
    except SPARK_ERRORS as error:
        raise SourceError(
            f"the table {name} cannot be opened ({condition(error)})", where=where, mend="check its name and your grants"
        ) from None
    if provider != "delta":
        _check_not_delta(folders_outside("", frame.inputFiles(), where=where), provider, where)
    return frame


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
