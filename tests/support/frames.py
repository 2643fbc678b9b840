"""What the Spark test modules share: frames from plain rows, and the way from rows to exact aggregates."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from dp_spark.aggregates.query import Query
from dp_spark.engine import aggregation
from dp_spark.engine.bounding import FIRST, KEY_HASH, BoundedRows, PreparedRows, Salt, bound_contributions
from dp_spark.engine.features import prepare_rows
from dp_spark.engine.public_keys import PublicKeys
from dp_spark.privacy.bounds import ContributionBounds

SALT = Salt(8_143_562_907_311, -5_127_804_413_207)
NO_BOUND = ContributionBounds(1_000, 1_000)


def frame_of(spark: SparkSession, columns: Mapping[str, pa.DataType], rows: Iterable[Sequence[Any]]) -> DataFrame:
    """A frame of exactly these rows; unlike pandas, Arrow keeps null and NaN apart."""
    found = list(rows)
    arrays = [pa.array([row[index] for row in found], kind) for index, kind in enumerate(columns.values())]
    return spark.createDataFrame(pa.Table.from_arrays(arrays, names=list(columns)))


def tuples(frame: DataFrame) -> list[tuple[Any, ...]]:
    """The rows of a frame as plain tuples, in its order."""
    table = frame.toArrow()
    return list(zip(*(item.to_pylist() for item in table.columns), strict=True)) if table.num_columns else []


def prepared(frame: DataFrame, units: int, keys: int) -> PreparedRows:
    """A frame whose first columns are units, then keys, and whose others are features, as ``prepare_rows`` names them."""
    names = [f"u{i}" for i in range(units)] + [f"k{i}" for i in range(keys)]
    names += [f"f{i}" for i in range(len(frame.columns) - len(names))]
    return PreparedRows(frame.toDF(*names), names[:units], names[units : units + keys], names[units + keys :])


def kept(bounded: BoundedRows) -> Counter[tuple[Any, ...]]:
    """The bounded rows as a multiset: their keys and features."""
    return Counter(tuples(without_units(bounded).drop(FIRST)))


def without_units(bounded: BoundedRows) -> DataFrame:
    """The bounded rows' keys, features and ``first_of_unit``."""
    return bounded.frame.drop(KEY_HASH, *bounded.units)


def exact_values(
    spark: SparkSession,
    frame: DataFrame,
    queries: Sequence[Query],
    *,
    units: Sequence[str] = ("id",),
    group_by: Sequence[str] = ("g",),
    keys: PublicKeys | None = None,
    bounds: ContributionBounds = NO_BOUND,
    salt: Salt = SALT,
) -> dict[tuple[Any, ...], tuple[int, ...]]:
    """Prepare, bound, aggregate, collect and fill, as ``release`` does it: key -> one integer for each query."""
    public = keys.frame(spark) if keys is not None else None
    rows = prepare_rows(frame, units, group_by, queries, public)
    bounded = bound_contributions(rows, bounds, salt)
    exact = aggregation.collect(aggregation.aggregate(bounded, queries), bounded, queries)
    if keys is not None:
        exact = aggregation.fill_public(exact, keys)
    values = [exact.values[query] for query in queries]
    names = list(zip(*(item.to_pylist() for item in exact.keys.columns), strict=True)) if group_by else [()]
    assert len(set(names)) == len(names), "one row for each key"
    return {name: tuple(int(column[index].item()) for column in values) for index, name in enumerate(names)}


def explained(frame: DataFrame, capsys: Any, mode: str = "simple") -> str:
    """The physical plan, as Spark prints it."""
    capsys.readouterr()
    frame.explain(mode=mode)
    return str(capsys.readouterr().out)


def product(*sizes: int) -> Iterable[tuple[int, ...]]:
    """All index tuples below the sizes."""
    return itertools.product(*(range(size) for size in sizes))
