from __future__ import annotations

import math

import pyarrow as pa
import pytest
from frames import frame_of, tuples
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from dp_spark.engine.bins import place_column, place_of_integer
from dp_spark.privacy.grids import Edges, Listed, even_edges

GRIDS = [
    even_edges(0.0, 1.0, 10),
    even_edges(-3.0, 8.0, 1000),
    even_edges(1e9, 1e9 + 1, 1000),
    Edges((-1.0, 0.0, 0.1, 0.3, 7.0)),
    Edges((5.0, 6.0)),
    Edges(tuple(float(index**2) for index in range(16))),
]

pytestmark = pytest.mark.spark


def around(edge: float) -> list[float]:
    return [math.nextafter(edge, -math.inf), edge, math.nextafter(edge, math.inf)]


def test_places_are_those_of_the_reference_at_every_edge_and_beyond(spark: SparkSession) -> None:
    always = [None, math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7e308, -1.7e308, 0.7]
    values = sorted({value for grid in GRIDS for edge in grid.edges for value in around(edge)})
    frame = frame_of(spark, {"x": pa.float64()}, [(value,) for value in [*always, *values]])
    found = tuples(frame.select("x", *(place_column(F.col("x"), grid) for grid in GRIDS)))
    assert len(found) > 6000
    for value, *places in found:
        known = value is not None and not math.isnan(value)
        assert places == [grid.place(value) if known else None for grid in GRIDS], value


def test_texts_have_a_place_where_they_are_listed(spark: SparkSession) -> None:
    grid, texts = Listed(("a", "B", "", "a'b")), ["a", "b", "B", "", None, "a'b", "zz"]
    frame = frame_of(spark, {"x": pa.string()}, [(text,) for text in texts])
    found = dict(tuples(frame.select("x", place_column(F.col("x"), grid))))
    assert found == {text: None if text is None else grid.place(text) for text in texts}


def test_integers_have_the_places_of_their_values(spark: SparkSession) -> None:
    edges = (-4, -1, 0, 7, 2**40)
    integers = [None, -(2**50), 2**50, *(edge + step for edge in edges for step in (-1, 0, 1))]
    frame = frame_of(spark, {"x": pa.int64()}, [(integer,) for integer in integers])
    grid = Edges(tuple(map(float, edges)))
    for integer, place in tuples(frame.select("x", place_of_integer(F.col("x"), edges))):
        assert place == (grid.place(integer) if integer is not None else place)
