"""The arithmetic of combining, against the arithmetic of one curator and against simulated noise; no JVM."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from checkout import GOLDEN
from combine_helpers import ALL, VALUES, budget, party, plan
from helpers import COUNT, MEAN, SUM, UNITS
from hypothesis import given, settings
from hypothesis import strategies as st
from queries import released_table

from dp_spark.aggregates.query import Query
from dp_spark.combine.agreement import Party
from dp_spark.combine.arithmetic import combine_rows
from dp_spark.errors import SourceError
from dp_spark.manifest import PARTIES, read_manifest
from dp_spark.plan.planning import ReleasePlan, weighted_queries
from dp_spark.spec.release_spec import ReleaseSpec

MEANS = plan(VALUES, MEAN)
KEYS = ("a", "b", "c")


def query(found: ReleasePlan, kind: str) -> Query:
    return next(item for item in found.mechanisms if item.label.partition("(")[0] == kind)


#: Steps of the noise's grid in one unit of the column.
UNIT = round(1 / MEANS.granularity(query(MEANS, "centred_sum")))


def cells(parties: Sequence[Party]) -> dict[Any, dict[str, Any]]:
    return {row["test"]: row for row in combine_rows(parties).to_pylist()}


# --- counts and sums -------------------------------------------------------------------------------------------------


def test_counts_and_sums_add_up_and_so_do_variances() -> None:
    weak, strong = plan(UNITS, COUNT, SUM, budget=budget("0.5")), plan(UNITS, COUNT, SUM, budget=budget("2"))
    values = [{item: [base + 10 * index for index in range(3)] for item in weak.mechanisms} for base in (2**53, -7)]
    found = combine_rows([party(weak, KEYS, values[0]), party(strong, KEYS, values[1], label="B")])
    assert found.column_names == [
        "test", "patients", "patients_stddev", "rows", "rows_stddev", "total", "total_stddev", "parties",
    ]  # fmt: skip
    types = [str(field.type) for field in found.schema]
    assert types == ["string", "int64", "double", "int64", "double", "double", "double", "int32"]
    assert found["rows"].to_pylist() == [2**53 - 7, 2**53 + 13, 2**53 + 33]
    step = weak.granularity(query(weak, "sum"))
    assert found["total"].to_pylist() == pytest.approx([(2**53 - 7 + 20 * index) * step for index in range(3)])
    for name, kind in (("patients", "privacy_id_count"), ("rows", "count"), ("total", "sum")):
        unit = step if kind == "sum" else 1.0
        stddevs = [plan_.mechanisms[query(plan_, kind)].stddev * unit for plan_ in (weak, strong)]
        assert found[f"{name}_stddev"].to_pylist() == pytest.approx([math.hypot(*stddevs)] * 3)


def test_a_key_that_is_missing_at_a_party_is_covered_by_the_others_only() -> None:
    private = plan(*ALL, partitions={"private": {}})
    alone = party(private, ["a", None])
    found = cells([alone, party(private, ["b", None], label="B"), party(private, [None], label="C")])
    assert {key: row[PARTIES] for key, row in found.items()} == {"a": 1, "b": 1, None: 3}
    before = {row["test"]: row for row in alone.rows.to_pylist()}
    for name in ("patients", "rows", "total", "values"):
        assert found["a"][name] == before["a"][name]
        assert found["a"][f"{name}_stddev"] == before["a"][f"{name}_stddev"]
        assert found[None][name] == pytest.approx(3 * before[None][name])
        assert found[None][f"{name}_stddev"] == pytest.approx(math.sqrt(3) * before[None][f"{name}_stddev"])


def test_a_release_without_keys_is_one_row() -> None:
    whole = plan(*ALL, group_by=[], partitions=None)
    noisy = {item: [4 * UNIT] for item in whole.mechanisms}
    rows = released_table(whole, party(whole, [None]).rows.select([]), noisy)
    one = Party("A", party(whole, [None]).manifest, rows)
    found = combine_rows([one, one]).to_pylist()
    assert [(row["rows"], row[PARTIES]) for row in found] == [(8 * UNIT, 2)]


def test_a_party_with_no_row_at_all_adds_nothing() -> None:
    private = plan(*ALL, partitions={"private": {}})
    found = cells([party(private, []), party(private, ["a"], label="B")])
    assert {key: row[PARTIES] for key, row in found.items()} == {"a": 1}
    assert combine_rows([party(private, []), party(private, [], label="B")]).num_rows == 0


# --- means -----------------------------------------------------------------------------------------------------------


def mean_party(found: ReleasePlan, counts: Sequence[int], sums: Sequence[int], label: str = "A") -> Party:
    """A release of ``MEAN`` and its count with these noisy parts."""
    noisy = {item: [0] * len(counts) for item in found.mechanisms}
    noisy |= {query(found, "count_of_column"): list(counts), query(found, "centred_sum"): list(sums)}
    return party(found, [str(index) for index in range(len(counts))], noisy, label=label)


PARTS = st.lists(
    st.integers(-5, 3000).flatmap(
        # |S| <= 49 max(n, 1): no party's mean is clamped, so none of its parts is hidden
        lambda n: st.tuples(st.just(n), st.integers(-49 * UNIT * max(n, 1), 49 * UNIT * max(n, 1)))
    ),
    min_size=2,
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(PARTS)
def test_a_combined_mean_is_what_one_curator_makes_of_the_summed_parts(parts: list[tuple[int, int]]) -> None:
    found = MEANS
    parties = [mean_party(found, [n], [s], label=str(index)) for index, (n, s) in enumerate(parts)]
    (row,) = combine_rows(parties).to_pylist()
    count, total = sum(n for n, _ in parts), sum(s for _, s in parts)
    expected = min(100.0, max(0.0, 50.0 + total / UNIT / max(count, 1)))
    assert row["average"] == pytest.approx(expected, abs=1e-6)
    assert row["values"] == count
    sigma_n = found.mechanisms[query(found, "count_of_column")].stddev * math.sqrt(len(parts))
    sigma_s = found.mechanisms[query(found, "centred_sum")].stddev * math.sqrt(len(parts)) / UNIT
    if count < 3 * sigma_n or count < 1:
        assert row["average_stddev"] is None
    else:
        assert row["average_stddev"] == pytest.approx(math.hypot(sigma_s, total / UNIT / count * sigma_n) / count, rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-50, 500), st.integers(-(10**9), 10**9)), min_size=2, max_size=4), st.randoms())
def test_the_order_of_parties_changes_nothing_and_means_stay_in_their_bounds(parts: list[tuple[int, int]], random: Any) -> None:
    found = MEANS
    parties = [mean_party(found, [n], [s], label=str(index)) for index, (n, s) in enumerate(parts)]
    (first,) = combine_rows(parties).to_pylist()
    random.shuffle(parties)
    (again,) = combine_rows(parties).to_pylist()
    assert {name: again[name] for name in ("values", PARTIES)} == {name: first[name] for name in ("values", PARTIES)}
    for name in ("values_stddev", "average", "average_stddev"):
        assert again[name] == (None if first[name] is None else pytest.approx(first[name], rel=1e-9, abs=1e-9))
    assert 0 <= first["average"] <= 100


def test_a_combined_release_is_the_release_of_the_sum_where_nothing_is_clamped() -> None:
    """The definition of ``results`` and this one must stay the same: both are asked."""
    found, random = plan(*ALL), np.random.default_rng(5)
    drawn = [{item: [int(n) for n in random.integers(500, 900, 3)] for item in found.mechanisms} for _ in range(2)]
    summed = {item: [a + b for a, b in zip(drawn[0][item], drawn[1][item], strict=True)] for item in found.mechanisms}
    combined = cells([party(found, KEYS, drawn[0]), party(found, KEYS, drawn[1], label="B")])
    for row in party(found, KEYS, summed).rows.to_pylist():
        for name in ("patients", "rows", "total", "values", "average"):
            assert combined[row["test"]][name] == pytest.approx(row[name], rel=1e-9)
        assert combined[row["test"]]["average_stddev"] == pytest.approx(math.sqrt(2) * row["average_stddev"], rel=1e-6)


def golden(name: str) -> Party:
    """A release that 0.1.0 wrote: its means are centred at the midpoints that it had."""
    folder = GOLDEN / "0" / name
    return Party(name, read_manifest(folder), pq.read_table(next(folder.glob("*.parquet"))))


def test_releases_of_an_earlier_version_combine_as_they_did() -> None:
    rows = golden("combined").rows.to_pylist()
    assert len(rows) == 3
    keys = golden("combined").manifest["group_by"]
    found = combine_rows([golden("release"), golden("second")]).to_pylist()
    assert {tuple(row[key] for key in keys): row for row in found} == {tuple(row[key] for key in keys): row for row in rows}


def test_a_mean_has_no_stddev_below_three_stddevs_of_the_summed_count() -> None:
    sigma = MEANS.mechanisms[query(MEANS, "count_of_column")].stddev
    limit = math.ceil(3 * math.sqrt(2) * sigma)
    counts = [limit - 1 - 20, limit - 20]
    found = combine_rows([mean_party(MEANS, counts, [0, 0]), mean_party(MEANS, [20, 20], [0, 0], "B")])
    assert [value is None for value in found["average_stddev"].to_pylist()] == [True, False]
    exact = plan(VALUES, MEAN, accountant="basic", budget={"epsilon": Decimal(10_000)})  # a count with hardly any noise
    found = combine_rows([mean_party(exact, [0, 1], [0, 0]), mean_party(exact, [0, 0], [0, 0], "B")])
    assert [value is None for value in found["average_stddev"].to_pylist()] == [True, False]


def test_a_clamped_mean_hides_its_sum_beyond_the_bounds() -> None:
    found = plan(VALUES, MEAN)
    inside, outside = mean_party(found, [100], [0]), mean_party(found, [100], [80 * 100 * UNIT], "B")
    (row,) = combine_rows([inside, outside]).to_pylist()
    assert row["average"] == pytest.approx(75.0, abs=1e-3)  # 50 + (0 + 50 * 100) / 200; its own parts would give 90


def test_a_mean_without_its_count_is_refused_with_the_mend() -> None:
    lonely = plan(COUNT, MEAN)
    with pytest.raises(SourceError, match="the mean average cannot be combined") as caught:
        combine_rows([party(lonely), party(lonely, label="B")])
    assert "{function: count, column: value, name: ...}" in caught.value.mend
    assert caught.value.where == "A"


def test_a_count_of_another_column_is_not_the_means_count() -> None:
    other = party(plan({**VALUES, "column": "weight"}, COUNT, MEAN))
    with pytest.raises(SourceError, match="the count it was divided by is not in the table"):
        combine_rows([other, other])
    found = party(plan(MEAN, COUNT, VALUES))
    assert "average" in combine_rows([found, found]).column_names


def test_an_unknown_function_is_not_added_up() -> None:
    found = party(plan(COUNT))
    found.manifest["aggregates"][0]["function"] = "geometric_mean"
    with pytest.raises(SourceError, match="no way is known to combine a geometric_mean"):
        combine_rows([found, found])


@pytest.mark.parametrize("weight", ["0.25", "1"])
def test_the_count_that_the_mend_asks_for_is_the_means_own_draw(weight: str) -> None:
    def spec(*aggregates: Any) -> ReleaseSpec:
        return plan(*aggregates).spec

    mean = {**MEAN, "weight": Decimal(weight)}
    alone = weighted_queries(spec(COUNT, mean).aggregates, selection=None)
    shared = weighted_queries(spec(COUNT, mean, {**VALUES, "weight": Decimal(weight)}).aggregates, selection=None)
    assert shared == alone
    heavier = weighted_queries(spec(COUNT, mean, {**VALUES, "weight": Decimal(2)}).aggregates, selection=None)
    assert heavier != alone


# --- statistics ------------------------------------------------------------------------------------------------------


def test_the_stddevs_are_those_of_simulated_noise() -> None:
    """Two parties whose means lie far apart, 20,000 times: each way of adding variances that is wrong is off by far more."""
    draws, random = 20_000, np.random.default_rng(2026)
    found = plan(*ALL, budget=budget("1"))
    truth = {"A": (5000, 30 * 5000), "B": (3000, -42 * 3000)}  # noiseless count, centred sum in the column's unit
    parties = []
    for label, (count, total) in truth.items():
        noisy = {}
        for item, mechanism in found.mechanisms.items():
            exact = {"count_of_column": count, "centred_sum": total * UNIT}.get(item.label.partition("(")[0], 1000)
            noise = np.rint(random.normal(0, mechanism.stddev, draws)).astype(int)
            noisy[item] = [int(value) for value in exact + noise]
        parties.append(party(found, [str(index) for index in range(draws)], noisy, label=label))
    table = combine_rows(parties)
    for name in ("patients", "rows", "total", "values", "average"):
        empirical = float(np.std(table[name].to_numpy()))
        # The stddev of an empirical stddev is 1 / sqrt(2 draws) of it: 0.5 %.
        assert float(np.median(table[f"{name}_stddev"].to_numpy())) == pytest.approx(empirical, rel=0.025), name
    exact_mean = 50 + (30 * 5000 - 42 * 3000) / 8000
    assert float(np.mean(table["average"].to_numpy())) == pytest.approx(exact_mean, abs=0.05)
    own = [float(np.median(item.rows["average_stddev"].to_numpy())) for item in parties]
    naive = math.hypot(5000 * own[0], 3000 * own[1]) / 8000  # takes the counts for exact
    assert naive > 1.1 * float(np.median(table["average_stddev"].to_numpy()))
