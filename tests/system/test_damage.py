"""Anyone who changes, cuts off or puts back a ledger, an outbox or a release is found out by the next command.

Files are damaged in copies that Delta has not seen yet, as another process would find them. What can be said of rows alone
is in ``ledger/test_books``, on a store in memory.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from helpers import of_each_kind
from pyspark.sql import SparkSession
from release_helpers import Outcome, Place, put_garbage, snapshot

from dp_spark.ledger.on_delta import ledger_at
from dp_spark.ledger.state import LedgerState
from dp_spark.ledger.table import Ledger
from dp_spark.privacy.accountants.account import Account
from dp_spark.tables.refs import TableRef

Cli = Callable[..., Outcome]
Damage = Callable[[Place], None]

#: Ledger and sink of a release file that is the same file in every copy.
PLACES = {"ledger": {"path": "${SCENE}/ledger"}, "sink": {"path": "${SCENE}/release"}, "budget": {"epsilon": 0.5}}


@pytest.fixture(scope="module")
def drawn(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, template: Path) -> Place:
    """r0 is published; the run of r1 died when its table was committed and the ledger did not say so yet.

    Entries: two openings, charge and publication of r0, charge of r1. ``older`` is the ledger before r1.
    """
    place = Place(tmp_path_factory.mktemp("drawn"), template / "source", spark)
    for dataset in ("visits", "scans"):
        place.book().open(dataset, Account.open(Decimal(10), Decimal(0)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCENE", str(place.folder))
        place.release("r0", **PLACES)
        shutil.copytree(place.ledger, place.folder / "older")
        patch.setattr(Ledger, "mark_published", die)
        with pytest.raises(KeyboardInterrupt):
            place.release("r1", **PLACES)
    return place


@pytest.fixture(scope="module")
def scene(drawn: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The same with r1 published: six entries."""
    folder = tmp_path_factory.mktemp("scene") / "scene"
    shutil.copytree(drawn.folder, folder)
    return publish(Place(folder, drawn.source, drawn.spark))


