"""CSV and JSON files as rows, each record by itself: what one record holds changes how no other is read.

- A record is one line. Fields that hold line breaks are not read (``source_options.reading_problems``).
- Folders' names are private values, too: each is read as text, and one that is not of its column's type is null.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from dp_spark.engine.columns import column
from dp_spark.errors import SpecError
from dp_spark.spark.errors import SPARK_ERRORS, condition
from dp_spark.spec.conversions import TIME_OF_DAY

#: How the files of one source are loaded: format, options, schema -> the rows, lazy.
Load = Callable[[str, Mapping[str, str], T.StructType], DataFrame]

#: Internal columns: a line, what was parsed of it, and its text where it could not be parsed in full.
LINE, RECORD, MALFORMED = "__dp_spark_line", "__dp_spark_record", "__dp_spark_malformed"

#: Options that say which files are read, not how.
FILE_OPTIONS = ("pathglobfilter", "recursivefilelookup")


@dataclass(frozen=True)
class TextFiles(ABC):
    """The files of a CSV or JSON source.

    Attributes:
        spark: The session, with ``settings.RELEASE_SETTINGS`` held.
        load: Loads them.
        options: The reader's options, as the release file has them.
        schema: The columns that the release file lists, with their types; columns that folders make can be among them.
    """

    #: The options that also say what a line is.
    line_options: ClassVar[tuple[str, ...]] = ()

    spark: SparkSession
    load: Load
    options: Mapping[str, str]
    schema: T.StructType

    @abstractmethod
    def rows(self) -> DataFrame:
        """The records as rows; lazy, reads nothing.

        Guarantees: each row is a function of one line of one file (and, for CSV, of that file's header line).
        """

    @abstractmethod
    def made_up(self, kinds: Sequence[T.StructField]) -> Column:
        """A record of such columns that is not in the files, parsed with the options of the source."""

    def with_headers(self, where: str) -> Self:
        """The same files, bound by the names in their header lines, where there are any.

        Raises:
            SourceError: If a header does not name exactly the columns of the schema. Its text is never quoted.
        """
        return self

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
        return self.with_types(self._lines(listed))

    def _lines(self, listed: Sequence[T.StructField]) -> DataFrame:
        kept = (*FILE_OPTIONS, *self.line_options)
        return self.load("text", self.without(self.options, kept=kept), texts([LINE, *(item.name for item in listed)]))

    def with_types(self, frame: DataFrame) -> DataFrame:
        """Rows in which the columns that folders make have their types."""
        # Spark refuses to open a source in which one folder's name is not of the type that it was told.
        kinds = {item.name: item.dataType for item in self.schema.fields if item.name.lower() in self.made}
        typed = {name: _of_folder(name, kind) for name, kind in kinds.items() if kind != T.StringType()}
        return frame.withColumns(typed) if typed else frame

    @property
    def drops_malformed(self) -> bool:
        """Whether a record that cannot be read in full is dropped."""
        return self.given("mode", "").upper() == "DROPMALFORMED"

    def given(self, name: str, default: str) -> str:
        """An option, in whatever case its name is written."""
        return next((value for key, value in self.options.items() if key.lower() == name), default)

    @staticmethod
    def without(options: Mapping[str, str], *names: str, kept: Sequence[str] = ()) -> dict[str, str]:
        """Options without those of these names, and only those of ``kept`` where it is given."""
        lowered = [name.lower() for name in names]
        return {
            key: value for key, value in options.items() if key.lower() not in lowered and (not kept or key.lower() in kept)
        }

    def check_formats(self, where: str) -> None:
        """Has Spark judge formats and other options on a made-up record.

        Raises:
            SpecError: If Spark refuses one.
        """
        kinds = [T.StructField(f"c{index}", item.dataType) for index, item in enumerate(self.schema.fields)]
        record = self.made_up(kinds)
        try:
            self.spark.sql("SELECT 1 AS one").select(record.alias("record")).toArrow()
        except SPARK_ERRORS as error:
            raise SpecError(
                f"Spark refuses one of the options ({condition(error)})",
                where=f"{where}.options",
                mend="check the formats of dates and timestamps (such as yyyy-MM-dd HH:mm:ss), then the others",
            ) from None


def _of_folder(name: str, kind: T.DataType) -> Column:
    text = column(name)
    if isinstance(kind, T.TimestampType):
        text = F.regexp_replace(text, TIME_OF_DAY, "")  # it would be today's
    return text.try_cast(kind)


def texts(names: Sequence[str]) -> T.StructType:
    """A schema of columns of text."""
    return T.StructType([T.StructField(name, T.StringType()) for name in names])
