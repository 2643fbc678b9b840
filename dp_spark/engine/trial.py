"""What only Spark can judge, asked before the charge: patterns in expressions and options, on made-up rows.

Spark looks at a date pattern, a time zone or a regular expression when it compiles or runs a step, and not before. So the
steps run once over a frame of the source's types that was not read from it. It has one row, and a shuffle: Spark's
optimizer empties whatever hangs on an empty local frame, and evaluates nothing of it.
"""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.types import to_arrow_type

from dp_spark.engine.columns import column, field, quoted
from dp_spark.engine.features import condition
from dp_spark.engine.preprocess import apply_steps, conditional, expressions
from dp_spark.engine.time_guard import without_guards
from dp_spark.engine.units import with_units
from dp_spark.errors import DpSparkError, SpecError
from dp_spark.spark.errors import SPARK_ERRORS
from dp_spark.spark.errors import condition as error_condition
from dp_spark.spark.read_failures import failure_of
from dp_spark.spark.session_functions import check_functions
from dp_spark.spark.settings import AS_DRAWN, settings
from dp_spark.spec.expressions import Expression
from dp_spark.spec.release_spec import ReleaseSpec, Source, Step
from dp_spark.spec.unit_definition import check_definition

_ANY = "__dp_spark_any"
#: The types whose values a text file can hold.
_IN_TEXTS = (T.StringType, T.BooleanType, T.NumericType, T.DateType, T.TimestampType, T.TimestampNTZType)
#: What Spark says of a value, not of a constant: a made-up one is nobody's, and in a run such a value gives null.
_OF_A_VALUE = re.compile(r"OVERFLOW|OUT_OF_BOUNDS|OUT_OF_RANGE|MALFORMED_CHARACTER_CODING|CAST_INVALID_INPUT|DIVIDE_BY_ZERO")
_PATTERNS = "https://spark.apache.org/docs/latest/sql-ref-datetime-pattern.html"


def check_trial(spark: SparkSession, spec: ReleaseSpec, schema: T.StructType, joined: dict[str, DataFrame]) -> None:
    """Runs a release's steps where nothing is private; refuses what Spark refuses.

    Args:
        spark: The session, with ``settings.RELEASE_SETTINGS`` held.
        spec: The release file.
        schema: The types of the source.
        joined: The public tables of its joins, as ``preprocess.apply_steps`` read them.

    Raises:
        SpecError: If the session shadows a function, or Spark refuses a constant of an expression or an option.
    """
    called = {**_of_unit(spec), **expressions(spec)}
    check_functions(spark, (name for expression in called.values() for name in expression.functions))
    _check_options(spark, spec.source, schema)
    if not called and not spec.preprocess:
        return
    for where, expression in called.items():
        for pattern in expression.patterns:
            _check_pattern(spark, pattern, where)
    frame, kept = _made_up(spark, schema), _that_drops_nothing(spec)
    with without_guards(), settings(spark, AS_DRAWN, required=False):
        try:
            _evaluate(_with_conditions(apply_steps(spark, with_units(frame, kept), kept, dict(joined)), kept))
        except SPARK_ERRORS:
            _name_the_step(spark, frame, kept, joined)


def _that_drops_nothing(spec: ReleaseSpec) -> ReleaseSpec:
    """The same steps for a row that none of them drops: what comes behind it would not be looked at."""
    steps = []
    for index, step in enumerate(spec.preprocess):
        if step.filter is not None:
            step = Step(derive={f"{_ANY}_{index}": step.filter})
        elif step.join is not None:
            step = Step(join=step.join.model_copy(update={"how": "left"}))
        steps.append(step)
    return spec.model_copy(update={"preprocess": tuple(steps)})


def _of_unit(spec: ReleaseSpec) -> dict[str, Expression]:
    """The expressions that define the privacy unit, by their keys in the release file."""
    defined = ((name, text) for name, text in spec.unit_definition.items() if name != text)
    return {f"privacy_unit.{name}": check_definition(name, text).expression for name, text in defined}


def _name_the_step(spark: SparkSession, frame: DataFrame, spec: ReleaseSpec, joined: dict[str, DataFrame]) -> None:
    """Finds the first step that fails, and says so."""
    try:
        frame = with_units(frame, spec)
        _evaluate(frame)
    except SPARK_ERRORS as error:
        raise SpecError(
            f"Spark refuses a constant of this definition ({error_condition(error)})", where="privacy_unit", mend="correct it"
        ) from None
    for index in range(len(spec.preprocess)):
        until = spec.model_copy(update={"preprocess": spec.preprocess[: index + 1]})
        try:
            _evaluate(apply_steps(spark, frame, until, dict(joined)))
        except SPARK_ERRORS as error:
            _refuse(error, f"preprocess.{index}", "this step")

    steps = apply_steps(spark, frame, spec, dict(joined))
    for where, item in conditional(spec).items():
        try:
            _evaluate(_with_conditions(steps, spec.model_copy(update={"aggregates": (item,)})))
        except SPARK_ERRORS as error:
            _refuse(error, where, "this condition")


def _with_conditions(frame: DataFrame, spec: ReleaseSpec) -> DataFrame:
    """The frame with the conditions of aggregates as columns."""
    of_each = conditional(spec).items()
    found = {f"{_ANY}_{item.name}": condition(frame, spec.condition(item), where) for where, item in of_each}
    return frame.withColumns(found) if found else frame


