"""What ledger and outbox rely on is true of every store: of the product's, a Delta table, and of the tests', in memory."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from memory_store import Memory

from dp_spark.errors import DamageError, SpecError
from dp_spark.tables import store as stores
from dp_spark.tables.refs import TableRef
from dp_spark.tables.store import RivalError, Store, StoreError

SCHEMA = pa.schema([("key", pa.string()), ("number", pa.int64()), ("at", pa.timestamp("us", tz="UTC")), ("long", pa.binary())])
NUMBERS = {"at": pa.int64()}


class InMemory:
    """Stores in memory, and what anybody can do to them."""

    def __init__(self) -> None:
        self.memory = Memory()

    def at(self, ref: TableRef) -> Store:
        return self.memory.at(ref)

    def update(self, store: Store, key: str, number: int) -> None:
        self.memory.tables[store.ref].update(lambda row: row["key"] == key, lambda _: {"number": number})

    def delete(self, store: Store, key: str) -> None:
        self.memory.tables[store.ref].delete(lambda row: row["key"] == key)

    def restore(self, store: Store, version: int) -> None:
        self.memory.tables[store.ref].restore(version)

    def late(self, store: Store, key: str, micros: int) -> None:
        self.memory.tables[store.ref].update(lambda row: row["key"] == key, lambda _: {"at": micros})

    def lose_files(self, store: Store) -> None:
        self.memory.tables[store.ref].unreadable = True


class OnDelta:
    """Delta tables, and what anybody can do to them."""

    def __init__(self, spark: Any) -> None:
        self.spark = spark
        self.opened: set[TableRef] = set()

    def at(self, ref: TableRef) -> Store:
        from dp_spark.tables.delta_store import DeltaStore

        return DeltaStore(self.spark, ref)

    def update(self, store: Store, key: str, number: int) -> None:
        self.sql(store, f"UPDATE {{}} SET number = {number} WHERE key = '{key}'")

    def delete(self, store: Store, key: str) -> None:
        self.sql(store, f"DELETE FROM {{}} WHERE key = '{key}'")

    def restore(self, store: Store, version: int) -> None:
        self.sql(store, f"RESTORE {{}} TO VERSION AS OF {version}")

    def late(self, store: Store, key: str, micros: int) -> None:
        self.sql(store, f"UPDATE {{}} SET at = timestamp_micros({micros}) WHERE key = '{key}'")

    def lose_files(self, store: Store) -> None:
        for path in Path(str(store.ref.path)).glob("*.parquet"):
            path.unlink()

    def sql(self, store: Store, statement: str) -> None:
        assert store.ref.path is not None
        table = f"delta.`{store.ref.path}`"
        if store.ref not in self.opened:
            self.spark.sql(f"ALTER TABLE {table} SET TBLPROPERTIES ('delta.appendOnly' = 'false')")
            self.opened.add(store.ref)
        self.spark.sql(statement.format(table))


Kind = InMemory | OnDelta


@pytest.fixture(scope="module", params=["memory", pytest.param("delta", marks=pytest.mark.spark)])
def kind(request: pytest.FixtureRequest) -> Iterator[Kind]:
    if request.param == "memory":
        yield InMemory()
        return
    from dp_spark.spark.settings import bookkeeping

    spark = request.getfixturevalue("spark")
    with bookkeeping(spark):
        yield OnDelta(spark)


@pytest.fixture(scope="module")
def store(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One table for all tests that only add to it, each under keys of its own."""
    made = kind.at(TableRef(str(tmp_path_factory.mktemp("stores") / "table"), None))
    made.create(SCHEMA, {})
    return made


