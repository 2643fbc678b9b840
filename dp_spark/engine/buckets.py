"""Tables in buckets: where Spark may read the rows of one unit together, and what it must not believe."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from dp_spark.engine.catalog import describe
from dp_spark.engine.columns import column
from dp_spark.spec.release_spec import Source


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
        described = None if source.table is None else describe(spark, source.table)
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
    described = None if source.table is None else describe(spark, source.table)
    return source.table is not None and (described is None or described[1].get("Num Buckets", "0") not in ("0", "-1"))
