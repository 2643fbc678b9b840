"""CSV and JSON files as rows, each record by itself: what one record holds changes how no other is read.

- A record is one line. Fields that hold line breaks are not read (``source_options.reading_problems``).
- Spark's JSON reader makes rows of the elements of a line that is an array, and one bad element drops the others. So JSON
  lines are read as text and parsed one by one with ``from_json``, for which such a line is one malformed record.
- A CSV file's header line is compared with the schema before anything else is read, and binds columns by name.
- Folders' names are private values, too: each is read as text, and one that is not of its column's type is null.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from dp_spark.engine.columns import column
from dp_spark.errors import SourceError, SpecError
from dp_spark.spark.errors import SPARK_ERRORS, condition, translated
from dp_spark.spec.conversions import TIME_OF_DAY

#: How the files of one source are loaded: format, options, schema -> the rows, lazy.
Load = Callable[[str, Mapping[str, str], T.StructType], DataFrame]

#: Internal columns: a line, what was parsed of it, and its text where it could not be parsed in full.
LINE, RECORD, MALFORMED = "__dp_spark_line", "__dp_spark_record", "__dp_spark_malformed"

_FILE_OPTIONS = ("pathglobfilter", "recursivefilelookup")
_JSON_BLANKS = " \t\r\n"
#: So many files' header lines are read in one Spark job.
_FILES_AT_ONCE = 64


@dataclass(frozen=True)
class TextFiles:
    """The files of a CSV or JSON source.

    Attributes:
        spark: The session, with ``settings.RELEASE_SETTINGS`` held.
        load: Loads them.
        format: csv or json.
        options: The reader's options, as the release file has them.
        schema: The columns that the release file lists, with their types; columns that folders make can be among them.
        orders: The columns in the order of a file -> the files that have it, once their header lines were read.
    """

    spark: SparkSession
    load: Load
    format: str
    options: Mapping[str, str]
    schema: T.StructType
    orders: Mapping[tuple[str, ...], Sequence[str]] | None = None

    def rows(self) -> DataFrame:
        """The records as rows; lazy, reads nothing.

        Guarantees: each row is a function of one line of one file (and, for CSV, of that file's header line).
        """
        if self.format == "json":
            return self._json_rows()
        return self.in_every_order(lambda schema, files: self.csv(schema, self.csv_options(), files))

    def inside(self) -> list[T.StructField]:
        """The columns of the schema that are in the lines, and not in the names of folders."""
        return [item for item in self.schema.fields if item.name.lower() not in self.made]

    @functools.cached_property
    def made(self) -> frozenset[str]:
        """The columns that folders make, in lower case."""
        return frozenset(name.lower() for name in self._lines([]).columns if name != LINE)

    def lines(self) -> DataFrame:
        """The lines as text, with the columns that folders make; those that the schema lists have its types."""
        listed = [item for item in self.schema.fields if item.name.lower() in self.made]
        return self._with_types(self._lines(listed))

    def _lines(self, listed: Sequence[T.StructField]) -> DataFrame:
        kept = (*_FILE_OPTIONS, "linesep", "encoding", "charset") if self.format == "json" else _FILE_OPTIONS
        return self.load("text", self._without(self.options, kept=kept), _texts([LINE, *(item.name for item in listed)]))

    def _with_types(self, frame: DataFrame) -> DataFrame:
        # Spark refuses to open a source in which one folder's name is not of the type that it was told.
        kinds = {item.name: item.dataType for item in self.schema.fields if item.name.lower() in self.made}
        typed = {name: _of_folder(name, kind) for name, kind in kinds.items() if kind != T.StringType()}
        return frame.withColumns(typed) if typed else frame

    @property
    def drops_malformed(self) -> bool:
        """Whether a record that cannot be read in full is dropped."""
        return self._given("mode", "").upper() == "DROPMALFORMED"

    def _given(self, name: str, default: str) -> str:
        return next((value for key, value in self.options.items() if key.lower() == name), default)

    @staticmethod
    def _without(options: Mapping[str, str], *names: str, kept: Sequence[str] = ()) -> dict[str, str]:
        lowered = [name.lower() for name in names]
        return {
            key: value for key, value in options.items() if key.lower() not in lowered and (not kept or key.lower() in kept)
        }

    # --- CSV -----------------------------------------------------------------------------------------------------------

    @property
    def has_header(self) -> bool:
        """Whether each file begins with a header line."""
        return self.format == "csv" and self._given("header", "true").lower() == "true"

    def csv_options(self, **others: str) -> dict[str, str]:
        """The options that the CSV reader gets."""
        ours = {
            # Spark's own limits would let one line with many separators, or one long value, fail a run.
            "maxColumns": "1000000",
            "maxCharsPerColumn": "-1",
            # A session can name a column here, which would then be filled with the text of whole records.
            "columnNameOfCorruptRecord": MALFORMED,
        }
        if self.has_header:
            # A header must agree with the schema: columns read in the wrong order would be other columns.
            ours |= {"header": "true", "enforceSchema": "false"}
        if self.drops_malformed:
            # Else Spark takes no record with too many or too few fields for malformed.
            ours |= {"columnPruning": "false"}
        ours |= others
        return self._without(self.options, *ours) | ours

    def csv(self, schema: T.StructType, options: Mapping[str, str], files: Sequence[str] | None) -> DataFrame:
        """The records of these files, or of all: Spark opens no other, since it would find another header there."""
        kinds = {item.name: T.StringType() if item.name.lower() in self.made else item.dataType for item in schema.fields}
        frame = self.load("csv", options, T.StructType([T.StructField(name, kind) for name, kind in kinds.items()]))
        return self._with_types(frame if files is None else frame.where(_in_files(frame, files)))

    def in_every_order(self, read: Callable[[T.StructType, Sequence[str] | None], DataFrame]) -> DataFrame:
        """What ``read`` makes of the files with each order of columns, as rows in one order."""
        if not self.orders:
            return read(self.schema, None)
        parts = []
        for order, files in self.orders.items():
            made = [item for item in self.schema.fields if item.name not in order]
            schema = T.StructType([*(self.schema[name] for name in order), *made])
            frame = read(schema, files if len(self.orders) > 1 else None)
            names = [*self.schema.names, *(name for name in frame.columns if name not in self.schema.names)]
            parts.append(frame.select(*map(column, names)))
        return functools.reduce(DataFrame.unionAll, parts)

    def with_headers(self, where: str) -> TextFiles:
        """The same files, bound by the names in their header lines; reads one line of each file and no other.

        Raises:
            SourceError: If a header does not name exactly the columns of the schema. Its text is never quoted.
        """
        if not self.has_header:
            return self
        names = {item.name.lower(): item.name for item in self.inside()}
        orders: dict[tuple[str, ...], list[str]] = {}
        with translated(SourceError, "its header lines cannot be read", where=where, mend="check that it is readable CSV text"):
            for file, header, fits in self._headers(len(names), where):
                found = [names.get((text or "").lower(), "") for text in header]
                if not fits or sorted(found) != sorted(names.values()):
                    raise _other_header(list(names.values()), where)
                orders.setdefault(tuple(found), []).append(file)
        return replace(self, orders=orders)

    def _headers(self, width: int, where: str) -> Iterator[tuple[str, list[str | None], bool]]:
        """Each file that has a line, with the first ``width`` names in its header line, and whether they are as many as that.

        Raises:
            SourceError: If a file has a line that was not read, since Spark spells its name in two ways.
        """
        names = [f"c{index}" for index in range(width)]
        options = self._without(self.csv_options(header="false", mode="PERMISSIVE"), "nullValue", "emptyValue")
        frame = self.load("csv", options, _texts([*names, MALFORMED]))
        files = frame.inputFiles()
        begins = frame.metadataColumn("_metadata")["file_block_start"] == 0
        wanted = [F.array(*map(column, names)).alias("names"), F.col(MALFORMED).isNotNull().alias("wrong")]
        read: set[str] = set()
        for start in range(0, len(files), _FILES_AT_ONCE):
            batch = files[start : start + _FILES_AT_ONCE]
            firsts = [
                # One task, which stops at the first line: no part of a file is larger than the one with its beginning.
                frame.where(_in_files(frame, [file]) & begins).coalesce(1).limit(1).select(F.lit(index).alias("file"), *wanted)
                for index, file in enumerate(batch)
            ]
            for row in functools.reduce(DataFrame.unionAll, firsts).toArrow().to_pylist():
                read.add(batch[row["file"]])
                yield batch[row["file"]], row["names"], not row["wrong"]
        # A file of which nothing was read is empty, or it is not found by its name, and no header of it was compared.
        if len(read) < len(files) and (frame.where(~_in_files(frame, sorted(read))) if read else frame).limit(1).count():
            raise SourceError(
                "the header line of a file cannot be read: Spark spells the file's name in two ways",
                where=where,
                mend="name the source's files by letters, digits, points and dashes",
            )

    # --- JSON ----------------------------------------------------------------------------------------------------------

    def _json_rows(self) -> DataFrame:
        lines = self.lines()
        fields, made = self.inside(), [column(name) for name in lines.columns if name != LINE]
        records = self.json_records(lines, self.from_json(fields), made)
        if self.drops_malformed:
            records = records.where(F.col(RECORD)[MALFORMED].isNull())
        return records.select(*(F.col(RECORD).getField(item.name).alias(item.name) for item in fields), *made)

    @staticmethod
    def json_records(lines: DataFrame, record: Column, others: Sequence[Column]) -> DataFrame:
        """A record for every line that holds one, as the column ``RECORD``."""
        filled = lines.where(F.btrim(F.col(LINE), F.lit(_JSON_BLANKS)) != "")
        # As a generator's result: Spark would parse a line again for each filter that it can push below a projection.
        records = filled.select(F.explode(F.array(record)).alias(RECORD), *others)
        return records.where(F.col(RECORD).isNotNull())  # null is a line that holds nothing but a comment

    def from_json(self, fields: Sequence[T.StructField]) -> Column:
        """The record in a line, null where there is none; ``MALFORMED`` in it is the line if it is not such a record."""
        text = F.col(LINE)
        if self._given("encoding", self._given("charset", "utf-8")).lower() in (
            "iso-8859-1",
            "iso8859-1",
            "iso_8859-1",
            "latin1",
        ):
            text = F.decode(text.cast("binary"), "ISO-8859-1")
        else:  # bytes that are no text make a malformed record, as in Spark's reader
            text = F.when(F.is_valid_utf8(text), text).otherwise(F.lit("?"))
        options = self._without(self.options, *_FILE_OPTIONS, "mode", "encoding", "charset", "lineSep", "multiLine")
        options |= {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": MALFORMED}
        return F.from_json(text, T.StructType([*fields, T.StructField(MALFORMED, T.StringType())]), options)

    # --- both ----------------------------------------------------------------------------------------------------------

    def check_formats(self, where: str) -> None:
        """Has Spark judge formats and other options on a made-up record.

        Raises:
            SpecError: If Spark refuses one.
        """
        kinds = [T.StructField(f"c{index}", item.dataType) for index, item in enumerate(self.schema.fields)]
        if self.format == "csv":
            sep = self._given("sep", self._given("delimiter", ",")).replace("\\t", "\t")
            ddl = ", ".join(f"{item.name} {item.dataType.simpleString()}" for item in kinds)
            record = F.from_csv(F.lit(sep.join("x" for _ in kinds)), ddl, self.csv_options(mode="PERMISSIVE"))
        else:
            options = self._without(self.options, *_FILE_OPTIONS, "mode", "multiLine") | {"mode": "PERMISSIVE"}
            record = F.from_json(F.lit(json.dumps({item.name: "x" for item in kinds})), T.StructType(kinds), options)
        try:
            self.spark.sql("SELECT 1 AS one").select(record.alias("record")).toArrow()
        except SPARK_ERRORS as error:
            raise SpecError(
                f"Spark refuses one of the options ({condition(error)})",
                where=f"{where}.options",
                mend="check the formats of dates and timestamps (such as yyyy-MM-dd HH:mm:ss), then the others",
            ) from None


def _other_header(names: Sequence[str], where: str) -> SourceError:
    """What is said of a header line that is not that of the schema: nothing of what is in it.

    It may be the first record of a file that has no header line. Then to be told how many fields it has, or which of the
    author's own words are in it, would be an unpaid query.
    """
    told = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return SourceError(
        f"a file's header line is not exactly the columns of schema ({len(names)}: {told})",
        where=where,
        mend="list every column of the file under schema, once, and no other, and check the option sep; where files have no "
        "header line, say options: {header: false}; where pandas wrote its index as a column without a name, write the file "
        "by to_csv(..., index=False); where pandas or Excel wrote quotes into a name, say options: {escape: '\"'}",
    )


def _of_folder(name: str, kind: T.DataType) -> Column:
    text = column(name)
    if isinstance(kind, T.TimestampType):
        text = F.regexp_replace(text, TIME_OF_DAY, "")  # it would be today's
    return text.try_cast(kind)


def _in_files(frame: DataFrame, files: Sequence[str]) -> Column:
    # The same name has one slash after file: here and three there.
    names = {name for file in files for name in (file, file.replace("file:///", "file:/", 1))}
    return frame.metadataColumn("_metadata")["file_path"].isin(*sorted(names))


def _texts(names: Sequence[str]) -> T.StructType:
    return T.StructType([T.StructField(name, T.StringType()) for name in names])
