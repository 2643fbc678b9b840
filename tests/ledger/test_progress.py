"""How far a release has come: every ledger and outbox that two releases can leave, without a JVM."""

from __future__ import annotations

import itertools

import pytest
from chains import Chain, account, laplace

from dp_spark.errors import DamageError
from dp_spark.ledger.progress import Charged, Drawn, New, Published, progress_of
from dp_spark.privacy.events import events_to_json

#: What the ledger can hold of a release, and what follows where its draw is not in the outbox, and where it is.
LEDGER = {
    (): (New, DamageError),
    ("charge",): (Charged, Drawn),
    ("charge", "correction"): (Charged, Drawn),
    ("charge", "published"): (DamageError, Published),
    ("charge", "correction", "published"): (DamageError, Published),
}
RELEASES = ("one", "two")


def ledger(*held: tuple[str, ...]) -> Chain:
    """A ledger that holds this of each release, the steps of the two in turn."""
    chain = Chain().open("a", account("1"))
    for step, release in itertools.product(("charge", "correction", "published"), RELEASES):
        if step not in held[RELEASES.index(release)]:
            continue
        if step == "charge":
            chain.charge("a", release, file_digest="sha256-2:f", events=events_to_json([laplace("0.1")], "sha256-2:u"))
        elif step == "correction":
            given = {"source": "/data/a", "privacy_unit": '["id"]', "file_digest": "sha256-2:g"}
            chain.add("correction", "a", release_id=release, **given)
        else:
            chain.publish("a", release)
    return chain


@pytest.mark.parametrize("held", list(itertools.product(LEDGER, repeat=2)), ids=str)
def test_progress_is_what_ledger_and_outbox_say_of_this_release_alone(held: tuple[tuple[str, ...], ...]) -> None:
    state = ledger(*held).state()
    for drawn in itertools.chain.from_iterable(itertools.combinations(RELEASES, size) for size in range(3)):
        for release, steps in zip(RELEASES, held, strict=True):
            expected = LEDGER[steps][release in drawn]
            if issubclass(expected, DamageError):
                with pytest.raises(DamageError, match=release):
                    progress_of(state, drawn, release)
                continue
            found = progress_of(state, drawn, release)
            assert type(found) is expected
            if not isinstance(found, New):
                assert found.charge == state.charge_of(release)
                assert found.charge.entry.release_id == release
            if isinstance(found, Published):
                assert found.publication.sink == f"/out/{release}"
