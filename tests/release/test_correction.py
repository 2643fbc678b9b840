"""A charged release that was parsed wrongly goes on under its id, and what earlier versions charged stays readable."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import checkout
import pytest
import yaml
from filelock import FileLock
from kills import KilledError, die, while_drawing
from release_helpers import Outcome, Place

from dp_spark.engine import preprocess
from dp_spark.errors import BudgetError, SourceError, SpecError
from dp_spark.ledger.rows import CORRECTION
from dp_spark.release import draw as drawing
from dp_spark.release import run as release
from dp_spark.spec.file_digests import MARK

pytestmark = pytest.mark.books_in_memory

Cli = Callable[..., Outcome]
GOLDEN = checkout.GOLDEN / "0"


def csv(place: Place, *, options: dict[str, Any] | None = None, cost: str = "double", **changes: Any) -> dict[str, Any]:
    """A release of a csv file that pandas could have written."""
    path = place.folder / "visits.csv"
    if not path.exists():
        rows = "".join(f'p{number},"{("er", "gp", "icu")[number % 3]}",{number}.5\n' for number in range(30))
        path.write_text(f"patient,ward,cost\n{rows}", encoding="utf-8")
    schema = {"patient": "string", "ward": "string", "cost": cost}
    given = {"options": options} if options else {}
    return {"source": {"format": "csv", "path": str(path), "schema": schema, **given}, **changes}


def unreadable(*_: Any) -> NoReturn:
    raise SourceError("reading and aggregating the source failed", where="source", mend="look at it")


@pytest.mark.slow
def test_a_charged_release_goes_on_with_corrected_parsing(place: Place, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong, right = csv(place), csv(place, options={"escape": '"', "nullValue": "-"}, cost="decimal(9,2)")
    with monkeypatch.context() as patch:
        patch.setattr(drawing, "_draw", unreadable)
        failed = cli("run", place.file(**wrong), "--release-id", "r1", "--json")
        told = cli("run", place.file(**wrong), "--release-id", "r1").err
    assert (failed.code, failed.error["charged"], failed.error["release_id"], failed.error["resumable"]) == (
        4,
        True,
        "r1",
        True,
    )
    assert "escape" in failed.error["mend"]
    assert "it was charged as r1, and the same command with --release-id r1 can finish it" in told
    advice = cli("budget", "verify", "--ledger", place.ledger, "--json").document
    assert advice["unfinished"] == ["r1"]
    assert "only how its source is parsed may be corrected" in advice["advice"]["r1"]
    for other in (
        csv(place, options={"comment": "#"}),
        {"source": {**wrong["source"], "schema": {"patient": "string", "cost": "double", "ward": "string"}}},
    ):
        refused = cli("run", place.file(**other), "--release-id", "r1", "--json")
        assert (refused.code, refused.error["resumable"]) == (3, False)
    with monkeypatch.context() as patch:
        patch.setattr(drawing, "_draw", die)
        with pytest.raises(KilledError):
            place.release("r1", **right)
    assert place.kinds() == [("charge", "r1"), ("correction", "r1")]
    late = cli("run", place.file(**wrong), "--release-id", "r1", "--json")
    assert (late.code, late.error["resumable"]) == (5, False)
    assert "the corrected file" in cli("budget", "verify", "--ledger", place.ledger).out
    done = place.release("r1", **right)
    assert place.kinds() == [("charge", "r1"), ("correction", "r1"), ("published", "r1")], "written once"
    state = place.book().state()
    assert done.manifest["file_digest"] == place.spec(**right).digest() == state.digests_of("r1")[-1]
    assert str(state.account("visits").spent.amount) == "1"
    history = cli("budget", "history", "--ledger", place.ledger, "--json").document
    assert [(item["entry"], item["epsilon"]) for item in history if item["entry"] == CORRECTION] == [("correction", 0.0)]
    assert "correction" in cli("budget", "history", "--ledger", place.ledger).out
    assert cli("budget", "verify", "--ledger", place.ledger, "--json").document["sound"]
    assert cli("show", place.sink, "--html", place.folder / "page.html", "--ledger", place.ledger).code == 0
    assert cli("run", place.file(**wrong), "--release-id", "r1").code == 3, "what is drawn is drawn"
    assert place.release("r1", **right).status == "already_published"


@pytest.mark.slow
def test_what_is_drawn_is_not_judged_anew(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its source and its steps are not looked at, whatever this version refuses, and its parsing is what it was drawn with.

    On storage without our lock, a correction can come between the guard of a draw and its commit. Its table of keys is read.
    """
    keys = place.folder / "keys.csv"
    keys.write_text("ward\ner\ngp\n", encoding="utf-8")
    public = {"public": {"source": {"format": "csv", "path": str(keys), "schema": {"ward": "string"}}}}
    changes = {"partitions": public, "preprocess": [{"derive": {"more": "cost + 1"}}]}
    wrong, right = csv(place, **changes), csv(place, options={"escape": '"'}, **changes)

    def corrected() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(drawing, "_draw", die)
            with pytest.raises(KilledError):
                place.release("r1", **right)

    with monkeypatch.context() as patch:
        while_drawing(patch, corrected)
        patch.setattr(release, "counts_still", lambda *_: lambda: None)
        patch.setattr(release, "publish", die)
        with pytest.raises(KilledError):
            place.release("r1", **wrong)

    def refused(*_: Any, **__: Any) -> NoReturn:
        raise SpecError("a rule of a later version")

    monkeypatch.setattr(preprocess, "check_expression", refused)
    with pytest.raises(SpecError, match="a later version"):
        place.release("r2", **wrong)
    (place.folder / "visits.csv").unlink()
    assert [place.release("r1", **wrong).status for _ in range(2)] == ["published", "already_published"]
    for other in (right, {**wrong, "group_by": ["day"]}):
        with pytest.raises(BudgetError, match="different release file"):
            place.release("r1", **other)
    keys.write_text("ward\ner\nicu\n", encoding="utf-8")
    with pytest.raises(BudgetError, match="different release file"):
        place.release("r1", **wrong)


