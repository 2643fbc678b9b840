"""The commands that open, raise, show and verify budgets, in-process; on ledgers in memory, and on one real one."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from memory_books import MemoryBooks, at, setting
from pyspark.sql import SparkSession
from release_helpers import ACCOUNTS, Outcome, Place

from dp_spark.errors import BudgetError, SpecError
from dp_spark.privacy.accountants.account import Account
from dp_spark.spec.file_digests import MARK

Cli = Callable[..., Outcome]


@pytest.fixture
def made(books: MemoryBooks) -> MemoryBooks:
    """A ledger with a history: opened, released, raised, a second dataset of the same users, and another release."""
    books.open("visits", "0.5", reason="the board agreed", group="patients")
    books.release("r1", "0.5")
    books.ledger().raise_budget("visits", Account.open(Decimal(1), Decimal(0)), "second year [2/2]")
    books.open("scans", "2", group="patients")
    books.release("r2", "0.25")
    return books


# --- open, raise -----------------------------------------------------------------------------------------------------


def test_open_takes_a_group_and_a_reason(books: MemoryBooks, budget: Cli) -> None:
    ledger = ("--ledger", books.ref)
    opened = budget("open", *ledger, "--dataset", "a", "--epsilon", "1", "--group", "people", "--reason", "why not", "--json")
    assert (opened.code, opened.document["group"], opened.document["charges"]) == (0, "people", [])
    assert books.outbox().store.is_there(), "no release has to make it"
    [entry] = budget("history", *ledger, "--json").document
    assert (entry["entry"], entry["group"], entry["reason"]) == ("open", "people", "why not")
    given = ["--dataset", "b", "--epsilon", "1"]
    other = budget("open", *ledger, *given, "--delta", "1e-6", "--group", "people", "--json")
    assert (other.code, other.error["where"]) == (3, "--accountant")
    bad = budget("open", *ledger, *given, "--group", "a b", "--json")
    assert (bad.code, bad.error["where"]) == (2, "--group")
    assert "shares users with the group people" in budget("show", *ledger).out


def test_a_raise_gives_new_totals(books: MemoryBooks, budget: Cli) -> None:
    given = ["--ledger", books.opened().ref, "--dataset", "poor"]
    with pytest.raises(BudgetError, match=r"needs (epsilon|rho)"):
        books.charge("r1", "0.3", "poor")
    human = budget("raise", *given, "--epsilon", "0.28", "--reason", "a little")
    assert (human.code, human.err) == (0, "")
    assert "epsilon 0.28" in human.out
    with pytest.raises(BudgetError, match=r"needs (epsilon|rho)"):
        books.charge("r1", "0.3", "poor")
    document = budget("raise", *given, "--epsilon", "0.3", "--reason", "enough for visits", "--json").document
    assert document["total"] == {"epsilon": 0.3, "delta": 0.0, "rho": None}
    assert document["spent"]["epsilon"] == 0.0
    assert document == budget("show", *given, "--json").document
    books.charge("r1", "0.3", "poor")
    assert budget("show", *given, "--json").document["remaining"]["epsilon"] == 0.0


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
def test_a_bad_raise_is_refused(books: MemoryBooks, budget: Cli, code: int, where: str, arguments: list[str]) -> None:
    outcome = budget("raise", "--ledger", books.opened().ref, *arguments, "--json")
    assert (outcome.code, Path(outcome.error["where"]).name) == (code, where)
    assert len(books.rows()) == 4


def test_there_is_nothing_to_raise_or_show_without_a_ledger(tmp_path: Path, budget: Cli) -> None:
    for command in (["raise", "--dataset", "a", "--epsilon", "1", "--reason", "x"], ["show"], ["history"], ["verify"]):
        outcome = budget(*command, "--ledger", tmp_path / "nowhere", "--json")
        assert (outcome.code, outcome.error["code"]) == (3, "budget_refused")
    assert list(tmp_path.iterdir()) == []


def test_a_raise_without_a_reason_writes_nothing(books: MemoryBooks) -> None:
    """Such an entry would be damage for every later reader, so the ledger itself refuses it."""
    with pytest.raises(SpecError, match="is empty") as caught:
        books.opened().ledger().raise_budget("visits", Account.open(Decimal(20), Decimal("0.001"), "basic"), "")
    assert caught.value.where == "--reason"
    assert len(books.rows()) == 4


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
def test_the_history_is_every_entry_in_order(made: MemoryBooks, budget: Cli, dataset: str | None) -> None:
    chosen = [] if dataset is None else ["--dataset", dataset]
    outcome = budget("history", "--ledger", made.ref, *chosen, "--json")
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
def test_a_misspelt_ledger_is_not_an_invitation_to_open_a_second_one(
    books: MemoryBooks, budget: Cli, command: tuple[str, ...]
) -> None:
    for name in ("ledger", "ledger_outbox"):
        (books.folder / name / "_delta_log").mkdir(parents=True)
        (books.folder / name / "_delta_log" / f"{0:020}.json").touch()
    near = (books.folder / "ledgr", f"did you mean {books.ref}?")
    for place, mend in (near, ("/nowhere/x", "correct its place")):
        outcome = budget(*command, "--ledger", place, "--json")
        assert (outcome.code, outcome.error["message"], outcome.error["where"]) == (3, "there is no ledger here", str(place))
        assert mend in outcome.error["mend"]
        assert "--ledger" not in outcome.error["mend"]


def test_the_history_for_people_has_reasons_and_amounts(made: MemoryBooks, budget: Cli) -> None:
    outcome = budget("history", "--ledger", made.ref)
    assert (outcome.code, outcome.err) == (0, "")
    words = " ".join(outcome.out.replace("│", " ").split())
    positions = [words.index(word) for word in ("open", "charge", "published")]
    assert positions == sorted(positions)
    for word in ("the", "board", "second", "[2/2]", "0.25", "scans", "r2"):
        assert word in words


# --- groups ----------------------------------------------------------------------------------------------------------


def test_a_release_of_one_dataset_is_paid_by_all_of_its_group(books: MemoryBooks, budget: Cli) -> None:
    for dataset, epsilon in {"visits": "1", "scans": "0.6"}.items():
        given = ["--ledger", books.ref, "--dataset", dataset, "--epsilon", epsilon, "--group", "patients"]
        assert budget("open", *given).code == 0
    books.release("r1", "0.3")
    assert float(books.release("r2", "0.2", "scans").account("scans").spent.amount) == 0.5
    with pytest.raises(BudgetError, match="too little is left of the budget of scans") as refused:
        books.charge("r3", "0.2")
    assert refused.value.exit_code == 3
    first, second = budget("show", "--ledger", books.ref, "--json").document
    assert (first["dataset"], second["dataset"], first["group"]) == ("visits", "scans", "patients")
    assert first["spent"]["epsilon"] == second["spent"]["epsilon"] == 0.5
    assert second["remaining"]["epsilon"] == pytest.approx(0.1)
    assert [(item["release_id"], item.get("dataset")) for item in first["charges"]] == [("r1", None), ("r2", "scans")]
    assert [(item["release_id"], item.get("dataset")) for item in second["charges"]] == [("r1", "visits"), ("r2", None)]
    assert books.kinds() == [("charge", "r1"), ("published", "r1"), ("charge", "r2"), ("published", "r2")]


# --- what is left of a damaged ledger --------------------------------------------------------------------------------


def test_a_damaged_ledger_is_shown_up_to_its_damage(made: MemoryBooks, budget: Cli) -> None:
    made.entries.update(at(6), setting(events="[1]"))
    for command in ("show", "history"):
        human = budget(command, "--ledger", made.ref)
        assert human.code == 6
        assert "r1" in human.out
        assert "r2" not in human.out
        [line] = human.err.splitlines()
        assert line.startswith(f"dp-spark: {made.ref}: ")
        outcome = budget(command, "--ledger", made.ref, "--json")
        assert (outcome.code, outcome.err) == (6, "")
        assert list(outcome.document) == ["error", "sound_part"]
        assert outcome.document["error"]["code"] == "damaged"
    sound = budget("show", "--ledger", made.ref, "--json").document["sound_part"]
    assert [(item["dataset"], item["spent"]["epsilon"]) for item in sound] == [("visits", 0.5), ("scans", 0.5)]
    one = budget("show", "--ledger", made.ref, "--dataset", "scans", "--json")
    assert (one.code, [item["dataset"] for item in one.document["sound_part"]]) == (6, ["scans"])


def test_a_changed_amount_is_not_shown_as_sound(made: MemoryBooks, budget: Cli) -> None:
    made.entries.update(at(6), setting(epsilon="0.01"))
    outcome = budget("history", "--ledger", made.ref, "--json")
    assert outcome.code == 6
    assert [entry["sequence"] for entry in outcome.document["sound_part"]] == [1, 2, 3, 4, 5]


def test_a_ledger_that_cannot_be_read_has_no_sound_part(made: MemoryBooks, budget: Cli) -> None:
    made.entries.unreadable = True
    outcome = budget("show", "--ledger", made.ref, "--json")
    assert (outcome.code, outcome.document["sound_part"]) == (6, [])
    verified = budget("verify", "--ledger", made.ref, "--json").document
    assert (verified["sound"], len(verified["damage"])) == (False, 1)


# --- verify ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_sound_ledger_is_verified(released: Place, cli: Cli) -> None:
    """A real ledger with two releases, by every command that reads it."""
    ledger = ("--ledger", released.ledger)
    found = cli("budget", "history", *ledger, "--json").document
    assert [(entry["entry"], entry["dataset"]) for entry in found[:4]] == [("open", dataset) for dataset in ACCOUNTS]
    assert [(entry["entry"], entry["release_id"]) for entry in found[4:]] == [
        ("charge", "r1"), ("published", "r1"), ("charge", "r2"), ("published", "r2"),
    ]  # fmt: skip
    shown = {account["dataset"]: account for account in cli("budget", "show", *ledger, "--json").document}
    assert {dataset: account["spent"]["epsilon"] for dataset, account in shown.items()} == {
        "visits": 2.0, "gauss": 0.0, "rich": 0.0, "poor": 0.0,
    }  # fmt: skip
    outcome = cli("budget", "verify", *ledger, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.document == {
        "sound": True, "entries": 8, "damage": [], "verified": ["r1", "r2"], "unfinished": [], "unreachable": [],
    }  # fmt: skip
    human = cli("budget", "verify", *ledger)
    assert (human.code, human.err) == (0, "")
    assert "All of it is sound" in human.out


def test_what_was_charged_only_is_unfinished(made: MemoryBooks, budget: Cli) -> None:
    made.charge("r3", file_digest=f"{MARK}:f")
    outcome = budget("verify", "--ledger", made.ref, "--json")
    assert (outcome.code, outcome.document["sound"], outcome.document["unfinished"]) == (0, True, ["r3"])
    assert "charged, not drawn" in outcome.document["advice"]["r3"]
    assert "--release-id r3" in budget("verify", "--ledger", made.ref).out
    made.draw("r3")
    outcome = budget("verify", "--ledger", made.ref, "--json")
    assert (outcome.document["sound"], outcome.document["unfinished"]) == (True, ["r3"])
    assert "charged and drawn, not published" in outcome.document["advice"]["r3"]


@pytest.mark.slow
@pytest.mark.books_in_memory
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


def test_a_deleted_sink_is_out_of_reach_and_no_damage(made: MemoryBooks, budget: Cli) -> None:
    outcome = budget("verify", "--ledger", made.ref, "--json")
    assert (outcome.code, outcome.document["unreachable"], outcome.document["verified"]) == (0, ["r1", "r2"], [])
    assert "could not be compared" in budget("verify", "--ledger", made.ref).out


def test_the_damage_is_named_for_people(made: MemoryBooks, budget: Cli) -> None:
    made.entries.delete(at(7))
    outcome = budget("verify", "--ledger", made.ref)
    assert outcome.code == 6
    assert f"damaged {made.ref}: " in outcome.out
    document = budget("verify", "--ledger", made.ref, "--json").document
    assert (document["sound"], document["entries"], document["unfinished"]) == (False, 6, ["r2"])


@pytest.mark.parametrize("command", ["open", "raise", "show", "history", "verify"])
def test_help_says_what_a_command_takes(budget: Cli, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    outcome = budget(command, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    words = {"--ledger", "--json"} | {"open": {"--group", "--reason"}, "raise": {"--reason"}}.get(command, set())
    assert words <= set(outcome.out.replace("│", " ").split())
    assert command in budget("--help").out
