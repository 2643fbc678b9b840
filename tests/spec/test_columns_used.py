"""The columns that a release reads, and those that it parses from text."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import release_spec

from dp_spark.spec.columns_used import columns_used, parsed_from_text

SCHEMA = {"id": "bigint", "test": "string", "value": "double"}


def csv(**changes: Any) -> dict[str, Any]:
    return {"format": "csv", "path": "x.csv", "schema": SCHEMA} | changes


def test_what_has_to_be_parsed_from_text_is_named() -> None:
    steps = [{"cast": {"when": "date"}}]
    spec = release_spec(source=csv(schema={**SCHEMA, "when": "string", "other": "int"}), preprocess=steps, group_by=["when"])
    assert parsed_from_text(spec) == {"id": "bigint", "when": "date"}
    assert list(columns_used(spec)) == ["id", "when"]
    assert parsed_from_text(release_spec()) == {}


def test_what_a_condition_reads_is_read() -> None:
    counted = {"function": "count", "name": "n", "where": "Value > 0 and `Test` is not null"}
    assert list(columns_used(release_spec(source=csv(), group_by=[], partitions=None, aggregates=[counted]))) == [
        "id",
        "test",
        "value",
    ]


@pytest.mark.parametrize("unit", ["Person.id", {"Person.id": "Person.id"}, {"u": "lower(person.id)"}])
def test_a_field_of_a_struct_is_read_with_its_column(unit: object) -> None:
    schema = {"person": "struct<id: bigint>", "p": "struct<x: double>", "a.b": "double", "a": "string", "k": "string"}
    amount = {"function": "sum", "name": "s", "min_value": 0, "max_value": 1}
    spec = release_spec(
        source=csv(schema=schema) | {"format": "json"},
        privacy_unit=unit,
        group_by=["k"],
        aggregates=[amount | {"column": "p.x"}, amount | {"name": "t", "column": "a.b"}],
    )
    assert list(columns_used(spec)) == ["person.id", "person", "k", "p.x", "p", "a.b"]
    assert list(parsed_from_text(spec)) == ["person", "p", "a.b"]
