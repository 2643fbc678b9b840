"""Which releases may be combined, and that every difference is told."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from combine_helpers import ALL, budget, described, party, plan, undescribed
from helpers import COUNT, MEAN, SUM, UNITS

from dp_spark.combine.agreement import Party, check_disjoint, check_parties, key_presence
from dp_spark.errors import DamageError, SourceError, SpecError

BASE = plan(*ALL)


def refusal(*parties: Party) -> SourceError:
    with pytest.raises(SourceError, match="the definitions differ: ") as caught:
        check_parties(parties)
    return caught.value


def changed(given: Party, change: Callable[[dict[str, Any]], object]) -> Party:
    manifest = copy.deepcopy(dict(given.manifest))
    change(manifest)
    return Party(given.label, manifest, given.rows)


def test_names_budgets_noise_and_files_may_differ() -> None:
    other = plan(*ALL, name="other", dataset="clinic", budget=budget("3", "1e-5"), noise={"mechanism": "laplace"})
    check_parties(
        [party(BASE), party(other, label="B", digest="sha256:g"), party(BASE, ["c", "a", "b"], label="C", sequence=2)]
    )


def test_every_difference_is_told_for_each_party() -> None:
    other = plan(
        UNITS, COUNT, {**SUM, "max_value": 99}, {**MEAN, "name": "mean_value"},
        privacy_unit=["id", "site"], timezone="Europe/Berlin", partitions={"private": {}},
        contribution_bounds={"max_partitions_contributed": 4, "max_contributions_per_partition": 7},
    )  # fmt: skip
    error = refusal(party(BASE, label="A"), party(other, label="B"), party(BASE, label="C"))
    for words in (
        "privacy_unit is (id) in A and C, (id, site) in B",
        "timezone is UTC in A and C, Europe/Berlin in B",
        "partitions is public in A and C, private in B",
        "max_partitions_contributed is 3 in A and C, 4 in B",
        "max_contributions_per_partition is 2 in A and C, 7 in B",
        "aggregates.total is sum(value) clipped to [-10.0, 30.0] in A and C, sum(value) clipped to [-10.0, 99.0] in B",
        "aggregates.values is count(value) in A and C, absent in B",
        "aggregates.average is mean(value) clipped to [0.0, 100.0] in A and C, absent in B",
        "aggregates.mean_value is absent in A and C, mean(value) clipped to [0.0, 100.0] in B",
    ):
        assert words in error.message
    assert "group_by" not in error.message
    assert "aggregates.rows" not in error.message
    assert error.where == "A, B, C"


def test_group_by_and_the_types_of_keys_are_compared() -> None:
    one = party(BASE)
    wide = Party("B", one.manifest, one.rows.set_column(0, "test", pa.array([1, 2, 3], pa.int32())))
    assert "the type of test is string in A, int32 in B" in refusal(one, wide).message
    renamed = plan(*ALL, group_by=["trial"], partitions={"public": {"values": {"trial": ["a", "b", "c"]}}})
    other = party(renamed, label="C")
    other = Party("C", other.manifest, other.rows.rename_columns(["trial", *other.rows.column_names[1:]]))
    assert "group_by is [test] in A, [trial] in C" in refusal(one, other).message


def test_row_units_are_not_user_units() -> None:
    rows = plan(*ALL, privacy_unit={"row": True}, contribution_bounds=None)
    assert "privacy_unit is (id) in A, row in B" in refusal(party(BASE), party(rows, label="B")).message


def test_public_keys_are_compared_and_named() -> None:
    error = refusal(party(BASE, ["a", "b", None]), party(BASE, ["a", *"defghij"], label="B", sequence=2))
    assert "the public keys (d), (e), (f), (g), (h) and 2 more are absent in A" in error.message
    assert "the public keys (b), (null) are absent in B" in error.message
    private = plan(*ALL, partitions={"private": {}})
    check_parties([party(private, ["a"]), party(private, ["b"], label="B")])


def test_a_release_is_taken_once() -> None:
    one = party(BASE)
    reordered = Party("copy", one.manifest, one.rows.take([2, 0, 1]))
    for other in (one, reordered):
        with pytest.raises(SpecError, match="r-A of A once more: its users would count twice"):
            check_parties([one, party(BASE, label="B"), other])


def test_two_organisations_that_ran_one_file_at_one_second_are_two() -> None:
    noisy = {item: [7 + index, 8, 9] for index, item in enumerate(BASE.mechanisms)}
    check_parties([party(BASE), party(BASE, noisy=noisy)])


@pytest.mark.parametrize("name", ["parties", "Parties"])
def test_a_column_called_parties_is_refused(name: str) -> None:
    found = plan({**COUNT, "name": name})
    with pytest.raises(SourceError, match="has the name of a column that a combined table adds"):
        check_parties([party(found), party(found, label="B")])


def test_a_combination_is_no_party() -> None:
    with pytest.raises(SourceError, match="is a combination already"):
        check_parties([party(BASE), changed(party(BASE, label="B"), lambda item: item.update(format="dp_spark.combined/1"))])


@pytest.mark.parametrize(
    "change",
    [
        lambda item: item.pop("guarantee"),
        lambda item: item["guarantee"].update(epsilon="much"),
        lambda item: item["guarantee"].update(delta="NaN"),
        lambda item: item.pop("charge"),
        lambda item: item.update(aggregates=None),
        lambda item: item["aggregates"].pop(),
        lambda item: item["aggregates"].reverse(),
        lambda item: item["queries"].pop(),
        lambda item: item.update(group_by=[]),
        lambda item: item.update(group_by=["rows"]),
        lambda item: item["contribution_bounds"].clear(),
        lambda item: item["guarantee"].update(epsilon="0"),
        lambda item: item["guarantee"].update(epsilon="1E-500"),
        lambda item: item["guarantee"].update(epsilon="0." + "1" * 200),
        lambda item: item["guarantee"].update(delta="7"),
        lambda item: item["guarantee"].update(rho="x"),
        lambda item: item["guarantee"].update(rho="-1"),
        lambda item: item["guarantee"].pop("accountant"),
        lambda item: item["queries"][0].update(stddev=math.nan),
        lambda item: item["queries"][0].update(stddev=-1.0),
        lambda item: item["aggregates"][0].pop("mechanism"),
        lambda item: item["aggregates"][-1].pop("min_value"),
        lambda item: item.update(partitions={"selection": "private"}),
    ],
)
@pytest.mark.parametrize("of_format", [undescribed, described])
def test_a_manifest_that_does_not_fit_its_table_is_damage(
    change: Callable[[dict[str, Any]], object], of_format: Callable[[Party], Party]
) -> None:
    check_parties([party(BASE), of_format(party(BASE, label="B"))])
    with pytest.raises(DamageError) as caught:
        check_parties([party(BASE), changed(of_format(party(BASE, label="B")), change)])
    assert caught.value.where == "B"


@pytest.mark.parametrize(
    "change",
    [
        lambda columns: columns.pop(),
        lambda columns: columns.reverse(),
        lambda columns: columns[0].update(type="bigint"),
        lambda columns: columns[1].update(type="double"),
        lambda columns: columns[1].update(aggregate="rows"),
        lambda columns: columns[1].pop("error"),
    ],
)
def test_columns_that_are_not_those_of_the_table_are_damage(change: Callable[[list[dict[str, Any]]], object]) -> None:
    with pytest.raises(DamageError) as caught:
        check_parties([party(BASE), changed(described(party(BASE, label="B")), lambda item: change(item["columns"]))])
    assert caught.value.where == "B"


def test_parties_of_different_versions_agree_and_a_setting_that_only_one_has_is_a_difference() -> None:
    """Whatever a later version tells of an aggregate is part of its definition, if it is not null there."""
    old, new = undescribed(party(BASE)), described(party(BASE, label="B"))
    check_parties([old, changed(new, lambda item: item["aggregates"][1].update(smoothed=None))])
    error = refusal(old, changed(new, lambda item: item["aggregates"][1].update(smoothed="by 3")))
    assert "aggregates.rows is count() in A, count(), smoothed by 3 in B" in error.message


def test_conditions_reductions_and_a_bound_on_all_rows_must_agree() -> None:
    bounds = {"max_partitions_contributed": 3, "max_contributions_per_partition": 2}
    asked = [UNITS, {**COUNT, "where": "x > 1"}, SUM, {**MEAN, "per_unit": "max"}]
    other = plan(*asked, contribution_bounds={**bounds, "max_contributions": 5})
    same, error = party(other, label="C"), refusal(party(plan(UNITS, COUNT, SUM, MEAN), label="A"), party(other, label="B"))
    check_parties([same, party(other, ["a", "c", "b"], label="B", sequence=3)])
    for words in (
        "max_contributions is absent in A, 5 in B",
        "aggregates.rows is count() in A, count(), where x > 1 in B",
        "aggregates.average is mean(value) clipped to [0.0, 100.0] in A, "
        "mean(value) clipped to [0.0, 100.0], per_unit max in B",
    ):
        assert words in error.message


def test_a_key_that_stands_twice_is_damage() -> None:
    check_parties([party(BASE), party(BASE, label="B")])
    with pytest.raises(DamageError, match="does not hold what its manifest says"):
        check_parties([party(BASE, ["a", "b", "b"]), party(BASE, label="B")])
    whole = plan(*ALL, group_by=[], partitions=None)
    for rows in (2, 0):
        given = party(whole, [None] * rows)
        with pytest.raises(DamageError, match="does not hold what its manifest says"):
            check_parties([Party("A", given.manifest, given.rows.drop_columns(["test"])), given])


def test_the_presence_of_keys_counts_rows_at_each_party() -> None:
    found = key_presence([party(BASE, ["a", None]), party(BASE, ["b", None], label="B")]).to_pylist()
    assert {row["k0"]: (row["p0"], row["p1"]) for row in found} == {"a": (1, 0), "b": (0, 1), None: (1, 1)}


def released(label: str, sequence: int, *, day: str = "2026-01-01", **changes: Any) -> Party:
    """A release of a file of its own with the id r-<label>, as entry ``sequence`` of a ledger."""
    unnamed = changed(party(BASE, label=label, digest=f"sha256-2:{label}"), lambda manifest: manifest["charge"].pop("ledger"))
    found = changed(unnamed, lambda manifest: manifest.update(changes))
    return changed(found, lambda manifest: manifest["charge"].update(sequence=sequence, at=day))


@pytest.mark.parametrize(
    ("other", "refused"),
    [
        (released("B", 3), True),
        (released("B", 3, day="2026-01-02"), True),
        (released("B", 1, day="2025-12-31"), True),
        (released("B", 2), False),
        (released("B", 3, day="2025-12-31"), False),
        (released("B", 1, day="2026-01-02"), False),
        (released("B", 3, release_id="r-A"), False),
        (released("B", 3, dataset="clinic"), False),
        (released("B", 3, file_digest="sha256-2:A"), True),
        (released("B", 3, file_digest="sha256-2:A", release_id="r-A"), False),
        (released("B", 3, day="2026-01-31", file_digest="sha256-2:A"), True),
        (released("B", 3, charge={"ledger": "sha256:one"}), True),
    ],
    ids=[
        "later entry",
        "later day",
        "earlier entry",
        "one entry",
        "later before",
        "earlier after",
        "one id",
        "other dataset",
        "one file and day",
        "one file, day and id",
        "one file, a month later",
        "a ledger that only one names",
    ],
)
def test_releases_of_one_dataset_and_ledger_have_the_same_users(other: Party, refused: bool) -> None:
    """A ledger gives a number and an id once, its entries are in order of time; one file on one day tells nothing."""
    third = released("C", 9, dataset="third")
    for parties in ([released("A", 2), third, other], [other, released("A", 2), third]):
        if not refused:
            check_disjoint(parties)
            continue
        with pytest.raises(SpecError, match="the same users") as caught:
            check_disjoint(parties)
        assert caught.value.where == "--users"
        assert "--users overlapping" in caught.value.mend


@pytest.mark.parametrize(("ledger", "refused"), [("sha256:one", True), ("sha256:two", False)])
def test_the_ledger_that_a_manifest_names_decides(ledger: str, refused: bool) -> None:
    """One file, run twice on one day: at two organisations, or twice from one ledger."""
    parties = [
        changed(released("A", 2), lambda manifest: manifest["charge"].update(ledger="sha256:one")),
        changed(released("B", 3, file_digest="sha256-2:A"), lambda manifest: manifest["charge"].update(ledger=ledger)),
    ]
    with pytest.raises(SpecError, match="the same users") if refused else contextlib.nullcontext():
        check_disjoint(parties)
