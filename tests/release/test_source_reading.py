"""``dp-spark check``: what the reading of a source loses, for its owner's terminal, and the way from there to a release."""

from __future__ import annotations

import os
import pty
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession
from release_helpers import COUNT, TOTAL, Outcome, Place, snapshot, write_delta

from dp_spark.cli.source_mends import mends
from dp_spark.release.source_reading import Lost, Reading, check_reading

pytestmark = pytest.mark.books_in_memory

Cli = Callable[..., Outcome]
WARDS = ["er", 'ward "B", east', "gp, west"]
SCHEMA = {"patient": "bigint", "ward": "string", "cost": "double", "day": "date"}
RAN_WITH: dict[str, Any] = {
    "group_by": ["ward"],
    "contribution_bounds": {"max_partitions_contributed": 3, "max_contributions_per_partition": 60},
    "partitions": {"public": {"values": {"ward": WARDS}}},
    "aggregates": [COUNT, TOTAL, {"function": "count", "column": "day", "name": "dated"}],
    "preprocess": [{"filter": "ward is not null"}],
    "dataset": "rich",
    "budget": {"epsilon": 1_000_000},
}


def lost(reading: Reading) -> dict[str, int]:
    return {f"{item.column} {item.step or ''}".strip(): item.found.number for item in reading.lost if item.found.number}


def of(reading: Reading, name: str) -> Lost:
    return next(item for item in reading.lost if item.column == name)


@pytest.fixture
def exported(place: Place) -> Path:
    """As pandas writes it: quotes doubled, ids with gaps as floats, a comma in the numbers, dates as people write them."""
    number = 60
    frame = pd.DataFrame(
        {
            "patient": [None if n % 10 == 9 else 17_850 + n % 20 for n in range(number)],
            "cost": [f"{n % 7},5" for n in range(number)],
            "ward": [WARDS[n % 3] for n in range(number)],
            "day": [f"{1 + n % 28:02}/03/2024" for n in range(number)],
        }
    )
    path = place.folder / "visits.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.mark.slow
def test_a_strangers_first_check_tells_all_and_one_run_after_it_succeeds(place: Place, cli: Cli, exported: Path) -> None:
    source: dict[str, Any] = {"format": "csv", "path": str(exported), "schema": SCHEMA}
    before = snapshot(place.folder)
    file = place.file(source=source, **RAN_WITH)
    first = cli("check", file, "--confidential")
    assert first.code == 0, first.err
    text = " ".join(first.out.split())
    assert "CONFIDENTIAL" in text
    assert "Rows read 60" in text
    assert "Rows without a unit 60" in text
    told = ["options: {escape: '\"'}", 'patient: "decimal(20,0)"', "dateFormat: dd/MM/yyyy"]
    step = "- derive: {cost: \"cast(replace(cost, ',', '.') as double)\"}"
    for mend in [*told, "cost: string", step]:
        assert mend in text
    assert "visits.csv record 1" in text
    for value in ("17850", "east", "/03/2024", "6,5"):
        assert value not in first.out, "places, no values"
    assert {name: content for name, content in snapshot(place.folder).items() if name != "release.yaml"} == before

    source["schema"] = {**SCHEMA, "patient": "decimal(20,0)", "cost": "string"}
    source["options"] = {"escape": '"', "dateFormat": "dd/MM/yyyy"}
    steps = [*RAN_WITH["preprocess"], {"derive": {"cost": "cast(replace(cost, ',', '.') as double)"}}]
    mended = place.file(**{**RAN_WITH, "source": source, "preprocess": steps})
    second = cli("check", mended, "--confidential")
    assert "Nothing to mend was found" in second.out
    assert "Rows without a unit  6 " in second.out
    done = cli("run", mended, "--release-id", "r1", "--json")
    assert done.code == 0, done.out
    rows = {row["ward"]: row for row in place.sink_rows()}
    assert sorted(rows) == sorted(WARDS)
    assert sum(row["dated"] for row in rows.values()) == 54, "the noise is far below 1"


@pytest.mark.slow
def test_counts_are_exact_and_places_are_right(spark: SparkSession, place: Place) -> None:
    path = place.folder / "in" / "x.csv"
    path.parent.mkdir()
    lines = [
        "patient,ward,cost,day",
        "1,er,1.5,2024-01-05",
        "x,er,2,2024-01-05",
        "2,er,,",
        "3,er,2",
        "4,er,two,2024-13-01",
        ",er,1,",
    ]
    path.write_text("\n".join(lines) + "\n")
    (path.parent / "y.csv").write_text("day,cost,ward,patient\n2024-01-01,n/a,er,7\n")
    source = {"format": "csv", "path": str(path.parent), "schema": SCHEMA}
    reading = check_reading(spark, place.spec(source=source, **RAN_WITH))
    assert (reading.rows, reading.broken.number, reading.without_unit.number) == (7, 1, 2)
    assert [(item.file, item.row) for item in reading.broken.places] == [("x.csv", 4)]
    assert lost(reading) == {"patient": 1, "cost": 2, "day": 1}
    assert [(item.file, item.row) for item in of(reading, "patient").found.places] == [("x.csv", 2)]
    assert [(item.file, item.row) for item in of(reading, "cost").found.places] == [("x.csv", 5), ("y.csv", 1)]
    assert of(reading, "cost").found.looks == {"word for nothing": 1}
    dropped = check_reading(spark, place.spec(source={**source, "options": {"mode": "DROPMALFORMED"}}, **RAN_WITH))
    assert (dropped.rows, dropped.dropped, dropped.without_unit.number) == (7, 4, 1)


