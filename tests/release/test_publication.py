"""Publication against rivals, and what a drawn release needs no more; ``test_replays`` has what is decided without a table."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
from kills import KilledError, die, while_drawing
from release_helpers import COUNT, Outcome, Place

from dp_spark.errors import ConflictError, DamageError, DpSparkError, SpecError
from dp_spark.release import draw as drawing
from dp_spark.release import publication

pytestmark = pytest.mark.books_in_memory

# --- going on --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_drawn_release_needs_its_source_no_more(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"source": {"format": "delta", "path": str(place.own_source())}}
    with monkeypatch.context() as patch:
        patch.setattr(publication.sinks, "publish", die)
        with pytest.raises(KilledError):
            place.release("r1", **changes)
    drawn = place.drawn("r1").rows.to_pylist()
    shutil.rmtree(place.own_source())
    result = place.release("r1", **{**changes, "source": {"format": "delta", "path": str(place.folder / "source")}})
    assert result.rows is not None
    assert result.rows.to_pylist() == drawn == place.sink_rows()


@pytest.mark.slow
@pytest.mark.books_on_delta
def test_a_release_in_the_sink_is_not_drawn_again_where_its_draw_is_gone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(publication.Ledger, "mark_published", die)
        with pytest.raises(KilledError):
            place.release("r1")
    before = place.sink_rows()
    shutil.rmtree(place.outbox_path)
    with pytest.raises(DamageError, match="its draw is gone"):
        place.release("r1")
    assert place.sink_rows() == before


# --- rivals at the sink ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_newer_release_that_came_first_stays(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newer was charged after the older had read the ledger, and published before it."""
    while_drawing(monkeypatch, lambda: place.release("new") and None)
    with pytest.raises(ConflictError, match=r"a newer release \(new\)"):
        place.release("old")
    assert place.sink_rows() == place.drawn("new").rows.to_pylist()
    assert place.sink_versions() == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "message"), [(None, "a table that is not a release"), ("other", r"of another dataset \(other\)")]
)
def test_a_table_that_came_to_be_there_meanwhile_is_not_replaced(
    place: Place, monkeypatch: pytest.MonkeyPatch, dataset: str | None, message: str
) -> None:
    def somebody() -> None:
        writer = place.spark.range(3).writeTo(f"delta.`{place.sink}`").using("delta")
        if dataset is not None:
            writer = writer.tableProperty("dp_spark.manifest", f'{{"format": "dp_spark.manifest/1", "dataset": "{dataset}"}}')
        writer.create()

    while_drawing(monkeypatch, somebody)
    with pytest.raises(SpecError, match=message):
        place.release("r1")
    assert place.kinds() == [("charge", "r1")]
    assert place.sink_versions() == 1
    assert len(place.sink_rows()) == 3


@pytest.mark.slow
def test_a_sink_put_back_to_an_older_release_gets_the_newer_one_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rows under the same release id, though Delta has seen that transaction before."""
    place.release("r1")
    with monkeypatch.context() as patch:
        patch.setattr(publication.Ledger, "mark_published", die)
        with pytest.raises(KilledError):
            place.release("r2")
    place.spark.sql(f"RESTORE TABLE delta.`{place.sink}` TO VERSION AS OF 0")
    assert place.release("r2").status == "published"
    assert place.sink_rows() == place.drawn("r2").rows.to_pylist()
    assert [kind for kind, name in place.kinds() if name == "r2"] == ["charge", "published"]


@pytest.mark.slow
def test_the_message_without_a_release_id_says_how_to_retry(place: Place, cli: Callable[..., Outcome]) -> None:
    outcome = cli("run", place.file(aggregates=[COUNT]))
    assert outcome.code == 0
    assert f"--release-id {place.kinds()[0][1]}" in " ".join(outcome.err.split())


@pytest.mark.slow
def test_a_failure_after_the_charge_says_how_to_retry(
    place: Place, cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> NoReturn:
        raise DpSparkError("it failed", mend="try again")

    monkeypatch.setattr(drawing, "_add_noise", fail)
    error = cli("run", place.file(), "--json").error
    assert error["mend"] == f"try again; it was charged: run it again with --release-id {place.kinds()[0][1]}"
    assert cli("run", place.file(), "--release-id", "r1", "--json").error["mend"] == "try again"


@pytest.mark.slow
def test_a_failure_between_charging_and_reading_says_how_to_retry(
    place: Place, cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> NoReturn:
        raise RuntimeError("secret")

    monkeypatch.setattr(publication.Ledger, "correct", fail)  # what comes after the charge, before reading
    outcome = cli("run", place.file(), "--json")
    [(_, release_id)] = place.kinds()
    assert outcome.code == 1
    assert outcome.error["mend"].endswith(f"it may have been charged: run it again with --release-id {release_id}")


def test_a_refused_charge_needs_no_retry(place: Place, cli: Callable[..., Outcome]) -> None:
    error = cli("run", place.file(budget={"epsilon": 1000}), "--json").error
    assert error["code"] == "budget_refused"
    assert "--release-id" not in error["mend"]
