"""JSON files as rows, parsed line by line.

Spark's JSON reader makes rows of the elements of a line that is an array, and one bad element drops the others. So JSON lines
are read as text and parsed one by one with ``from_json``, for which such a line is one malformed record.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from dp_spark.engine.columns import column
from dp_spark.engine.text_files import FILE_OPTIONS, LINE, MALFORMED, RECORD, TextFiles

_JSON_BLANKS = " \t\r\n"


@dataclass(frozen=True)
class JsonFiles(TextFiles):
    """The files of a JSON source."""

    line_options: ClassVar[tuple[str, ...]] = ("linesep", "encoding", "charset")

    def rows(self) -> DataFrame:
        """The records as rows."""
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
        if self.given("encoding", self.given("charset", "utf-8")).lower() in (
            "iso-8859-1",
            "iso8859-1",
            "iso_8859-1",
            "latin1",
        ):
            text = F.decode(text.cast("binary"), "ISO-8859-1")
        else:  # bytes that are no text make a malformed record, as in Spark's reader
            text = F.when(F.is_valid_utf8(text), text).otherwise(F.lit("?"))
        options = self.without(self.options, *FILE_OPTIONS, "mode", "encoding", "charset", "lineSep", "multiLine")
        options |= {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": MALFORMED}
        return F.from_json(text, T.StructType([*fields, T.StructField(MALFORMED, T.StringType())]), options)

    def made_up(self, kinds: Sequence[T.StructField]) -> Column:
        """A made-up record."""
        options = self.without(self.options, *FILE_OPTIONS, "mode", "multiLine") | {"mode": "PERMISSIVE"}
        return F.from_json(F.lit(json.dumps({item.name: "x" for item in kinds})), T.StructType(list(kinds)), options)
