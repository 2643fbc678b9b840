"""``dp-spark check``: how a source is read, counted for the data owner's own eyes. Nothing here is differentially private.

It counts what parsing, a ``cast`` step and the unit's columns turn into null, over the rows of the source as they are. It never
runs a ``derive`` or a ``filter``: a count of what an expression gives is an exact query, and this one is free.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from dp_spark.engine import columns, preprocess, sources
from dp_spark.engine.time_guard import guarded_cast
from dp_spark.engine.watched_files import BLOCK, BROKEN, DROPPED, FILE, ONE_PART_EACH, ROW, TEXTS, placed, watched
from dp_spark.errors import DpSparkError, SourceError
from dp_spark.release.prepare import check_source
from dp_spark.spark.errors import translated
from dp_spark.spark.loggers import silence_value_quoting_loggers
from dp_spark.spark.settings import RELEASE_SETTINGS, settings
from dp_spark.spec.columns_used import columns_used
from dp_spark.spec.file_checks import check_file
from dp_spark.spec.release_spec import ReleaseSpec
from dp_spark.spec.source_checks import TEXT_FORMATS
from dp_spark.spec.spark_types import INTEGERS, NUMBERS, TIMES, type_kind

#: What a text that became null looks like -> the kinds of types for which that says how to mend the reading.
_LOOKS: dict[str, tuple[str, frozenset[str] | set[str]]] = {
    "whole number with a point": (r"^\s*[+-]?\d+\.0*\s*$", INTEGERS),
    "number with a fraction": (r"^\s*[+-]?\d*\.\d*[1-9]\d*\s*$", INTEGERS),
    "comma": (r"^\s*[+-]?\d+(,\d+)+\s*$", NUMBERS),
    "points and a comma": (r"^\s*[+-]?\d{1,3}(\.\d{3})+,\d+\s*$", NUMBERS),
    "commas and a point": (r"^\s*[+-]?\d{1,3}(,\d{3})+\.\d+\s*$", NUMBERS),
    "plain number": (r"^[+-]?\d+$", NUMBERS),
    "plain fraction": (r"^[+-]?\d*\.\d+([eE][+-]?\d+)?$", NUMBERS - INTEGERS),
    "blanks": (r"^\s+\S.*$|^.*\S\s+$", NUMBERS | TIMES | {"boolean"}),
    "date in another form": (r"^\s*\d{1,4}[./-]\d{1,2}[./-]\d{1,4}([ T].*)?$", TIMES),
    "word for nothing": (r"(?i)^\s*(na|n/a|nan|null|none|nil|-|\?|\.)\s*$", NUMBERS | TIMES | {"boolean"}),
}


@dataclass(frozen=True)
class Place:
    """Where an example is: a file, and the place of the record in it or in the part of it that begins at a byte."""

    file: str
    row: int | None
    after_byte: int


@dataclass(frozen=True)
class Finding:
    """How often something happened, and where it first and last did.

    Attributes:
        number: How many records.
        places: Examples of where.
        looks: For values that became null: what they look like -> how many.
    """

    number: int
    places: tuple[Place, ...] = ()
    looks: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Lost:
    """Values of a column, or of a field of a struct, that became null: by parsing (``step`` is None) or by a ``cast`` step."""

    column: str
    kind: str
    step: str | None
    found: Finding


@dataclass(frozen=True)
class Reading:
    """How a source is read. CONFIDENTIAL: exact counts of private rows.

    Attributes:
        rows: The records that were read.
        broken: Records that are not of the schema's form at all.
        dropped: Records that a release drops (``mode: DROPMALFORMED``).
        without_unit: Rows that a release drops since their privacy unit is null.
        quotes: Texts in which quotes are still doubled.
        lost: Values that became null.
        problem: What a run would refuse, in spite of all that, before its charge.
    """

    spec: ReleaseSpec
    rows: int
    broken: Finding
    dropped: int
    without_unit: Finding
    quotes: Finding
    lost: tuple[Lost, ...]
    problem: DpSparkError | None


def check_reading(spark: SparkSession, spec: ReleaseSpec) -> Reading:
    """Reads a release's source as the release does and counts what becomes null on the way; writes and charges nothing.

    Args:
        spark: The session; its settings are the same afterwards.
        spec: The release file.

    Raises:
        SpecError, SourceError: As ``run_release`` would, where the source cannot be read at all.
    """
    silence_value_quoting_loggers()
    held = {**RELEASE_SETTINGS, "spark.sql.session.timeZone": spec.timezone, **ONE_PART_EACH}
    with settings(spark, held):
        preprocess.check_steps(spec)
        located = spec.expand()
        check_file(located)
        counted = _Counted(_rows(spark, located), located)
        values = counted.run()
        problem = None
        try:
            check_source(spark, located)
        except DpSparkError as error:
            problem = error
        return counted.reading(values, problem)


def _rows(spark: SparkSession, spec: ReleaseSpec) -> DataFrame:
    opened = sources.open_checked(spark, spec.source, where="source")
    if spec.source.format in TEXT_FORMATS:
        return watched(sources.text_files(spark, spec.source, where="source").with_headers("source"))
    nothing = {TEXTS: F.lit(None).cast("array<string>"), BROKEN: F.lit(False), DROPPED: F.lit(False)}
    return placed(opened).withColumns(nothing)


class _Counted:
    """One pass over the rows that counts everything at once."""

    def __init__(self, frame: DataFrame, spec: ReleaseSpec) -> None:
        self._spec = spec
        self._counts: dict[str, Column] = {}
        self._columns: list[tuple[str, str, str | None]] = []
        kept = ~F.col(DROPPED)
        self._add("rows", F.lit(True))
        self._add("broken", F.col(BROKEN))
        self._add("dropped", F.col(DROPPED))
        no_unit = F.lit(False)
        for name in spec.unit_columns:
            found = columns.located(frame, name)
            no_unit = no_unit if found is None else no_unit | found[0].isNull()
        self._add("without_unit", kept & no_unit)
        self._parsed(frame)
        self.frame = self._cast(frame, kept)

    def _add(self, name: str, happened: Column, text: Column | None = None, kind: str = "") -> None:
        place = F.when(happened, F.struct(FILE, BLOCK, ROW))
        self._counts |= {name: F.count_if(happened), f"{name}_first": F.min(place), f"{name}_last": F.max(place)}
        if text is not None:
            for look, (pattern, kinds) in _LOOKS.items():
                if kind in kinds:
                    self._counts[f"{name}_{look}"] = F.count_if(happened & text.rlike(pattern))

    def _lost(self, column: str, kind: str, step: str | None, happened: Column, text: Column) -> None:
        name = f"lost{len(self._columns)}"
        self._columns.append((column, kind, step))
        self._add(name, happened, text, type_kind(kind, nested=True) or "")

    def _parsed(self, frame: DataFrame) -> None:
        used, quotes = columns_used(self._spec), F.lit(False)
        for index, (name, kind) in enumerate((self._spec.source.columns or {}).items()):
            text = F.col(TEXTS)[index]
            if type_kind(kind) == "string":
                quotes = quotes | F.coalesce(columns.column(name).contains('""'), F.lit(False))
            if name.lower() in used:
                became_null = ~F.col(BROKEN) & text.isNotNull() & columns.column(name).isNull()
                self._lost(name, kind, None, F.coalesce(became_null, F.lit(False)), text)
        self._add("quotes", quotes)
        for name in used:
            self._parsed_field(frame, name)

    def _parsed_field(self, frame: DataFrame, name: str) -> None:
        """A field of a struct, which is lost alone: the struct that holds it is not null."""
        listed, path = [item.lower() for item in self._spec.source.columns or ()], name.split(".")
        found = columns.located(frame, name)
        if found is None or name in listed or path[0] not in listed:
            return
        ways = (columns.nested(frame, path[:depth]) for depth in range(1, len(path) + 1))
        names = [way[1].name for way in ways if way is not None]
        inside = "".join(f"['{part}']" for part in names[1:])
        text = F.get_json_object(F.col(TEXTS)[listed.index(path[0])], f"${inside}")
        happened = ~F.col(BROKEN) & text.isNotNull() & found[0].isNull()
        self._lost(".".join(names), found[1].dataType.simpleString(), None, F.coalesce(happened, F.lit(False)), text)

    def _cast(self, frame: DataFrame, kept: Column) -> DataFrame:
        """The frame with what each ``cast`` step makes of a column that no step before has computed or filled."""
        own = {name.lower() for name in frame.columns}
        for index, step in enumerate(self._spec.preprocess):
            for name, kind in (step.cast or {}).items():
                found = columns.field(frame, name) if name.lower() in own else None
                if found is None:
                    continue
                where, before = f"preprocess.{index}.cast.{name}", f"__dp_spark_before{index}_{len(self._columns)}"
                value = columns.column(found.name)
                with translated(SourceError, "Spark cannot cast it", where=where, mend="check the types"):
                    frame = frame.withColumn(before, value.cast("string"))
                    frame = frame.withColumn(found.name, guarded_cast(frame, value, kind, where))
                happened = kept & F.col(before).isNotNull() & value.isNull()
                flag = f"{before}_lost"
                frame = frame.withColumn(flag, happened)
                self._lost(found.name, kind, where, F.col(flag), F.col(before))
            own -= {name.lower() for name in [*(step.derive or {}), *(step.fill or {}), *(step.drop or ())]}
        return frame

    def run(self) -> dict[str, Any]:
        """The counts, in one Spark job."""
        with translated(SourceError, "reading the source failed", where="source", mend="check that its files can be read"):
            [row] = self.frame.agg(*(value.alias(name) for name, value in self._counts.items())).collect()
            return dict(row.asDict(recursive=True))

    def reading(self, values: Mapping[str, Any], problem: DpSparkError | None) -> Reading:
        """What the counts say."""
        lost = [Lost(*about, _finding(f"lost{index}", values)) for index, about in enumerate(self._columns)]
        broken, without_unit, quotes = (_finding(name, values) for name in ("broken", "without_unit", "quotes"))
        return Reading(self._spec, values["rows"], broken, values["dropped"], without_unit, quotes, tuple(lost), problem)


def _finding(name: str, values: Mapping[str, Any]) -> Finding:
    looks = {look: values[f"{name}_{look}"] for look in _LOOKS if values.get(f"{name}_{look}")}
    return Finding(values[name], tuple(dict.fromkeys(_places(name, values))), looks)


def _places(name: str, values: Mapping[str, Any]) -> Iterator[Place]:
    for end in ("first", "last"):
        place = values[f"{name}_{end}"]
        if place is not None and place[FILE] is not None:
            yield Place(place[FILE], place[ROW], place[BLOCK])
