from __future__ import annotations

import itertools
import json
import math
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp_spark.errors import SpecError
from dp_spark.schema.overrides import apply_overrides
from dp_spark.schema.reading import MAX_BYTES, parse_yaml, read_release_file


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NO", "NO"),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("Off", "Off"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("TRUE", True),
        ("tRue", "tRue"),
        ("12:30", "12:30"),
        ("12:30:45", "12:30:45"),
        ("1e-6", Decimal("1e-6")),
        ("1.0e-6", Decimal("1e-6")),
        ("1E5", Decimal(100000)),
        ("+1.5", Decimal("1.5")),
        (".5", Decimal("0.5")),
        ("5.", Decimal(5)),
        ("-.5", Decimal("-0.5")),
        ("0.1", Decimal("0.1")),
        ("7", 7),
        ("-7", -7),
        ("+7", 7),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("-0x1F", "-0x1F"),
        ("0b1", "0b1"),
        ("1_000", "1_000"),
        ("1__0.0", "1__0.0"),
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"),
        ("1.2.3", "1.2.3"),
        ("~", None),
        ("null", None),
        ("Null", None),
        ("nULL", "nULL"),
        ("", None),
        ("'1'", "1"),
        ('"true"', "true"),
        ("'~'", "~"),
        ("=", "="),
        ("<<", "<<"),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("e5", "e5"),
        ("1e", "1e"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    found = parse_yaml(f"key: {text}")["key"]
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_one() -> None:
    assert math.isnan(parse_yaml(".nan"))


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**40), max_value=10**40))
def test_a_decimal_is_the_one_that_was_written(value: Decimal) -> None:
    text = str(value)
    assert parse_yaml(text) == value


def test_more_digits_than_a_double_are_kept() -> None:
    assert str(parse_yaml("0.1000000000000000055511151231257827021181583404541015625000001")) == (
        "0.1000000000000000055511151231257827021181583404541015625000001"
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{a: 1, a: 2}", 1),
        ("a: 1\nb: 2\na: 3\n", 3),
        ("x:\n  budget: 1\n  budget: 1\n", 3),
        ("- a: 1\n  'a': 2\n", 2),
    ],
)
def test_a_key_that_stands_twice_is_refused(text: str, line: int) -> None:
    with pytest.raises(SpecError, match="is there twice") as caught:
        parse_yaml(text, where="f.yaml")
    assert caught.value.where == f"f.yaml, line {line}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: b: c", "mapping values are not allowed"),
        ("[1, 2", "expected ',' or ']'"),
        ("@x", "found character '@'"),
        ("a: 1\n---\nb: 2", "found another document"),
        ("\x01", "cannot be read as YAML"),
        ("{[a]: 1}", "a key must be a plain word"),
        ("{? {a: 1} : b}", "a key must be a plain word"),
        ("{~: 1}", "a key must be a plain word"),
        ("!!python/object:os.system x", "constructor for the tag"),
        ("!!python/name:os.system ''", "constructor for the tag"),
        ("*unknown", "anchors and aliases"),
        ("a: 'open", "unexpected end of stream"),
        ("{a: !!binary abc}", "a tag is not allowed here"),
    ],
)
def test_what_is_not_plain_yaml_is_refused(text: str, problem: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_yaml(text)
    assert caught.value.message.startswith("not valid YAML: ")
    assert problem in caught.value.message


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("!!float abc", "a value does not fit its tag"),
        ("!!int abc", "a value does not fit its tag"),
        ("!!bool maybe", "a value does not fit its tag"),
        ("!!timestamp abc", "a tag is not allowed here"),
        ("9" * 5000, "a number has more than 1000 digits"),
    ],
)
def test_a_scalar_that_its_own_tag_cannot_read_is_refused_without_a_traceback(text: str, problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        parse_yaml(text)


def test_reading_a_file(tmp_path: Path) -> None:
    path = tmp_path / "release.yaml"
    path.write_text("budget: {epsilon: 0.10}\nname: ü\n", encoding="utf-8")
    assert read_release_file(path) == {"budget": {"epsilon": Decimal("0.10")}, "name": "ü"}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"- a\n- b\n", "a release file is a mapping"),
        (b"text", "a release file is a mapping"),
        (b"", "a release file is a mapping"),
        (b"\xff\xfe\xfa", "is not UTF-8 text"),
        (b"a: [1", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused_by_name(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "release.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=problem) as caught:
        read_release_file(path)
    assert str(path) in caught.value.where


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    for path, problem in ((tmp_path / "none.yaml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(SpecError, match=problem) as caught:
            read_release_file(path)
        assert caught.value.where == str(path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: &x [1]\nb: *x", "anchors and aliases"),
        ("a: &x 1", "anchors and aliases"),
        ("\n".join(f"{b}: &{b} [{', '.join(['*' + a] * 10)}]" for a, b in itertools.pairwise("abcdefgh")), "anchors"),
        ("a: &a [*a]", "anchors and aliases"),
        ("[" * 200_000, "nested"),
        ("{a: " * 5_000, "nested"),
        ("- " * 5_000, "nested"),
        ("? " * 5_000, "nested"),
        ("a: 0x" + "f" * 5_000, "digits"),
        ("a: 1e999999999", "digits"),
        ("a: -1e-999999999", "digits"),
        ("a: !!float 1e99999", "digits"),
        ("a: 1." + "0" * 5_000, "digits"),
        ("1e99999: a", "digits"),
    ],
)
def test_a_short_text_cannot_mean_a_huge_document(text: str, problem: str) -> None:
    began = time.process_time()
    with pytest.raises(SpecError, match=problem) as caught:
        parse_yaml(text)
    assert caught.value.mend
    assert "indentation" not in caught.value.mend
    assert time.process_time() - began < 5
    with pytest.raises(SpecError, match=problem):
        apply_overrides({}, [f"name={text}"])


def test_levels_and_digits_that_people_write_are_read() -> None:
    assert parse_yaml("[" * 30 + "]" * 30)
    assert parse_yaml("a: 1e-300")["a"] == Decimal("1e-300")
    assert parse_yaml("a: 'x & y *z'") == {"a": "x & y *z"}


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "release.yaml"
    path.write_bytes(b"# " + b"x" * MAX_BYTES)
    with pytest.raises(SpecError, match="larger than 4 MiB"):
        read_release_file(path)


def test_a_letter_in_two_halves_is_one_and_a_half_alone_is_refused() -> None:
    """JSON is YAML, and writes a bicycle like that; a key of half a letter could not be stored."""
    assert parse_yaml(json.dumps({"🚲": ["a🚲b"]})) == {"🚲": ["a🚲b"]}
    for text in ('["\\ud83d"]', '{"\\ude00": 1}', '"\\ude00\\ud83d"'):
        with pytest.raises(SpecError, match="half of a surrogate pair"):
            parse_yaml(text)
