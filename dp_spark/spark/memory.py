"""How many cells of a release the driver can hold: known before the charge where the keys are public."""

from __future__ import annotations

import math
import re

from pyspark.sql import SparkSession

from dp_spark.errors import SpecError
from dp_spark.spark.errors import SPARK_ERRORS

#: A million partitions with one key and three aggregates (each with its stddev), for each GiB of spark.driver.memory:
#: measured, see docs/scaling.md.
CELLS_PER_GIB = 7_000_000
#: A release is one Arrow value in the outbox, which Spark holds up to 2 GiB of.
MOST_CELLS = 200_000_000
#: A count of a bin that has a value is held as the bin, the count, and how many values lie before it (``trees.LeafCounts``).
BINS_PER_GIB = 2**30 // 24
_UNITS = {"b": 2**-30, "k": 2**-20, "m": 2**-10, "g": 1.0, "t": 2.0**10, "": 2**-10}


def check_fits(spark: SparkSession, rows: int, columns: int, nodes: int = 0, bins: int = 0) -> None:
    """Checks that the driver has the memory for a release with public keys, whatever the data are.

    How many bins have a value is private; so what is held of them must fit even if all have. While they are put in order they
    take about four times as much for a moment, which is not asked for: it would refuse what few data have room for, and a
    release that runs out of memory goes on under its release id and is not charged again (docs/scaling.md).

    Args:
        spark: The session.
        rows: The number of public keys.
        columns: The number of published columns, of arrays that of their elements.
        nodes: How many nodes of noisy trees the driver holds for each key besides.
        bins: How many bins of a key can have a value whose count the driver receives.

    Raises:
        SpecError: If it has not.
    """
    if rows * columns > MOST_CELLS:
        raise SpecError(
            f"{rows} public keys with {columns} columns are more than one release can hold",
            where="partitions.public",
            mend=f"release at most {MOST_CELLS // columns} keys at a time",
        )
    needed = rows * (columns + nodes) / CELLS_PER_GIB + rows * bins / BINS_PER_GIB
    gib = _driver_gib(spark)
    if gib is not None and needed > gib:
        has = [f"{columns} columns", *([f"{nodes} nodes of trees"] if nodes else []), *([f"{bins} bins"] if bins else [])]
        raise SpecError(
            f"{rows} public keys with {' and '.join(has)} are more than a driver with {gib:g} GiB of memory can publish",
            where="partitions.public",
            mend=f"give the driver {math.ceil(needed)}g or more (spark-submit --driver-memory; a local dp-spark takes "
            f"half of the machine, at most 16g), or release fewer keys{', aggregates or bins' if bins else ' or aggregates'}",
        )


def _driver_gib(spark: SparkSession) -> float | None:
    """The driver's memory, or None where the platform does not tell."""
    try:
        text = spark.conf.get("spark.driver.memory", None)
    except SPARK_ERRORS:
        return None
    return None if text is None else memory_gib(text)


def memory_gib(text: str) -> float | None:
    """Spark's text for an amount of memory, in GiB; MiB where it names no unit.

    >>> memory_gib("8g"), memory_gib("512m"), memory_gib("2048"), memory_gib("much")
    (8.0, 0.5, 2.0, None)
    """
    found = re.fullmatch(r"\s*(\d+)\s*([bkmgt]?)b?\s*", text.lower())
    return None if found is None else int(found[1]) * _UNITS[found[2]]
