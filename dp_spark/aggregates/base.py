"""What every aggregate answers for itself; nothing outside its own file asks which function it is.

An aggregate says what it needs of the source, which queries are drawn for it, how noisy integers become cells with their
errors (post-processing), how wrong a cell may be, how its columns are described to recipients, how the cells of several
parties combine or why they cannot, and what it is without noise (``reference``, for tests and demos).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import pyarrow as pa
from pydantic import Field
from typing_extensions import override

from dp_spark.aggregates.given import Accuracy, Drawn, Need, Noise, PartyCells, doubles
from dp_spark.aggregates.query import Query
from dp_spark.schema.model import ColumnName, Model, Weight


class Aggregate(Model):
    """One aggregate of a release file."""

    #: What is released, for the documents.
    released_as: ClassVar[str]
    #: The keys that a manifest names only where they are given: earlier versions did not know them.
    unsaid: ClassVar[tuple[str, ...]] = ("where",)

    name: ColumnName
    weight: Weight = Decimal(1)
    function: str
    where: Annotated[str, Field(min_length=1)] | None = None

    @abstractmethod
    def needs(self) -> tuple[Need, ...]:
        """The columns that it reads."""

    @abstractmethod
    def queries(self) -> tuple[Query, ...]:
        """The queries that it is computed from, in the order in which ``finish`` takes them.

        Raises:
            SpecError: If its clipping bounds make no lattice.
        """

    def served_by(self, labels: Collection[str]) -> Self:
        """Itself, reading the integers of one of these queries instead of its own where that has them, too.

        Args:
            labels: The labels of the release's queries.
        """
        return self

    @property
    def searched(self) -> tuple[float, ...] | None:
        """The shares of all values whose places it searches for in a tree; None where it reads all that is drawn for it."""
        return None

    @abstractmethod
    def finish(self, drawn: Sequence[Drawn]) -> list[pa.Array]:
        """Its cells, one array for each of ``column_names``; a function of noisy integers and public settings."""

    @abstractmethod
    def accuracy(self, noises: Sequence[Noise]) -> Accuracy:
        """How wrong its cells may be."""

    @abstractmethod
    def describe(self, noises: Sequence[Noise]) -> list[dict[str, Any]]:
        """Its columns, as the manifest tells them: name, type, meaning, and where there are any range, error, notes."""

    @abstractmethod
    def reference(self, rows: Sequence[Mapping[str, Any]], unit: str) -> list[Any]:
        """Its cells for the rows of one partition without bounds and noise, in the order of ``column_names``.

        Args:
            rows: The rows; with ``where`` those for which it is true.
            unit: The column that holds the privacy unit.
        """

    @abstractmethod
    def plain_sql(self, units: Sequence[str]) -> str:
        """The statistic without bounds, clipping and noise in Spark's own words, for a demo that shows what privacy cost.

        Args:
            units: The columns of the privacy unit; empty where each row is one.

        Returns:
            An aggregate over rows, or over units where ``plain_unit_sql`` says what each has in the column ``UNIT_VALUE``.
        """

    @property
    def plain_unit_sql(self) -> str | None:
        """What a unit's rows in a partition come to, in Spark's own words; None where ``plain_sql`` is over rows."""
        return None

    @abstractmethod
    def parts(self, party: PartyCells) -> dict[str, pa.ChunkedArray]:
        """What of one party's cells adds up over parties, by names of its own.

        Raises:
            CannotCombine: If that cannot be had.
        """

    @abstractmethod
    def combined(self, added: Mapping[str, pa.ChunkedArray]) -> list[Any]:
        """The cells, from the parts of all parties added up; in the order of ``column_names``."""

    def combination_note(self, *, overlapping: bool) -> str:
        """What a recipient of a combined table must know of it, or nothing.

        Args:
            overlapping: Whether one user can be in the data of several parties.
        """
        return ""

    @property
    def in_short(self) -> str:
        """The function with what bounds its values, for a narrow column."""
        return f"{self.function}{self.conditional}"

    @property
    def conditional(self) -> str:
        """Its condition as a release file has it, behind a blank; empty where there is none."""
        return "" if self.where is None else f" where {self.where}"

    @property
    def condition(self) -> str:
        """Which rows it counts, for people; empty where all."""
        return f", of rows{self.conditional}" if self.where else ""

    def filtered(self, aggregate: str, *conditions: str) -> str:
        """An aggregate in Spark's own words, over the rows that it counts and for which more conditions are true."""
        found = [*([] if self.where is None else [f"({self.where})"]), *conditions]
        return f"{aggregate} filter (where {' and '.join(found)})" if found else aggregate

    def column_names(self) -> list[str]:
        """The released columns, in order."""
        return [self.name, f"{self.name}_stddev"]

    @property
    def elements(self) -> int:
        """How many numbers a row has of it, for the driver's memory."""
        return len(self.column_names())

    @property
    def _not_said(self) -> set[str]:
        return {name for name in self.unsaid if getattr(self, name) is None}

    def entry(self, noises: Sequence[Noise]) -> dict[str, Any]:
        """The aggregate in the manifest's list ``aggregates``."""
        accuracy = self.accuracy(noises)
        return {
            "name": self.name,
            "function": self.function,
            **self.model_dump(exclude={"name", "function", "weight", *self._not_said}),
            "mechanism": noises[0].mechanism,
            "queries": [query.label for query in self.queries()],
            "stddev": accuracy.stddev,
            "half_width_95": accuracy.half_width_95,
        }


