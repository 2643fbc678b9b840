from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from dp_spark.privacy.decimals import decimal_text
from dp_spark.privacy.events import Event, events_from_json, events_to_json

DECIMALS = st.decimals(min_value=0, max_value=10**9, allow_nan=False, allow_infinity=False)
EVENTS = st.builds(
    Event,
    query=st.text(max_size=20),
    mechanism=st.sampled_from(["laplace", "gaussian"]),
    scale=st.floats(min_value=1e-9, max_value=1e15),
    epsilon=st.none() | DECIMALS,
    rho=st.none() | DECIMALS,
    delta=DECIMALS,
    threshold=st.none() | st.integers(1, 10**12),
)


@given(st.lists(EVENTS, max_size=4))
def test_events_survive_json_without_rounding(events: list[Event]) -> None:
    read = events_from_json(events_to_json(events))
    assert read == tuple(events)
    assert [Fraction(event.delta) for event in read] == [Fraction(event.delta) for event in events]


def test_json_form_is_the_one_old_ledgers_hold() -> None:
    event = Event("privacy_id_count", "laplace", 20.5, Decimal("0.10"), None, Decimal("1E-7"), 33)
    assert events_to_json([event]) == (
        '[{"query":"privacy_id_count","mechanism":"laplace","scale":"20.5","epsilon":"0.1","rho":null,'
        '"delta":"0.0000001","threshold":33}]'
    )


def test_numbers_are_stored_as_text() -> None:
    event = Event("count", "gaussian", 0.1, None, Decimal("0.12345678901234567890123456789012345"))
    (stored,) = json.loads(events_to_json([event]))
    assert stored["rho"] == "0.12345678901234567890123456789012345"
    assert stored["scale"] == "0.1"


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**40), max_value=10**40))
def test_decimal_text_is_exact_plain_and_the_same_for_equal_numbers(value: Decimal) -> None:
    text = decimal_text(value)
    assert Decimal(text) == value
    assert "E" not in text
    assert "." not in text or not text.endswith(("0", "."))
