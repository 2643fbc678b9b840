"""CSV files as rows: a header line is compared with the schema before anything else is read, and binds columns by name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from dp_spark.engine.columns import column
from dp_spark.engine.text_files import MALFORMED, TextFiles, texts
from dp_spark.errors import SourceError
from dp_spark.spark.errors import translated

#: So many files' header lines are read in one Spark job.
_FILES_AT_ONCE = 64


@dataclass(frozen=True)
class CsvFiles(TextFiles):
    """The files of a CSV source.

    Attributes:
        orders: The columns in the order of a file -> the files that have it, once their header lines were read.
    """

    orders: Mapping[tuple[str, ...], Sequence[str]] | None = None

    def rows(self) -> DataFrame:
        """The records as rows."""
        return self.in_every_order(lambda schema, files: self.csv(schema, self.csv_options(), files))

    def made_up(self, kinds: Sequence[T.StructField]) -> Column:
        """A made-up record."""
        sep = self.given("sep", self.given("delimiter", ",")).replace("\\t", "\t")
        ddl = ", ".join(f"{item.name} {item.dataType.simpleString()}" for item in kinds)
        return F.from_csv(F.lit(sep.join("x" for _ in kinds)), ddl, self.csv_options(mode="PERMISSIVE"))

    @property
    def has_header(self) -> bool:
        """Whether each file begins with a header line."""
        return self.given("header", "true").lower() == "true"

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
        return self.without(self.options, *ours) | ours

    def csv(self, schema: T.StructType, options: Mapping[str, str], files: Sequence[str] | None) -> DataFrame:
        """The records of these files, or of all: Spark opens no other, since it would find another header there."""
        kinds = {item.name: T.StringType() if item.name.lower() in self.made else item.dataType for item in schema.fields}
        frame = self.load("csv", options, T.StructType([T.StructField(name, kind) for name, kind in kinds.items()]))
        return self.with_types(frame if files is None else frame.where(_in_files(frame, files)))

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

    def with_headers(self, where: str) -> CsvFiles:
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
        options = self.without(self.csv_options(header="false", mode="PERMISSIVE"), "nullValue", "emptyValue")
        frame = self.load("csv", options, texts([*names, MALFORMED]))
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


def _in_files(frame: DataFrame, files: Sequence[str]) -> Column:
    # The same name has one slash after file: here and three there.
    names = {name for file in files for name in (file, file.replace("file:///", "file:/", 1))}
    return frame.metadataColumn("_metadata")["file_path"].isin(*sorted(names))