@pytest.fixture
def copy(scene: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A copy with the witness and the outbox; its entries name the sinks of ``drawn`` and ``scene``."""
    shutil.copytree(scene.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("release"))
    monkeypatch.setenv("SCENE", str(tmp_path / "copy"))
    return Place(tmp_path / "copy", scene.source, scene.spark)


@pytest.fixture
def died(drawn: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A copy of ``drawn`` with a sink of its own."""
    shutil.copytree(drawn.folder, tmp_path / "died")
    monkeypatch.setenv("SCENE", str(tmp_path / "died"))
    return Place(tmp_path / "died", drawn.source, drawn.spark)


def die(*arguments: object) -> LedgerState:
    raise KeyboardInterrupt


def publish(place: Place) -> Place:
    """Writes down that r1 is in the place's own sink."""
    state = place.book().state()
    charge = state.charge_of("r1")
    assert charge is not None
    place.book().mark_published(charge.entry.published(str(place.sink), 1, place.outbox().draw_of("r1").digest), state)
    return place


def one_line(outcome: Outcome, code: int = 6) -> str:
    """The one line of an error; nothing else was said."""
    assert (outcome.code, outcome.out) == (code, "")
    [line] = outcome.err.splitlines()
    assert line.startswith("dp-spark: ")
    return line


def found_out(place: Place, cli: Cli) -> str:
    """The next run finds it, and charges, draws and publishes nothing; so does who looks. Returns what the run said."""
    file = place.file(**PLACES)
    before = snapshot(place.folder)
    line = one_line(cli("run", file, "--release-id", "next"))
    shown = cli("budget", "show", "--ledger", place.ledger, "--json")
    assert (shown.code, shown.err, shown.document["error"]["code"]) == (6, "", "damaged")
    after = {name: content for name, content in snapshot(place.folder).items() if name != ".ledger.lock"}
    assert after == {name: content for name, content in before.items() if name != ".ledger.lock"}
    assert not place.sink.exists()
    return line


def verified(place: Place, cli: Cli) -> list[str]:
    """What verify says is damaged."""
    outcome = cli("budget", "verify", "--ledger", place.ledger, "--json")
    assert (outcome.code, outcome.err, outcome.document["sound"]) == (6, "", False)
    return [item["message"] for item in outcome.document["damage"]]


def sql(place: Place, statement: str, table: Path) -> None:
    place.spark.sql(f"ALTER TABLE delta.`{table}` SET TBLPROPERTIES ('delta.appendOnly' = 'false')")
    place.spark.sql(statement.format(f"delta.`{table}`"))


def logs(table: Path) -> list[Path]:
    return sorted((table / "_delta_log").glob("*.json"))


def forget(path: Path) -> None:
    """Removes what Hadoop and Delta know about a file besides it."""
    path.with_name(f".{path.name}.crc").unlink(missing_ok=True)
    path.with_suffix(".crc").unlink(missing_ok=True)
    path.with_name(f".{path.stem}.crc.crc").unlink(missing_ok=True)


def remove(path: Path) -> None:
    forget(path)
    path.unlink()


def put_back(place: Place) -> None:
    shutil.rmtree(place.ledger)
    shutil.copytree(place.folder / "older", place.ledger)


def witness(place: Place) -> Path:
    return place.folder / ".ledger.head"


# --- the ledger ------------------------------------------------------------------------------------------------------

LEDGER_DAMAGE: dict[str, Damage] = {
    "last entry updated": lambda place: sql(place, "UPDATE {} SET who = 'x' WHERE sequence = 6", place.ledger),
    "restored": lambda place: sql(place, "RESTORE {} TO VERSION AS OF 4", place.ledger),
    "newest commit removed": lambda place: remove(logs(place.ledger)[-1]),
    "commit in the middle removed": lambda place: remove(logs(place.ledger)[2]),
    "first commit removed": lambda place: remove(logs(place.ledger)[0]),
    "data file removed": lambda place: remove(sorted(place.ledger.glob("*.parquet"))[0]),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", of_each_kind(LEDGER_DAMAGE, "last entry updated", "newest commit removed"))
def test_a_damaged_ledger_is_found_out(copy: Place, cli: Cli, damage: str) -> None:
    LEDGER_DAMAGE[damage](copy)
    found_out(copy, cli)


def test_a_truncated_ledger_without_its_witness_is_found_by_the_seal_in_the_outbox(copy: Place, cli: Cli) -> None:
    put_back(copy)
    witness(copy).unlink()
    line = one_line(cli("run", copy.file(**PLACES), "--release-id", "next"))
    assert "ends at entry 4" in line
    assert f"the outbox {copy.outbox_path} has seen entry 5" in line
    assert any("ends at entry 4" in message for message in verified(copy, cli))


@pytest.mark.slow
def test_without_a_witness_a_changed_last_entry_is_found_in_the_history(copy: Place, cli: Cli) -> None:
    sql(copy, "UPDATE {} SET events = '[]' WHERE sequence = 6", copy.ledger)
    witness(copy).unlink()
    assert any("UPDATE" in message for message in verified(copy, cli))


def test_a_removed_ledger_is_not_made_anew(copy: Place, cli: Cli) -> None:
    shutil.rmtree(copy.ledger)
    given = ["--ledger", copy.ledger, "--dataset", "visits", "--epsilon", "10"]
    run = ["run", copy.file(**PLACES), "--release-id", "next"]
    for arguments in (run, ["budget", "open", *given], ["budget", "raise", *given, "--reason", "x"]):
        line = one_line(cli(*arguments))
        assert f"the file {witness(copy)} has seen 6 entries" in line
        assert line.startswith(f"dp-spark: {copy.ledger}: ")
    assert not copy.ledger.exists()


def spots(content: bytes, number: int) -> list[int]:
    """Places all over a file, and some inside of its text."""
    texts = [content.find(word) + 1 for word in (b"visits", b"sha256:", b"basic", b'"sink', b"patient") if word in content]
    return sorted({*range(3, len(content), len(content) // number), *texts})


FLIPPED = [("data", 6, 0x80), ("data", 5, 0x01), ("log", 6, 0x80), ("log", 3, 0x01)]


def flip(path: Path, position: int, mask: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= mask
    path.write_bytes(content)
    forget(path)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "version", "mask"), of_each_kind(FLIPPED, FLIPPED[0]))
def test_a_flipped_byte_is_found_or_changes_nothing(scene: Place, tmp_path: Path, kind: str, version: int, mask: int) -> None:
    entries = scene.entries()
    [added] = [
        json.loads(line)["add"]["path"] for line in logs(scene.ledger)[version].read_text().splitlines() if '"add"' in line
    ]
    name = Path(added) if kind == "data" else logs(scene.ledger)[version].relative_to(scene.ledger)
    wrong = []
    for position in spots((scene.ledger / name).read_bytes(), 5):
        place = Place(tmp_path / str(position), scene.source, scene.spark)
        shutil.copytree(scene.ledger, place.ledger)
        shutil.copy(witness(scene), place.folder)
        flip(place.ledger / name, position, mask)
        state, error = None, None
        try:
            state, error = ledger_at(scene.spark, TableRef(str(place.ledger), None)).examine()
        except Exception as problem:  # noqa: BLE001 - whatever it is, it is wrong here
            wrong.append((position, f"{type(problem).__name__}: {problem}"[:100]))
        if state is not None and error is None and state.rows != entries:
            wrong.append((position, "another ledger was believed"))
    assert wrong == []


# --- the outbox ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_outbox_that_lost_a_seal_is_found_by_every_run(copy: Place, cli: Cli) -> None:
    sql(copy, "UPDATE {} SET charge_digest = 'sha256:x'", copy.outbox_path)
    one_line(cli("run", copy.file(**PLACES), "--release-id", "next"))
    assert verified(copy, cli)
    assert len(copy.entries()) == 6


def test_an_outbox_that_is_gone_after_a_publication_is_damage(copy: Place, cli: Cli) -> None:
    shutil.rmtree(copy.outbox_path)
    line = one_line(cli("run", copy.file(**PLACES), "--release-id", "next"))
    assert "was published, but its draw is gone" in line
    assert not copy.outbox_path.exists()


@pytest.mark.slow
def test_a_changed_draw_is_found_by_the_release_that_needs_it(copy: Place, cli: Cli) -> None:
    sql(copy, "UPDATE {} SET payload = cast('x' as binary)", copy.outbox_path)
    line = one_line(cli("run", copy.file(**PLACES), "--release-id", "r1"))
    assert "the draw of r1 was changed" in line
    assert any("r1" in message for message in verified(copy, cli))


FORGED = "replace(manifest, 'visits-by-ward', 'visits')"


def test_a_changed_draw_with_a_digest_of_its_own_is_not_what_was_published(copy: Place, cli: Cli) -> None:
    """The ledger names the digest of what was published."""
    digest = f"concat('sha256:', sha2(concat(cast({FORGED} as binary), X'0a', payload), 256))"
    sql(copy, f"UPDATE {{}} SET manifest = {FORGED}, digest = {digest} WHERE release_id = 'r1'", copy.outbox_path)
    one_line(cli("run", copy.file(**PLACES), "--release-id", "r1"))


# --- the release -----------------------------------------------------------------------------------------------------


SINK_DAMAGE: dict[str, tuple[str, Damage]] = {
    "rows changed": ("rows differ", lambda place: sql(place, "UPDATE {} SET visits = visits + 1", place.sink)),
    "rows removed": ("rows differ", lambda place: sql(place, "DELETE FROM {}", place.sink)),
    "manifest replaced": ("manifest", lambda place: sql(place, OTHER_NAME, place.sink)),
    "manifest rewritten": ("manifest", lambda place: rewrite(logs(place.sink)[1], "visits-by-ward", "visits-by-wood")),
    "manifest removed": ("manifest", lambda place: sql(place, NO_MANIFEST, place.sink)),
    "log unreadable": ("r1", lambda place: rewrite(logs(place.sink)[1], "{", "[")),
    "data unreadable": ("r1", lambda place: put_garbage(place.sink).clear()),
    "plain table": ("no manifest", lambda place: plain(place)),
}
OTHER_NAME = """ALTER TABLE {} SET TBLPROPERTIES
('dp_spark.manifest' = '{{"format": "dp_spark.manifest/1", "release_id": "r1", "dataset": "visits"}}')"""
NO_MANIFEST = "ALTER TABLE {} UNSET TBLPROPERTIES ('dp_spark.manifest')"


def rewrite(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))
    forget(path)


def plain(place: Place) -> None:
    shutil.rmtree(place.sink)
    place.spark.range(3).write.format("delta").save(str(place.sink))


@pytest.mark.slow
@pytest.mark.parametrize("damage", of_each_kind(SINK_DAMAGE, "rows changed", "manifest rewritten"))
def test_a_release_that_is_not_what_was_drawn_is_found(died: Place, cli: Cli, damage: str) -> None:
    publish(died)
    message, change = SINK_DAMAGE[damage]
    change(died)
    assert any(message in found for found in verified(died, cli))


@pytest.mark.long
def test_a_release_that_was_not_charged_here_is_found(died: Place, cli: Cli) -> None:
    publish(died)
    other = ledger_at(died.spark, TableRef(str(died.folder / "other"), None))
    other.open("visits", Account.open(Decimal(10), Decimal(0)))
    died.release("elsewhere", ledger={"path": str(died.folder / "other")})
    assert verified(died, cli) == ["elsewhere: it is published, but this ledger has no charge for it"]


# --- what must stay harmless: the sink belongs to others too, and whatever they do nothing is drawn again -------------

SINK_CHANGES: dict[str, Damage] = {
    "deleted": lambda place: shutil.rmtree(place.sink),
    "truncated": lambda place: sql(place, "DELETE FROM {}", place.sink),
    "plain table": plain,
    "restored": lambda place: sql(place, "RESTORE {} TO VERSION AS OF 0", place.sink),
}
CHANGED = [(state, change) for state in ("drawn", "published") for change in SINK_CHANGES]


@pytest.mark.slow
@pytest.mark.parametrize(("state", "change"), of_each_kind(CHANGED, ("drawn", "deleted"), ("published", "restored")))
def test_a_changed_sink_never_makes_a_second_draw(died: Place, cli: Cli, state: str, change: str) -> None:
    if state == "published":
        publish(died)
    draw = died.drawn("r1")
    SINK_CHANGES[change](died)
    outcome = cli("run", died.file(**PLACES), "--release-id", "r1", "--json")
    if (state, change) == ("drawn", "plain table"):  # never destroyed: what stands there was not made by us
        assert (outcome.code, outcome.error["where"]) == (2, "sink")
    else:
        gone = state == "published" and change in ("deleted", "plain table")
        assert (outcome.code, outcome.err) == (0, "")
        assert outcome.document["status"] == ("published" if state == "drawn" else "already_published")
        assert outcome.document["rows"] == (None if gone else draw.rows.num_rows)
        assert gone or died.sink_rows(outcome.document["version"]) == draw.rows.to_pylist()
    assert died.kinds().count(("charge", "r1")) == 1
    assert died.drawn("r1").payload == draw.payload
    assert died.spark.read.format("delta").load(str(died.outbox_path)).where("release_id = 'r1'").count() == 1
    if change == "plain table":
        assert died.spark.read.format("delta").load(str(died.sink)).columns == ["id"]
