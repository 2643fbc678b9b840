"""What a run does in each progress, and what its error says wherever it ends; every step is a stand-in, and no JVM starts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from chains import Chain, account, laplace

from dp_spark.errors import BudgetError, DpSparkError, SourceError
from dp_spark.ledger.state import LedgerState
from dp_spark.release import run as release
from dp_spark.release.job import Standing

ALL = ["check", "pay", "draw", "commit", "publish"]
NEW = Chain().open("a", account("1"))
CHARGED = Chain(NEW.entries).charge("a", "r1", laplace("0.1"))
PUBLISHED = Chain(CHARGED.entries).publish("a", "r1")
#: name -> (ledger, drawn releases, the steps that a run takes)
PROGRESS: dict[str, tuple[LedgerState, set[str], list[str]]] = {
    "new": (NEW.state(), {"other"}, ALL),
    "charged": (CHARGED.state(), {"other"}, ALL),
    "drawn": (CHARGED.state(), {"r1"}, ["complete"]),
    "published": (PUBLISHED.state(), {"r1"}, ["report"]),
}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Runs r1 from a progress; ends with an error in one of its steps, if one is named. Returns the steps that were begun."""

    def run(progress: str, standing: Standing, fails: str = "", error: BaseException | None = None) -> list[str]:
        steps: list[str] = []
        state, drawn, _ = PROGRESS[progress]

        def step(name: str, result: Any = None) -> Callable[..., Any]:
            def taken(*_: Any, **__: Any) -> Any:
                steps.append(name)
                if name == fails:
                    assert error is not None
                    raise error
                return result

            return taken

        charge = CHARGED.state().charge_of("r1")
        monkeypatch.setattr(release, "bookkeeping", lambda _: contextlib.nullcontext())
        monkeypatch.setattr(release, "read_books", lambda *_: (state, drawn))
        for name, function in (("complete", "complete"), ("report", "report"), ("check", "_check"), ("draw", "draw_quietly")):
            monkeypatch.setattr(release, function, step(name, SimpleNamespace(sink=None)))
        monkeypatch.setattr(release, "pay", step("pay", (CHARGED.state(), charge)))
        monkeypatch.setattr(release, "counts_still", lambda *_: None)
        monkeypatch.setattr(release, "publish", step("publish"))
        outbox = SimpleNamespace(commit=step("commit"))
        job: Any = SimpleNamespace(spark=None, ledger=None, outbox=outbox, release_id="r1", on_stage=lambda _: None)
        with standing.told():
            release._go_on(job, standing)
        return steps

    return run


@pytest.mark.parametrize("progress", PROGRESS)
def test_each_progress_has_its_own_steps(run: Callable[..., list[str]], progress: str) -> None:
    assert run(progress, Standing("r1", made_up=False)) == PROGRESS[progress][2]


@pytest.mark.parametrize("kind", [SourceError, BudgetError, RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize(
    ("progress", "fails"), [(progress, step) for progress, (_, _, steps) in PROGRESS.items() for step in steps]
)
def test_the_error_of_each_step_says_what_was_charged(
    run: Callable[..., list[str]], progress: str, fails: str, kind: type[BaseException]
) -> None:
    standing = Standing("r1", made_up=True)
    with pytest.raises(kind) as caught:
        run(progress, standing, fails, kind("what"))
    error: Any = caught.value
    charged: bool | None = True
    if progress == "new" and fails in ("check", "pay"):
        charged = None if fails == "pay" and kind is not BudgetError else False  # a refusal wrote nothing
    if charged is False:
        assert getattr(error, "release_id", None) is None
        return
    assert (error.charged, error.release_id, error.resumable) == (charged, "r1", kind is not BudgetError)
    word = "was" if charged else "may have been"
    advice = error.mend if isinstance(error, DpSparkError) else error.advice
    again = f"it {word} charged: run it again with --release-id r1"
    assert advice == (again if error.resumable else ""), "no advice that cannot be followed"
