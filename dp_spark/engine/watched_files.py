"""A source's rows together with where each is and what its fields held as text: for the data owner's eyes only.

``source_reading`` counts them; a release never reads this way. The rows and their values are those that a release reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from dp_spark.engine.columns import column
from dp_spark.engine.csv_files import CsvFiles
from dp_spark.engine.json_files import JsonFiles
from dp_spark.engine.text_files import LINE, MALFORMED, RECORD, TextFiles

#: Where a row is: the name of its file, the byte at which the part of the file begins that was read with it, and its place
#: from there (from 1).
FILE, BLOCK, ROW = "__dp_spark_file", "__dp_spark_block", "__dp_spark_row"
#: The texts of its fields, in the order of the schema, where it could not be read in full (else null); whether it is no
#: record of the schema at all; whether a release drops it for that.
TEXTS, BROKEN, DROPPED = "__dp_spark_texts", "__dp_spark_broken", "__dp_spark_dropped"

#: Held while watched rows are read: each part of a file is a Spark partition of its own, so that its rows can be counted.
ONE_PART_EACH = {"spark.sql.files.openCostInBytes": "1099511627776"}
_ROWS_OF_A_PARTITION = 2**33 - 1


def placed(frame: DataFrame) -> DataFrame:
    """The rows of a scan with where they are; null where the source does not tell."""
    number = F.monotonically_increasing_id().bitwiseAND(F.lit(_ROWS_OF_A_PARTITION)) + 1
    nowhere = {FILE: F.lit(None).cast("string"), BLOCK: F.lit(0).cast("bigint"), ROW: F.lit(None).cast("bigint")}
    if not frame.inputFiles():
        return frame.withColumns(nowhere)
    meta = frame.metadataColumn("_metadata")
    known = [item.name for item in frame.select(meta.alias("m")).schema["m"].dataType.fields]  # type: ignore[attr-defined]
    if "row_index" in known:
        where = {BLOCK: F.lit(0).cast("bigint"), ROW: meta["row_index"] + 1}
    else:
        where = {BLOCK: meta["file_block_start"], ROW: number}
    return frame.select("*", meta["file_name"].alias(FILE), *(value.alias(name) for name, value in where.items()))


def watched(files: TextFiles) -> DataFrame:
    """The records of CSV or JSON files as rows, with what they held."""
    if isinstance(files, CsvFiles):
        return files.in_every_order(lambda schema, only: _watched_csv(files, schema, only))
    assert isinstance(files, JsonFiles)
    return _watched_json(files)


def _watched_csv(files: CsvFiles, schema: T.StructType, only: Sequence[str] | None) -> DataFrame:
    inside = [item.name for item in schema.fields if item in files.inside()]
    options = files.csv_options(mode="PERMISSIVE")
    line = T.StructField(MALFORMED, T.StringType())
    frame = placed(files.csv(T.StructType([*schema.fields, line]), options, only))
    ddl = "".join(f"c{index} string, " for index in range(len(inside))) + f"{MALFORMED} string"
    texts = F.from_csv(F.col(MALFORMED), ddl, files.csv_options(mode="PERMISSIVE", header="false"))
    held = {name: F.col(RECORD)[f"c{index}"] for index, name in enumerate(inside)}
    return _marked(files, frame.withColumn(RECORD, texts), held)


def _watched_json(files: JsonFiles) -> DataFrame:
    lines = placed(files.lines())
    others = [column(name) for name in lines.columns if name != LINE]
    inside = files.inside()
    as_texts = files.from_json([T.StructField(item.name, T.StringType()) for item in inside])
    both = F.struct(files.from_json(inside).alias("typed"), as_texts.alias("texts"))
    records = files.json_records(lines, both, others)
    typed, texts = F.col(RECORD)["typed"], F.col(RECORD)["texts"]
    fields = [typed.getField(item.name).alias(item.name) for item in inside]
    frame = records.where(typed.isNotNull()).select(*fields, *others, typed[MALFORMED].alias(MALFORMED), texts.alias(RECORD))
    return _marked(files, frame, {item.name: F.col(RECORD).getField(item.name) for item in inside})


def _marked(files: TextFiles, frame: DataFrame, held: Mapping[str, Column]) -> DataFrame:
    not_in_full = F.col(MALFORMED).isNotNull()
    texts = F.array(*(held.get(item.name, F.lit(None).cast("string")) for item in files.schema.fields))
    marks = {
        TEXTS: F.when(not_in_full, texts),
        BROKEN: not_in_full & F.col(RECORD)[MALFORMED].isNotNull(),
        DROPPED: not_in_full if files.drops_malformed else F.lit(False),
    }
    return frame.withColumns(marks).drop(RECORD, MALFORMED)
