"""Contribution bounding: the contract, its determinism, and the stability that privacy rests on."""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from bounded_reference import keep
from frames import SALT, explained, frame_of, kept, prepared, product, tuples, without_units
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from dp_spark.aggregates.query import PRIVACY_ID_COUNT, ROW_COUNT, Query, Values, count_of_column
from dp_spark.engine import bounding
from dp_spark.engine.bounding import FIRST, KEY_HASH, PreparedRows, Salt, bound_contributions
from dp_spark.engine.features import prepare_rows
from dp_spark.privacy.bounds import ContributionBounds
from dp_spark.spark.settings import settings as session_settings

INT = pa.int32()
# The bounded rows do not name their unit, so the last feature does: then each kept row says whose it is.
TRACED = {"u": INT, "k": INT, "f": INT, "whose": INT}
Rows = list[tuple[Any, ...]]


def traced(spark: SparkSession, rows: Iterable[tuple[Any, Any, Any]]) -> PreparedRows:
    return prepared(frame_of(spark, TRACED, [(unit, key, value, unit) for unit, key, value in rows]), 1, 1)


def kept_of(spark: SparkSession, rows: Rows, k: int, m: int, salt: Salt = SALT) -> Counter[tuple[Any, ...]]:
    """The kept rows as (key, value, unit)."""
    return kept(bound_contributions(traced(spark, rows), ContributionBounds(k, m), salt))


def by_unit(rows: Iterable[tuple[Any, ...]], unit: int, key: int) -> dict[Any, Counter[Any]]:
    """Unit -> how many rows it has in each partition."""
    found: dict[Any, Counter[Any]] = defaultdict(Counter)
    for row in rows:
        found[row[unit]][row[key]] += 1
    return found


def check_contract(original: Rows, bounded: Counter[tuple[Any, ...]], k: int, m: int) -> None:
    """Exactly min(k, its keys) partitions for each unit, exactly min(m, its rows) rows in each, and no row made up."""
    have = by_unit(original, 0, 1)
    keep = by_unit(bounded.elements(), 2, 0)
    assert set(keep) == set(have)
    for unit, keys in have.items():
        assert len(keep[unit]) == min(k, len(keys))
        for key, rows in keep[unit].items():
            assert rows == min(m, keys[key])
    assert not bounded - Counter((key, value, unit) for unit, key, value in original)


small = st.integers(0, 3)
row = st.tuples(st.integers(0, 24), st.none() | small, st.none() | small)


@pytest.mark.slow
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(row, min_size=30, max_size=120), k=st.integers(1, 5), m=st.integers(1, 4))
@example(rows=[(0, key, value) for key in (None, 0, 1, 2) for value in (None, 0, 0, 1)], k=2, m=2)
@example(rows=[(0, 0, 0)] * 7 + [(1, None, None)] * 7, k=3, m=3)
def test_every_unit_keeps_exactly_what_its_bounds_allow(spark: SparkSession, rows: Rows, k: int, m: int) -> None:
    bounded = bound_contributions(traced(spark, rows), ContributionBounds(k, m), Salt.fresh())
    found = tuples(without_units(bounded))
    check_contract(rows, Counter(item[:3] for item in found), k, m)
    # first_of_unit is true exactly once for each unit and partition
    firsts = Counter((unit, key) for key, _, unit, first in found if first)
    assert firsts == Counter({(unit, key) for key, _, unit, _ in found})
    assert all(item[3] in (True, False) for item in found)


def test_bounds_travel_with_the_rows(spark: SparkSession) -> None:
    bounds = ContributionBounds(2, 3)
    bounded = bound_contributions(traced(spark, [(0, 0, 0)]), bounds, SALT)
    assert bounded.bounds == bounds
    assert bounded.keys == ["k0"]
    assert bounded.frame.columns == ["u0", KEY_HASH, "k0", "f0", "f1", FIRST]


def test_large_bounds_keep_every_row(spark: SparkSession) -> None:
    rows = [(unit, key, value) for unit, key, value in product(5, 4, 3)]
    assert kept_of(spark, rows, 4, 3) == Counter((key, value, unit) for unit, key, value in rows)


def test_an_empty_table_stays_empty(spark: SparkSession) -> None:
    assert kept_of(spark, [], 2, 2) == Counter()