def _refuse(error: Exception, where: str, what: str) -> None:
    """Says what is wrong with an expression, where Spark's error is of a constant and not of a made-up value."""
    if _OF_A_VALUE.search(error_condition(error)):
        return
    failure = failure_of(error)
    if failure.kind is DpSparkError:  # memory, a disk, Spark itself: no fault of the file
        raise DpSparkError(
            f"a trial run over made-up rows failed: {failure.what}", mend="nothing was charged: " + failure.mend
        ) from None
    raise SpecError(
        f"Spark refuses a constant of {what}, such as a date pattern ({error_condition(error)})",
        where=where,
        mend=f"correct the pattern ({_PATTERNS}): yyyy is the year, MM the month, dd the day",
    ) from None


def _evaluate(frame: DataFrame) -> None:
    """Computes every column that Arrow can hold."""
    names = [item.name for item in frame.schema.fields if _is_ordinary(item.dataType) and field(frame, item.name) is not None]
    frame.select(F.lit(1).alias(_ANY), *map(column, names)).toArrow()


def _check_pattern(spark: SparkSession, pattern: str, where: str) -> None:
    try:
        _one_row(spark).select(F.expr(f"regexp_like({_ANY}, {pattern})")).toArrow()
    except SPARK_ERRORS:
        raise SpecError(
            "a pattern is not a regular expression of Java", where=where, mend="check its brackets; in a text write \\\\ for \\"
        ) from None


def _check_options(spark: SparkSession, source: Source, schema: T.StructType) -> None:
    """Parses one made-up record with a text source's options."""
    if source.format not in ("csv", "json") or not source.options:
        return
    fields = [item for item in schema.fields if isinstance(item.dataType, _IN_TEXTS)]
    ddl = ", ".join(f"{quoted(item.name)} {item.dataType.simpleString()}" for item in fields) or "a string"
    options = {key: value for key, value in source.options.items() if key.lower() not in ("mode", "header", "enforceschema")}
    for key, value in options.items():
        if key.lower() == "timestampntzformat":
            _check_option(spark, F.to_timestamp(F.col(_ANY), value), f"source.options.{key}")
    if source.format == "csv":
        separator = next((value for key, value in options.items() if key.lower() in ("sep", "delimiter")), ",")
        record = F.concat(F.col(_ANY), F.lit((separator + "1") * (len(fields) - 1)))
        _check_option(spark, F.from_csv(record, ddl, options), "source.options")
    else:
        texts = ",".join(f'"{item.name}":"1"' for item in fields if '"' not in item.name and "\\" not in item.name)
        record = F.concat(F.col(_ANY).substr(2, 1), F.lit("{" + texts + "}"))
        _check_option(spark, F.from_json(record, ddl, options), "source.options")


def _check_option(spark: SparkSession, value: Column, where: str) -> None:
    try:
        _one_row(spark).select(value).toArrow()
    except SPARK_ERRORS as error:
        raise SpecError(
            f"Spark refuses a value of an option ({error_condition(error)})",
            where=where,
            mend=f"correct it; for the patterns of dates and timestamps see {_PATTERNS}",
        ) from None


def _one_row(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame(pa.table({_ANY: ["1"]}))


def _made_up(spark: SparkSession, schema: T.StructType) -> DataFrame:
    """One ordinary row of these types; null where Arrow has no such type."""
    ordinary = {str(index): item.dataType for index, item in enumerate(schema.fields) if _is_ordinary(item.dataType)}
    arrays = [pa.array(["1"]), *(pa.array([_value(kind)], to_arrow_type(kind)) for kind in ordinary.values())]
    frame = spark.createDataFrame(pa.Table.from_arrays(arrays, names=[_ANY, *ordinary])).repartition(1)
    return frame.select(
        *(
            (F.col(str(index)) if str(index) in ordinary else F.lit(None)).cast(item.dataType).alias(item.name)
            for index, item in enumerate(schema.fields)
        )
    )


def _is_ordinary(kind: T.DataType) -> bool:
    """Whether Arrow holds values of a type on every Spark, and we know one."""
    if isinstance(kind, T.ArrayType):
        return _is_ordinary(kind.elementType)
    if isinstance(kind, T.MapType):
        return _is_ordinary(kind.keyType) and _is_ordinary(kind.valueType)
    if isinstance(kind, T.StructType):
        return bool(kind.fields) and all(_is_ordinary(item.dataType) for item in kind.fields)
    return isinstance(kind, (*_IN_TEXTS, T.BinaryType))


def _value(kind: T.DataType) -> Any:
    if isinstance(kind, T.ArrayType):
        return [_value(kind.elementType)]
    if isinstance(kind, T.MapType):
        return [(_value(kind.keyType), _value(kind.valueType))]
    if isinstance(kind, T.StructType):
        return {item.name: _value(item.dataType) for item in kind.fields}
    if isinstance(kind, T.TimestampType):
        return dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
    if isinstance(kind, T.TimestampNTZType):
        return dt.datetime(2000, 1, 1)
    simple: dict[type[T.DataType], Any] = {
        T.StringType: "1", T.BinaryType: b"1", T.BooleanType: True, T.DateType: dt.date(2000, 1, 1), T.DecimalType: Decimal(0),
    }  # fmt: skip
    return simple.get(type(kind), 1)
