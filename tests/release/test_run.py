"""Whole releases: the order of operations, one draw per release, bounds, selection, and what is never touched.

Invariants 1, 2, 6, 11 and 12 of the design; the statistics of the noise are in ``test_statistics``.
"""

from __future__ import annotations

import json
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest
from memory_books import LoggedBooks
from pyspark.sql import SparkSession
from release_helpers import (
    COUNT,
    MEAN,
    PATIENTS,
    TOTAL,
    WARDS,
    Outcome,
    Place,
    data_files,
    put_garbage,
    restore,
    snapshot,
    visits,
    write_delta,
)

from dp_spark import ReleaseSpec
from dp_spark.errors import BudgetError, SourceError
from dp_spark.ledger.table import Ledger
from dp_spark.privacy.events import events_from_json
from dp_spark.privacy.integers import Exact
from dp_spark.privacy.mechanisms.base import Mechanism
from dp_spark.privacy.selection.base import Selection, Shown
from dp_spark.privacy.selection.registry import SELECTIONS, SelectionName
from dp_spark.privacy.selection.thresholding import Thresholding
from dp_spark.release import draw as drawing
from dp_spark.release import run as release
from dp_spark.release.job import Standing
from dp_spark.release.run import run_release

pytestmark = pytest.mark.books_in_memory


