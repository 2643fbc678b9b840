"""A release that dies, is run again, meets a rival or is corrected: one charge, one draw, whatever comes in between.

Whole runs, with ledger, outbox and sink in memory and no Spark; ``test_run``, ``test_publication`` and ``test_correction``
have a case of each kind on real tables.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import pytest
from kills import KilledError, die
from memory_books import MemoryBooks
from memory_release import MemoryRuns, csv

from dp_spark.engine import preprocess
from dp_spark.errors import BudgetError, ConflictError, DamageError, DpSparkError, SourceError, SpecError
from dp_spark.ledger.outbox import Outbox, outbox_of
from dp_spark.ledger.table import Ledger
from dp_spark.release import run as release
from dp_spark.tables import delta, sink

WRONG, RIGHT = csv(), csv(escape='"')


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> MemoryBooks:
    return MemoryBooks(tmp_path_factory.mktemp("opened")).opened()


@pytest.fixture
def runs(opened: MemoryBooks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRuns:
    return MemoryRuns(opened.copied(tmp_path), monkeypatch)


def killed(runs: MemoryRuns, release_id: str = "r1", **changes: Any) -> None:
    """A run that dies while it computes."""
    runs.while_drawing = die
    with pytest.raises(KilledError):
        runs.release(release_id, **changes)


# --- run again -------------------------------------------------------------------------------------------------------


def test_the_same_release_id_is_published_once(runs: MemoryRuns) -> None:
    first = runs.release("r1")
    rows, draws = runs.books.rows(), len(runs.books.draws.versions)
    second = runs.release("r1")
    assert (first.status, second.status) == ("published", "already_published")
    assert first.rows is not None
    assert second.rows is not None
    assert second.rows.equals(first.rows)
    assert second.manifest == first.manifest
    assert (runs.draws, runs.shown()) == (1, [[1]])
    assert (runs.books.rows(), len(runs.books.draws.versions)) == (rows, draws)


def test_without_a_release_id_each_run_is_a_release_of_its_own(runs: MemoryRuns) -> None:
    first, second = runs.release(), runs.release()
    assert first.release_id != second.release_id
    assert second.version == first.version + 1
    assert (runs.draws, runs.shown()) == (2, [[1], [2]])
    assert str(second.account.spent.amount) == "2"


def test_a_refused_charge_draws_nothing(runs: MemoryRuns) -> None:
    with pytest.raises(BudgetError, match=r"needs (epsilon|rho)"):
        runs.release("r1", dataset="poor")
    assert (runs.draws, runs.shown(), runs.books.kinds()) == (0, [], [])
    assert runs.books.outbox().find("r1") is None


def test_the_charge_is_committed_before_anything_is_drawn(runs: MemoryRuns) -> None:
    seen: list[list[tuple[str, str | None]]] = []
    runs.while_drawing = lambda: seen.append(runs.books.kinds())
    runs.release("r1")
    assert seen == [[("charge", "r1")]]


DEATHS: dict[str, tuple[Any, str, bool]] = {
    "before the charge": (Ledger, "charge", False),
    "before the outbox": (Outbox, "commit", False),
    "before publication": (sink, "publish", True),
    "before the result is read back": (delta, "read_rows", True),
    "before the ledger knows": (Ledger, "mark_published", True),
}


@pytest.mark.parametrize(("owner", "name", "drawn"), DEATHS.values(), ids=DEATHS.keys())
def test_a_run_that_dies_is_gone_on_with(
    runs: MemoryRuns, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, drawn: bool
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, die)
        with pytest.raises(KilledError):
            runs.release("r1")
    assert (runs.books.outbox().find("r1") is not None) == drawn
    assert drawn or runs.shown() == [], "a draw is in the outbox before it is published"
    kept = runs.drawn("r1") if drawn else [runs.draws + 1]
    done = runs.release("r1")
    assert done.status == "published"
    assert runs.shown() == [kept]
    assert runs.books.kinds() == [("charge", "r1"), ("published", "r1")]
    assert str(runs.books.ledger().state().account("visits").spent.amount) == "1"


def test_a_drawn_release_is_not_published_for_another_file(runs: MemoryRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sink, "publish", die)
        with pytest.raises(KilledError):
            runs.release("r1")
    elsewhere = {"path": str(runs.books.folder / "elsewhere")}
    with pytest.raises(BudgetError, match="different release file"):
        runs.release("r1", sink=elsewhere)
    assert list(runs.sinks.tables) == []


def test_a_published_release_needs_nothing_but_the_books(runs: MemoryRuns) -> None:
    """Neither its source nor its sink; another file's it is not."""
    runs.release("r1")
    runs.sinks.tables.clear()
    runs.check = die
    rows = runs.books.rows()
    again = runs.release("r1")
    assert (again.status, again.rows, again.version) == ("already_published", None, 0)
    assert again.manifest["release_id"] == "r1"
    assert (runs.draws, runs.shown(), runs.books.rows()) == (1, [], rows)
    with pytest.raises(BudgetError, match="different release file"):
        runs.release("r1", aggregates=[{"function": "privacy_id_count", "name": "n"}])


