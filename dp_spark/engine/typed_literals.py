"""Constants of a release file as values of a column's type."""

from __future__ import annotations

from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql import types as T

from dp_spark.schema.moments import Moment
from dp_spark.spec.typed_constants import constant_of


def constant_of_type(value: Any, kind: T.DataType) -> Any:
    """A YAML constant as a Python value of a column's type (a date or timestamp as a ``Moment``), or None where it is not one.

    Nothing is bent to fit.
    """
    # The name of a string type also tells its collation.
    return constant_of(value, "string" if isinstance(kind, T.StringType) else kind.simpleString())


def literal_of_type(constant: Any, kind: T.DataType) -> Column:
    """A constant of ``constant_of_type`` in Spark; a date or timestamp as a text: Python's would pass the machine's zone."""
    return F.lit(constant.text if isinstance(constant, Moment) else constant).cast(kind)
