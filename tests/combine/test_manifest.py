"""What a combined table says about its inputs and about the guarantee of all of them together."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from combine_helpers import ALL, budget, described, party, plan, undescribed
from helpers import COUNT

from dp_spark.combine.agreement import Party, check_parties
from dp_spark.combine.manifest import Users, combined_manifest, joint_guarantee
from dp_spark.errors import SourceError, SpecError
from dp_spark.manifest import (
    column_comments,
    columns_of,
    confidence_intervals,
    from_json,
    half_width,
    to_json,
    value_column,
)

ONE, TWO = plan(*ALL, budget=budget("0.5", "1e-6")), plan(*ALL, budget=budget("1.25", "3e-7"), dataset="clinic")


def manifest(users: Users = Users.disjoint, **changes: Any) -> dict[str, Any]:
    return combined_manifest([party(ONE), party(TWO, label="B", **changes)], users)


def test_disjoint_users_have_the_largest_guarantee_and_overlapping_ones_the_sum() -> None:
    given = [party(item).manifest["guarantee"] for item in (ONE, TWO)]
    parallel, sequential = (joint_guarantee(given, users) for users in (Users.disjoint, Users.overlapping))
    assert (parallel["epsilon"], parallel["delta"]) == ("1.25", "0.000001")
    assert (sequential["epsilon"], sequential["delta"]) == ("1.75", "0.0000013")
    rhos = [Decimal(item["rho"]) for item in given]
    assert (Decimal(parallel["rho"]), Decimal(sequential["rho"])) == (max(rhos), sum(rhos))
    assert (parallel["composition"], sequential["composition"]) == ("parallel", "sequential")
    assert (parallel["accountant"], parallel["privacy_unit"]) == ("zcdp", ["id"])


def test_budgets_are_summed_exactly() -> None:
    long = "0." + "1234567890" * 5 + "1"
    given = [{**party(ONE).manifest["guarantee"], "epsilon": text} for text in (long, "1000000000000")]
    assert joint_guarantee(given, Users.overlapping)["epsilon"] == "1000000000000." + long[2:]


def test_accountants_that_differ_leave_no_common_rho() -> None:
    basic = plan(COUNT, accountant="basic", budget={"epsilon": Decimal(1)})
    found = joint_guarantee([party(ONE).manifest["guarantee"], party(basic).manifest["guarantee"]], Users.overlapping)
    assert (found["rho"], found["accountant"], found["epsilon"], found["delta"]) == (None, None, "1.5", "0.000001")


def test_the_sentence_says_what_was_declared_and_what_holds_if_it_is_wrong() -> None:
    sentence = manifest()["guarantee"]["sentence"]
    for words in ("2 published releases", "nobody is in the data of more than one party", "(1.25, 0.000001)", "(id)",
                  "exp(1.25)", "plus at most 0.000001", "at most (1.75, 0.0000013)"):  # fmt: skip
        assert words in sentence
    sentence = manifest(Users.overlapping)["guarantee"]["sentence"]
    for words in ("can be in the data of several parties", "the sum of the guarantees", "(1.75, 0.0000013)", "exp(1.75)"):
        assert words in sentence
    assert "nobody" not in sentence
    assert "if each of them is what its manifest states" in sentence
    rows = plan(COUNT, privacy_unit={"row": True}, contribution_bounds=None, accountant="basic", budget={"epsilon": Decimal(1)})
    sentence = combined_manifest([party(rows), party(rows, label="B")], Users.disjoint)["guarantee"]["sentence"]
    assert "one row in one party's data" in sentence
    assert "exp(1). Whoever" in sentence


def test_inputs_are_told_whole_and_there_is_no_charge() -> None:
    found = manifest()
    assert [item["release_id"] for item in found["inputs"]] == ["r-A", "r-B"]
    assert found["inputs"] == [dict(party(ONE).manifest), dict(party(TWO, label="B").manifest)]
    assert "charge" not in found
    assert (found["name"], found["dataset"], found["group_by"]) == ("release", "nafld + clinic", ["test"])
    assert found["same_file"] is True
    assert manifest(digest="sha256:g")["same_file"] is False


def test_equal_digests_of_an_earlier_format_do_not_say_that_the_files_are_the_same() -> None:
    for mark, same in (("sha256-2", True), ("sha256", False)):
        parties = [party(ONE, label=label, digest=f"{mark}:{'0' * 64}") for label in "AB"]
        assert combined_manifest(parties, Users.disjoint)["same_file"] is same


def test_the_id_is_a_function_of_inputs_and_users() -> None:
    assert manifest() == manifest()
    ids = {manifest()["release_id"], manifest(Users.overlapping)["release_id"], manifest(sequence=2)["release_id"]}
    assert len(ids) == 3
    assert all(item.startswith("combined-") for item in ids)


def test_a_privacy_id_count_over_overlapping_users_is_flagged() -> None:
    def notes(users: Users) -> dict[str, str]:
        return {item["name"]: item["note"] for item in manifest(users)["aggregates"] if "note" in item}

    assert set(notes(Users.disjoint)) == {"average"}
    assert notes(Users.overlapping)["patients"] == "a user of several parties is counted once in each"
    comments = column_comments(manifest(Users.overlapping))
    assert comments["patients"].endswith("; a user of several parties is counted once in each")
    assert "counted once" not in column_comments(manifest())["patients"]
    assert comments["parties"] == "how many of the 2 parties' releases hold this row's key"
    assert "parties" not in column_comments(party(ONE).manifest)


def test_private_partitions_say_what_an_absent_key_means() -> None:
    private = [plan(*ALL, partitions={"private": {}}, budget=budget(epsilon)) for epsilon in ("0.5", "2")]
    parties = [party(item, label=label) for item, label in zip(private, "AB", strict=True)]
    found = combined_manifest(parties, Users.disjoint)["partitions"]
    assert found["thresholds"] == [item.selection.threshold for item in private if item.selection]
    assert "where parties is below 2, counts and sums leave out what those parties have" in found["note"]
    assert manifest()["partitions"] == {"selection": "public"}


def test_parties_may_have_other_pre_thresholds_and_combine_within_one_strategy() -> None:
    def private(strategy: str, pre_threshold: int, label: str) -> Party:
        selecting = {"private": {"strategy": strategy, "pre_threshold": pre_threshold}}
        return party(plan(*ALL, accountant="basic", partitions=selecting), label=label)

    for strategy in ("threshold", "truncated_geometric"):
        parties = [private(strategy, 5, "A"), private(strategy, 30, "B")]
        check_parties(parties)
        found = combined_manifest(parties, Users.disjoint)["partitions"]
        assert found.get("strategy", "threshold") == strategy
        [needed] = [item for item in found.values() if isinstance(item, list)]
        assert needed[1] - needed[0] == 25
    with pytest.raises(SourceError, match="private in A, private by truncated_geometric in B"):
        check_parties([private("threshold", 5, "A"), private("truncated_geometric", 5, "B")])


def test_recipients_read_it_and_take_intervals_from_the_stddevs() -> None:
    found = from_json(to_json(manifest()), where="t")
    assert found == manifest()
    for name in ("rows", "total", "average"):
        assert half_width(found, name) is None
        [interval, nothing] = confidence_intervals(found, name, [10.0, 3.0], [2.0, None])
        assert interval == pytest.approx((10 - 3.92, 10 + 3.92), abs=1e-3)
        assert nothing is None
    with pytest.raises(SpecError, match="differs"):
        confidence_intervals(found, "rows", [10.0])


def test_the_columns_are_described_whatever_the_parties_format() -> None:
    parties = [party(ONE), party(TWO, label="B")]
    told = [
        combined_manifest([of_format(item) for item in parties], Users.disjoint)["columns"]
        for of_format in (undescribed, described)
    ]
    told[1] = [{name: item for name, item in column.items() if "key" not in column or name != "type"} for column in told[1]]
    assert told[0] == told[1], "the first format told no types of keys"
    found = columns_of(manifest())
    assert [column["name"] for column in found] == [*parties[0].rows.column_names, "parties"]
    average = value_column(manifest(), "average")
    assert average["error"] == {"rule": "per_row", "mechanism": "gaussian", "stddev_column": "average_stddev"}
    assert average["range"] == [0, 100]
    first = {**manifest(), "format": "dp_spark.combined/1"}
    del first["columns"]
    for column, same in zip(columns_of(first), found, strict=True):  # as 0.1.0 combined
        untold = {"type": "string"} if column.get("key") else {}
        assert {**untold, **column, "comment": None} == {**same, "comment": None}


def test_mechanisms_that_differ_are_all_named() -> None:
    laplace = plan(COUNT, accountant="basic", budget={"epsilon": Decimal(1)})
    found = combined_manifest([party(plan(COUNT)), party(laplace, label="B")], Users.disjoint)
    assert column_comments(found)["rows"] == "number of rows; with discrete gaussian and laplace noise"


def test_no_release_can_have_the_dataset_of_a_combination() -> None:
    from combine_helpers import plan as any_plan

    with pytest.raises(SpecError, match="dataset"):
        any_plan(COUNT, dataset=manifest()["dataset"])


def test_means_are_weighted_by_counts_and_say_so() -> None:
    assert column_comments(manifest())["average"].endswith("weighted by the parties' noisy counts of values")
