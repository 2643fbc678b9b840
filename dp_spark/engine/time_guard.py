"""Null instead of an error, where a date or timestamp leaves Spark's range.

With ANSI mode off a failing cast gives null, but a date or timestamp that is too far away still raises, whatever the
settings (the year 294,248 as a timestamp, for one). One such row would decide whether a run fails (invariant 11). Spark
has no ``try`` for any expression, but some of its ``try_`` functions give null whatever fails inside their argument:
``try_add`` of nothing to a date or timestamp, and ``try_to_binary`` of a text. Whatever is not a time goes through its
text, which for every simple type can be cast back exactly. docs/adr/0006 tells the rest.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from contextvars import ContextVar

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from dp_spark.engine.columns import field
from dp_spark.errors import SpecError
from dp_spark.spark.errors import SPARK_ERRORS
from dp_spark.spark.settings import SHARED_EXPRESSIONS, check_held
from dp_spark.spec.conversions import TIME_OF_DAY, fitted
from dp_spark.spec.expressions import CLOCK, Expression

_TIMES = (T.DateType, T.TimestampType, T.TimestampNTZType)
_INTERVALS = (T.DayTimeIntervalType, T.YearMonthIntervalType, T.CalendarIntervalType)
_TEXTS = ("string", "char", "varchar")
#: The types that a text cannot stand beside in a comparison, and in a sum: there, a text becomes a timestamp.
_COMPARED = ("timestamp", "map<timestamp,")
_ADDED = ("timestamp", "interval")


def guarded(frame: DataFrame, expression: Expression, where: str) -> Column:
    """A checked expression over a frame, null for rows in which a date or timestamp leaves Spark's range.

    Expressions that only compare times of one type cannot fail and stay as they are, so that Spark can push them down.

    Raises:
        SpecError: If a text that means the clock is compared with a time.
    """
    kinds = _times(frame, expression)
    if kinds and expression.names_clock:
        raise SpecError(CLOCK, where=where, mend="write the date itself, or compare texts")
    if expression.can_raise or kinds:
        check_compared(expression, lambda part: _asked(frame, part), where)
    plain = F.expr(fitted(expression.sql, lambda part: _type(frame, F.expr(part)).simpleString()))
    can_fail = expression.can_raise or len(kinds) > 1 or (expression.adds and bool(kinds))
    return _guard(frame, plain, where) if can_fail else plain


def check_compared(expression: Expression, type_of: Callable[[str], str], where: str) -> None:
    """A text beside a timestamp becomes one, and a time of day alone one of today: the clock.

    Args:
        expression: A checked expression.
        type_of: The Spark type of a part of it; empty where Spark does not say, which is taken for both.
        where: The key of the release file, for errors.

    Raises:
        SpecError: If a text that is no plain date would become a timestamp.
    """
    for times, groups in ((_COMPARED, expression.compared), (_ADDED, expression.added)):
        for operands in groups:
            kinds = [(part, type_of(part)) for part in operands if not _is_dated(part)]
            texts = {part for part, kind in kinds if not kind or kind.startswith(_TEXTS)}
            own = ("timestamp_ntz",) if times == _COMPARED else ()  # a text beside one becomes one, which knows no today
            beside = {part for part, kind in kinds if not kind or (kind.startswith(times) and kind not in own)}
            if any(text != time for text in texts for time in beside):
                raise SpecError(
                    "a text stands beside a timestamp or an interval, and a time of day alone would be one of today",
                    where=where,
                    mend="cast the text first, as in cast(x as timestamp)",
                )


def _is_dated(part: str) -> bool:
    """Whether it is a text literal that begins with a year."""
    return re.match(r"'[0-9]{4,}(?![0-9:])[^']*'$", part) is not None


def _asked(frame: DataFrame, part: str) -> str:
    try:
        return _type(frame, F.expr(part)).simpleString()
    except SPARK_ERRORS:  # as sqlglot writes it Spark cannot read it
        return ""


def guarded_cast(frame: DataFrame, value: Column, kind: str, where: str) -> Column:
    """A cast; null for what does not fit, for a date that has no timestamp, and for a time of day without a date."""
    known = _type(frame, value)
    to_timestamp = kind.strip().lower() in ("timestamp", "timestamp_ltz")
    if to_timestamp and isinstance(known, T.StringType | T.CharType | T.VarcharType):
        value = F.regexp_replace(value, TIME_OF_DAY, "")
    cast = value.try_cast(kind)
    if isinstance(known, T.FloatType | T.DoubleType) and isinstance(_type(frame, cast), T.LongType):
        cast = F.try_subtract(F.try_add(cast, F.lit(1)), F.lit(1))  # Spark lets 2^63 through as 2^63 - 1
    from_time, to_time = isinstance(known, _TIMES), isinstance(_type(frame, cast), _TIMES)
    return _guard(frame, cast, where) if from_time and to_time else cast


#: Whether what fails shall fail: for a trial over made-up rows, where a null would hide a pattern that Spark refuses.
_BARE: ContextVar[bool] = ContextVar("bare", default=False)


@contextlib.contextmanager
def without_guards() -> Iterator[None]:
    """Within the block expressions are as their author wrote them, and raise what they raise; never for a source's rows."""
    token = _BARE.set(True)
    try:
        yield
    finally:
        _BARE.reset(token)


def _guard(frame: DataFrame, value: Column, where: str) -> Column:
    if _BARE.get():
        return value
    mend = "compute the date in the source, or as a text"
    check_held(frame.sparkSession, SHARED_EXPRESSIONS, "a date that is out of range could fail the run", where=where, mend=mend)
    return null_for_errors(value, _type(frame, value))


def null_for_errors(value: Column, kind: T.DataType) -> Column:
    """The same value, and null where computing it raises; needs ``settings.RELEASE_SETTINGS``."""
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
    """The types of dates, timestamps and intervals that an expression reads or names."""
    read = [field(frame, name) for name in expression.columns]
    kinds = {kind.simpleString() for item in read if item is not None for kind in _parts(item.dataType)}
    return kinds | expression.time_literals


def _parts(kind: T.DataType) -> Iterator[T.DataType]:
    """The types of dates, timestamps and intervals in a type, however deep."""
    if isinstance(kind, T.StructType):
        for item in kind.fields:
            yield from _parts(item.dataType)
    elif isinstance(kind, T.ArrayType):
        yield from _parts(kind.elementType)
    elif isinstance(kind, T.MapType):
        yield from _parts(kind.keyType)
        yield from _parts(kind.valueType)
    elif isinstance(kind, _TIMES + _INTERVALS):
        yield kind


def _type(frame: DataFrame, value: Column) -> T.DataType:
    return frame.select(value).schema.fields[0].dataType