class Calls:
    """Counts calls of a function that still does what it did."""

    def __init__(self, patch: pytest.MonkeyPatch, target: object, name: str) -> None:
        self.count = 0
        original = getattr(target, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            return original(*args, **kwargs)

        patch.setattr(target, name, counted)


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(monkeypatch, drawing, "_draw")


# --- invariant 1: spend first ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_stages_come_in_order(place: Place) -> None:
    stages: list[str] = []
    run_release(place.spark, place.spec(), on_stage=stages.append)
    assert tuple(stages) == release.STAGES
    assert stages.index("charge") < stages.index("read and aggregate")


@pytest.mark.slow
def test_a_source_that_breaks_after_validation_is_charged_and_a_retry_is_not_charged_again(
    place: Place, cli: Callable[..., Outcome]
) -> None:
    source = place.own_source()
    file = place.file(source={"format": "delta", "path": str(source)})
    kept = put_garbage(source)
    failed = cli("run", file, "--release-id", "r1", "--json")
    assert failed.code == 4
    assert failed.error["where"] == "source"
    assert place.kinds() == [("charge", "r1")]
    assert not place.sink.exists()
    again = cli("run", file, "--release-id", "r1", "--json")
    assert again.code == 4
    assert place.kinds() == [("charge", "r1")]
    restore(kept)
    done = cli("run", file, "--release-id", "r1", "--json")
    assert done.code == 0, done.out
    assert done.document["status"] == "published"
    assert place.kinds() == [("charge", "r1"), ("published", "r1")]
    account = place.book().state().account("visits")
    assert str(account.spent.amount) == "1"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv", "delta"])
def test_a_data_file_that_is_deleted_between_the_checks_and_the_reading_fails_after_the_charge(
    place: Place, cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A file that is listed when the frame is made and gone when it is read."""
    source, charge = place.own_source(), Ledger.charge
    given: dict[str, Any] = {"format": "delta", "path": str(source)}
    if kind == "csv":
        source = place.folder / "csv"
        source.mkdir()
        (source / "visits.csv").write_text("patient,ward\np1,er\n")
        given = {"format": "csv", "path": str(source), "schema": {"patient": "string", "ward": "string"}}
    files = [path for path in source.iterdir() if path.suffix in (".csv", ".parquet")]
    assert files

    def charge_and_lose_the_files(*arguments: Any, **named: Any) -> Any:
        state = charge(*arguments, **named)
        for path in files:
            path.unlink()
        return state

    monkeypatch.setattr(Ledger, "charge", charge_and_lose_the_files)
    failed = cli("run", place.file(source=given), "--release-id", "r1", "--json")
    assert (failed.code, failed.error["where"]) == (4, "source")
    assert place.kinds() == [("charge", "r1")]
    assert not place.sink.exists()


def test_nothing_private_is_read_before_the_charge(place: Place, cli: Callable[..., Outcome]) -> None:
    """The data files are gone, the metadata is there: a refused charge must be what the run ends with."""
    source = place.own_source()
    for path in source.glob("*.parquet"):
        path.unlink()
    changes = {"source": {"format": "delta", "path": str(source)}, "dataset": "poor"}
    refused = cli("run", place.file(**changes), "--json")
    assert (refused.code, refused.error["code"]) == (3, "budget_refused")
    assert place.kinds() == []


def test_a_failing_charge_draws_nothing(place: Place, draws: Calls) -> None:
    with pytest.raises(BudgetError, match="poor"):
        place.release("r1", dataset="poor")
    assert draws.count == 0
    assert place.outbox().find("r1") is None
    assert not place.sink.exists()


@pytest.mark.slow
def test_the_charge_is_committed_when_the_first_private_row_is_read(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[tuple[str, str | None]]] = []
    original = drawing.aggregation.collect

    def spy(*args: Any) -> Any:
        seen.append(place.kinds())
        return original(*args)

    monkeypatch.setattr(drawing.aggregation, "collect", spy)
    place.release("r1")
    assert seen == [[("charge", "r1")]]


# --- invariant 2: one release, one draw ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.books_on_delta
def test_the_same_release_id_is_published_once(place: Place, draws: Calls) -> None:
    first = place.release("r1")
    entries, versions = place.entries(), place.sink_versions()
    files = snapshot(place.folder)
    second = place.release("r1")
    assert (first.status, second.status) == ("published", "already_published")
    assert first.rows is not None
    assert second.rows is not None
    assert second.rows.equals(first.rows)
    assert second.manifest == first.manifest
    assert draws.count == 1
    assert (place.entries(), place.sink_versions()) == (entries, versions)
    assert snapshot(place.folder) == files
    assert first.rows.to_pylist() == place.sink_rows() == place.sink_rows()


class Killed(BaseException):
    """As if the process had died there."""


def _die(*_: object, **__: object) -> None:
    raise Killed


@pytest.mark.slow
def test_a_run_that_dies_after_the_draw_is_completed_from_the_outbox(
    place: Place, draws: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table is committed, and the ledger does not know."""
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "mark_published", _die)
        with pytest.raises(Killed):
            place.release("r1")
    drawn = place.drawn("r1").rows.to_pylist()
    assert ("charge", "r1") in place.kinds()
    done = place.release("r1")
    assert draws.count == 1
    assert done.rows is not None
    assert done.rows.to_pylist() == drawn == place.sink_rows()
    assert place.kinds() == [("charge", "r1"), ("published", "r1")]
    assert place.sink_versions() == 1


@pytest.mark.slow
def test_noise_is_drawn_once_for_each_query(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    mechanism, selection = Calls(monkeypatch, Mechanism, "draw"), Calls(monkeypatch, Thresholding, "draw")
    counted = {"function": "count", "column": "cost", "name": "costs"}
    # count and count of a column, a sum, and a mean that shares the count of its column: 4 queries for 6 columns.
    aggregates = [COUNT, {**COUNT, "name": "again"}, counted, TOTAL, MEAN, {**MEAN, "name": "repeated"}]
    result = place.release("public", aggregates=aggregates)
    assert (mechanism.count, selection.count) == (4, 0)
    assert result.rows is not None
    assert result.rows["visits"].equals(result.rows["again"])
    assert result.rows["average"].equals(result.rows["repeated"])
    assert len(result.charge.entry.events) == 4
    mechanism.count = 0
    private = {"partitions": {"private": {}}, "budget": {"epsilon": 1.0, "delta": 1e-4}, "sink": {"path": f"{place.sink}2"}}
    result = place.release("private", aggregates=[PATIENTS, COUNT], **private)
    assert (mechanism.count, selection.count) == (1, 1)
    assert len(result.charge.entry.events) == 2


@pytest.mark.slow
def test_a_draw_that_was_not_charged_is_not_published(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from dp_spark.errors import DpSparkError

    original = Mechanism.draw

    def twice(self: Mechanism, values: Any) -> Any:
        original(self, values)
        noisy, event = original(self, values)
        return noisy, type(event)(**{**vars(event), "scale": event.scale / 2})

    monkeypatch.setattr(Mechanism, "draw", twice)
    with pytest.raises(DpSparkError, match="not what was charged"):
        place.release("r1")
    assert place.outbox().find("r1") is None
    assert not place.sink.exists()


@pytest.mark.slow
def test_a_newer_release_replaces_an_older_one_and_the_older_stays_reported(place: Place) -> None:
    old = place.release("old")
    new = place.release("new")
    assert (old.version, new.version) == (0, 1)
    assert new.rows is not None
    assert place.sink_rows() == new.rows.to_pylist()
    again = place.release("old")
    assert (again.status, again.version) == ("already_published", 0)
    assert again.rows is not None
    assert old.rows is not None
    assert again.rows.equals(old.rows)
    assert again.rows.to_pylist() == place.sink_rows(version=0)


@pytest.mark.slow
def test_a_release_id_that_the_sink_has_from_another_ledger_is_not_taken_for_ours(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is reported as published must be this ledger's draw."""
    place.release("r1")
    theirs = place.sink_rows()
    for folder in (place.ledger, place.outbox_path):
        shutil.rmtree(folder)
    (place.folder / ".ledger.head").unlink()
    monkeypatch.setattr("dp_spark.ledger.on_delta.DeltaStore", LoggedBooks(place.folder).opened().store)
    result = place.release("r1")
    assert (result.status, result.version) == ("published", 1)
    assert result.rows is not None
    assert result.rows.to_pylist() == place.drawn("r1").rows.to_pylist() == place.sink_rows()
    assert place.sink_rows(version=0) == theirs
    assert place.kinds() == [("charge", "r1"), ("published", "r1")]


# --- what is published -----------------------------------------------------------------------------------------------


def test_published_columns_and_order(released: Place) -> None:
    result = released.release("r2", aggregates=[PATIENTS, COUNT, TOTAL, MEAN])
    assert result.status == "already_published"
    assert result.rows is not None
    expected = ["ward"]
    for name in ("patients", "visits", "total", "average"):
        expected += [name, f"{name}_stddev"]
    assert result.rows.column_names == expected
    types = dict(zip(result.rows.column_names, result.rows.schema.types, strict=True))
    assert types["ward"] == pa.string()
    assert (types["patients"], types["visits"]) == (pa.int64(), pa.int64())
    assert all(types[name] == pa.float64() for name in expected if name.endswith("_stddev") or name in ("total", "average"))
    assert result.rows["ward"].to_pylist() == sorted(WARDS)
    assert len(data_files(released.sink)) == 2, "one file for each release: the number of files says nothing"
    properties = {
        row["key"]: row["value"] for row in released.spark.sql(f"SHOW TBLPROPERTIES delta.`{released.sink}`").collect()
    }
    assert properties["delta.enableChangeDataFeed"] == "false"
    assert properties["delta.enableDeletionVectors"] == "false"
    assert json.loads(properties["dp_spark.manifest"]) == result.manifest
    stddevs = {item["name"]: item["stddev"] for item in result.manifest["aggregates"]}
    assert set(result.rows["visits_stddev"].to_pylist()) == {stddevs["visits"]}
    assert set(result.rows["total_stddev"].to_pylist()) == {stddevs["total"]}


@pytest.mark.slow
def test_public_keys_of_every_type_keep_their_type(place: Place, spark: SparkSession) -> None:
    derive = {
        "n": "cast(day as bigint)",
        "amount": "cast(day as decimal(5,2))",
        "monday": "day = 1",
        "at": "cast('2024-01-01' as date)",
    }
    values = {"n": [1, 2], "amount": [1.0, 2.0], "monday": [True, False], "at": ["2024-01-01"], "ward": ["er"]}
    result = place.release(
        "r1",
        preprocess=[{"derive": derive}],
        group_by=list(values),
        partitions={"public": {"values": values}},
        dataset="rich",
        budget={"epsilon": 1_000_000},
    )
    assert result.rows is not None
    types = dict(zip(result.rows.column_names, result.rows.schema.types, strict=True))
    assert [types[name] for name in values] == [pa.int64(), pa.decimal128(5, 2), pa.bool_(), pa.date32(), pa.string()]
    assert result.rows.num_rows == 2 * 2 * 2
    assert sum(result.rows["visits"].to_pylist()) > 0


@pytest.mark.slow
def test_a_global_release_has_one_row(place: Place) -> None:
    bounds = {"max_contributions_per_partition": 6}
    result = place.release(
        "r1",
        group_by=[],
        partitions=None,
        contribution_bounds=bounds,
        aggregates=[PATIENTS, COUNT],
        dataset="rich",
        budget={"epsilon": 1_000_000},
    )
    assert result.rows is not None
    assert result.rows.num_rows == 1
    named = [row for row in visits() if row["patient"] is not None]
    assert result.rows["visits"].to_pylist() == [len(named)]
    assert result.rows["patients"].to_pylist() == [59]


@pytest.mark.slow
def test_row_units_count_every_row(place: Place) -> None:
    result = place.release(
        "r1", privacy_unit={"row": True}, contribution_bounds=None, dataset="rich", budget={"epsilon": 1_000_000}
    )
    assert result.rows is not None
    assert sum(result.rows["visits"].to_pylist()) == len(visits())


@pytest.mark.slow
def test_tight_bounds_meet_the_contract(place: Place) -> None:
    """Per user at most k wards and m visits in each: what is released is what a plain reading of the contract gives."""
    for k, m in ((2, 1), (1, 2)):
        result = place.release(
            f"k{k}m{m}",
            contribution_bounds={"max_partitions_contributed": k, "max_contributions_per_partition": m},
            aggregates=[PATIENTS, COUNT, {**TOTAL, "column": "one", "max_value": 1}],
            preprocess=[{"derive": {"one": "1.0D"}}],
            dataset="rich",
            budget={"epsilon": 1_000_000},
            sink={"path": f"{place.sink}-{k}-{m}"},
        )
        assert result.rows is not None
        per_user: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for row in visits():
            if row["patient"] is not None:
                per_user[row["patient"]][row["ward"]] += 1
        patients = result.rows["patients"].to_pylist()
        assert sum(patients) == sum(min(k, len(wards)) for wards in per_user.values())
        most = sum(sum(sorted((min(m, n) for n in wards.values()), reverse=True)[:k]) for wards in per_user.values())
        least = sum(sum(sorted(min(m, n) for n in wards.values())[:k]) for wards in per_user.values())
        assert least <= sum(result.rows["visits"].to_pylist()) <= most
        assert sum(result.rows["total"].to_pylist()) == pytest.approx(sum(result.rows["visits"].to_pylist()), abs=1e-3)
        assert all(a <= b <= m * a for a, b in zip(patients, result.rows["visits"].to_pylist(), strict=True))


# --- private selection -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crowd(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Keys of many sizes: a big one, a big null one, 300 of a single user, and 40 of 2 to 41 users, around the threshold."""
    rows = [{"who": i, "key": "big", "value": 2.0} for i in range(3000)]
    rows += [{"who": i, "key": None, "value": 2.0} for i in range(3000, 5000)]
    rows += [{"who": 10_000 + i, "key": f"lone{i}", "value": 2.0} for i in range(300)]
    rows += [{"who": 20_000 + 100 * j + i, "key": f"middle{j}", "value": 2.0} for j in range(40) for i in range(j + 2)]
    return write_delta(spark, tmp_path_factory.mktemp("crowd") / "source", rows)


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["visits", "gauss"], ids=["laplace", "gaussian"])
def test_private_selection(place: Place, crowd: Any, dataset: str) -> None:
    total = {"function": "sum", "column": "value", "min_value": 0, "max_value": 5, "name": "total"}
    result = place.release(
        "r1",
        dataset=dataset,
        source={"format": "delta", "path": str(crowd)},
        privacy_unit="who",
        group_by=["key"],
        contribution_bounds={"max_partitions_contributed": 1, "max_contributions_per_partition": 1},
        partitions={"private": {}},
        aggregates=[PATIENTS, total],
        budget={"epsilon": 2.0, "delta": 1e-6},
    )
    assert result.rows is not None
    rows = {row["key"]: row for row in result.rows.to_pylist()}
    assert {"big", None} <= set(rows)
    assert not [key for key in rows if key is not None and key.startswith("lone")]
    threshold = result.manifest["partitions"]["threshold"]
    assert all(row["patients"] >= threshold for row in rows.values()), "selection and privacy_id_count are one draw"
    middle = [key for key in rows if key is not None and key.startswith("middle")]
    assert 0 < len(middle) < 40, "the threshold is where the manifest says"
    width = 8 * rows["big"]["patients_stddev"]
    assert rows["big"]["patients"] == pytest.approx(3000, abs=width)
    assert rows[None]["patients"] == pytest.approx(2000, abs=width)
    assert rows["big"]["total"] == pytest.approx(6000, abs=8 * rows["big"]["total_stddev"])
    assert [row["key"] for row in result.rows.to_pylist()] == sorted(rows, key=lambda key: (key is not None, key or ""))


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "draws"), [("threshold", 2), ("truncated_geometric", 3)])
def test_a_pre_threshold_keeps_keys_with_fewer_units_from_the_driver(
    place: Place, crowd: Any, strategy: SelectionName, draws: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, candidates = SELECTIONS[strategy], list[int]()
    draw = kind.draw

    def watched(self: Selection, counts: Exact) -> Shown:
        candidates.extend(counts.ravel().tolist())
        return draw(self, counts)

    monkeypatch.setattr(kind, "draw", watched)
    result = place.release(
        "r1",
        source={"format": "delta", "path": str(crowd)},
        privacy_unit="who",
        group_by=["key"],
        contribution_bounds={"max_partitions_contributed": 1, "max_contributions_per_partition": 1},
        partitions={"private": {"pre_threshold": 12, "strategy": strategy}},
        aggregates=[COUNT, PATIENTS],
        budget={"epsilon": 3.0, "delta": 1e-6},
    )
    assert sorted(candidates) == [*range(12, 42), 2000, 3000]
    [charge] = [entry for entry in place.entries() if entry.entry == "charge"]
    events = events_from_json(charge.events)
    assert [event.pre_threshold for event in events] == [12, *[None] * (draws - 1)]
    assert sum(event.epsilon or 0 for event in events) == 3
    assert result.rows is not None
    rows = {row["key"]: row for row in result.rows.to_pylist()}
    assert {"big", None} <= set(rows) < {"big", None, *(f"middle{units - 2}" for units in range(12, 42))}
    assert rows["big"]["patients"] == pytest.approx(3000, abs=10 * rows["big"]["patients_stddev"])
    told = result.manifest["partitions"]
    assert (told["pre_threshold"], told.get("strategy", "threshold")) == (12, strategy)


@pytest.mark.slow
@pytest.mark.books_on_delta
def test_keys_that_are_not_selected_leave_no_trace(place: Place, crowd: Any, cli: Callable[..., Outcome]) -> None:
    file = place.file(
        source={"format": "delta", "path": str(crowd)},
        privacy_unit="who",
        group_by=["key"],
        contribution_bounds={"max_partitions_contributed": 1, "max_contributions_per_partition": 1},
        partitions={"private": {}},
        budget={"epsilon": 2.0, "delta": 1e-6},
    )
    outcome = cli("run", file, "--release-id", "r1")
    assert outcome.code == 0
    assert "lone" not in outcome.out + outcome.err
    for name, content in snapshot(place.folder).items():
        assert b"lone" not in content, name
    assert not [row for row in place.drawn("r1").rows.to_pylist() if str(row["key"]).startswith("lone")]


@pytest.mark.slow
def test_nothing_selected_is_an_empty_table(place: Place) -> None:
    result = place.release(
        "r1", partitions={"private": {}}, budget={"epsilon": 0.01, "delta": 1e-9}, aggregates=[PATIENTS, TOTAL, MEAN]
    )
    assert result.rows is not None
    assert result.rows.num_rows == 0
    assert result.rows.column_names[0] == "ward"


# --- invariant 6: the manifest ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_manifest_does_not_depend_on_the_data(place: Place, spark: SparkSession) -> None:
    """Two sources of different size and content, under the same file: only identities differ."""
    shape = {"partitions": {"private": {}}, "budget": {"epsilon": 1.0, "delta": 1e-6}}
    shape |= {"aggregates": [PATIENTS, COUNT, TOTAL, MEAN]}
    source = place.own_source()
    many = place.release("many", source={"format": "delta", "path": str(source)}, **shape)
    empty = [row for row in visits() if row["patient"] == "p000"]
    spark.createDataFrame(pa.Table.from_pylist(empty)).write.format("delta").mode("overwrite").save(str(source))
    few = place.release("few", source={"format": "delta", "path": str(source)}, **shape)
    assert many.rows is not None
    assert few.rows is not None
    assert (many.rows.num_rows, few.rows.num_rows) != (0, 3)

    def public(manifest: Any) -> dict[str, Any]:
        return {key: value for key, value in manifest.items() if key not in ("release_id", "charge")}

    assert public(many.manifest) == public(few.manifest)
    known = {"format", "name", "dataset", "release_id", "file_digest", "charge", "guarantee", "group_by", "partitions"}
    assert set(many.manifest) == known | {"contribution_bounds", "aggregates", "columns", "queries", "timezone", "libraries"}
    assert set(many.manifest["charge"]) == {"sequence", "at", "ledger"}
    # No time of day in what recipients get: with the time of the commit it would say how long computing took.
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", many.manifest["charge"]["at"])
    assert re.fullmatch(r"visits-by-ward-\d{8}-[0-9a-f]{12}", Standing.of(place.spec(), None).release_id)


# --- invariant 11: settings ------------------------------------------------------------------------------------------

_WATCHED = (
    "spark.sql.ansi.enabled",
    "spark.sql.session.timeZone",
    "spark.sql.caseSensitive",
    "spark.sql.parser.escapedStringLiterals",
    "spark.sql.ansi.doubleQuotedIdentifiers",
    "spark.sql.legacy.timeParserPolicy",
    "spark.sql.shuffle.partitions",
)


@pytest.fixture
def strange_session(spark: SparkSession) -> Iterator[dict[str, str]]:
    """A session as somebody else may have set it up."""
    changed = {
        "spark.sql.ansi.enabled": "true",
        "spark.sql.session.timeZone": "Asia/Tokyo",
        "spark.sql.parser.escapedStringLiterals": "true",
        "spark.sql.legacy.timeParserPolicy": "EXCEPTION",
    }
    before = {key: spark.conf.get(key, None) for key in changed}
    for key, value in changed.items():
        spark.conf.set(key, value)
    yield changed
    for key, value in before.items():
        spark.conf.unset(key) if value is None else spark.conf.set(key, value)


def _settings(spark: SparkSession) -> dict[str, str | None]:
    return {key: spark.conf.get(key, None) for key in _WATCHED}


#: Rows that would abort the run under ANSI, and days that depend on the time zone.
_DELICATE: dict[str, Any] = {
    "preprocess": [
        {
            "derive": {
                "bad": "cast(note as int)",
                "ratio": "cost / (day - day)",
                "told": "to_date(note, 'yyyy-MM-dd')",
                "hour": "hour(cast(cast(day * 3600 as bigint) as timestamp))",
            }
        },
        {"filter": "bad is null and ratio is null and told is null and note rlike '^f\\\\w+$'"},
    ],
    "group_by": ["hour"],
    "partitions": {"public": {"values": {"hour": [0, 1, 2, 3, 4, 5, 9, 12]}}},
    "contribution_bounds": {"max_partitions_contributed": 8, "max_contributions_per_partition": 6},
    "aggregates": [COUNT, TOTAL],
    "dataset": "rich",
    "budget": {"epsilon": 1_000_000},
}


@pytest.mark.slow
def test_settings_are_held_and_put_back(place: Place, strange_session: dict[str, str]) -> None:
    before = _settings(place.spark)
    strange = place.release("strange", **_DELICATE)
    assert _settings(place.spark) == before
    assert place.spark.conf.get("spark.sql.ansi.enabled") == "true"
    for key in strange_session:
        place.spark.conf.unset(key)
    plain = place.release("plain", **_DELICATE, sink={"path": f"{place.sink}2"})
    assert strange.rows is not None
    assert plain.rows is not None
    counts = dict(zip(strange.rows["hour"].to_pylist(), strange.rows["visits"].to_pylist(), strict=True))
    assert counts == dict(zip(plain.rows["hour"].to_pylist(), plain.rows["visits"].to_pylist(), strict=True))
    days: dict[int, int] = defaultdict(int)
    for row in visits():
        days[row["day"]] += row["patient"] is not None
    assert {hour: n for hour, n in counts.items() if n} == days, "hours are in the file's time zone, UTC"


def test_settings_are_put_back_after_a_failure(place: Place, strange_session: dict[str, str], monkeypatch: Any) -> None:
    before = _settings(place.spark)
    with pytest.raises(BudgetError, match="poor"):
        place.release("r1", dataset="poor")
    assert _settings(place.spark) == before
    with pytest.raises(SourceError, match="source"):
        place.release("r1", source={"format": "delta", "path": str(place.folder / "nowhere")})
    assert _settings(place.spark) == before
    monkeypatch.setattr(drawing.aggregation, "collect", _die)
    with pytest.raises(Killed):
        place.release("r1")
    assert _settings(place.spark) == before


def test_the_declared_time_zone_is_used(place: Place) -> None:
    shifted = place.release("r1", timezone="Asia/Tokyo", **_DELICATE)
    assert shifted.rows is not None
    counts = dict(zip(shifted.rows["hour"].to_pylist(), shifted.rows["visits"].to_pylist(), strict=True))
    assert counts[9] > 0, "midnight in UTC is nine o'clock in Tokyo"
    assert counts[0] == 0


# --- the Python door -------------------------------------------------------------------------------------------------


def test_the_python_door(place: Place) -> None:
    spec = ReleaseSpec.model_validate(place.document())
    result = run_release(place.spark, spec, release_id="r1")
    assert (result.release_id, result.status, result.sink) == ("r1", "published", str(place.sink))
    assert result.charge.entry.release_id == "r1"
    assert result.account.dataset == "visits"