class OneQuery(Aggregate):
    """An aggregate that is one query's noisy integer, in the column's own unit: counts and sums. Cells of parties add up."""

    #: Whether cells are whole numbers.
    whole: ClassVar[bool] = True

    @property
    @abstractmethod
    def meaning(self) -> str:
        """What a cell is, for people."""

    @override
    def finish(self, drawn: Sequence[Drawn]) -> list[pa.Array]:
        [found] = drawn
        values = pa.array(found.single if self.whole else found.amount)
        return [values, pa.array(np.full(len(values), found.noise.stddev))]

    @override
    def accuracy(self, noises: Sequence[Noise]) -> Accuracy:
        return Accuracy(noises[0].stddev, noises[0].half_width)

    @override
    def describe(self, noises: Sequence[Noise]) -> list[dict[str, Any]]:
        [noise] = noises
        error = constant_error(self.name, noise)
        kind = "bigint" if self.whole else "double"
        return [described(self.name, kind, self.meaning, aggregate=self.name, error=error), stddev_column(self.name)]

    @override
    def parts(self, party: PartyCells) -> dict[str, pa.ChunkedArray]:
        variance = doubles(party.column(f"{self.name}_stddev")) ** 2
        return {"value": party.column(self.name), "var": pa.chunked_array([variance])}

    @override
    def combined(self, added: Mapping[str, pa.ChunkedArray]) -> list[Any]:
        return [added["value"], pa.array(np.sqrt(doubles(added["var"])))]


def constant_error(name: str, noise: Noise) -> dict[str, Any]:
    """The error of a column whose cells, or their elements, each have the noise of one integer.

    Args:
        name: The column.
        noise: The noise.
    """
    return {
        "rule": "constant",
        "mechanism": noise.mechanism,
        "noise_scale": noise.scale,
        "granularity": noise.granularity,
        "stddev": noise.stddev,
        "stddev_column": f"{name}_stddev",
    }


def is_value(found: Any) -> bool:
    """Whether it is neither null nor NaN.

    >>> is_value(0.0), is_value(None), is_value(float("nan"))
    (True, False, False)
    """
    return found is not None and not (isinstance(found, float) and math.isnan(found))


def described(name: str, kind: str, meaning: str, **more: Any) -> dict[str, Any]:
    """One column in the manifest.

    Args:
        name: Its name.
        kind: ``bigint`` or ``double``, or an array of such; ``key`` for a partition key, which has the source's type.
        meaning: What it is, for people.
        more: ``range``, ``error``, ``notes``, ``aggregate``, ``edges``, ``values``; left out where empty.
    """
    return {"name": name, "type": kind, "meaning": meaning, **{key: value for key, value in more.items() if value}}


def stddev_column(name: str, *, sometimes_null: bool = False) -> dict[str, Any]:
    """The column behind an aggregate's that says how wrong its cells are."""
    null = ["null where too few values are behind a cell to tell"] if sometimes_null else []
    return described(f"{name}_stddev", "double", f"standard deviation of the noise in {name}", notes=null)


def sql_name(column: str) -> str:
    """A column as Spark SQL reads it literally."""
    return "`" + column.replace("`", "``") + "`"