def given(*rows: dict[str, Any]) -> pa.Table:
    """Rows to insert; what they lack is null, and a time is a number of microseconds."""
    columns = [pa.array([row.get(item.name) for row in rows], NUMBERS.get(item.name, item.type)) for item in SCHEMA]
    return pa.table([column.cast(item.type) for column, item in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


def rows(*keys: tuple[str | None, int | None]) -> pa.Table:
    return given(*({"key": key, "number": number} for key, number in keys))


def numbers(store: Store) -> list[tuple[str, int]]:
    return sorted((row["key"], row["number"]) for row in store.read(["key", "number"]).to_pylist() if None not in row.values())


def found(store: Store, key: str, *columns: str) -> list[dict[str, Any]]:
    return list(store.read(columns, ("key", key)).to_pylist())


def test_a_table_is_there_once_it_is_made(kind: Kind, tmp_path: Path) -> None:
    store = kind.at(TableRef(str(tmp_path / "new"), None))
    assert store.ref == TableRef(str(tmp_path / "new"), None)
    assert not store.is_there()
    for use in (lambda: store.read(["key"]), lambda: store.insert(rows(("a", 1)), "key"), store.operations):
        with pytest.raises(StoreError) as caught:
            use()
        assert not isinstance(caught.value, RivalError)
        assert caught.value.condition
    assert not store.is_there()
    store.create(SCHEMA, {})
    assert store.is_there()
    assert store.read(SCHEMA.names).num_rows == 0
    assert store.insert(rows(("a", 1)), "key") == 1
    again = kind.at(store.ref)
    again.create(SCHEMA, {})
    assert found(again, "a", "number") == [{"number": 1}], "made once"
    assert store.operations() == [(0, "CREATE TABLE"), (1, "MERGE")]


def test_only_rows_whose_key_is_new_are_inserted(store: Store) -> None:
    before = len(store.operations())
    assert store.insert(rows(("known", 1)), "key") == 1
    assert store.insert(rows(("known", 2)), "key") == 0
    assert len(store.operations()) == before + 1, "what inserts nothing commits nothing"
    assert store.insert(rows(("known", 3), ("other", 4)), "key") == 1
    assert {("known", 1), ("other", 4)} == {pair for pair in numbers(store) if pair[0] in ("known", "other")}


def test_a_number_is_a_key_too(store: Store) -> None:
    assert store.insert(rows(("first", 77)), "number") == 1
    assert store.insert(rows(("second", 77)), "number") == 0
    assert [pair for pair in numbers(store) if pair[1] == 77] == [("first", 77)]


def test_columns_are_read_as_they_are_asked_for(store: Store) -> None:
    store.insert(rows(("asked", 5), ("asked too", None)), "key")
    assert store.read(["number", "key"], ("key", "asked")).column_names == ["number", "key"]
    assert found(store, "asked too", "long", "number", "key") == [{"long": None, "number": None, "key": "asked too"}]
    assert found(store, "Asked", "key") == []
    for columns, where in ((["key", "nothing"], None), (["key"], ("nothing", "x"))):
        with pytest.raises(StoreError):
            store.read(columns, where)


def test_times_come_back_to_the_microsecond(store: Store) -> None:
    micros = {"time 1": 1719835200123457, "time 2": -36000 * 86400 * 10**6 - 1, "time 3": None}
    store.insert(given(*({"key": key, "at": at} for key, at in micros.items())), "key")
    table = store.read(["at", "key"])
    assert pa.types.is_timestamp(table.schema.field("at").type)
    assert table.schema.field("at").type.unit == "us"
    back = dict(zip(table["key"].to_pylist(), table["at"].cast(pa.int64()).to_pylist(), strict=True))
    assert {key: back[key] for key in micros} == micros


def test_texts_and_nulls_come_back_as_they_were(store: Store) -> None:
    texts = ["", " ", "ä\n\x00'\"\\`", "{x} ${y} :z", "日本語 \U0001f600", "null"]
    assert store.insert(rows(*((text, None) for text in texts)), "key") == len(texts)
    there = store.read(["key", "number"]).to_pylist()
    assert all({"key": text, "number": None} in there for text in texts)
    for text in ("", texts[2]):
        assert found(store, text, "key") == [{"key": text}]
    assert [store.insert(rows((None, number)), "key") for number in (1, 2)] == [1, 1], "null is no key"
    assert sorted(row["number"] for row in store.read(["key", "number"]).to_pylist() if row["key"] is None) == [1, 2]


@pytest.fixture
def small_pieces(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    if isinstance(kind, OnDelta):
        from dp_spark.tables import delta_store

        monkeypatch.setattr(delta_store, "_PIECE", 100)


@pytest.mark.usefixtures("small_pieces")
def test_a_long_value_comes_back_whole(store: Store) -> None:
    """Rows with values of no, one and many pieces, and one value twice: none is taken for another's piece."""
    long = bytes(range(256)) * 41
    values = {"none": None, "empty": b"", "piece": long[:100], "more": long[:101], "many": long, "again": long}
    store.insert(given(*({"key": f"long {key}", "long": value} for key, value in values.items())), "key")
    there = {row["key"]: row for row in store.read(["long", "key", "number"]).to_pylist()}
    for key, value in values.items():
        assert there[f"long {key}"] == {"long": value, "key": f"long {key}", "number": None}
    assert found(store, "long many", "long") == [{"long": long}]


def test_a_value_of_megabytes_comes_back_whole(store: Store) -> None:
    long = bytes(range(256)) * (4 * 2**12)
    store.insert(given({"key": "big", "long": long}), "key")
    assert found(store, "big", "long") == [{"long": long}]


@pytest.mark.slow
def test_of_rivals_with_one_key_one_wins(kind: Kind, store: Store) -> None:
    outcomes: list[int | BaseException] = []
    ready = threading.Barrier(3)

    def rival(number: int) -> None:
        ready.wait()
        try:
            outcomes.append(kind.at(store.ref).insert(rows(("rivals", number)), "key"))
        except BaseException as error:  # noqa: BLE001 - judged below
            outcomes.append(error)

    threads = [threading.Thread(target=rival, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(1) == 1
    assert all(outcome in (0, 1) or isinstance(outcome, RivalError) for outcome in outcomes), outcomes
    assert len(found(store, "rivals", "number")) == 1


@pytest.mark.slow
def test_what_was_done_to_a_table_is_named_and_seen(kind: Kind, tmp_path: Path) -> None:
    store = kind.at(TableRef(str(tmp_path / "table"), None))
    store.create(SCHEMA, {})
    store.insert(rows(("a", 0), ("b", 1), ("c", 2)), "key")
    kind.update(store, "b", 7)
    assert numbers(store) == [("a", 0), ("b", 7), ("c", 2)]
    kind.late(store, "b", 900000000000000000)
    at = store.read(["at"], ("key", "b"))["at"]
    assert at.cast(pa.int64()).to_pylist() == [900000000000000000], "a time that Python cannot name"
    kind.delete(store, "a")
    assert numbers(store) == [("b", 7), ("c", 2)]
    kind.restore(store, 1)
    assert numbers(store) == [("a", 0), ("b", 1), ("c", 2)]
    done = store.operations()
    assert [version for version, _ in done] == list(range(len(done)))
    words = [word for _, word in done if word != "SET TBLPROPERTIES"]
    assert words == ["CREATE TABLE", "MERGE", "UPDATE", "UPDATE", "DELETE", "RESTORE"]


def test_a_table_that_lost_its_files_is_damage(kind: Kind, store: Store, tmp_path: Path) -> None:
    """Its log says still what was done to it."""
    store.insert(rows(("kept", 1)), "key")
    ref = TableRef(str(tmp_path / "lost"), None)
    if isinstance(kind, OnDelta):
        shutil.copytree(str(store.ref.path), str(ref.path))  # Delta has not seen it yet, as another process would not
    else:
        kind.memory.tables[ref] = kind.memory.copy().tables[store.ref]
    lost = kind.at(ref)
    kind.lose_files(lost)
    with (
        pytest.raises(DamageError, match=r"it cannot be read \([A-Za-z_.]+\)") as caught,
        stores.damage("it cannot be read", where=ref, mend="put it back"),
    ):
        lost.read(["key"])
    assert (caught.value.where, caught.value.mend, caught.value.__suppress_context__) == (str(ref), "put it back", True)
    assert lost.operations() == store.operations()


@pytest.mark.spark
def test_a_table_that_cannot_be_made_is_told_before_anything_is_charged(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match="the table cannot be made"):
        OnDelta(spark).at(TableRef(str(tmp_path / "file" / "table"), None)).create(SCHEMA, {})


def test_an_insert_that_a_rival_overtook_is_refused() -> None:
    """What Delta does to one of two rivals now and then, the double does at will."""
    memory, ref = Memory(), TableRef(None, "a.b.c")
    store, rival = memory.at(ref), memory.at(ref)
    store.create(SCHEMA, {})

    def first() -> None:
        memory.before_commit = lambda: None
        assert rival.insert(rows(("theirs", 1)), "key") == 1

    memory.before_commit = first
    with pytest.raises(RivalError):
        store.insert(rows(("mine", 2)), "key")
    assert numbers(store) == [("theirs", 1)]
    assert store.insert(rows(("mine", 2)), "key") == 1
