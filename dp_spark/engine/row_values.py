"""NaN is null in every float column: in comparisons Spark takes NaN for the largest number, and in casts for 0.

So it is set aside where a table is read and after each step, also inside structs, arrays and the values of maps.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from dp_spark.engine.columns import column, field


def without_nan(frame: DataFrame) -> DataFrame:
    """The same frame with null for every NaN; columns without floats are left alone, so that Spark prunes files by them.

    Args:
        frame: A source or a public table, of any shape.
    """
    held = [item for item in frame.schema.fields if holds_floats(item.dataType) and field(frame, item.name) is not None]
    if not held:
        return frame
    return frame.withColumns({item.name: null_for_nan(column(item.name), item.dataType) for item in held})


def null_for_nan(value: Column, kind: T.DataType) -> Column:
    """A value of this type with null for every NaN in it."""
    if isinstance(kind, T.FloatType | T.DoubleType):
        return F.nanvl(value, F.lit(None).cast(kind))
    if not holds_floats(kind):
        return value
    if isinstance(kind, T.ArrayType):
        element = kind.elementType
        return F.transform(value, lambda item: null_for_nan(item, element))
    if isinstance(kind, T.MapType):
        mapped = kind.valueType
        return F.transform_values(value, lambda _, item: null_for_nan(item, mapped))
    assert isinstance(kind, T.StructType)
    parts = [null_for_nan(value.getField(item.name), item.dataType).alias(item.name) for item in kind.fields]
    return F.when(value.isNotNull(), F.struct(*parts))


def holds_floats(kind: T.DataType) -> bool:
    """Whether NaN can be in a value of this type, keys of maps aside."""
    if isinstance(kind, T.ArrayType):
        return holds_floats(kind.elementType)
    if isinstance(kind, T.MapType):
        return holds_floats(kind.valueType)
    if isinstance(kind, T.StructType):
        return any(holds_floats(item.dataType) for item in kind.fields)
    return isinstance(kind, T.FloatType | T.DoubleType)
