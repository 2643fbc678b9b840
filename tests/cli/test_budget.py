"""The commands that open, raise, show and verify budgets, in-process on real ledgers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import NoReturn

import pytest
from pyspark.sql import SparkSession
from release_helpers import COUNT, PATIENTS, Outcome, Place, visits, write_delta

from dp_spark.privacy.accountants.account import Account
from dp_spark.release import draw as drawing

Cli = Callable[..., Outcome]


@pytest.fixture(scope="module")
def made(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, template: Path) -> Place:
    """A ledger with a history: opened, released, raised, a second dataset of the same users, and another release."""
    place = Place(tmp_path_factory.mktemp("made"), template / "source", spark)
    book = place.book()
    book.open("visits", Account.open(Decimal("0.5"), Decimal(0)), "the board agreed", "patients")
    place.release("r1", budget={"epsilon": 0.5})
    book.raise_budget("visits", Account.open(Decimal(1), Decimal(0)), "second year [2/2]")
    book.open("scans", Account.open(Decimal(2), Decimal(0)), None, "patients")
    place.release("r2", budget={"epsilon": 0.25}, sink={"path": str(place.folder / "second")}, aggregates=[COUNT, PATIENTS])
    return place


@pytest.fixture
def copy(made: Place, tmp_path: Path) -> Place:
    """A copy of ``made`` whose ledger may be changed; its entries still name the sinks of ``made``."""
    shutil.copytree(made.folder, tmp_path, dirs_exist_ok=True)
    return Place(tmp_path, made.source, made.spark)


def damage(place: Place, statement: str) -> None:
    table = f"delta.`{place.ledger}`"
    place.spark.sql(f"ALTER TABLE {table} SET TBLPROPERTIES ('delta.appendOnly' = 'false')")
    place.spark.sql(statement.format(table))


# --- open, raise -----------------------------------------------------------------------------------------------------


def test_open_takes_a_group_and_a_reason(tmp_path: Path, cli: Cli) -> None:
    given = ["--ledger", tmp_path / "ledger", "--dataset", "a", "--epsilon", "1", "--group", "people", "--reason", "why not"]
    opened = cli("budget", "open", *given, "--json")
    assert (opened.code, opened.document["group"], opened.document["charges"]) == (0, "people", [])
    [entry] = cli("budget", "history", "--ledger", tmp_path / "ledger", "--json").document
    assert (entry["entry"], entry["group"], entry["reason"]) == ("open", "people", "why not")
    other = cli("budget", "open", "--ledger", tmp_path / "ledger", "--dataset", "b", "--epsilon", "1", "--delta", "1e-6",
                "--group", "people", "--json")  # fmt: skip
    assert (other.code, other.error["where"]) == (3, "--accountant")
    bad = cli("budget", "open", "--ledger", tmp_path / "ledger", "--dataset", "b", "--epsilon", "1", "--group", "a b", "--json")
    assert (bad.code, bad.error["where"]) == (2, "--group")
    text = cli("budget", "show", "--ledger", tmp_path / "ledger").out
    assert "shares users with the group people" in text


def test_a_raise_gives_new_totals(place: Place, cli: Cli) -> None:
    file = place.file(dataset="poor", budget={"epsilon": 0.3})
    assert cli("run", file, "--release-id", "r1").code == 3
    human = cli("budget", "raise", "--ledger", place.ledger, "--dataset", "poor", "--epsilon", "0.28", "--reason", "a little")
    assert (human.code, human.err) == (0, "")
    assert "epsilon 0.28" in human.out
    assert cli("run", file, "--release-id", "r1").code == 3
    given = ["--ledger", place.ledger, "--dataset", "poor", "--epsilon", "0.3", "--reason", "enough for visits"]
    document = cli("budget", "raise", *given, "--json").document
    assert document["total"] == {"epsilon": 0.3, "delta": 0.0, "rho": None}
    assert document["spent"]["epsilon"] == 0.0
    assert document == cli("budget", "show", "--ledger", place.ledger, "--dataset", "poor", "--json").document
    run = cli("run", file, "--release-id", "r1", "--json")
    assert (run.code, run.document["status"], run.document["remaining"]["epsilon"]) == (0, "published", 0.0)


@pytest.mark.parametrize(
    ("code", "where", "arguments"),
    [
        (3, "ledger", ["--dataset", "visits", "--epsilon", "9.999", "--reason", "less"]),
        (3, "ledger", ["--dataset", "visits", "--delta", "0.0009", "--reason", "less"]),
        (3, "ledger", ["--dataset", "gauss", "--epsilon", "20", "--delta", "0.000009", "--reason", "less delta"]),
        (3, "ledger", ["--dataset", "unknown", "--epsilon", "5", "--reason", "why"]),
        (2, "--epsilon", ["--dataset", "visits", "--reason", "why"]),
        (2, "--epsilon", ["--dataset", "visits", "--epsilon", "", "--reason", "why"]),
        (2, "--epsilon", ["--dataset", "visits", "--epsilon", "much", "--reason", "why"]),
        (2, "--dataset", ["--dataset", "a b", "--epsilon", "20", "--reason", "why"]),
        (2, "--reason", ["--dataset", "visits", "--epsilon", "20", "--reason", "  "]),
        (2, "command line", ["--dataset", "visits", "--epsilon", "20"]),
        (2, "command line", ["--epsilon", "20", "--reason", "why"]),
    ],
    ids=[
        "lower", "lower delta", "lower zcdp delta", "unknown", "nothing", "empty", "no number", "bad name", "blank reason",
        "no reason", "no dataset",
    ],
)  # fmt: skip
def test_a_bad_raise_is_refused(place: Place, cli: Cli, code: int, where: str, arguments: list[str]) -> None:
    outcome = cli("budget", "raise", "--ledger", place.ledger, *arguments, "--json")
    assert (outcome.code, Path(outcome.error["where"]).name) == (code, where)
    assert len(place.entries()) == 4


def test_there_is_nothing_to_raise_or_show_without_a_ledger(tmp_path: Path, cli: Cli) -> None:
    for command in (["raise", "--dataset", "a", "--epsilon", "1", "--reason", "x"], ["show"], ["history"], ["verify"]):
        outcome = cli("budget", *command, "--ledger", tmp_path / "nowhere", "--json")
        assert (outcome.code, outcome.error["code"]) == (3, "budget_refused")
    assert list(tmp_path.iterdir()) == []


def test_a_raise_without_a_reason_writes_nothing(place: Place) -> None:
    """Such an entry would be damage for every later reader, so the ledger itself refuses it."""
    with pytest.raises(Exception, match="reason"):
        place.book().raise_budget("visits", Account.open(Decimal(20), Decimal("0.001"), "basic"), "")
    assert len(place.entries()) == 4


# --- history ---------------------------------------------------------------------------------------------------------

HISTORY = [
    ("open", "visits", None, "the board agreed"),
    ("charge", "visits", "r1", None),
    ("published", "visits", "r1", None),
    ("raise", "visits", None, "second year [2/2]"),
    ("open", "scans", None, None),
    ("charge", "visits", "r2", None),
    ("published", "visits", "r2", None),
]


@pytest.mark.parametrize("dataset", [None, "visits", "scans", "unknown"])
def test_the_history_is_every_entry_in_order(made: Place, cli: Cli, dataset: str | None) -> None:
    chosen = [] if dataset is None else ["--dataset", dataset]
    outcome = cli("budget", "history", "--ledger", made.ledger, *chosen, "--json")
    assert outcome.code == 0
    found = outcome.document
    expected = [(number, *entry) for number, entry in enumerate(HISTORY, start=1) if dataset in (None, entry[1])]
    names = ("sequence", "entry", "dataset", "release_id", "reason")
    assert [tuple(entry[name] for name in names) for entry in found] == expected
    assert all(entry["at"] and entry["who"] for entry in found)
    for entry in found:
        assert ("epsilon" in entry) == (entry["entry"] != "published")
        assert ("sink" in entry) == (entry["entry"] == "published")


RAISE = ("raise", "--dataset", "visits", "--reason", "x", "--delta", "0.1")


@pytest.mark.parametrize("command", [("show",), ("history",), ("verify",), RAISE])
def test_a_misspelt_ledger_is_not_an_invitation_to_open_a_second_one(made: Place, cli: Cli, command: tuple[str, ...]) -> None:
    for place, mend in ((made.folder / "ledgr", f"did you mean {made.ledger}?"), ("/nowhere/x", "correct its place")):
        outcome = cli("budget", *command, "--ledger", place, "--json")
        assert (outcome.code, outcome.error["message"], outcome.error["where"]) == (3, "there is no ledger here", str(place))
        assert mend in outcome.error["mend"]
        assert "--ledger" not in outcome.error["mend"]


def test_the_history_for_people_has_reasons_and_amounts(made: Place, cli: Cli) -> None:
    outcome = cli("budget", "history", "--ledger", made.ledger)
    assert (outcome.code, outcome.err) == (0, "")
    words = " ".join(outcome.out.replace("│", " ").split())
    positions = [words.index(word) for word in ("open", "charge", "published")]
    assert positions == sorted(positions)
    for word in ("the", "board", "second", "[2/2]", "0.25", "scans", "r2"):
        assert word in words


# --- groups ----------------------------------------------------------------------------------------------------------


def test_a_release_of_one_dataset_is_paid_by_all_of_its_group(spark: SparkSession, tmp_path: Path, cli: Cli) -> None:
    place = Place(tmp_path, write_delta(spark, tmp_path / "a" / "visits", visits()), spark)
    other = write_delta(spark, tmp_path / "b" / "scans", visits())
    for dataset, epsilon in {"visits": "1", "scans": "0.6"}.items():
        given = ["--ledger", place.ledger, "--dataset", dataset, "--epsilon", epsilon, "--group", "patients"]
        assert cli("budget", "open", *given).code == 0
    assert cli("run", place.file(budget={"epsilon": 0.3}), "--release-id", "r1").code == 0
    scans = {"dataset": "scans", "source": {"format": "delta", "path": str(other)}, "sink": {"path": str(tmp_path / "scanned")}}
    run = cli("run", place.file(**scans, budget={"epsilon": 0.2}), "--release-id", "r2", "--json")
    assert run.document["remaining"]["epsilon"] == pytest.approx(0.1)
    refused = cli("run", place.file(budget={"epsilon": 0.2}), "--release-id", "r3", "--json")
    assert (refused.code, refused.error["code"]) == (3, "budget_refused")
    assert "too little is left of the budget of scans" in refused.error["message"]
    first, second = cli("budget", "show", "--ledger", place.ledger, "--json").document
    assert (first["dataset"], second["dataset"], first["group"]) == ("visits", "scans", "patients")
    assert first["spent"]["epsilon"] == second["spent"]["epsilon"] == 0.5
    assert [(item["release_id"], item.get("dataset")) for item in first["charges"]] == [("r1", None), ("r2", "scans")]
    assert [(item["release_id"], item.get("dataset")) for item in second["charges"]] == [("r1", "visits"), ("r2", None)]
    assert place.kinds() == [("charge", "r1"), ("published", "r1"), ("charge", "r2"), ("published", "r2")]


# --- what is left of a damaged ledger --------------------------------------------------------------------------------


def test_a_damaged_ledger_is_shown_up_to_its_damage(copy: Place, cli: Cli) -> None:
    damage(copy, "UPDATE {} SET events = '[1]' WHERE sequence = 6")
    for command in ("show", "history"):
        human = cli("budget", command, "--ledger", copy.ledger)
        assert human.code == 6
        assert "r1" in human.out
        assert "r2" not in human.out
        [line] = human.err.splitlines()
        assert line.startswith(f"dp-spark: {copy.ledger}: ")
        outcome = cli("budget", command, "--ledger", copy.ledger, "--json")
        assert (outcome.code, outcome.err) == (6, "")
        assert list(outcome.document) == ["error", "sound_part"]
        assert outcome.document["error"]["code"] == "damaged"
    sound = cli("budget", "show", "--ledger", copy.ledger, "--json").document["sound_part"]
    assert [(item["dataset"], item["spent"]["epsilon"]) for item in sound] == [("visits", 0.5), ("scans", 0.5)]
    one = cli("budget", "show", "--ledger", copy.ledger, "--dataset", "scans", "--json")
    assert (one.code, [item["dataset"] for item in one.document["sound_part"]]) == (6, ["scans"])


def test_a_changed_amount_is_not_shown_as_sound(copy: Place, cli: Cli) -> None:
    damage(copy, "UPDATE {} SET epsilon = '0.01' WHERE sequence = 6")
    outcome = cli("budget", "history", "--ledger", copy.ledger, "--json")
    assert outcome.code == 6
    assert [entry["sequence"] for entry in outcome.document["sound_part"]] == [1, 2, 3, 4, 5]


def test_a_ledger_that_cannot_be_read_has_no_sound_part(copy: Place, cli: Cli) -> None:
    for path in copy.ledger.glob("*.parquet"):
        path.unlink()
    outcome = cli("budget", "show", "--ledger", copy.ledger, "--json")
    assert (outcome.code, outcome.document["sound_part"]) == (6, [])
    verified = cli("budget", "verify", "--ledger", copy.ledger, "--json").document
    assert (verified["sound"], len(verified["damage"])) == (False, 1)


# --- verify ----------------------------------------------------------------------------------------------------------


def test_a_sound_ledger_is_verified(made: Place, cli: Cli) -> None:
    outcome = cli("budget", "verify", "--ledger", made.ledger, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.document == {
        "sound": True, "entries": 7, "damage": [], "verified": ["r1", "r2"], "unfinished": [], "unreachable": [],
    }  # fmt: skip
    human = cli("budget", "verify", "--ledger", made.ledger)
    assert (human.code, human.err) == (0, "")
    assert "All of it is sound" in human.out


def test_what_was_charged_only_is_unfinished(place: Place, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*arguments: object) -> NoReturn:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(drawing, "_draw", dies)
        assert cli("run", place.file(), "--release-id", "r1").code == 1
    outcome = cli("budget", "verify", "--ledger", place.ledger, "--json")
    assert (outcome.code, outcome.document["sound"], outcome.document["unfinished"]) == (0, True, ["r1"])
    assert "--release-id r1" in cli("budget", "verify", "--ledger", place.ledger).out


@pytest.mark.slow
def test_a_sink_whose_name_is_one_word_is_verified_like_any_other(
    place: Place, cli: Cli, spark: SparkSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The ledger says ``one_word``; a folder of that name has nothing to do with it."""
    (tmp_path / "one_word").mkdir()
    monkeypatch.chdir(tmp_path)
    try:
        place.release("r1", sink={"table": "one_word"})
        found = cli("budget", "verify", "--ledger", place.ledger, "--json").document
        assert (found["verified"], found["unreachable"]) == (["r1"], [])
        assert place.release("r1", sink={"table": "one_word"}).rows is not None
        spark.sql("INSERT INTO one_word SELECT * FROM one_word LIMIT 1")
        assert cli("budget", "verify", "--ledger", place.ledger).code == 6
    finally:
        spark.sql("DROP TABLE IF EXISTS one_word")