def test_rows_without_features_are_bounded_too(spark: SparkSession) -> None:
    frame = frame_of(spark, {"u": INT, "k": INT}, [(unit, key) for unit, key, _ in product(6, 5, 4)])
    bounded = bound_contributions(prepared(frame, 1, 1), ContributionBounds(2, 3), SALT)
    assert bounded.frame.count() == 6 * 2 * 3
    assert bounded.frame.where(FIRST).count() == 6 * 2


def test_without_keys_there_is_one_partition(spark: SparkSession) -> None:
    frame = frame_of(spark, {"u": INT, "f": INT, "whose": INT}, [(unit, value, unit) for unit, value in product(7, 5)])
    bounded = bound_contributions(prepared(frame, 1, 0), ContributionBounds(1, 2), SALT)
    found = tuples(without_units(bounded))
    assert Counter(unit for _, unit, _ in found) == dict.fromkeys(range(7), 2)
    assert Counter(unit for _, unit, first in found if first) == dict.fromkeys(range(7), 1)


def test_a_composite_unit_is_the_combination(spark: SparkSession) -> None:
    """("a", 1) and ("a", 2) are two units: neither part alone is bounded."""
    rows = [(part, number, key, f"{part}{number}") for part in "ab" for number in (1, 2) for key in range(4)]
    frame = frame_of(spark, {"u": pa.string(), "v": INT, "k": INT, "whose": pa.string()}, rows)
    bounded = kept(bound_contributions(prepared(frame, 2, 1), ContributionBounds(2, 1), SALT))
    assert Counter(whose for _, whose in bounded.elements()) == {"a1": 2, "a2": 2, "b1": 2, "b2": 2}


def test_composite_keys_that_differ_only_in_where_the_null_is_are_two_partitions(spark: SparkSession) -> None:
    """xxhash64 skips nulls, so both have the same hash: only the keys themselves tell them apart."""
    rows = [(unit, *key, unit) for unit in range(20) for key in ((1, None), (None, 1), (None, None)) for _ in range(2)]
    frame = frame_of(spark, {"u": INT, "k": INT, "l": INT, "whose": INT}, rows)
    for k in (1, 2, 3):
        found = kept(bound_contributions(prepared(frame, 1, 2), ContributionBounds(k, 1), SALT))
        partitions: dict[int, set[Any]] = defaultdict(set)
        for first, second, unit in found.elements():
            partitions[unit].add((first, second))
        assert {len(keys) for keys in partitions.values()} == {k}
        assert sum(found.values()) == 20 * k


def test_null_is_a_group_key_of_its_own(spark: SparkSession) -> None:
    rows = [(unit, key, 0) for unit in range(40) for key in (None, 0)]
    assert kept_of(spark, rows, 2, 1) == Counter((key, 0, unit) for unit, key, _ in rows)
    one = Counter(key for key, _, _ in kept_of(spark, rows, 1, 1).elements())
    assert one[None] + one[0] == 40
    assert one[None] >= 1
    assert one[0] >= 1


def test_null_units_are_dropped_and_row_units_are_untouched(spark: SparkSession) -> None:
    columns = {"id": pa.string(), "day": INT, "g": INT, "x": INT}
    rows = [("a", 1, 0, 0), (None, 1, 0, 1), ("b", None, 0, 2), (None, None, 0, 3), ("", 0, 0, 4)]
    frame = frame_of(spark, columns, rows)

    def values(*units: str) -> set[int]:
        query = count_of_column(Values("x"))
        found = prepare_rows(frame.where("x is not null"), units, ["g", "x"], [query], None)
        assert found.frame.columns == [*found.units, "k0", "k1", "f0"]
        return {item[0] for item in tuples(found.frame.select("k1"))}

    assert values("id") == {0, 2, 4}
    assert values("day") == {0, 1, 4}
    assert values("id", "day") == {0, 4}, "a composite unit is null if any part is"
    assert values() == {0, 1, 2, 3, 4}


def test_a_row_unit_keeps_all_rows_each_the_first_of_its_own(spark: SparkSession) -> None:
    frame = frame_of(spark, {"k": INT, "f": INT}, [(0, 5), (0, 5), (None, None), (1, 2)])
    bounded = bound_contributions(prepared(frame, 0, 1), ContributionBounds(1, 1), SALT)
    assert sorted(tuples(without_units(bounded)), key=repr) == sorted(
        [(0, 5, True), (0, 5, True), (None, None, True), (1, 2, True)], key=repr
    )
    for wrong in (ContributionBounds(2, 1), ContributionBounds(1, 2)):
        with pytest.raises(AssertionError, match="a row is in one partition, once"):
            bound_contributions(prepared(frame, 0, 1), wrong, SALT)