# --- what earlier versions charged -----------------------------------------------------------------------------------


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """The golden data in a folder of its own; of the entries, only those that were charged name the old one."""
    return Path(shutil.copytree(GOLDEN, tmp_path / "golden"))


@pytest.fixture
def golden_at_home() -> Iterator[Path]:
    """The golden data at the place that its published entries name; a run that was killed can have left it there."""
    home = Path("/tmp/dp-spark-golden/0")
    with FileLock("/tmp/dp-spark-golden.lock"):
        shutil.rmtree(home, ignore_errors=True)
        yield Path(shutil.copytree(GOLDEN, home))
        shutil.rmtree(home)


def file_of(golden: Path, name: str, **changes: Any) -> Path:
    document = yaml.safe_load((golden / f"{name}.yaml").read_text(encoding="utf-8")) | changes
    for key in ("source", "ledger", "sink"):
        document[key]["path"] = str(golden / Path(document[key]["path"]).name)
    path = golden / f"{name}-here.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.books_on_delta
def test_what_an_earlier_version_charged_is_reported_completed_or_refused(golden: Path, cli: Cli, place: Place) -> None:
    shutil.rmtree(golden / "source")  # no source is read
    for name in ("public", "private"):
        reported = cli("run", file_of(golden, name), "--release-id", name, "--json").document
        assert reported["status"] == "already_published"
        assert "file not compared" in reported["note"]
    completed = cli("run", file_of(golden, "drawn"), "--release-id", "drawn")
    assert completed.code == 0, completed.err
    assert "file not compared" in " ".join(completed.out.split())
    other = cli("run", file_of(golden, "drawn-private", group_by=["day"]), "--release-id", "drawn-private", "--json")
    assert (other.code, other.error["code"]) == (3, "budget_refused"), "what the manifest tells is compared"
    refused = cli("run", file_of(golden, "charged"), "--release-id", "charged", "--json")
    assert (refused.code, refused.error["charged"], refused.error["resumable"]) == (3, True, False)
    assert "before 0.1.0" in refused.error["mend"]
    found = cli("budget", "verify", "--ledger", golden / "ledger", "--json").document
    assert set(found["unfinished"]) == {"charged", "drawn-private"}
    assert "before 0.1.0" in found["advice"]["charged"]
    assert "run its file again" in found["advice"]["drawn-private"]
    assert found["damage"] == []
    same = cli("combine", golden / "release", golden / "second", "--sink", golden / "again", "--users", "disjoint", "--json")
    assert (same.code, same.error["where"]) == (2, "--users")
    assert "overlapping" in same.error["mend"]
    assert not (golden / "again").exists()
    joined = cli(
        "combine", golden / "release", golden / "second", "--sink", golden / "again", "--users", "overlapping", "--json"
    )
    assert joined.document["guarantee"]["composition"] == "sequential"
    assert cli("show", golden / "combined").code == 0, "what was combined so stays readable"