def test_a_release_whose_draw_is_gone_is_damage(runs: MemoryRuns) -> None:
    runs.release("r1")
    del runs.books.memory.tables[outbox_of(runs.books.ref)]
    with pytest.raises(DamageError, match="its draw is gone"):
        runs.release("r1")
    with pytest.raises(DamageError, match="its draw is gone"):
        runs.release("r2")
    assert (runs.draws, runs.books.kinds()) == (1, [("charge", "r1"), ("published", "r1")])


def test_a_draw_without_a_charge_is_damage(runs: MemoryRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sink, "publish", die)
        with pytest.raises(KilledError):
            runs.release("r1")
    runs.books.witness.unlink()
    del runs.books.entries.versions[-1:]
    for release_id in ("r1", "r2"):
        with pytest.raises(DamageError, match="ends at entry 4"):
            runs.release(release_id)
    assert (runs.draws, runs.shown()) == (1, [])


# --- rivals ----------------------------------------------------------------------------------------------------------


def test_only_what_the_outbox_holds_is_published(runs: MemoryRuns) -> None:
    """A rival with the same release id committed its draw while ours was being computed: ours must vanish."""
    runs.while_drawing = lambda: runs.release("r1")
    result = runs.release("r1")
    assert result.rows is not None
    assert result.rows["n"].to_pylist() == [1]
    assert (runs.draws, runs.shown()) == (2, [[1]])
    assert runs.books.kinds() == [("charge", "r1"), ("published", "r1")]


def test_a_newer_release_that_came_first_stays(runs: MemoryRuns) -> None:
    """The newer was charged after the older had read the ledger, and published before it."""
    runs.while_drawing = lambda: runs.release("new")
    with pytest.raises(ConflictError, match=r"a newer release \(new\)") as caught:
        runs.release("old")
    assert not caught.value.resumable
    assert runs.shown() == [runs.drawn("new")]
    assert runs.release("new").status == "already_published"
    with pytest.raises(ConflictError, match=r"a newer release \(new\)"):
        runs.release("old")
    assert runs.shown() == [runs.drawn("new")]


def test_an_older_release_never_overwrites_a_newer_one(runs: MemoryRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sink, "publish", die)
        with pytest.raises(KilledError):
            runs.release("old")
    runs.release("new")
    with pytest.raises(ConflictError) as caught:
        runs.release("old")
    assert (caught.value.exit_code, caught.value.resumable) == (5, False)
    assert (runs.draws, runs.shown()) == (2, [[2]])
    assert ("published", "old") not in runs.books.kinds()


def test_a_release_id_that_the_sink_has_from_another_ledger_is_not_taken_for_ours(runs: MemoryRuns) -> None:
    """What is reported as published must be this ledger's draw."""
    runs.release("r1")
    runs.books.memory.tables.clear()
    runs.books.witness.unlink()
    runs.books.opened()
    assert runs.release("r1").status == "published"
    assert runs.shown() == [[1], [2]]
    assert runs.drawn("r1") == [2]


def test_a_newer_release_replaces_an_older_one_and_the_older_stays_reported(runs: MemoryRuns) -> None:
    runs.release("old")
    runs.release("new")
    again = runs.release("old")
    assert (again.status, again.version) == ("already_published", 0)
    assert again.rows is not None
    assert again.rows["n"].to_pylist() == runs.drawn("old") == [1]
    assert runs.shown() == [[1], [2]]


