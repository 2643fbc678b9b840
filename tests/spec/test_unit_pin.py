"""What the ledger keeps of a privacy unit: today's text for plain columns, and another for what a name does not tell."""

from __future__ import annotations

import checkout
import pyarrow.parquet as pq
import pytest
from chains import Chain, account, laplace, wanted
from helpers import release_spec
from queries import manifest_of

from dp_spark.errors import BudgetError
from dp_spark.manifest import read_manifest
from dp_spark.plan.planning import plan_release
from dp_spark.spec.release_spec import ReleaseSpec
from dp_spark.spec.unit_pin import agrees, unit_text, unit_words

GOLDEN = checkout.GOLDEN / "0"
NEW = {"file_digest": "sha256-2:f"}
FIRST, SECOND = (unit_text(["id"], {}, {}, {"id": place}) for place in (1, 2))
DEFINED = unit_text(["who"], {"who": "lower(id)"}, {"id": "string"}, {})


def chain(unit: str, **given: str) -> Chain:
    return Chain().open("a", account("5")).charge("a", "r1", laplace("0.1"), unit=unit, source="/data/a", **given)


def check(chain: Chain, unit: str, source: str = "/data/a") -> None:
    state = chain.state()
    state.check_charge(wanted(state, "a", laplace("0.1"), unit=unit, source=source))


def test_a_plain_unit_is_kept_as_before() -> None:
    tables = [pq.read_table(file) for file in GOLDEN.glob("ledger/*.parquet")]
    written = {text for table in tables for text in table.column("privacy_unit").to_pylist() if text is not None}
    assert written == {unit_text(["patient"], {}, {}, {})}
    assert unit_text(["a", 'b"é'], {}, {}, {}) == '["a", "b\\"\\u00e9"]'
    assert unit_text([], {}, {}, {}) == '"row"'


@pytest.mark.parametrize("unit", ["patient", {"patient": "patient"}, {"patient": " `patient` "}, ["patient"]])
def test_a_column_that_is_defined_as_itself_is_that_column(unit: object) -> None:
    """To the byte: in the digest of the file, and in what recipients read."""
    plain = ReleaseSpec.from_yaml(GOLDEN / "public.yaml")
    spec = ReleaseSpec.model_validate({**plain.model_dump(by_alias=True, exclude_unset=True), "privacy_unit": unit})
    assert (spec.unit_columns, dict(spec.unit_definition)) == (("patient",), {})
    if not isinstance(unit, list):
        assert spec.digest("k") == plain.digest("k")
    golden = read_manifest(GOLDEN / "release")
    plan = plan_release(spec, golden["guarantee"]["accountant"], 3)
    made = manifest_of(plan, release_id="r", file_digest="f", sequence=1, at="2026-01-01")
    assert list(made["guarantee"].items()) == list(golden["guarantee"].items())


def test_the_order_of_a_definition_is_part_of_the_digest() -> None:
    one, other = {"a": "lower(x)", "b": "y + 1"}, {"b": "y + 1", "a": "lower(x)"}
    assert release_spec(privacy_unit=one).digest() != release_spec(privacy_unit=other).digest()
    assert release_spec(privacy_unit=one).digest() == release_spec(privacy_unit=dict(one)).digest()


@pytest.mark.parametrize(
    ("pinned", "unit"),
    [
        (FIRST, SECOND),
        (DEFINED, '["who"]'),
        ('["id"]', DEFINED),
        (DEFINED, unit_text(["who"], {"who": "lower( id)"}, {"id": "string"}, {})),
        (DEFINED, unit_text(["who"], {"who": "lower(id)"}, {"id": "int"}, {})),
        (DEFINED, unit_text(["she"], {"she": "lower(id)"}, {"id": "string"}, {})),
        (unit_text(["a", "b"], {"a": "f", "b": "g"}, {}, {}), unit_text(["b", "a"], {"b": "g", "a": "f"}, {}, {})),
        (unit_text(["w"], {"w": "-id"}, {}, {"id": 1}), unit_text(["w"], {"w": "-id"}, {}, {"id": 2})),
        ("no json", '["id"]'),
        ('{"unit": 5}', '["id"]'),
    ],
)  # fmt: skip
def test_another_unit_is_refused(pinned: str, unit: str) -> None:
    assert not agrees(pinned, unit)
    with pytest.raises(BudgetError, match="protects the unit") as caught:
        check(chain(pinned), unit)
    assert (caught.value.where, caught.value.exit_code) == ("privacy_unit", 3)


def test_an_account_of_an_earlier_version_is_pinned_by_its_next_charge() -> None:
    old = chain('["id"]')
    for unit in (FIRST, SECOND, '["id"]'):
        check(old, unit)
    old.charge("a", "r2", laplace("0.1"), unit=SECOND, source="/data/a")
    check(old, SECOND)
    check(old, '["id"]', source="/data/b")
    with pytest.raises(BudgetError, match="id at position 2 of schema"):
        check(old, FIRST)


def test_a_source_that_had_a_header_is_not_read_without_one() -> None:
    """Otherwise a header that is given by a variable would make another column the unit."""
    known = chain('["id"]', **NEW)
    check(known, '["id"]')
    check(known, SECOND, source="/data/other")
    for source in ("/data/a", "/data/a/part"):
        with pytest.raises(BudgetError, match="with a header") as caught:
            check(known, SECOND, source=source)
        assert caught.value.exit_code == 3


@pytest.mark.parametrize("unit", [FIRST, unit_text(["w"], {"w": "-id"}, {"id": "int"}, {"id": 2})])
def test_a_source_that_had_no_header_is_not_read_with_one(unit: str) -> None:
    """The other way round: the header's names may be in another order than those of the schema. So for a definition."""
    by_name = unit.partition(', "positions"')[0] + "}" if "definition" in unit else '["id"]'
    known = chain(unit, **NEW)
    check(known, unit)
    check(known, by_name, source="/data/other")
    for old in (known, chain(unit)):
        for source in ("/data/a", "/data/a/part"):
            with pytest.raises(BudgetError, match=r"without a header.* at position") as caught:
                check(old, by_name, source=source)
            assert (caught.value.where, caught.value.exit_code) == ("source.options", 3)


def test_a_unit_in_words() -> None:
    assert unit_words('["id"]') == '["id"]'
    assert unit_words(DEFINED) == '["who"] (who = lower(id); id of type string)'