# --- determinism ------------------------------------------------------------------------------------------------------


def crowded() -> Rows:
    """Units with more keys and rows than any bound here, some rows equal."""
    source = random.Random(5)
    return [(source.randrange(25), source.choice([None, *range(6)]), source.choice([None, *range(40)])) for _ in range(900)]


def variants(spark: SparkSession, rows: Rows, k: int, m: int) -> list[Counter[tuple[Any, ...]]]:
    """The same rows in other orders, over other numbers of Spark partitions, with AQE on and off."""
    found = []
    for index, (partitions, adaptive) in enumerate([(1, True), (7, False), (64, True), (7, True), (64, False)]):
        shuffled = rows.copy()
        random.Random(index).shuffle(shuffled)
        held = {"spark.sql.adaptive.enabled": str(adaptive).lower(), "spark.sql.shuffle.partitions": str(partitions)}
        with session_settings(spark, held):
            base = traced(spark, shuffled)
            spread = PreparedRows(base.frame.repartition(partitions), base.units, base.keys, base.features)
            found.append(kept(bound_contributions(spread, ContributionBounds(k, m), SALT)))
    return found


def test_order_spark_partitions_and_aqe_change_nothing(spark: SparkSession) -> None:
    rows = crowded()
    first, *others = variants(spark, rows, 3, 2)
    check_contract(rows, first, 3, 2)
    assert all(other == first for other in others)


