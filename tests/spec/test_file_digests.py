"""The digest of a release file: ten of them as they were first made, and what two files may differ in without being two."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from helpers import COUNT, MEAN, PUBLIC, SUM, UNITS, minimal_spec, release_spec

from dp_spark.spec.release_spec import ReleaseSpec

CSV = {
    "format": "csv",
    "path": "${LAKE}/a.csv",
    "schema": {"id": "string", "test": "string", "value": "double"},
    "options": {"sep": ";", "escape": '"', "header": False, "comment": "#"},
}
JSON = {"format": "json", "path": "a.json", "schema": {"id": "int"}, "options": {"dateFormat": "yyyy", "allowComments": True}}
JOIN = {
    "source": {"format": "csv", "path": "p.csv", "schema": {"test": "string", "area": "int"}},
    "on": ["test"],
    "how": "left",
}
STEPS = [
    {"filter": "value > :since"},
    {"derive": {"b": "value + 1", "a": "b * 2"}},
    {"cast": {"value": "double", "a": "int"}},
    {"fill": {"test": "none", "value": Decimal("0.50")}},
    {"drop": ["x", "y"]},
    {"join": JOIN},
]
JDBC = {"format": "jdbc", "options": {"url": "jdbc:postgresql://h/d", "dbtable": "s.t"}}
FILES: dict[str, dict[str, Any]] = {
    "plain": {},
    "csv": {"source": CSV},
    "json": {"source": JSON, "privacy_unit": {"row": True}, "contribution_bounds": None},
    "jdbc": {"source": JDBC, "sink": {"table": "a.b.c"}},
    "table": {"source": {"table": "cat.s.t"}, "ledger": {"table": "l"}, "timezone": "Europe/Berlin"},
    "parquet": {"source": {"format": "parquet", "path": "p", "options": {"mergeSchema": True}}, "privacy_unit": ["id", "site"]},
    "orc": {
        "source": {"format": "orc", "path": "o"},
        "noise": {"mechanism": "gaussian"},
        "partitions": {"private": {"weight": 2}},
    },
    "steps": {"preprocess": STEPS, "parameters": {"since": 3, "b": True, "c": Decimal("0.10"), "d": "3"}},
    "public": {"group_by": ["test", "day"], "partitions": {"public": {"values": {"day": [1, None, True], "test": ["é", "2"]}}}},
    "many": {"aggregates": [UNITS, COUNT, {**SUM, "weight": Decimal("2.50")}, MEAN], "group_by": [], "partitions": None},
}
GOLDEN: dict[str, str] = {
    "plain": "3d61440c8c9a478c5aba171f24293e74709976cdd623e12a47dd124c3c7b34bb",
    "csv": "ade1641c0fcbcc4eb9077e4561451a38615412b7ef04005336b1c3657aeba8aa",
    "json": "51d112b5e5c5c15e852f89aaf721700e11630daddd2734da46e906eb3b7b4c63",
    "jdbc": "10da59e62c9d39a079efbba6d4f1f4672123475ec87e7d1edd08623b8bc0a1d4",
    "table": "69fcd21f1f83dc4511e70f8d6fe67ea50fdf6d38990d2f8c0bed8f33f86c98bc",
    "parquet": "54a9108f37d5b97576262880f7be88ad2c8804ff20d26bcf30250bcc430a4769",
    "orc": "2348de73ec71bbbdb059484a5b0c32aa6606f096615f609122baca42ef668159",
    "steps": "daa6ee43878ab2f9f1a4a946fc19b136235bd17e642a18a88816b920dfa5ff44",
    "public": "0076bdffced9f0cf3a8e6a315edbb81dc21d50e641ae119ab96f96696547c26e",
    "many": "cd7f5f567a55e40cb0dc386bc606ce16922cdb416b23d347986718e73fcf8b93",
}


@pytest.mark.parametrize("name", FILES)
def test_the_digest_of_a_file_never_changes(name: str) -> None:
    """Whatever is moved or added in the code: a digest that changes makes charged releases other ones."""
    assert release_spec(**FILES[name]).digest("sha256:keys" if name == "plain" else "") == f"sha256-2:{GOLDEN[name]}"


def backwards(value: Any) -> Any:
    """The same data with every mapping's keys in the other order."""
    if isinstance(value, dict):
        return {key: backwards(item) for key, item in reversed(value.items())}
    return [backwards(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("step", ["derive", "cast", "fill"])
def test_the_order_within_a_step_counts(step: str) -> None:
    names = {"derive": {"a": "value", "b": "a"}, "cast": {"a": "int", "b": "int"}, "fill": {"a": 1, "b": 1}}
    digests = {release_spec(preprocess=[{step: found}]).digest() for found in (names[step], backwards(names[step]))}
    assert len(digests) == 2


@pytest.mark.parametrize("where", ["source", "join", "keys"])
def test_the_order_of_a_schema_counts_wherever_one_is(where: str) -> None:
    """Without a header columns are read by position; the unit is one of them."""

    def digest(schema: dict[str, str]) -> str:
        source = {**CSV, "schema": schema}
        changes: dict[str, Any] = {
            "source": {"source": source},
            "join": {"preprocess": [{"join": {**JOIN, "source": source}}]},
            "keys": {"partitions": {"public": {"source": source}}},
        }[where]
        return release_spec(**changes).digest()

    assert digest({"id": "string", "test": "string"}) != digest({"test": "string", "id": "string"})


def test_the_order_of_a_composite_unit_counts_and_that_of_other_keys_does_not() -> None:
    assert release_spec(privacy_unit=["a", "b"]).digest() != release_spec(privacy_unit=["b", "a"]).digest()
    options = dict(reversed(CSV["options"].items()))  # type: ignore[attr-defined]
    assert release_spec(source={**CSV, "options": options}).digest() == release_spec(source=CSV).digest()
    for changes in (FILES["public"], FILES["many"], {"parameters": {"a": 1, "b": 2}, "partitions": PUBLIC}):
        document = minimal_spec(**changes)
        assert ReleaseSpec.model_validate(backwards(document)).digest() == ReleaseSpec.model_validate(document).digest()


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"options": {"Sep": ",", "QUOTE": "'", "mode": "PERMISSIVE", "header": False, "comment": "#"}}, True),
        ({"options": {"delimiter": ",", "charset": "UTF-8", "nullValue": "-", "header": False, "comment": "#"}}, True),
        (
            {
                "options": {
                    "dateFormat": "d",
                    "timestampFormat": "d",
                    "timestampNTZFormat": "d",
                    "header": False,
                    "comment": "#",
                }
            },
            True,
        ),
        ({"schema": {"id": "int", "test": "date", "value": "decimal(9,2)"}}, True),
        ({"options": {"header": True, "comment": "#"}}, False),
        ({"options": {"header": False, "comment": "#", "locale": "de"}}, False),
        ({"schema": {"test": "string", "id": "string", "value": "double"}}, False),
        ({"schema": {"id": "string", "test": "string", "cost": "double"}}, False),
        ({"path": "${LAKE}/b.csv"}, False),
    ],
)
def test_only_parsing_may_be_corrected(changes: dict[str, Any], same: bool) -> None:
    spec, other = release_spec(source=CSV), release_spec(source={**CSV, **changes})
    assert (spec.unparsed_digest("k") == other.unparsed_digest("k")) is same
    assert spec.digest() != other.digest()
    assert spec.unparsed_digest() not in (None, spec.digest(), spec.unparsed_digest("k"))
    assert release_spec(source=CSV, name="other").unparsed_digest() != spec.unparsed_digest()


def test_other_sources_have_no_parsing_to_correct() -> None:
    assert [name for name in FILES if release_spec(**FILES[name]).unparsed_digest() is not None] == ["csv", "json"]


def test_the_parsing_of_a_joined_table_is_not_corrected() -> None:
    """It is public, so it was read and checked before the charge."""
    found = [
        release_spec(source=CSV, preprocess=[{"join": {**JOIN, "source": {**JOIN["source"], "options": given}}}])  # type: ignore[dict-item]
        for given in ({"sep": ","}, {"sep": ";"})
    ]
    assert found[0].unparsed_digest() != found[1].unparsed_digest()


def test_how_keys_are_selected_is_part_of_a_file_only_where_it_is_not_the_default() -> None:
    selected: list[dict[str, Any]] = [
        {},
        {"pre_threshold": 1},
        {"pre_threshold": 20},
        {"strategy": "truncated_geometric"},
        {"strategy": "truncated_geometric", "pre_threshold": 20},
    ]
    digests = [release_spec(partitions={"private": item}).digest() for item in selected]
    assert len(set(digests)) == len(digests)
    assert release_spec(partitions={"private": {"strategy": "threshold", "pre_threshold": None}}).digest() == digests[0]
