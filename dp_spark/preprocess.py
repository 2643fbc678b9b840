"""Row-wise cleaning and conversion: each row becomes at most one row, whatever the other rows are.

That is what keeps a user's rows that user's rows: a row-wise map has stability 1 (a join with a public table that has
one row per key is such a map). Anything that is not row-wise is refused before it reaches Spark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from dp_spark.cells import key_text
from dp_spark.errors import SourceError, SpecError
from dp_spark.expressions import Expression, check_expression, check_type
from dp_spark.public_tables import collect_public, constant_of_type, literal_of_type
from dp_spark.sources import column, field, missing, quoted, require_key
from dp_spark.spark_errors import translated
from dp_spark.spec import Join, ReleaseSpec, Step
from dp_spark.time_guard import guarded, guarded_cast


def check_steps(spec: ReleaseSpec) -> None:
    """Checks every step that can be checked without Spark.

    Raises:
        SpecError: If an expression is refused, or a step touches a privacy-unit column.
    """
    units = {name.lower() for name in spec.unit_columns}
    for index, step in enumerate(spec.preprocess):
        where = f"preprocess.{index}"
        for name in _assigned(step):
            if name.lower() in units:
                raise SpecError(
                    f"no step may assign, cast, fill or drop the privacy-unit column {name}",
                    where=where,
                    mend="use a column of another name, or name another privacy_unit",
                )
        for key, text in _texts(step).items():
            check_expression(text, spec.parameters, where=f"{where}.{key}")
        for name, kind in (step.cast or {}).items():
            check_type(kind, where=f"{where}.cast.{name}")


def _assigned(step: Step) -> Sequence[str]:
    return [*(step.derive or {}), *(step.cast or {}), *(step.fill or {}), *(step.drop or ())]


def _texts(step: Step) -> dict[str, str]:
    texts = {f"derive.{name}": text for name, text in (step.derive or {}).items()}
    return texts | ({"filter": step.filter} if step.filter is not None else {})


def apply_steps(spark: SparkSession, frame: DataFrame, spec: ReleaseSpec) -> DataFrame:
    """The source after all its steps, still lazy.

    Args:
        spark: The session, with ``session.RELEASE_SETTINGS`` held.
        frame: The source.
        spec: The release file, after ``check_steps``.

    Raises:
        SourceError: If a step names a column that is not there.
        SpecError: If a join's public table is not fit.
    """
    for index, step in enumerate(spec.preprocess):
        where = f"preprocess.{index}"
        with translated(SourceError, "Spark cannot resolve it", where=where, mend="check column names and types"):
            frame = _apply(spark, frame, step, spec, where)
            _ = frame.schema  # has Spark resolve names and types now, from metadata alone
    return frame


def _apply(spark: SparkSession, frame: DataFrame, step: Step, spec: ReleaseSpec, where: str) -> DataFrame:
    if step.filter is not None:
        condition = check_expression(step.filter, spec.parameters, where=f"{where}.filter")
        return frame.where(_expression(frame, condition, f"{where}.filter"))
    if step.derive is not None:
        return _derive(frame, step.derive, spec.parameters, f"{where}.derive")
    if step.cast is not None:
        for name, kind in step.cast.items():
            present = _present(frame, name, f"{where}.cast")
            frame = frame.withColumn(present, guarded_cast(frame, column(present), kind, f"{where}.cast.{name}"))
        return frame
    if step.fill is not None:
        return _fill(frame, step.fill, f"{where}.fill")
    if step.drop is not None:
        return frame.drop(*(_present(frame, name, f"{where}.drop") for name in step.drop))
    assert step.join is not None
    return _join(spark, frame, step.join, spec.unit_columns, f"{where}.join")


def _present(frame: DataFrame, name: str, where: str) -> str:
    found = field(frame, name)
    if found is None:
        raise missing(name, where, frame)
    return found.name


def _expression(frame: DataFrame, expression: Expression, where: str) -> Column:
    for name in expression.columns:
        _present(frame, name, where)
    return guarded(frame, expression, where)


def _derive(
    frame: DataFrame, derived: Mapping[str, str], parameters: Mapping[str, bool | int | Decimal | str], where: str
) -> DataFrame:
    # One at a time, so that a later expression of the step can use an earlier one, as it reads.
    for name, text in derived.items():
        expression = check_expression(text, parameters, where=f"{where}.{name}")
        frame = frame.withColumn(name, _expression(frame, expression, f"{where}.{name}"))
    return frame


def _fill(frame: DataFrame, values: Mapping[str, object], where: str) -> DataFrame:
    for name, value in values.items():
        present = _present(frame, name, where)
        kind = frame.schema[present].dataType
        constant = constant_of_type(value, kind)
        if constant is None:
            raise SpecError(
                f"{key_text(value)} is not a value of type {kind.simpleString()}, the type of {name}",
                where=f"{where}.{name}",
                mend=f"write a value of type {kind.simpleString()}",
            )
        frame = frame.withColumn(present, F.coalesce(column(present), literal_of_type(constant, kind)))
    return frame


def _join(spark: SparkSession, frame: DataFrame, join: Join, units: Sequence[str], where: str) -> DataFrame:
    """A join with a public table: identical key types, one row per key, no unit column, no name that is taken.

    The public table is collected and checked, and the very rows that were checked are joined: a table that changes
    between check and join cannot turn one row of a user into many.
    """
    right = collect_public(spark, join.source, where=f"{where}.source")
    for name in join.on:
        ours, theirs = require_key(frame, name, where=f"{where}.on"), require_key(right, name, where=f"{where}.on")
        if ours != theirs:
            raise SpecError(
                f"the column {name} is {ours.simpleString()} here and {theirs.simpleString()} in the public table",
                where=f"{where}.on",
                mend="cast one of them: types must be identical",
            )
    keys = {name.lower() for name in join.on}
    added = [name for name in right.columns if name.lower() not in keys]
    for name in added:
        if name.lower() in {unit.lower() for unit in units} or field(frame, name) is not None:
            raise SpecError(f"the public table's column {name} is there already", where=where, mend="drop or rename it first")
    right = right.where(F.lit(True) if not join.on else _all_present(join.on))
    repeated = right.groupBy(*(column(name) for name in join.on)).count().where("count > 1")
    if not repeated.isEmpty():
        raise SourceError(
            "the public table has several rows for one key", where=where, mend=f"keep one row per {', '.join(join.on)}"
        )
    renamed = right.select(
        *(column(name).alias(f"__join_key_{index}") for index, name in enumerate(join.on)), *(column(name) for name in added)
    )
    on = F.lit(True)
    for index, name in enumerate(join.on):
        on = on & (frame[quoted(_present(frame, name, where))] == renamed[f"__join_key_{index}"])
    joined = frame.join(F.broadcast(renamed), on, join.how)
    return joined.drop(*(f"__join_key_{index}" for index in range(len(join.on))))


def _all_present(names: Sequence[str]) -> Column:
    condition = F.lit(True)
    for name in names:
        condition = condition & column(name).isNotNull()
    return condition