@pytest.fixture
def one_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every hash is the same, as if all units, keys and rows collided."""
    monkeypatch.setattr("dp_spark.engine.bounding.F.xxhash64", lambda *columns: F.lit(7).cast("bigint"))


@pytest.mark.usefixtures("one_hash")
def test_units_and_keys_that_collide_stay_apart(spark: SparkSession) -> None:
    rows = crowded()
    first, *others = variants(spark, rows, 3, 2)
    check_contract(rows, first, 3, 2)
    assert all(other == first for other in others), "ties are broken by the hashed columns, not by order"


@pytest.mark.usefixtures("one_hash")
def test_rows_that_collide_are_ordered_by_their_features(spark: SparkSession) -> None:
    """Every feature breaks ties, the last one too: equal in all others, rows differ in it alone."""
    rows = [(0, 0, 1, 2, value) for value in random.Random(1).sample(range(100), 100)]
    columns = {"u": INT, "k": INT, "f": INT, "g": INT, "h": INT}
    found = []
    for reverse in (False, True):
        base = prepared(frame_of(spark, columns, sorted(rows, reverse=reverse)), 1, 1)
        found.append(kept(bound_contributions(base, ContributionBounds(1, 3), SALT)))
    assert found[0] == found[1]


@pytest.mark.usefixtures("one_hash")
def test_keys_that_collide_are_ordered_by_every_key_column(spark: SparkSession) -> None:
    rows = [(0, 1, key) for key in range(50)]
    found = []
    for reverse in (False, True):
        base = prepared(frame_of(spark, {"u": INT, "k": INT, "l": INT}, sorted(rows, reverse=reverse)), 1, 2)
        found.append(kept(bound_contributions(base, ContributionBounds(4, 1), SALT)))
    assert found[0] == found[1]
    assert sum(found[0].values()) == 4


def test_windows_are_ordered_by_the_hash_first_and_then_by_what_was_hashed(
    spark: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = {"u": INT, "v": INT, "k": INT, "l": INT, "f": INT, "g": INT}
    with session_settings(spark, {"spark.sql.adaptive.enabled": "false"}):
        base = prepared(frame_of(spark, columns, [(1,) * 6]), 2, 2)
        frame = base.frame.repartition(1)  # else Spark computes the hash while it plans
        bounded = bound_contributions(replace(base, frame=frame), ContributionBounds(2, 2), SALT)
        plan = re.sub(r"#\d+L?", "", explained(bounded.frame, capsys))
    windows = re.findall(r"Window \[(\w+)\(.*\], (\[[^\]]*\]), (\[[^\]]*\])$", plan, flags=re.MULTILINE)
    order = " ASC NULLS FIRST"
    assert windows == [
        ("row_number", "[u0, u1, key_hash, k0, k1]", f"[row_hash{order}, f0{order}, f1{order}]"),
        ("dense_rank", "[u0, u1]", f"[key_hash{order}, k0{order}, k1{order}]"),
    ]
    salt = f"{SALT.high}, {SALT.low}"
    assert f"xxhash64({salt}, u0, u1, k0, k1, 42) AS key_hash" in plan
    assert f"xxhash64({salt}, u0, u1, k0, k1, f0, f1, 42) AS row_hash" in plan


@pytest.mark.parametrize("keys", [1, 0])
@pytest.mark.parametrize("most", [1, 2, 40, 62, 63, 64, 150])
def test_the_first_pass_drops_many_rows_and_none_that_would_be_kept(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, keys: int, most: int
) -> None:
    """Units of 1 to 200 keys (or rows, where there are no keys), so that every number of buckets is occupied."""
    rows = [(unit, key, key) for unit in range(1, 201, 7) for key in range(unit)]
    columns = {"u": INT, "k": INT, "whose": INT} if keys else {"u": INT, "f": INT, "whose": INT}
    base = prepared(frame_of(spark, columns, rows), 1, keys)
    bounds = ContributionBounds(most, 2) if keys else ContributionBounds(1, most)
    with_it = kept(bound_contributions(base, bounds, SALT))
    key_hash, row_hash = bounding._hashes(base, SALT)
    left = bounding._drop_hopeless(base.frame, base, key_hash if keys else row_hash, most).count()
    monkeypatch.setattr(bounding, "_drop_hopeless", lambda frame, *rest: frame)
    assert kept(bound_contributions(base, bounds, SALT)) == with_it
    needed = sum(min(unit, most) for unit in range(1, 201, 7))
    assert sum(with_it.values()) == needed
    assert needed <= left
    if most <= 2:
        assert left < 0.2 * len(rows)


# --- a bound on all rows of a unit ------------------------------------------------------------------------------------

OF_VALUES = Query(ROW_COUNT.measure, "sum", change=3)
IN_ALL = [
    ContributionBounds.of(None, None, 5), ContributionBounds.of(None, None, 1), ContributionBounds.of(3, 2, 4),
    ContributionBounds.of(3, None, 7), ContributionBounds.of(None, 2, 6), ContributionBounds.of(4, 2, 8),
    ContributionBounds.of(2, 3, 5), ContributionBounds.of(None, None, 70),
]  # fmt: skip


def hashed(spark: SparkSession, base: PreparedRows) -> dict[str, dict[tuple[Any, ...], int]]:
    """The hashes that order partitions and rows, by row."""
    names = [*base.units, *base.keys, *base.features]
    found = base.frame.select(*names, *(item.alias(f"h{index}") for index, item in enumerate(bounding._hashes(base, SALT))))
    return {f"h{index}": {item[:-2]: item[index - 2] for item in tuples(found)} for index in (0, 1)}


@pytest.mark.parametrize("bounds", IN_ALL, ids=str)
def test_what_survives_is_what_the_reference_keeps(spark: SparkSession, bounds: ContributionBounds) -> None:
    rows = crowded()
    hashes = hashed(spark, traced(spark, rows))
    whole = [(unit, key, value, unit) for unit, key, value in rows]
    wanted = keep(whole, bounds, hashes["h0"].__getitem__, hashes["h1"].__getitem__)
    bounded = bound_contributions(traced(spark, rows), bounds, SALT)
    assert kept(bounded) == Counter(row[1:] for row in wanted)
    firsts = Counter((key, unit) for key, _, unit, first in tuples(without_units(bounded)) if first)
    assert firsts == Counter({(row[1], row[0]) for row in wanted}), "the first of each partition is among those that are left"


@pytest.mark.usefixtures("one_hash")
@pytest.mark.parametrize("bounds", IN_ALL[:4], ids=str)
def test_a_bound_on_all_rows_depends_on_no_order(spark: SparkSession, bounds: ContributionBounds) -> None:
    """Also where all hashes are the same and rows are equal, and the first of a partition is still there."""
    rows, found = crowded() + [(0, 0, 0)] * 9, []
    for partitions in (1, 7):
        random.Random(partitions).shuffle(rows)
        base = traced(spark, rows)
        spread = replace(base, frame=base.frame.repartition(partitions))
        found.append(Counter(tuples(without_units(bound_contributions(spread, bounds, SALT)))))
    assert found[0] == found[1]
    assert Counter((key, unit) for key, _, unit, first in found[0].elements() if first) == Counter(
        {(key, unit) for key, _, unit, _ in found[0]}
    )


def test_rows_of_all_partitions_have_the_same_chance(spark: SparkSession) -> None:
    rows = [(unit, 0, value) for unit, value in product(1500, 1)] + [(unit, 1, value) for unit, value in product(1500, 3)]
    base = traced(spark, rows)
    chosen = Counter(
        key for key, _, _ in kept(bound_contributions(base, ContributionBounds.of(None, None, 1), SALT)).elements()
    )
    assert chosen[0] + chosen[1] == 1500
    assert 275 < chosen[0] < 475, "one of four rows; 6 standard deviations to either side"


@pytest.mark.parametrize(("bounds", "counted", "sorts"), [
    (ContributionBounds.of(None, None, 5), False, [["u0"], ["u0", "row_hash"]]),
    (ContributionBounds.of(None, None, 5), True, [["u0"], ["u0", "row_hash"], ["u0", "key_hash"]]),
    (ContributionBounds.of(None, None, 70), False, [["u0", "row_hash"]]),
    (ContributionBounds.of(2, 3, 5), True, [["u0"], ["u0", "key_hash"], ["u0", "row_hash"]]),
])  # fmt: skip
def test_a_bound_on_all_rows_needs_no_shuffle_of_its_own(
    spark: SparkSession, capsys: pytest.CaptureFixture[str], bounds: ContributionBounds, counted: bool, sorts: list[list[str]]
) -> None:
    with session_settings(spark, {"spark.sql.adaptive.enabled": "false"}):
        frame = bound_contributions(traced(spark, crowded()), bounds, SALT).frame
        found = frame.groupBy("k0").agg(F.count(F.when(F.col(FIRST), 1)) if counted else F.count("*"))
        plan = re.sub(r"#\d+L?", "", explained(found, capsys))
    assert re.findall(r"[- ]Exchange hashpartitioning\((\w+), \d+\)", plan) == ["k0", "u0"]
    orders = [re.findall(r"(\w+) ASC", order)[:2] for order in re.findall(r"Sort \[([^\]]*)\]", plan)]
    assert orders[::-1] == sorts


def by_text(*parts: int) -> Callable[[tuple[Any, ...]], int]:
    def of(row: tuple[Any, ...]) -> int:
        text = repr([row[part] for part in parts])
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())

    return of


def test_without_a_unit_no_query_moves_further_than_its_sensitivity() -> None:
    """Thousands of random tables: the counts and sums of all partitions, and the number of units in each."""
    source, tightest = random.Random(3), 0.0
    for _ in range(4000):
        k, m, c = source.choice([None, 1, 2, 3]), source.choice([None, 1, 2, 4]), source.choice([1, 2, 3, 5, 9])
        bounds = ContributionBounds.of(k, m, c)
        rows = [(source.randrange(4), source.randrange(5), source.choice([None, -3, 2, 3])) for _ in range(40)]
        after, before = (
            keep([row for row in rows if row[0] != gone], bounds, by_text(0, 1), by_text(0, 1, 2)) for gone in (0, None)
        )
        assert Counter(after) == Counter(row for row in before if row[0] != 0), "nobody else's rows change"
        mine = [row for row in before if row[0] == 0]
        for query, values in (
            (ROW_COUNT, [sum(row[1] == key for row in mine) for key in range(5)]),
            (PRIVACY_ID_COUNT, [int(any(row[1] == key for row in mine)) for key in range(5)]),
            (OF_VALUES, [sum(row[2] or 0 for row in mine if row[1] == key) for key in range(5)]),
        ):
            limits = bounds.sensitivity(query)
            assert sum(map(bool, values)) <= limits.l0
            assert sum(map(abs, values)) <= limits.l1
            assert sum(value**2 for value in values) <= limits.l2_squared
            tightest = max(tightest, sum(value**2 for value in values) / limits.l2_squared)
    assert tightest == 1


# --- stability: the privacy property ----------------------------------------------------------------------------------


def without(rows: Counter[tuple[Any, ...]], unit: int) -> Counter[tuple[Any, ...]]:
    return Counter({item: number for item, number in rows.items() if item[2] != unit})


def test_adding_or_removing_a_unit_changes_no_row_of_the_others(spark: SparkSession) -> None:
    rows = crowded()
    everybody = kept_of(spark, rows, 3, 2)
    for unit in (0, 11, 24):
        fewer = kept_of(spark, [item for item in rows if item[0] != unit], 3, 2)
        assert fewer == without(everybody, unit)
        assert fewer != everybody
    # a newcomer with a great many rows, in partitions old and new, that sorts before everybody
    crowd = [(-1, key, value) for key, value in product(12, 30)]
    more = kept_of(spark, crowd + rows, 3, 2)
    assert without(more, -1) == everybody
    assert sum(more.values()) - sum(everybody.values()) == 3 * 2


def test_adding_a_unit_changes_at_most_k_partitions_by_at_most_m_rows(spark: SparkSession) -> None:
    """The same, seen from the aggregates: what the bounds promise."""
    rows = crowded()
    counts = []
    for data in (rows, [item for item in rows if item[0] != 7]):
        counts.append(Counter(key for key, _, _ in kept_of(spark, data, 2, 3).elements()))
    difference = {key: counts[0][key] - counts[1][key] for key in counts[0] | counts[1]}
    changed = [change for change in difference.values() if change]
    assert len(changed) == 2
    assert set(changed) == {3}


# --- the hash ---------------------------------------------------------------------------------------------------------


def test_units_choose_their_partition_independently(spark: SparkSession) -> None:
    rows = [(unit, key, 0) for unit, key in product(1500, 2)]
    chosen = Counter(key for key, _, _ in kept_of(spark, rows, 1, 1, Salt.fresh()).elements())
    assert chosen[0] + chosen[1] == 1500
    assert 600 < chosen[0] < 900, "a fair coin for each unit; 7 standard deviations to either side"


def test_units_choose_their_rows_independently(spark: SparkSession) -> None:
    rows = [(unit, 0, value) for unit, value in product(1500, 2)]
    chosen = Counter(value for _, value, _ in kept_of(spark, rows, 1, 1, Salt.fresh()).elements())
    assert chosen[0] + chosen[1] == 1500
    assert 600 < chosen[0] < 900, "not always the smaller value, nor the first"


def test_the_unit_itself_is_in_the_row_hash(spark: SparkSession) -> None:
    """Without a feature that names the unit, units still choose independently."""
    frame = frame_of(spark, {"u": INT, "k": INT, "f": INT}, [(unit, 0, value) for unit, value in product(1500, 2)])
    bounded = bound_contributions(prepared(frame, 1, 1), ContributionBounds(1, 1), Salt.fresh())
    chosen = Counter(value for _, value in kept(bounded).elements())
    assert 600 < chosen[0] < 900


def test_a_units_rows_are_chosen_independently_in_each_of_its_partitions(spark: SparkSession) -> None:
    rows = [(0, key, value) for key, value in product(400, 2)]
    chosen = Counter(value for _, value, _ in kept_of(spark, rows, 400, 1, Salt.fresh()).elements())
    assert 130 < chosen[0] < 270


@pytest.mark.parametrize(("high", "low"), [(1, 0), (0, 1), (-(2**63), 2**63 - 1)])
def test_another_salt_is_another_choice(spark: SparkSession, high: int, low: int) -> None:
    partitions = [(unit, key, 0) for unit, key in product(60, 4)]
    rows = [(unit, 0, value) for unit, value in product(60, 4)]
    zero, other = Salt(0, 0), Salt(high, low)
    both = [(*item, 0) for item in partitions] + [(*item, 1) for item in rows]
    columns = {"u": INT, "k": INT, "f": INT, "which": INT}
    # two tables in one: the first is bounded in its partitions, the second in its rows
    frame: DataFrame = frame_of(spark, columns, both).selectExpr("u", "which", "which", "k", "f", "u as w")
    found = [kept(bound_contributions(prepared(frame, 2, 2), ContributionBounds(2, 2), salt)) for salt in (zero, other, zero)]
    assert found[0] == found[2]
    for which in (0, 1):
        chosen = [Counter({item: n for item, n in rows.items() if item[0] == which}) for rows in found]
        assert sum(chosen[0].values()) == sum(chosen[1].values()) == 120
        assert chosen[0] != chosen[1]


def test_a_salt_is_fresh_full_and_never_shown() -> None:
    salts = [Salt.fresh() for _ in range(64)]
    assert len({(salt.high, salt.low) for salt in salts}) == 64
    for numbers in ([salt.high for salt in salts], [salt.low for salt in salts]):
        assert all(-(2**63) <= number < 2**63 for number in numbers)
        assert min(numbers) < -(2**61)
        assert max(numbers) > 2**61
    salt = salts[0]
    for text in (repr(salt), str(salt), f"{salt}", repr([salt])):
        assert str(salt.high) not in text
        assert str(salt.low) not in text
