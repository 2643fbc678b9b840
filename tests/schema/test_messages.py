"""What an author reads about a wrong release file: every problem at once, in words of the file and not of a library."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from helpers import COUNT, MEAN, PUBLIC, minimal_spec
from pydantic_core import ErrorDetails

from dp_spark.cli import main
from dp_spark.errors import SpecError
from dp_spark.schema import messages as spec_errors
from dp_spark.schema.faults import Fault, place_of
from dp_spark.schema.reading import parse_yaml
from dp_spark.spec.release_spec import ReleaseSpec

#: A file that uses every key.
WHOLE: dict[str, Any] = {
    "version": 1,
    "name": "a",
    "parameters": {"since": 0},
    "timezone": "UTC",
    "dataset": "d",
    "source": {"format": "csv", "path": "x", "options": {"sep": ","}, "schema": {"id": "string"}},
    "preprocess": [
        {"filter": "a > 0"},
        {"derive": {"b": "a"}},
        {"cast": {"a": "double"}},
        {"fill": {"a": 0}},
        {"drop": ["c"]},
        {"join": {"source": {"format": "delta", "path": "y"}, "on": ["k"], "how": "left"}},
    ],
    "privacy_unit": "id",
    "contribution_bounds": {"max_partitions_contributed": 4, "max_contributions_per_partition": 2},
    "group_by": ["test"],
    "partitions": {"public": {"values": {"test": ["x", "y"]}}},
    "aggregates": [
        {"function": "privacy_id_count", "name": "units", "weight": 1},
        {"function": "count", "name": "rows", "column": "v"},
        {"function": "mean", "name": "m", "column": "v", "min_value": 0, "max_value": 1},
    ],
    "budget": {"epsilon": Decimal(1), "delta": Decimal("1e-6")},
    "noise": {"mechanism": "auto"},
    "ledger": {"path": "l"},
    "sink": {"table": "s.t"},
}
WRONG = [
    None, True, False, 0, -7, 10**30, Decimal("0.5"), Decimal("1e-9"), float("nan"), float("inf"), "", "text", "1", "a b",
    [], ["x"], [[]], [None], {}, {"k": "v"}, {"k": []}, {5: 1}, {"row": 1}, {"function": "x"}, {"path": 3},
]  # fmt: skip
#: Words of pydantic and of Python that say nothing to an author.
LIBRARY = re.compile(
    r"pydantic|valid (string|tuple|dict|list|integer|number|boolean|decimal|date)|instance|[Ii]nput|\btag\b|discriminat|tuple|"
    r"\bdict|\bNone\b|\bTrue\b|\bFalse\b|\bDecimal\b|\bint\b|\bstr\b|\bbool\b|constrained|function-|unable to|Extra|parsing|"
    r"literal|\[key\]|another form|something else"
)


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield from places(value, (*path, key))


def changed(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = list(data) if isinstance(data, list) else dict(data)
    copy[path[0]] = changed(data[path[0]], path[1:], value)
    return copy


def refusals(data: Any) -> list[SpecError]:
    try:
        ReleaseSpec.model_validate(data)
    except SpecError as error:
        return list(error.problems) or [error]  # type: ignore[arg-type]
    return []


def problems(data: Any) -> list[SpecError]:
    found = refusals(data)
    assert found, "it is taken"
    return found


def in_plain_english(found: SpecError) -> bool:
    return bool(found.message and found.mend) and not LIBRARY.search(f"{found.message} {found.mend}") and "\n" not in str(found)


def test_every_place_with_every_wrong_form_is_told_in_words_of_the_file() -> None:
    """Each key of a whole file is given values of all forms; what is refused is told at that key, without a library's words."""
    refused = 0
    for path in places(WHOLE):
        for value in WRONG:
            told = refusals(changed(WHOLE, path, value))
            refused += bool(told)
            for found in told:
                assert in_plain_english(found), (path, value, str(found))
            keys = [str(part) for part in path if isinstance(part, str)]
            if told and keys and value != {"row": 1}:  # that one is right, and contradicts the bounds
                text = " ".join(f"{found.where} {found.message} {found.mend}" for found in told)
                assert keys[0] in text, (path, value, text)
                assert keys[-1] in text, (path, value, text)
    assert refused > 700


def test_what_any_error_of_pydantic_says_is_the_form_of_the_place() -> None:
    """Whatever type a later pydantic gives an error, the sentence is made of the model and not of its message."""
    for path in ("budget.epsilon", "source.path", "group_by", "noise.mechanism", "partitions", "aggregates"):
        found = ErrorDetails(type="a_new_type", loc=tuple(path.split(".")), msg="Input is a tuple[...]", input=object())
        place = place_of(ReleaseSpec, found["loc"])
        [told] = spec_errors._problems(Fault(place, {**found, "input": 5}), ReleaseSpec)
        assert told.where == path
        assert told.message.startswith("must be ")
        assert in_plain_english(told)


