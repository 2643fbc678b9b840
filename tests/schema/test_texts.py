"""Half of a surrogate pair is refused wherever a text can be, in keys too: a hash, a file or a table could not hold it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from helpers import minimal_spec

from dp_spark.aggregates.registry import BY_FUNCTION
from dp_spark.errors import SpecError
from dp_spark.schema.texts import half_characters
from dp_spark.spec.release_spec import ReleaseSpec

HALF = "a\ud800"
#: Something of every kind that holds a text, a number that holds none, and containers that YAML does not have.
FULL = minimal_spec(
    parameters={"since": "x", "most": Decimal(3)},
    timezone="UTC",
    source={"format": "csv", "path": "p", "options": {"sep": ","}, "schema": {"id": "string", "t": "string", "v": "double"}},
    preprocess=[
        {"filter": "v > 1"},
        {"derive": {"test": "lower(t)"}},
        {"cast": {"v": "double"}},
        {"fill": {"t": "none", "v": 1}},
        {"drop": ("w",)},
        {"join": {"source": {"format": "delta", "path": "q"}, "on": ["t"], "how": "left"}},
    ],
    privacy_unit={"who": "lower(id)"},
    partitions={"public": {"values": {"test": ["a", date(2024, 5, 6), 3]}}},
    aggregates=[
        {"function": "histogram", "name": "h", "column": "t", "values": ["a", "b"], "where": "v > 2"},
        {"function": "sum", "name": "s", "column": "v", "min_value": 0, "max_value": 1, "per_unit": "sum"},
    ],
    ledger={"table": "a.b"},
)


def spoiled(data: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[Any, str]]:
    """The same data with one text or key made half a character, and the key that a message has to name; all of them."""
    if isinstance(data, str):
        yield data + HALF, ".".join(path)
    elif isinstance(data, dict):
        for key in data:
            renamed = {(name + HALF if name == key else name): value for name, value in data.items()}
            yield renamed, ".".join(path)
            for value, where in spoiled(data[key], (*path, key)):
                yield {**data, key: value}, where
    elif isinstance(data, list | tuple):
        for index, item in enumerate(data):
            for value, where in spoiled(item, (*path, str(index))):
                yield [*data[:index], value, *data[index + 1 :]], where


def test_every_text_and_every_key_of_a_release_file_is_looked_at() -> None:
    assert ReleaseSpec.model_validate(copy.deepcopy(FULL)).digest()
    cases = list(spoiled(FULL))
    assert len(cases) > 90
    for data, where in cases:
        with pytest.raises(SpecError, match="half of a surrogate pair") as caught:
            ReleaseSpec.model_validate(data)
        assert caught.value.where == where
        assert str(caught.value).encode()
    with pytest.raises(SpecError, match="half of a surrogate pair") as caught:
        ReleaseSpec.model_validate({**FULL, "name": HALF, "dataset": HALF})
    assert [problem.where for problem in caught.value.problems] == ["name", "dataset"]


def test_a_part_that_is_validated_alone_is_looked_at_too() -> None:
    with pytest.raises(SpecError, match="half of a surrogate pair") as caught:
        BY_FUNCTION["histogram"].model_validate({"function": "histogram", "name": "h", "column": "x", "values": {HALF}})
    assert caught.value.where == "values.0"


def test_whole_characters_and_data_that_hold_themselves_pass() -> None:
    itself: list[Any] = ["\U0001f600", "\x00", 1, None]
    itself.append(itself)
    assert list(half_characters({"a": itself, 3: "b"})) == []