def test_a_deleted_sink_is_out_of_reach_and_no_damage(place: Place, cli: Cli) -> None:
    place.release("r1")
    shutil.rmtree(place.sink)
    outcome = cli("budget", "verify", "--ledger", place.ledger, "--json")
    assert (outcome.code, outcome.document["unreachable"], outcome.document["verified"]) == (0, ["r1"], [])
    assert "could not be compared" in cli("budget", "verify", "--ledger", place.ledger).out


def test_the_damage_is_named_for_people(copy: Place, cli: Cli) -> None:
    damage(copy, "DELETE FROM {} WHERE sequence = 7")
    outcome = cli("budget", "verify", "--ledger", copy.ledger)
    assert outcome.code == 6
    assert f"damaged {copy.ledger}: " in outcome.out
    document = cli("budget", "verify", "--ledger", copy.ledger, "--json").document
    assert (document["sound"], document["entries"], document["unfinished"]) == (False, 6, ["r2"])


@pytest.mark.parametrize("command", ["open", "raise", "show", "history", "verify"])
def test_help_says_what_a_command_takes(cli: Cli, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    outcome = cli("budget", command, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    words = {"--ledger", "--json"} | {"open": {"--group", "--reason"}, "raise": {"--reason"}}.get(command, set())
    assert words <= set(outcome.out.replace("│", " ").split())
    assert command in cli("budget", "--help").out