@pytest.mark.parametrize(
    ("changes", "where", "message", "mend"),
    [
        (
            {"aggregates": [{**COUNT, "function": "histogran"}]},
            "aggregates.0.function",
            "there is no function 'histogran'",
            "did you mean histogram?",
        ),
        (
            {"aggregates": [{**COUNT, "function": "Count"}]},
            "aggregates.0.function",
            "there is no function",
            "did you mean count?",
        ),
        ({"aggregates": [{**MEAN, "function": "meen"}]}, "aggregates.0.function", "there is no function", "did you mean mean?"),
        ({"aggregates": ["count"]}, "aggregates.0", "must be a mapping with the key function; found a text", "write a mapping"),
        (
            {"aggregates": [{**COUNT, "min_value": 1}]},
            "aggregates.0.min_value",
            "not a key",
            "only sum, mean, variance, stddev, quantiles, median, min, max, histogram, cdf may have it",
        ),
        ({"aggregates": {"function": "count"}}, "aggregates", "must be a list; found a mapping", "lines that begin with -"),
        ({"pre_threshold": 3}, "pre_threshold", "not a key", "put it under `partitions.private`"),
        ({"strategy": "auto"}, "strategy", "not a key", "put it under `partitions.private`"),
        ({"how": "left"}, "how", "not a key", "put it under `preprocess.join`"),
        ({"partitions": {**PUBLIC, "private": {"pre_threshold": 3}}}, "partitions", "not both", "remove `private`"),
        ({"noise": {"mechanism": "gausian"}}, "noise.mechanism", "there is no mechanism 'gausian'", "did you mean gaussian?"),
        (
            {"noise": {"mechanism": 7}},
            "noise.mechanism",
            "must be one of auto, laplace, gaussian; found a whole number",
            "write one of",
        ),
        ({"noise": "laplace"}, "noise", "must be a mapping with the keys mechanism; found a text", "write a mapping"),
        ({"partitions": {"public": {"test": ["a"]}}}, "partitions.public.test", "not a key", "put it under `values`"),
        (
            {"partitions": {"public": {"vlaues": {"test": ["a"]}}}},
            "partitions.public.vlaues",
            "not a key",
            "did you mean values?",
        ),
        (
            {"partitions": {"pre_threshold": 9, "private": {}}},
            "partitions.pre_threshold",
            "not a key",
            "put it under `private`",
        ),
        ({"partitions": {"values": {"test": ["a"]}}}, "partitions.values", "not a key", "put it under `public`"),
        (
            {"partitions": {"public": {**PUBLIC["public"], "pre_threshold": 9}}},
            "partitions.public.pre_threshold",
            "not a key",
            "remove it; only private may have it",
        ),
        ({"epsilon": 1}, "epsilon", "not a key", "put it under `budget`"),
        ({"max_partitions_contributed": 1}, "max_partitions_contributed", "not a key", "put it under `contribution_bounds`"),
        ({"epsilonn": 1}, "epsilonn", "not a key", "did you mean epsilon, under `budget`?"),
        ({"source": "x"}, "source", "must be a mapping with the keys format, path, table", "write a mapping"),
        (
            {"source": {"format": "csv", "path": "x", "options": {"heder": True}}},
            "source.options",
            "heder",
            "did you mean header?",
        ),
        (
            {"source": {"format": "csv", "path": "x", "columns": {"id": "int"}}},
            "source.columns",
            "not a key",
            "did you mean schema?",
        ),
        (
            {"source": {"format": "csv", "path": "x", "schema": {"x": "decimal(10", "2)": None}}},
            "source.schema",
            "the type of x has a comma",
            'write x: "decimal(10,2)"',
        ),
        (
            {"preprocess": [{"cast": {"a": "int", "x": "dec(4", "1)": None}}]},
            "preprocess.0.cast",
            "the type of x has a comma",
            'write x: "dec(4,1)"',
        ),
        ({"partitions": "private"}, "partitions", "must be a mapping", "write a mapping: {private: {}}"),
        ({"preprocess": {"filter": "x"}}, "preprocess", "must be a list; found a mapping", "write a list"),
        ({"preprocess": [{"drop": "a"}]}, "preprocess.0.drop", "must be a list; found a text", "write a list"),
        (
            {"privacy_unit": 5},
            "privacy_unit",
            "must be a text, a list, {row: true} or a mapping; found a whole number",
            "write a text",
        ),
        ({"privacy_unit": {"rows": True}}, "privacy_unit.rows", "not a key", "did you mean row?"),
        ({"privacy_unit": {"row": False}}, "privacy_unit.row", "must be true; found false", "write true"),
        ({"privacy_unit": []}, "privacy_unit", "too few elements: at least 1", "list at least 1"),
        ({"privacy_unit": ["a", 5]}, "privacy_unit.1", "must be a text; found a whole number", "quotes"),
        ({"budget": {"epsilon": "1"}}, "budget.epsilon", "without quotes", "write a number"),
        ({"budget": 1}, "budget", "must be a mapping with the keys epsilon, delta", "write a mapping"),
        ({"group_by": "test"}, "group_by", "must be a list; found a text", "write a list"),
        ({"name": 5}, "name", "must be a plain name; found a whole number", "letters, digits, dots, hyphens"),
        ({5: 1}, "5", "is not a key", "the keys here are version"),
    ],
)
def test_each_kind_of_problem_says_the_form_and_a_mend(changes: dict[Any, Any], where: str, message: str, mend: str) -> None:
    [found] = problems(minimal_spec() | changes)
    assert found.where == where
    assert message in found.message
    assert mend in found.mend
    assert in_plain_english(found)