@pytest.mark.long
@pytest.mark.books_on_delta
def test_an_old_ledger_takes_a_correction(golden: Path, cli: Cli, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("budget", "open", "--ledger", golden / "ledger", "--dataset", "texts", "--epsilon", "2")
    changes = {"dataset": "texts", "ledger": {"path": str(golden / "ledger")}, "sink": {"path": str(golden / "texts")}}
    with monkeypatch.context() as patch:
        patch.setattr(drawing, "_draw", die)
        with pytest.raises(KilledError):
            place.release("r1", **csv(place), **changes)
    done = place.release("r1", **csv(place, options={"mode": "PERMISSIVE"}), **changes)
    assert done.manifest["file_digest"].startswith(f"{MARK}:")
    history = cli("budget", "history", "--ledger", golden / "ledger", "--json").document
    assert [item["entry"] for item in history][-3:] == ["charge", "correction", "published"]
    assert len(history) == 16
    assert cli("budget", "verify", "--ledger", golden / "ledger", "--json").document["damage"] == []


@pytest.mark.slow
@pytest.mark.books_on_delta
def test_what_an_earlier_version_published_is_shown_shared_and_told(golden_at_home: Path, cli: Cli, tmp_path: Path) -> None:
    ledger = ("--ledger", golden_at_home / "ledger")
    history = cli("budget", "history", *ledger, "--json").document
    assert sorted(item["entry"] for item in history[:3]) == ["open", "open", "raise"]
    assert [(item["entry"], item["release_id"], item["epsilon"]) for item in history if item["entry"] == "charge"] == [
        ("charge", name, epsilon)
        for name, epsilon in (
            ("public", 1.0), ("private", 5.0), ("drawn", 1.0), ("charged", 1.0), ("drawn-private", 2.0), ("second", 1.0)
        )
    ]  # fmt: skip
    published = [item["release_id"] for item in history if item["entry"] == "published"]
    assert (len(history), published) == (12, ["public", "private", "second"])
    told = cli("budget", "history", *ledger)
    assert told.code == 0, told.err
    assert all(name in told.out for name in ("raise", *published))
    for folder, release_id, spent in (("release", "public", 4), ("private", "private", 2)):
        table, page = golden_at_home / folder, tmp_path / f"{folder}.html"
        shown = cli("show", table, "--html", page, *ledger)
        assert shown.code == 0, shown.err
        assert f"Spent on {spent} releases" in page.read_text(encoding="utf-8")
        config = tmp_path / f"{folder}.yaml"
        shared = cli("share", "add", f"hospital.releases.{folder}", table, *ledger, "--config", config, "--json")
        assert shared.code == 0, shared.err
        assert (shared.document["release_id"], shared.document["location"]) == (release_id, f"file://{table}")
