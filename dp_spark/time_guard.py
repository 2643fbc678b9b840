"""Null instead of an error, where a date or timestamp leaves Spark's range.

With ANSI mode off a failing cast gives null, but a date or timestamp that is too far away still raises, whatever the
settings (the year 294,248 as a timestamp, for one). One such row would decide whether a run fails (invariant 11). Spark
has no ``try`` for any expression, but some of its ``try_`` functions give null whatever fails inside their argument:
``try_add`` of nothing to a date or timestamp, and ``try_to_binary`` of a text. Whatever is not a time goes through its
text, which for every simple type can be cast back exactly. docs/adr/0006 tells the rest.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from dp_spark.errors import SpecError
from dp_spark.expressions import CLOCK, Expression
from dp_spark.session import SHARED_EXPRESSIONS, check_held
from dp_spark.sources import field

_TIMES = (T.DateType, T.TimestampType, T.TimestampNTZType)


def guarded(frame: DataFrame, expression: Expression, where: str) -> Column:
    """A checked expression over a frame, null for rows in which a date or timestamp leaves Spark's range.

    Expressions that only compare times of one type cannot fail and stay as they are, so that Spark can push them down.

    Raises:
        SpecError: If a text that means the clock is compared with a time.
    """
    plain, kinds = F.expr(expression.sql), _times(frame, expression)
    if kinds and expression.names_clock:
        raise SpecError(CLOCK, where=where, mend="write the date itself, or compare texts")
    can_fail = expression.can_raise or len(kinds) > 1 or (expression.adds and bool(kinds))
    return _guard(frame, plain, where) if can_fail else plain


def guarded_cast(frame: DataFrame, value: Column, kind: str, where: str) -> Column:
    """A cast; null for a date that has no timestamp."""
    cast = value.cast(kind)
    from_time, to_time = isinstance(_type(frame, value), _TIMES), isinstance(_type(frame, cast), _TIMES)
    return _guard(frame, cast, where) if from_time and to_time else cast


def _guard(frame: DataFrame, value: Column, where: str) -> Column:
    mend = "compute the date in the source, or as a text"
    check_held(frame.sparkSession, SHARED_EXPRESSIONS, "a date that is out of range could fail the run", where=where, mend=mend)
    return null_for_errors(value, _type(frame, value))


def null_for_errors(value: Column, kind: T.DataType) -> Column:
    """The same value, and null where computing it raises; needs ``session.RELEASE_SETTINGS``."""
    # What between and nullif use twice Spark would compute beforehand, outside of the try; inside of a case it does not.
    value = F.when(F.lit(True), value)
    if isinstance(kind, _TIMES):
        # greatest is there for nothing else: Spark would move the try into the branches of a case, past its condition.
        value, nothing = F.greatest(value, F.lit(None).cast(kind)), "day" if isinstance(kind, T.DateType) else "second"
        return F.try_add(value, F.expr(f"interval '0' {nothing}"))
    text = F.try_to_binary(value.cast("string"), F.lit("utf-8"))
    if isinstance(kind, T.ArrayType | T.MapType | T.StructType):
        return F.when(text.isNotNull(), value)  # no text can be cast back to these
    return text.cast("string").cast(kind)


def _times(frame: DataFrame, expression: Expression) -> set[str]:
    """The date and timestamp types that an expression reads or names."""
    read = [field(frame, name) for name in expression.columns]
    kinds = {item.dataType.simpleString() for item in read if item is not None and isinstance(item.dataType, _TIMES)}
    return kinds | expression.time_literals


def _type(frame: DataFrame, value: Column) -> T.DataType:
    return frame.select(value).schema.fields[0].dataType
