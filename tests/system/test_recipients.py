"""What another organisation does with a release, with none of our code or with ``dp_spark.manifest`` alone."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from checkout import ROOT
from deltalake import DeltaTable
from packaging.requirements import Requirement
from pyspark.sql import SparkSession
from release_helpers import COUNT, MEAN, PATIENTS, TOTAL, Place, write_delta

from dp_spark.errors import DamageError, SourceError
from dp_spark.manifest import MANIFEST_PROPERTY, read_manifest

pytestmark = pytest.mark.books_in_memory

NIGHT = dt.datetime(2024, 3, 31, 1, 30, tzinfo=dt.UTC)
KEYS: dict[str, tuple[Any, list[Any]]] = {
    "word": (pa.string(), ["ünï, \"x\"\n", "b"]),
    "number": (pa.int64(), [-(2**63), 2**63 - 1]),
    "small": (pa.int16(), [-1, 7]),
    "yes": (pa.bool_(), [True, False]),
    "day": (pa.date32(), [dt.date(1900, 1, 1), dt.date(2024, 2, 29)]),
    "moment": (pa.timestamp("us", tz="UTC"), [NIGHT, dt.datetime(1999, 1, 1, tzinfo=dt.UTC)]),
    "price": (pa.decimal128(12, 3), [Decimal("-0.125"), Decimal("99999.999")]),
}  # fmt: skip


def test_recipients_are_held_to_no_upper_bound() -> None:
    """Theirs are whatever versions they have; and what they read with pyarrow is not ours to hold back."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [Requirement(text) for text in project["optional-dependencies"]["recipient"]]
    wanted += [item for item in map(Requirement, project["dependencies"]) if item.name == "pyarrow"]
    assert {item.name for item in wanted} >= {"deltalake", "pyarrow"}
    assert not any(bound.operator.startswith(("<", "=", "~")) for item in wanted for bound in item.specifier)


@pytest.fixture
def typed(place: Place, spark: SparkSession) -> Place:
    """A release with a key of each common type, a null among them, selected privately."""
    columns = {name: pa.array([values[row % 2] for row in range(4000)], kind) for name, (kind, values) in KEYS.items()}
    columns["word"] = pa.array([None if row % 2 else KEYS["word"][1][0] for row in range(4000)], pa.string())
    person = {"person": pa.array([f"p{row // 2}" for row in range(4000)])}
    cost = {"cost": pa.array([float(row % 100) for row in range(4000)])}
    source = write_delta(spark, place.folder / "typed", pa.table({**person, **columns, **cost}))
    place.release(
        "typed",
        dataset="rich",
        source={"format": "delta", "path": str(source)},
        privacy_unit="person",
        group_by=list(KEYS),
        partitions={"private": {}},
        aggregates=[PATIENTS, COUNT, TOTAL, MEAN],
        budget={"epsilon": 1.0, "delta": 1e-6},
    )
    return place


def by_spark(place: Place) -> pa.Table:
    return place.spark.read.format("delta").load(str(place.sink)).toArrow()


def by_pandas(place: Place) -> pa.Table:
    return pa.Table.from_pandas(DeltaTable(place.sink).to_pandas(types_mapper=None), preserve_index=False)


def by_polars(place: Place) -> pa.Table:
    return pl.read_delta(str(place.sink)).to_arrow()


def by_duckdb(place: Place) -> pa.Table:
    dataset = DeltaTable(place.sink).to_pyarrow_dataset()
    with duckdb.connect() as connection:
        connection.register("release", dataset)
        return connection.sql("SELECT * FROM release").to_arrow_table()


def by_parquet_in_duckdb(place: Place) -> pa.Table:
    """For a tool that knows Parquet only: the log names the one file of the newest version."""
    with duckdb.connect() as connection:
        log = f"{place.sink}/_delta_log/*.json"
        added = connection.sql(
            f"SELECT add.path FROM read_json('{log}', union_by_name=true) WHERE add.path IS NOT NULL"
        ).fetchall()
        [(file,)] = added
        return connection.sql(f"SELECT * FROM read_parquet('{place.sink}/{file}')").to_arrow_table()


READERS = [by_spark, by_pandas, by_polars, by_duckdb, by_parquet_in_duckdb]


def plain(table: pa.Table) -> list[dict[str, Any]]:
    """Rows in the order of their keys, as Python values; moments in UTC."""
    rows = table.to_pylist()
    for row in rows:
        row["moment"] = row["moment"].astimezone(dt.UTC)
    return sorted(rows, key=lambda row: row["number"])


def test_every_reader_sees_the_same_rows(typed: Place) -> None:
    expected = plain(typed.drawn("typed").rows)
    assert [row["word"] for row in expected] == [KEYS["word"][1][0], None], "both keys are shown, and one is null"
    for reader in READERS:
        found = reader(typed)
        assert plain(found) == expected, reader.__name__
        assert found.column_names == [
            *KEYS,
            *(f"{n}{s}" for n in ("patients", "visits", "total", "average") for s in ("", "_stddev")),
        ]


#: Noon of 0001-01-01 and the end of 9999, in UTC.
FAR = [-62_135_553_600_000_000, 253_402_300_799_999_999]


