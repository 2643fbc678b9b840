"""Row-wise cleaning and conversion: each row becomes at most one row, whatever the other rows are.

That is what keeps a user's rows that user's rows: a row-wise map has stability 1 (a join with a public table that has
one row per key is such a map). Anything that is not row-wise is refused before it reaches Spark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from dp_spark.aggregates.base import Aggregate
from dp_spark.engine.columns import column, field, missing, quoted, require_key
from dp_spark.engine.public_tables import collect_public
from dp_spark.engine.row_values import null_for_nan, without_nan
from dp_spark.engine.time_guard import guarded, guarded_cast
from dp_spark.engine.typed_literals import constant_of_type, literal_of_type
from dp_spark.errors import DpSparkError, SourceError, SpecError, collected, said_together
from dp_spark.published.cells import key_text
from dp_spark.spark.errors import translated
from dp_spark.spec.expressions import Expression, check_expression, check_type
from dp_spark.spec.release_spec import Join, ReleaseSpec, Step
from dp_spark.spec.unit_definition import check_definition, check_unit, mend, quoted_text, read_by_unit


def check_steps(spec: ReleaseSpec) -> None:
    """Checks every step that can be checked without Spark.

    Raises:
        SpecError: If an expression of a step or an aggregate is refused, or a step touches a privacy-unit column or one that
            the unit reads; with all ``problems``.
        SourceError: If a definition of the unit reads a column that the file's own schema does not have.
    """
    check_unit(spec)
    units, read = {name.lower() for name in spec.unit_columns}, read_by_unit(spec)
    found: list[DpSparkError] = []
    for index, step in enumerate(spec.preprocess):
        where = f"preprocess.{index}"
        for name in _assigned(step):
            if name.lower() in units | read:
                what = "the privacy-unit column" if name.lower() in units else "what the privacy unit reads, the column"
                problem = f"no step may assign, cast, fill or drop {what} {name}"
                found.append(SpecError(problem, where=where, mend=_without_step(spec, step, name)))
        for key, text in _texts(step).items():
            with collected(found):
                check_expression(text, spec.parameters, where=f"{where}.{key}")
        for name, kind in (step.cast or {}).items():
            with collected(found):
                check_type(kind, where=f"{where}.cast.{name}")
    for aggregate in conditional(spec).values():
        with collected(found):
            spec.condition(aggregate)
    if found:
        raise said_together(found)


def _without_step(spec: ReleaseSpec, step: Step, name: str) -> str:
    """How to do without a step that would change the unit: the same as a definition of it, where that can be one."""
    if step.drop is not None:
        return "leave it out: only what the release names leaves the job"
    if step.fill is not None:
        return "leave it out: rows without a privacy unit are dropped"
    unit = spec.unit_definition or {part: part for part in spec.unit_columns}
    mine = [part for part in unit if part.lower() == name.lower() == unit[part].lower()]
    text = (step.derive or {}).get(name) or f"cast({quoted_text(name)} as {(step.cast or {}).get(name)})"
    made = {new.lower() for other in spec.preprocess for new in _assigned(other)} - {name.lower()}
    try:
        others = {parts[0].lower() for parts in check_definition(name, text).reads} - {name.lower()}
    except SpecError:
        mine = []
    if not mine or (others and (others & made or any(other.join for other in spec.preprocess))):
        return "derive a column of another name; the privacy unit is computed before the steps"
    taken = [*(spec.source.columns or ()), *(new for other in spec.preprocess for new in other.derive or ())]
    return f"leave it out, and {mend(unit, mine[0], text, {*taken, *mine})}"


def _assigned(step: Step) -> Sequence[str]:
    return [*(step.derive or {}), *(step.cast or {}), *(step.fill or {}), *(step.drop or ())]


def _texts(step: Step) -> dict[str, str]:
    texts = {f"derive.{name}": text for name, text in (step.derive or {}).items()}
    return texts | ({"filter": step.filter} if step.filter is not None else {})


def conditional(spec: ReleaseSpec) -> dict[str, Aggregate]:
    """The aggregates that have a condition, by its key in the release file."""
    return {f"aggregates.{item.name}.where": item for item in spec.aggregates if item.where is not None}


def expressions(spec: ReleaseSpec) -> dict[str, Expression]:
    """The checked expressions of all steps and aggregates, by their keys in the release file."""
    texts = {
        f"preprocess.{index}.{key}": text for index, step in enumerate(spec.preprocess) for key, text in _texts(step).items()
    }
    found = {where: check_expression(text, spec.parameters, where=where) for where, text in texts.items()}
    return found | {where: spec.condition(item) for where, item in conditional(spec).items()}


def apply_steps(
    spark: SparkSession, frame: DataFrame, spec: ReleaseSpec, joined: dict[str, DataFrame] | None = None
) -> DataFrame:
    """The source after all its steps, still lazy; NaN is null in it.

    Args:
        spark: The session, with ``settings.RELEASE_SETTINGS`` held.
        frame: The source.
        spec: The release file, after ``check_steps``.
        joined: The public tables that were read and checked already, by their keys; what is read is added.

    Raises:
        SourceError: If a step names a column that is not there.
        SpecError: If a join's public table is not fit.
    """
    frame, joined = without_nan(frame), {} if joined is None else joined
    for index, step in enumerate(spec.preprocess):
        where = f"preprocess.{index}"
        with translated(SourceError, "Spark cannot resolve it", where=where, mend="check column names and types"):
            frame = _apply(spark, frame, step, spec, where, joined)
            _ = frame.schema  # has Spark resolve names and types now, from metadata alone
    return frame


def _apply(
    spark: SparkSession, frame: DataFrame, step: Step, spec: ReleaseSpec, where: str, joined: dict[str, DataFrame]
) -> DataFrame:
    if step.filter is not None:
        condition = check_expression(step.filter, spec.parameters, where=f"{where}.filter")
        return frame.where(computed(frame, condition, f"{where}.filter"))
    if step.derive is not None:
        return _derive(frame, step.derive, spec.parameters, f"{where}.derive")
    if step.cast is not None:
        for name, kind in step.cast.items():
            present = _present(frame, name, f"{where}.cast")
            frame = _with(frame, present, guarded_cast(frame, column(present), kind, f"{where}.cast.{name}"))
        return frame
    if step.fill is not None:
        return _fill(frame, step.fill, f"{where}.fill")
    if step.drop is not None:
        return frame.drop(*(_present(frame, name, f"{where}.drop") for name in step.drop))
    assert step.join is not None
    where = f"{where}.join"
    if where not in joined:
        joined[where] = _public(spark, step.join, where)
    return _join(frame, step.join, spec.unit_columns, joined[where], where)


def _present(frame: DataFrame, name: str, where: str) -> str:
    found = field(frame, name)
    if found is None:
        raise missing(name, where, frame)
    return found.name


def computed(frame: DataFrame, expression: Expression, where: str) -> Column:
    """A checked expression over a frame.

    Raises:
        SourceError: If it reads a column that is not there.
    """
    for name in expression.columns:
        _present(frame, name, where)
    return guarded(frame, expression, where)


def _derive(
    frame: DataFrame, derived: Mapping[str, str], parameters: Mapping[str, bool | int | Decimal | str], where: str
) -> DataFrame:
    # One at a time, so that a later expression of the step can use an earlier one, as it reads.
    for name, text in derived.items():
        expression = check_expression(text, parameters, where=f"{where}.{name}")
        frame = _with(frame, name, computed(frame, expression, f"{where}.{name}"))
    return frame


def _with(frame: DataFrame, name: str, value: Column) -> DataFrame:
    """The frame with a column added or replaced, null where it would be NaN."""
    return frame.withColumn(name, null_for_nan(value, frame.select(value).schema.fields[0].dataType))


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
        frame = _with(frame, present, F.coalesce(column(present), literal_of_type(constant, kind)))
    return frame


def _public(spark: SparkSession, join: Join, where: str) -> DataFrame:
    """A join's public table, read once and checked to have one row for each key.

    The very rows that were checked are joined: a table that changes between check and join cannot turn one row of a user
    into many.
    """
    right = without_nan(collect_public(spark, join.source, where=f"{where}.source"))
    for name in join.on:
        require_key(right, name, where=f"{where}.on")
    right = right.where(F.lit(True) if not join.on else _all_present(join.on))
    repeated = right.groupBy(*(column(name) for name in join.on)).count().where("count > 1")
    if not repeated.isEmpty():
        raise SourceError(
            "the public table has several rows for one key", where=where, mend=f"keep one row per {', '.join(join.on)}"
        )
    return right


def _join(frame: DataFrame, join: Join, units: Sequence[str], right: DataFrame, where: str) -> DataFrame:
    """A join with a public table: identical key types, one row per key, no unit column, no name that is taken."""
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