@pytest.mark.parametrize("name", ["a.b-c_d", "1a", "2024.01", "A", "a" * 128])
def test_a_name_that_keeps_the_rule_is_taken(name: str) -> None:
    assert ReleaseSpec.model_validate(minimal_spec(name=name)).name == name


@pytest.mark.parametrize("name", [".a", "-a", "_a", "a b", "a/b", "a" * 129, "é"])
def test_the_rule_that_is_told_for_a_name_is_the_rule(name: str) -> None:
    """Each of these breaks a part of the rule, and the mend tells that part: the first letter, the letters, the length."""
    [found] = problems(minimal_spec(name=name))
    for part in ("letters, digits, dots, hyphens and underscores", "beginning with a letter or a digit", "at most 128"):
        assert part in found.mend
    [column] = problems(minimal_spec(group_by=["1a"]))
    assert "digits and underscores, not beginning with a digit" in column.mend


def test_all_problems_of_a_file_are_told_at_once() -> None:
    """Wrong keys, wrong values and contradictions between right ones; a key that is misspelt is not told as missing, too."""
    data = minimal_spec(
        name="a b",
        budget={"epsilon": 0},
        ledger=None,
        contribution_bounds={"max_partitions_contributed": 4},
        agregates=[COUNT],
        aggregates=None,
        privacy_unit=["id", "ID"],
    )
    assert sorted(found.where for found in problems(data)) == [
        "agregates",
        "budget.epsilon",
        "contribution_bounds.max_contributions_per_partition",
        "ledger",
        "name",
        "privacy_unit",
    ]
    both = problems(minimal_spec(partitions=None, budget={"epsilon": Decimal(1)}, noise={"mechanism": "gaussian"}))
    assert [found.where for found in both] == ["partitions", "noise.mechanism"]
    unread = problems(minimal_spec(partitions={"public": {"values": {"other": ["a"]}}}, sink={}))
    assert [found.where for found in unread] == ["sink", "partitions.public.values"]


def test_a_contradiction_with_a_key_that_cannot_be_read_is_not_made_up() -> None:
    """A default must not stand in for what the author wrote."""
    for changes in ({"partitions": 5}, {"partitons": PUBLIC, "partitions": None}, {"noise": {"mechanism": 1}}):
        [found] = problems(minimal_spec(**changes))
        assert found.where in ("partitions", "partitons", "noise.mechanism")


def test_the_command_line_lists_all_problems_and_json_the_first_and_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "release.yaml"
    file.write_text("version: 1\nname: a b\nbudget: {epsilon: x}\n", encoding="utf-8")
    assert main(["plan", str(file)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"dp-spark: {len(lines) - 1} problems"
    assert all(line.startswith(f"{file}: ") and "(mend: " in line for line in lines[1:])
    assert main(["plan", str(file), "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert len(error["problems"]) == len(lines) - 1
    assert {key: error[key] for key in ("message", "where", "mend")} == error["problems"][0]
    assert error["code"] == "bad_release_file"


def test_a_single_problem_is_one_line_and_has_no_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "release.yaml"
    file.write_text("version: 1\nnme: [a]", encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        parse_yaml("{a: 1, a: 2}")
    assert "the key 'a' is there twice" in caught.value.message
    assert caught.value.problems == ()
    assert "problems" not in caught.value.to_dict()
    assert main(["budget", "open", "--ledger", str(tmp_path / "l"), "--dataset", "_a", "--epsilon", "1"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "beginning with a letter or a digit" in line


@pytest.mark.parametrize("place", ["partitions", "source", "ledger", "sink"])
def test_the_mapping_that_is_told_for_a_part_is_one_that_it_takes(place: str) -> None:
    [wrong], [absent] = problems(minimal_spec(**{place: "x"})), problems(minimal_spec(**{place: None}))
    told = wrong.mend.removeprefix("write a mapping: ")
    for text in told.split(", or "):
        part = parse_yaml(text.replace("COLUMN", "test").replace("[KEY, KEY]", "[a, b]"))
        assert not refusals(minimal_spec(**{place: part}))
    keys = "write `partitions: {private: {}}`, or list the keys under public"
    assert absent.mend == (keys if place == "partitions" else f"add {place}: {told}")