def test_json_with_numbers_as_text_and_arrays(spark: SparkSession, place: Place) -> None:
    path = place.folder / "x.json"
    records = [
        '{"patient":"17850","cost":"12.5"}',
        "",
        '{"patient":2,"cost":1}',
        '[{"patient":3}]',
        '{"patient":4.0,"cost":null}',
    ]
    path.write_text("\n".join(records) + "\n")
    source = {"format": "json", "path": str(path), "schema": SCHEMA}
    reading = check_reading(spark, place.spec(source=source, **RAN_WITH))
    assert (reading.rows, reading.broken.number, reading.without_unit.number) == (4, 1, 3)
    assert lost(reading) == {"patient": 2, "cost": 1}
    assert [item.row for item in of(reading, "patient").found.places] == [1, 5], "lines of the file, the blank one too"
    told = " / ".join(mends(reading))
    assert "patient: string" in told
    assert "cost: string" in told


def test_fields_of_structs_are_counted_where_they_are_lost(spark: SparkSession, place: Place) -> None:
    path = place.folder / "x.json"
    records = [
        '{"person":{"Id":1,"in":{"x":1}},"ward":"er"}',
        '{"person":{"Id":2.0,"in":{"x":"1,5"}}}',
        '{"person":{"Id":null,"in":null}}',
        '{"person":7}',
        '{"ward":"er"}',
    ]
    path.write_text("\n".join(records) + "\n")
    schema = {"ward": "string", "day": "date", "cost": "double", "person": "struct<Id: int, in: struct<x: double>>"}
    source = {"format": "json", "path": str(path), "schema": schema}
    summed = TOTAL | {"name": "x", "column": "person.in.x"}
    given: dict[str, Any] = {**RAN_WITH, "privacy_unit": "person.id", "aggregates": [*RAN_WITH["aggregates"], summed]}
    reading = check_reading(spark, place.spec(source=source, **given))
    assert (reading.rows, reading.without_unit.number) == (5, 4)
    assert lost(reading) == {"person.Id": 1, "person.in.x": 1, "person": 1}
    told = " / ".join(mends(reading))
    assert "in the type of person,   Id: decimal(20,0)" in told
    assert "- derive: {person_in_x: \"cast(replace(`person`.`in`.`x`, ',', '.') as double)\"}   and use person_in_x" in told
    schema["person"] = "struct<Id: decimal(20,0), in: struct<x: string>>"
    derived = {"derive": {"person_in_x": "cast(replace(`person`.`in`.`x`, ',', '.') as double)"}}
    mended = {"preprocess": [derived], "aggregates": [TOTAL | {"column": "person_in_x"}]}
    reading = check_reading(spark, place.spec(source=source, **given | mended))
    assert reading.problem is None
    assert (reading.without_unit.number, lost(reading)) == (3, {"person": 1})


def test_casts_are_counted_and_expressions_never(spark: SparkSession, place: Place) -> None:
    """A count of what a derive or a filter gives would be an exact query for free; a cast of a derived column is one, too."""
    rows = [{"patient": n, "ward": "er", "cost": text, "note": text} for n, text in enumerate(("1", "x", "2,5", None))]
    steps: list[dict[str, Any]] = [
        {"filter": "patient = 1"},
        {"cast": {"cost": "double"}},
        {"derive": {"note": "case when patient = 2 then 'no number' else '1' end", "day": "'x'"}},
        {"cast": {"note": "int", "day": "date"}},
    ]
    for kind in ("delta", "parquet"):
        path = place.folder / kind
        write_delta(spark, path, rows) if kind == "delta" else spark.createDataFrame(pd.DataFrame(rows)).write.parquet(
            str(path)
        )
        reading = check_reading(
            spark, place.spec(**{**RAN_WITH, "source": {"format": kind, "path": str(path)}, "preprocess": steps})
        )
        assert reading.rows == 4, "not those of the filter"
        assert lost(reading) == {"cost preprocess.1.cast.cost": 2}
        assert [item.column for item in reading.lost] == ["cost"]
        assert all(item.row is not None for item in reading.lost[0].found.places)


def test_a_shape_that_a_run_refuses_is_told_after_the_counts(place: Place, cli: Cli) -> None:
    file = place.file(group_by=["weight"], partitions={"public": {"values": {"weight": [1]}}})
    outcome = cli("check", file, "--confidential")
    assert outcome.code == 4
    assert "Rows read" in outcome.out
    assert "cannot be a key" in outcome.err


@pytest.mark.parametrize("arguments", [[], ["--json"], ["--confidential", "--json"]])
def test_nothing_is_printed_where_there_is_no_terminal(place: Place, cli: Cli, arguments: list[str]) -> None:
    outcome = cli("check", place.file(), *arguments)
    assert outcome.code == 2
    assert "Rows" not in outcome.out
    if not arguments:
        assert "--confidential" in outcome.err


def test_a_terminal_needs_no_word(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from dp_spark.cli import main

    primary, secondary = pty.openpty()
    with os.fdopen(secondary, "w") as terminal:
        monkeypatch.setattr("sys.stdout", terminal)
        assert main(["check", str(place.file()), "--set", "aggregates.0.name=n"]) == 0
        terminal.flush()
        assert b"CONFIDENTIAL" in os.read(primary, 65_536)
    os.close(primary)