def test_the_budget_is_spent_by_who_comes_first(runs: MemoryRuns) -> None:
    """Between a run's look at the ledger and its charge another one takes what was left."""
    runs.check = lambda: rival()

    def rival() -> None:
        runs.check = lambda: None
        runs.release("first", dataset="poor", budget={"epsilon": 0.2})

    with pytest.raises(BudgetError, match="too little is left"):
        runs.release("second", dataset="poor", budget={"epsilon": 0.2})
    assert runs.books.kinds() == [("charge", "first"), ("published", "first")]


# --- what a charged release may go on as -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": {**WRONG, "path": "/data/other.csv"}}, "different release file"),
        ({"budget": {"epsilon": 0.5}}, "different release file"),
        ({"source": csv(comment="#")}, "different release file"),
        ({"source": {**WRONG, "schema": {"cost": "double", "id": "string"}}}, "different release file"),
    ],
    ids=["source", "budget", "not parsing", "order of columns"],
)
def test_a_charged_release_goes_on_as_nothing_else(runs: MemoryRuns, changes: dict[str, Any], message: str) -> None:
    killed(runs, source=WRONG)
    with pytest.raises(BudgetError, match=message) as caught:
        runs.release("r1", **{"source": WRONG, **changes})
    assert (caught.value.charged, caught.value.resumable) == (True, False)
    assert runs.books.kinds() == [("charge", "r1")]
    assert runs.release("r1", source=WRONG).status == "published"


