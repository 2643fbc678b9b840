"""An override changes exactly the key that it names, and never what the ledger pins."""

from decimal import Decimal
from typing import Any

import pytest

from dp_spark.errors import SpecError
from dp_spark.schema.overrides import apply_overrides


def data() -> dict[str, Any]:
    return {
        "dataset": "nafld",
        "privacy_unit": ["a", "b"],
        "budget": {"epsilon": Decimal(1)},
        "aggregates": [{"name": "x"}, {"name": "y", "bounds": [1, 2]}],
        "sink": None,
        "name": "r",
    }


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("budget.epsilon=0.5", ("budget", "epsilon"), Decimal("0.5")),
        ("budget.delta=1e-6", ("budget", "delta"), Decimal("1e-6")),
        ("aggregates.1.name=z", ("aggregates", 1, "name"), "z"),
        ("aggregates.1.bounds.0=NO", ("aggregates", 1, "bounds", 0), "NO"),
        ("aggregates.0={name: q}", ("aggregates", 0), {"name": "q"}),
        ("sink.path=/a=b", ("sink", "path"), "/a=b"),
        ("new.deep.key=7", ("new", "deep", "key"), 7),
        ("name='7'", ("name",), "7"),
        ("name=", ("name",), None),
    ],
)
def test_an_override_changes_exactly_that_key(override: str, path: tuple[Any, ...], value: Any) -> None:
    before = data()
    found: Any = apply_overrides(before, [override])
    assert before == data()
    expected: Any = data()
    at = expected
    for part in path[:-1]:
        if isinstance(at, dict) and at.get(part) is None:
            at[part] = {}
        at = at[part]
    at[path[-1]] = value
    assert found == expected


def test_where_a_source_is_may_be_overridden() -> None:
    given = {"source": {"format": "csv", "path": "x", "schema": {"a": "int"}}}
    assert apply_overrides(given, ["source.path=y"]) == {"source": {"format": "csv", "path": "y", "schema": {"a": "int"}}}
    assert apply_overrides({"source": {"table": "a.b"}}, ["source.table=a.c"]) == {"source": {"table": "a.c"}}


def test_later_overrides_win() -> None:
    assert apply_overrides(data(), ["name=a", "name=b"])["name"] == "b"


@pytest.mark.parametrize(
    ("override", "fragment"),
    [
        ("dataset=other", "cannot be overridden"),
        ("dataset=", "cannot be overridden"),
        (" dataset=other", "cannot be overridden"),
        ("dataset =other", "cannot be overridden"),
        ("dataset.x=1", "cannot be overridden"),
        ("privacy_unit=x", "cannot be overridden"),
        ("privacy_unit.0=x", "cannot be overridden"),
        ("privacy_unit.row=true", "cannot be overridden"),
        ("source.schema={b: int, a: int}", "cannot be overridden"),
        ("source.schema.a=string", "cannot be overridden"),
        ("source.columns={b: int, a: int}", "cannot be overridden"),
        ("source.options.header=false", "cannot be overridden"),
        ("source.options={sep: ';'}", "cannot be overridden"),
        (" source . options . quote=x", "cannot be overridden"),
        ("source.SCHEMA.a=string", "cannot be overridden"),
        ("source.format=json", "cannot be overridden"),
        ("source.0=x", "cannot be overridden"),
        ("source={format: csv, path: x, schema: {b: int, a: int}}", "cannot be overridden"),
        ("budget", "a.b=value"),
        ("", "a.b=value"),
        ("=1", "a.b=value"),
        ("a..b=1", "a.b=value"),
        (".dataset=1", "a.b=value"),
        ("aggregates.2.name=z", "no element"),
        ("aggregates.-1=z", "no element"),
        ("aggregates.x.name=z", "no element"),
        ("aggregates.2=z", "no element"),
        ("name.x=1", "no keys"),
        ("budget.epsilon.x=1", "no keys"),
        ("name.x.y=1", "no keys"),
        ("budget.epsilon=[1", "not valid YAML"),
        ("budget={a: 1, a: 2}", "is there twice"),
        ("aggregates.²=1", "no element"),
    ],
)
def test_overrides_that_are_refused(override: str, fragment: str) -> None:
    with pytest.raises(SpecError, match=fragment) as caught:
        apply_overrides(data(), [override])
    assert caught.value.where.startswith("--set")
