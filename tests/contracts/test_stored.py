"""What any version ever stored still reads, and what one version drew is published in that version's words, to the byte.

Each folder of ``tests/golden`` is what one version wrote (its README); a folder that is put there is tested.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from checkout import GOLDEN
from filelock import FileLock
from helpers import of_each_kind
from release_helpers import Outcome

from dp_spark.manifest import (
    MANIFEST_PROPERTY,
    column_comments,
    columns_of,
    confidence_intervals,
    from_json,
    half_width,
    read_manifest,
    to_json,
    value_columns,
)
from dp_spark.privacy.events import events_from_json, events_to_json, unparsed_from_json

VERSIONS = sorted(folder for folder in GOLDEN.iterdir() if folder.is_dir())
#: How Delta calls the types of released columns.
DELTA_TYPES = {"bigint": "long", "double": "double", "int": "integer"}


@dataclass(frozen=True)
class Stored:
    """A manifest as it stands in a table's log.

    Attributes:
        table: The table's folder.
        text: The manifest.
        fields: The columns in the table's schema.
    """

    table: Path
    text: str
    fields: list[dict[str, Any]]


def published(folder: Path) -> Iterator[Stored]:
    for log in sorted(folder.glob("*/_delta_log/*.json")):
        for action in map(json.loads, log.read_text(encoding="utf-8").splitlines()):
            text = action.get("metaData", {}).get("configuration", {}).get(MANIFEST_PROPERTY)
            if text is not None:
                yield Stored(log.parents[1], text, json.loads(action["metaData"]["schemaString"])["fields"])


def rows_of(folder: Path, table: str) -> list[dict[str, Any]]:
    return [row for file in sorted((folder / table).glob("*.parquet")) for row in pq.read_table(file).to_pylist()]


def draws(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["release_id"]: row for row in rows_of(folder, "ledger_outbox")}


PUBLISHED = [
    pytest.param(item, id=f"{item.table.parent.name}-{item.table.name}") for each in VERSIONS for item in published(each)
]
DRAWN = [pytest.param(row, id=f"{each.name}-{name}") for each in VERSIONS for name, row in draws(each).items()]


def test_each_version_left_something() -> None:
    for folder in VERSIONS:
        assert len(list(published(folder))) > 2, folder
        assert len(draws(folder)) > 2, folder


@pytest.mark.parametrize("row", DRAWN)
def test_a_draw_is_read_and_written_to_the_byte(row: dict[str, Any]) -> None:
    """The digest is over the stored text, so what is read must make that text again, however much of it was looked at."""
    manifest = from_json(row["manifest"], where="outbox")
    columns_of(manifest)
    column_comments(manifest)
    assert to_json(manifest) == row["manifest"]
    assert hashlib.sha256(row["manifest"].encode() + b"\n" + row["payload"]).hexdigest() == row["digest"].removeprefix(
        "sha256:"
    )


@pytest.mark.parametrize("stored", PUBLISHED)
def test_a_manifest_tells_the_columns_that_the_table_has(stored: Stored) -> None:
    manifest = read_manifest(stored.table)
    assert to_json(manifest) == stored.text
    columns = columns_of(manifest)
    assert [column["name"] for column in columns] == [item["name"] for item in stored.fields]
    for column, item in zip(columns, stored.fields, strict=True):
        assert column["meaning"]
        assert column.get("key", False) == (column["name"] in manifest["group_by"])
        if "type" in column:  # the first format told none of keys
            assert DELTA_TYPES.get(column["type"], column["type"]) == item["type"]
        else:
            assert column["key"]
    # To the letter: by them a commit is known that a publisher of that version left behind.
    assert column_comments(manifest) == {item["name"]: item["metadata"]["comment"] for item in stored.fields}


@pytest.mark.parametrize("stored", PUBLISHED)
def test_the_error_of_each_cell_is_the_one_that_was_told(stored: Stored) -> None:
    """The keys that outside readers know (``aggregates[].stddev``, ``half_width_95``) and the columns say the same."""
    manifest = read_manifest(stored.table)
    rows = rows_of(stored.table.parent, stored.table.name)
    entries = {entry["name"]: entry for entry in manifest["aggregates"]}
    assert list(entries) == list(dict.fromkeys(column["aggregate"] for column in value_columns(manifest)))
    for column in value_columns(manifest):
        entry, error = entries[column["aggregate"]], column["error"]
        width, stddevs = half_width(manifest, column["name"]), [row[error["stddev_column"]] for row in rows]
        # The first version rounded its own to the next step in another way.
        assert width == pytest.approx(entry["half_width_95"], abs=error.get("granularity", 0))
        assert error["mechanism"] == entry["mechanism"]
        assert error.get("stddev") == entry["stddev"]
        if width is not None:
            assert set(stddevs) == {entry["stddev"]}
        for row, stddev, interval in zip(
            rows,
            stddevs,
            confidence_intervals(manifest, column["name"], [row[column["name"]] for row in rows], stddevs),
            strict=True,
        ):
            assert (interval is None) == (stddev is None)
            low, high = column.get("range", (-float("inf"), float("inf")))
            assert low <= row[column["name"]] <= high
            assert interval is None or interval[0] < row[column["name"]] < interval[1]


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda folder: folder.name)
def test_the_events_of_a_ledger_are_read_and_written_to_the_byte(folder: Path) -> None:
    texts = [row["events"] for row in rows_of(folder, "ledger") if row["entry"] == "charge"]
    assert texts
    for text in texts:
        assert events_to_json(events_from_json(text), unparsed_from_json(text)) == text


@pytest.fixture(params=of_each_kind(VERSIONS, VERSIONS[-1]), ids=lambda folder: folder.name)
def at_home(request: pytest.FixtureRequest) -> Iterator[Path]:
    """The golden data at the place that its entries and files name."""
    home = Path("/tmp/dp-spark-golden") / request.param.name
    with FileLock("/tmp/dp-spark-golden.lock"):
        shutil.rmtree(home, ignore_errors=True)
        yield Path(shutil.copytree(request.param, home))
        shutil.rmtree(home)


@pytest.mark.slow
def test_a_draw_of_a_version_is_published_in_its_words_and_works_on(
    at_home: Path, cli: Callable[..., Outcome], tmp_path: Path
) -> None:
    text = draws(at_home)["drawn"]["manifest"]
    done = cli("run", at_home / "drawn.yaml", "--release-id", "drawn", "--json")
    assert done.document["status"] == "published"
    [new] = [item for item in published(at_home) if json.loads(item.text)["release_id"] == "drawn"]
    assert new.text == text
    assert {item["name"]: item["metadata"]["comment"] for item in new.fields} == column_comments(from_json(text, where="t"))
    assert cli("budget", "verify", "--ledger", at_home / "ledger", "--json").document["damage"] == []
    shown = cli("show", new.table, "--html", tmp_path / "page.html", "--ledger", at_home / "ledger", "--json")
    assert shown.document == json.loads(text)
    for column in value_columns(shown.document):
        assert column["name"] in (tmp_path / "page.html").read_text(encoding="utf-8")
    parties = [at_home / "release", at_home / "second"]
    joined = cli("combine", *parties, "--sink", tmp_path / "both", "--users", "overlapping", "--json")
    assert joined.code == 0, joined.err
    [combined] = published(tmp_path)
    assert [to_json(given) for given in json.loads(combined.text)["inputs"]] == [
        item.text for table in parties for item in published(at_home) if item.table == table
    ]
    assert {item["name"]: item["metadata"]["comment"] for item in combined.fields} == column_comments(json.loads(combined.text))
    assert cli("show", tmp_path / "both").code == 0