@pytest.mark.slow
def test_every_reader_sees_broken_texts_as_null_and_far_times_as_they_are(place: Place, spark: SparkSession) -> None:
    """A text that is no UTF-8 stops other readers, and so did Spark's own format of timestamps before 1678 and after 2261."""
    word = ["FF", "61FE", "EDA080", "C3A9"]
    person = pa.array([f"p{row}" for row in range(400)])
    columns = {"person": person, "h": [word[row % 4] for row in range(400)]}
    columns["far"] = pa.array([FAR[row % 2] for row in range(400)])
    texts = ["*", "cast(unhex(h) as string) AS broken", "timestamp_micros(far) AS moment"]
    spark.createDataFrame(pa.table(columns)).selectExpr(*texts).write.format("delta").save(str(place.folder / "odd"))
    place.release(
        "odd",
        dataset="rich",
        timezone="America/New_York",
        source={"format": "delta", "path": str(place.folder / "odd")},
        preprocess=[{"derive": {"day": "cast(moment as date)", "wall": "cast(moment as timestamp_ntz)"}}],
        privacy_unit="person",
        group_by=["broken", "moment", "wall", "day"],
        partitions={"private": {}},
        aggregates=[PATIENTS],
        budget={"epsilon": 100, "delta": 1e-6},
    )
    drawn = place.drawn("odd").rows
    expected = [("é", FAR[1]), (None, FAR[0]), (None, FAR[1])]
    assert sorted(zip(drawn["broken"].to_pylist(), numbers(drawn, "moment"), strict=True), key=repr) == expected
    for reader in (by_spark, lambda at: DeltaTable(at.sink).to_pyarrow_table(), by_polars):
        found = reader(place)
        for name in ("moment", "wall"):
            assert sorted(numbers(found, name)) == sorted(numbers(drawn, name))
        assert sorted(map(str, found["broken"].to_pylist())) == ["None", "None", "é"]


def numbers(table: pa.Table, name: str) -> list[int]:
    return list(table[name].cast(pa.int64()).to_pylist())


def manifest_by_spark(place: Place) -> str:
    return str(place.spark.sql(f"DESCRIBE DETAIL delta.`{place.sink}`").collect()[0]["properties"][MANIFEST_PROPERTY])


def manifest_by_delta_rs(place: Place) -> str:
    return str(DeltaTable(place.sink).metadata().configuration[MANIFEST_PROPERTY])


def manifest_by_duckdb(place: Place) -> str:
    with duckdb.connect() as connection:
        options = "columns={'metaData': 'STRUCT(configuration MAP(VARCHAR, VARCHAR))'}, filename=true"
        log = f"read_json('{place.sink}/_delta_log/*.json', {options})"
        query = (
            f"SELECT metaData.configuration['{MANIFEST_PROPERTY}'] FROM {log} WHERE metaData IS NOT NULL ORDER BY filename DESC"
        )
        return str(connection.sql(f"{query} LIMIT 1").fetchall()[0][0])


@pytest.mark.parametrize("reader", [manifest_by_spark, manifest_by_delta_rs, manifest_by_duckdb])
def test_every_reader_finds_the_manifest(released: Place, reader: Callable[[Place], str]) -> None:
    manifest = read_manifest(released.sink)
    assert manifest["release_id"] == "r2"
    assert json.loads(reader(released)) == manifest == dict(released.drawn("r2").manifest)


ALONE = """
import sys
sys.path.insert(0, sys.argv[1])
from dp_spark.manifest import confidence_intervals, read_manifest
manifest = read_manifest(sys.argv[2])
[interval] = confidence_intervals(manifest, "visits", [100])
foreign = [name for name in sys.modules if name.partition(".")[0] not in sys.stdlib_module_names | {"dp_spark", "__main__"}]
assert not foreign, foreign
[described] = [item for item in manifest["aggregates"] if item["name"] == "visits"]
print(manifest["release_id"], 100 - interval[0] == described["half_width_95"])
"""


def test_the_manifest_module_needs_nothing_but_python(released: Place) -> None:
    """As after ``pip install --no-deps``: no other package can be imported."""
    command = [sys.executable, "-I", "-S", "-c", ALONE, str(ROOT), str(released.sink)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "r2 True\n"


@pytest.mark.slow
def test_the_manifest_is_found_behind_commits_and_checkpoints_that_do_not_name_it(released: Place, tmp_path: Path) -> None:
    sink = copy_of(released.sink, tmp_path)
    table = DeltaTable(sink)
    table.create_checkpoint()
    table.alter.set_table_description("put in order")
    assert read_manifest(sink)["release_id"] == "r2"
    assert read_manifest(sink.as_uri())["release_id"] == "r2"
    released.spark.sql(f"DELETE FROM delta.`{sink}` WHERE ward = 'no such ward'")
    released.spark.sql(f"DELETE FROM delta.`{sink}` WHERE ward = 'er'")
    DeltaTable(sink).create_checkpoint()
    for commit in sorted((sink / "_delta_log").glob("*.json"))[:-1]:
        commit.unlink()
    assert read_manifest(sink)["release_id"] == "r2"


def copy_of(sink: Path, folder: Path) -> Path:
    """A release without its ledger, as a recipient may have it."""
    return Path(shutil.copytree(sink, folder / "copy"))


def test_what_is_no_release_says_so(released: Place, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="carries no dp-spark manifest"):
        read_manifest(released.source)
    with pytest.raises(SourceError, match="there is no Delta table"):
        read_manifest(tmp_path / "nothing")
    with pytest.raises(SourceError, match="cannot be opened as a Delta table"):
        read_manifest("memory:///nothing")
    sink = copy_of(released.sink, tmp_path)
    commit = max((sink / "_delta_log").glob("*.json"))
    commit.write_text("{", encoding="utf-8")
    with pytest.raises(DamageError, match="log cannot be read"):
        read_manifest(sink)