def test_a_retry_reads_the_source_that_was_charged(runs: MemoryRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest is of the file before ``${NAME}``, so only the ledger knows which source it was."""
    changes = {"source": {**csv(), "path": "${SOURCE}"}}
    monkeypatch.setenv("SOURCE", "/data/visits.csv")
    killed(runs, **changes)
    monkeypatch.setenv("SOURCE", "/data/other.csv")
    with pytest.raises(BudgetError, match="charged for another source"):
        runs.release("r1", **changes)
    assert runs.books.outbox().find("r1") is None
    monkeypatch.setenv("SOURCE", "/data/visits.csv")
    assert runs.release("r1", **changes).status == "published"
    assert runs.books.kinds() == [("charge", "r1"), ("published", "r1")]


def test_a_retry_draws_the_noise_that_was_charged(runs: MemoryRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a library was upgraded between two attempts, and calibrates another scale."""
    killed(runs)
    with monkeypatch.context() as patch:
        patch.setattr("dp_spark.privacy.mechanisms.laplace.raise_until", lambda scale, accepted: 2.0 * scale)
        with pytest.raises(BudgetError, match="charged for other noise") as caught:
            runs.release("r1")
    assert "versions" in caught.value.mend
    assert runs.books.outbox().find("r1") is None
    assert runs.release("r1").status == "published"


def test_a_charged_release_goes_on_with_corrected_parsing(runs: MemoryRuns) -> None:
    killed(runs, source=WRONG)
    for _ in range(2):
        killed(runs, source=RIGHT)
    assert runs.books.kinds() == [("charge", "r1"), ("correction", "r1")], "written once"
    with pytest.raises(ConflictError, match="was corrected since"):
        runs.release("r1", source=WRONG)
    done = runs.release("r1", source=RIGHT)
    assert runs.books.kinds() == [("charge", "r1"), ("correction", "r1"), ("published", "r1")]
    state = runs.books.ledger().state()
    assert done.manifest["file_digest"] == runs.spec(source=RIGHT).digest() == state.digests_of("r1")[-1]
    assert str(state.account("visits").spent.amount) == "1", "a correction costs nothing"
    with pytest.raises(BudgetError, match="different release file"):
        runs.release("r1", source=WRONG)
    assert runs.release("r1", source=RIGHT).status == "already_published"


def test_a_run_that_still_reads_the_old_way_loses(runs: MemoryRuns) -> None:
    """The correction comes while the other run computes; whichever ends first, one draw is stored, of the last file."""
    runs.while_drawing = lambda: killed(runs, source=RIGHT)
    with pytest.raises(ConflictError, match="was corrected since") as caught:
        runs.release("r1", source=WRONG)
    assert (caught.value.charged, caught.value.release_id, caught.value.resumable) == (True, "r1", False)
    assert runs.books.outbox().find("r1") is None
    done = runs.release("r1", source=RIGHT)
    assert done.manifest["file_digest"] == runs.spec(source=RIGHT).digest()


def test_what_was_drawn_meanwhile_is_not_corrected(runs: MemoryRuns) -> None:
    """A run with the old file commits its draw between the other's look at the outbox and its correction."""
    killed(runs, source=WRONG)

    def drawn() -> None:
        runs.check = lambda: None
        runs.release("r1", source=WRONG)

    runs.check = drawn
    with pytest.raises(ConflictError, match="another parsing"):
        runs.release("r1", source=RIGHT)
    assert runs.books.kinds() == [("charge", "r1"), ("published", "r1")]


@pytest.mark.parametrize("published", [True, False])
def test_what_is_drawn_is_not_judged_anew(runs: MemoryRuns, monkeypatch: pytest.MonkeyPatch, published: bool) -> None:
    """Its source and its steps are not looked at, whatever this version refuses, and its parsing is what it was drawn with.

    On storage without our lock, a correction can come between the guard of a draw and its commit.
    """
    steps: dict[str, Any] = {"preprocess": [{"derive": {"more": "cost + 1"}}]}
    wrong, right = {"source": WRONG, **steps}, {"source": RIGHT, **steps}
    runs.while_drawing = lambda: killed(runs, **right)
    with monkeypatch.context() as patch:
        patch.setattr(release, "counts_still", lambda *_: lambda: None)
        if not published:
            patch.setattr(release, "publish", die)
            with pytest.raises(KilledError):
                runs.release("r1", **wrong)
        else:
            runs.release("r1", **wrong)

    def refused(*_: Any, **__: Any) -> NoReturn:
        raise SpecError("a rule of a later version")

    monkeypatch.setattr(preprocess, "check_expression", refused)
    runs.check = refused
    with pytest.raises(SpecError, match="a later version"):
        runs.release("r2", **wrong)
    assert runs.release("r1", **wrong).status == ("already_published" if published else "published")
    for other in (right, {**wrong, "timezone": "Europe/Berlin"}):
        with pytest.raises(BudgetError, match="different release file"):
            runs.release("r1", **other)
    assert runs.draws == 1


# --- what an error tells ---------------------------------------------------------------------------------------------


class OddError(Exception):
    """Not one of ours."""


@pytest.mark.parametrize("kind", [OddError, KeyboardInterrupt, SourceError])
def test_a_release_without_an_id_tells_it_in_python(
    runs: MemoryRuns, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    def odd(*_: Any) -> NoReturn:
        raise kind("odd")

    with monkeypatch.context() as patch:
        patch.setattr(Outbox, "create", odd)
        with pytest.raises(kind) as free:
            runs.release()
    assert runs.books.kinds() == [], "an outbox that cannot be made costs nothing"
    assert getattr(free.value, "release_id", None) is None
    runs.while_drawing = odd
    with pytest.raises(kind) as caught:
        runs.release()
    error: Any = caught.value
    [(_, release_id)] = runs.books.kinds()
    assert (error.charged, error.release_id, error.resumable) == (True, release_id, True)
    assert f"--release-id {release_id}" in error.mend if kind is SourceError else release_id in error.__notes__[0]
    assert runs.release(error.release_id).status == "published"
    assert runs.books.kinds() == [("charge", release_id), ("published", release_id)], "the mend, followed: charged once"
    with pytest.raises(BudgetError) as refused:
        runs.release(budget={"epsilon": 1000})
    assert (refused.value.charged, refused.value.release_id) == (False, None)


@pytest.mark.parametrize("kind", [DpSparkError, RuntimeError, KeyboardInterrupt])
def test_a_failure_between_charging_and_reading_says_how_to_retry(
    runs: MemoryRuns, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    def fail(*_: Any, **__: Any) -> NoReturn:
        raise kind("secret")

    monkeypatch.setattr(Ledger, "correct", fail)  # what comes after the charge, before reading
    with pytest.raises(kind) as caught:
        runs.release()
    error: Any = caught.value
    [(_, release_id)] = runs.books.kinds()
    assert (error.charged, error.release_id) == (None, release_id)
    advice = f"it may have been charged: run it again with --release-id {release_id}"
    assert (error.mend if kind is DpSparkError else error.advice).endswith(advice)


def test_the_stages_come_in_order(runs: MemoryRuns) -> None:
    stages: list[str] = []
    session: Any = None
    release.run_release(session, runs.spec(), on_stage=stages.append)
    assert stages == ["validate", "charge", "publish"], "the others are the draw's own"
