"""The server's configuration and the profiles: what is written, kept, refused, and who can read it. No Spark."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from dp_spark.cli import main
from dp_spark.cli import share as share_cli
from dp_spark.errors import SpecError
from dp_spark.share import private_files
from dp_spark.share.server_config import SharedName, editing, read_config, server_location

VISITS = SharedName("hospital", "releases", "visits")
ISSUE = ["--endpoint", "https://sharing.example.org/delta-sharing", "--days", "30"]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def shared(config: Path, *names: SharedName) -> Path:
    for name in names or (VISITS,):
        with editing(config, create=True) as server:
            server.add(name, "s3a://bucket/visits")
    return config


def token_of(config: Path) -> str:
    return str(yaml.safe_load(config.read_text())["authorization"]["bearerToken"])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return shared(tmp_path / "sharing.yaml")


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main([str(item) for item in arguments])
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return call


Run = Callable[..., tuple[int, str, str]]


# --- the configuration -----------------------------------------------------------------------------------------------


def test_the_file_is_what_the_reference_server_reads_and_shares_no_history(config: Path) -> None:
    document = yaml.safe_load(config.read_text())
    [table] = document["shares"][0]["schemas"][0]["tables"]
    assert document["version"] == 1
    assert (document["host"], document["endpoint"]) == ("localhost", "/delta-sharing")
    assert document["shares"][0]["name"] == "hospital"
    assert document["shares"][0]["schemas"][0]["name"] == "releases"
    assert table.pop("id")
    assert table == {"name": "visits", "location": "s3a://bucket/visits", "historyShared": False, "cdfEnabled": False}


def test_a_new_configuration_has_a_token_that_nobody_was_given(config: Path, tmp_path: Path) -> None:
    """Without one the reference server answers everybody."""
    other = shared(tmp_path / "other.yaml")
    assert len(token_of(config)) >= 43
    assert token_of(config) != token_of(other)


def test_what_the_provider_wrote_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "sharing.yml"
    path.write_text(
        "version: 1\nport: 9000\nhost: 'NO'\nssl: {selfSigned: true}\nrequestTimeoutSeconds: 5\nratio: 0.5\n"
        "shares:\n- name: old\n  schemas: [{name: s, tables: [{name: t, location: 'gs://b/t', startVersion: 3}]}]\n"
        "authorization: {bearerToken: '1e7'}\n"
    )
    before = yaml.safe_load(path.read_text())
    shared(path, VISITS, SharedName("old", "s", "u"))
    after = yaml.safe_load(path.read_text())
    assert after["shares"][0]["schemas"][0]["tables"][0] == before["shares"][0]["schemas"][0]["tables"][0]
    assert [table["name"] for table in after["shares"][0]["schemas"][0]["tables"]] == ["t", "u"]
    assert {key: after[key] for key in before if key != "shares"} == {key: before[key] for key in before if key != "shares"}
    assert read_config(path).authorization.bearer_token == "1e7"  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["hospital.releases.visits", "Hospital.RELEASES.Visits"])
def test_a_name_is_shared_once(config: Path, name: str) -> None:
    before = config.read_bytes()
    with pytest.raises(SpecError, match="already"), editing(config) as server:
        server.add(SharedName.parse(name), "s3a://bucket/other")
    assert config.read_bytes() == before


def test_remove_takes_one_table_and_what_it_leaves_empty(config: Path, run: Run) -> None:
    shared(config, SharedName("hospital", "releases", "labs"), SharedName("hospital", "other", "visits"))
    assert run("share", "remove", "hospital.releases.visits", "--config", config)[0] == 0
    assert [str(name) for name, _ in read_config(config).tables] == ["hospital.releases.labs", "hospital.other.visits"]
    assert run("share", "remove", "hospital.RELEASES.labs", "--config", config, "--json")[0] == 0
    assert [schema.name for share in read_config(config).shares for schema in share.schemas] == ["other"]
    code, out, err = run("share", "remove", "hospital.releases.labs", "--config", config)
    assert (code, out) == (2, "")
    assert "no table is shared under this name" in err


def test_list_shows_tables_and_expiry_and_never_the_token(config: Path, run: Run) -> None:
    code, out, err = run("share", "list", "--config", config, "--json")
    document = json.loads(out)
    assert (code, document["token_expires"]) == (0, None)
    assert document["tables"] == [{"table": "hospital.releases.visits", "location": "s3a://bucket/visits"}]
    run("share", "config", config.with_name("a.share"), "--config", config, *ISSUE)
    code, out, err = run("share", "list", "--config", config)
    expires = json.loads(config.with_name("a.share").read_text())["expirationTime"]
    assert (code, "hospital.releases.visits" in out, expires in out) == (0, True, True)
    assert token_of(config) not in out + err


def test_a_configuration_without_a_token_is_warned_of(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "sharing.yaml"
    path.write_text("version: 1\nshares: []\n")
    assert "answers everybody" in run("share", "list", "--config", path)[2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: 1\nshares: [{name: s, schemas: [{name: s, tables: [{name: t, location: 'gs://b', historyShared: true}]}]}]",
         "the history of s.s.t is shared"),
        ("version: 1\nshares: [{name: s, schemas: [{name: s, tables: [{name: t, location: 'gs://b', cdfEnabled: true}]}]}]",
         "the history of s.s.t is shared"),
        ("version: 2\n", "version"),
        ("version: 1\nauthorization: {bearerToken: {secretword: secretword}}", "authorization.bearerToken"),
        ("version: 1\nauthorization: {bearerToken: \"secretword\\q\"}", "not valid YAML"),
        ("just text", "must be a mapping with the keys version, shares"),
    ],
)  # fmt: skip
def test_a_file_of_another_kind_is_refused_and_nothing_of_it_is_said(tmp_path: Path, run: Run, text: str, message: str) -> None:
    path = tmp_path / "sharing.yaml"
    path.write_text(text)
    for arguments in (["list"], ["remove", "a.b.c"], ["config", tmp_path / "a.share", *ISSUE]):
        code, out, err = run("share", *arguments, "--config", path)
        assert (code, out) == (2, "")
        assert message in err
        assert "secretword" not in err
    assert path.read_text() == text
    assert not (tmp_path / "a.share").exists()


def test_a_missing_or_misnamed_configuration_is_an_error(tmp_path: Path, run: Run) -> None:
    assert "no such file" in run("share", "list", "--config", tmp_path / "none.yaml")[2]
    assert "no such file" in run("share", "remove", "a.b.c", "--config", tmp_path / "none.yaml")[2]
    assert run("share", "remove", "a.b.c", "--config", tmp_path / "sharing.json")[0] == 2
    assert run("share", "remove", "a.b.c", "--config", tmp_path / "none" / "sharing.yaml")[0] == 2
    assert not list(tmp_path.iterdir()), "not even a lock"


@pytest.mark.parametrize("name", ["a.b", "a.b.c.d", "a..c", "a b.c.d", "a/b.c.d", "a.b.c`", "-a.b.c", ""])
def test_names_are_three_plain_words(name: str) -> None:
    with pytest.raises(SpecError, match=r"is not a name SHARE\.SCHEMA\.TABLE"):
        SharedName.parse(name)


@pytest.mark.parametrize("path", ["hdfs://nn:8020/visits", "dbfs:/visits", "viewfs://c/visits", "https://host/visits"])
def test_a_store_that_no_server_serves_is_refused(path: str) -> None:
    with pytest.raises(SpecError, match="this store"):
        server_location(path)


def test_two_writers_take_turns(config: Path) -> None:
    def slowly() -> None:
        with editing(config) as server:
            entered.set()
            time.sleep(0.2)
            server.add(SharedName("a", "b", "slow"), "gs://b/slow")

    entered = threading.Event()
    thread = threading.Thread(target=slowly)
    thread.start()
    entered.wait(5)
    shared(config, SharedName("a", "b", "quick"))
    thread.join()
    assert {name.table for name, _ in read_config(config).tables} == {"visits", "slow", "quick"}


# --- who can read what -----------------------------------------------------------------------------------------------


def test_secrets_are_their_owners_from_the_first_byte(
    config: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at while the bytes are on their way, with the most open umask, over a file that all could read."""
    config.chmod(0o644)
    profile = tmp_path / "acme.share"
    seen: list[tuple[str, int]] = []
    sync = os.fsync

    def look(handle: int) -> None:
        written = Path(f"/proc/self/fd/{handle}").readlink()
        seen.append((written.name, mode(written)))
        sync(handle)

    monkeypatch.setattr(private_files.os, "fsync", look)
    before = os.umask(0)
    try:
        assert run("share", "config", profile, "--config", config, *ISSUE)[0] == 0
        assert run("share", "config", profile, "--config", config, *ISSUE, "--overwrite")[0] == 0
    finally:
        os.umask(before)
    assert [found for _, found in seen] == [0o600] * 4
    assert [mode(config), mode(profile)] == [0o600, 0o600]
    assert not [
        path for path in tmp_path.iterdir() if path.name.startswith((".acme", ".sharing.yaml.")) and path.suffix != ".lock"
    ]


def test_the_token_is_in_the_files_and_nowhere_else(
    config: Path, run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    first, profile = token_of(config), tmp_path / "acme.share"
    said = [
        run("share", "config", profile, "--config", config, *ISSUE),
        run("share", "config", tmp_path / "b.share", "--config", config, *ISSUE, "--json"),
        run("share", "list", "--config", config),
        run("share", "config", profile, "--config", config, *ISSUE),  # refused: it is there
    ]
    assert [code for code, _, _ in said] == [0, 0, 0, 2]
    tokens = [first, json.loads(profile.read_text())["bearerToken"], token_of(config)]
    assert len(set(tokens)) == 3
    everything = caplog.text + "".join(out + err for _, out, err in said)
    assert not [token for token in tokens if token in everything]


# --- profiles --------------------------------------------------------------------------------------------------------


def test_a_profile_is_what_clients_read_and_expires_when_it_says(config: Path, run: Run, tmp_path: Path) -> None:
    files, server = [tmp_path / "a.share", tmp_path / "b.share"], token_of(config)
    code, out, _ = run("share", "config", *files, "--config", config, *ISSUE, "--json")
    document = json.loads(files[0].read_text())
    assert (code, json.loads(out)["profiles"]) == (0, [str(path) for path in files])
    assert sorted(document) == ["bearerToken", "endpoint", "expirationTime", "shareCredentialsVersion"]
    assert document["shareCredentialsVersion"] == 1
    assert document["bearerToken"] == token_of(config) != server
    assert json.loads(files[1].read_text()) == document
    left = datetime.fromisoformat(document["expirationTime"]) - datetime.now(UTC)
    assert timedelta(days=29, hours=23, minutes=59) < left <= timedelta(days=30)
    assert json.loads(out)["token_expires"] == document["expirationTime"]


def test_a_profile_that_is_there_is_not_replaced_silently(config: Path, run: Run, tmp_path: Path) -> None:
    new, old, before = tmp_path / "new.share", tmp_path / "old.share", config.read_bytes()
    old.write_text("theirs")
    code, _, err = run("share", "config", new, old, "--config", config, *ISSUE)
    assert (code, old.read_text(), new.exists()) == (2, "theirs", False)
    assert "--overwrite" in err
    assert config.read_bytes() == before, "recipients' tokens still work"
    assert run("share", "config", new, old, "--config", config, *ISSUE, "--overwrite")[0] == 0
    assert json.loads(old.read_text())["bearerToken"] == token_of(config)


def test_all_profiles_are_written_or_none(config: Path, run: Run, tmp_path: Path) -> None:
    """A profile whose token the server never gets would be of no use, and the one it replaced was."""
    first, second = tmp_path / "a.share", tmp_path / "b.share"
    run("share", "config", first, "--config", config, *ISSUE)
    before = first.read_text(), config.read_text()
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.share").mkdir()
    for bad in (tmp_path / "none" / "b.share", tmp_path / "file" / "b.share", tmp_path / "folder.share"):
        code, _, err = run("share", "config", first, bad, "--config", config, *ISSUE, "--overwrite")
        assert (code, str(bad) in err) == (2, True)
    code, _, err = run("share", "config", second, first, "--config", config, *ISSUE)
    assert (code, str(first) in err, second.exists()) == (2, True, False)
    assert (first.read_text(), config.read_text()) == before
    assert sorted(path.name for path in tmp_path.glob("*.share*")) == ["a.share", "folder.share"]
    assert not list(tmp_path.glob(".*.share.*"))


def test_a_disk_that_is_full_leaves_no_half_of_a_secret(
    config: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(private_files.os, "fsync", full)
    assert "No space left" in run("share", "config", tmp_path / "a.share", "--config", config, *ISSUE)[2]
    assert not (tmp_path / "a.share").exists()


def test_a_link_is_not_followed(config: Path, run: Run, tmp_path: Path) -> None:
    """Somebody else's link in a common folder would have the token written where they can read it."""
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "dangling.share").symlink_to(elsewhere)
    assert run("share", "config", tmp_path / "dangling.share", "--config", config, *ISSUE)[0] == 2
    assert run("share", "config", tmp_path / "dangling.share", "--config", config, *ISSUE, "--overwrite")[0] == 0
    assert not elsewhere.exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"--days": "0"}, "1 to 90"),
        ({"--days": "91"}, "1 to 90"),
        ({"--days": None}, "--days"),
        ({"--endpoint": None}, "--endpoint"),
        ({"--endpoint": "http://sharing.example.org/x"}, "https"),
        ({"--endpoint": "ftp://localhost/x"}, "https"),
        ({"--endpoint": "https://user:word@example.org/x"}, "address"),
        ({"--endpoint": "https://[bad/x"}, "address"),
        ({"--endpoint": "sharing.example.org"}, "address"),
    ],
)
def test_expiry_and_a_safe_address_are_mandatory(
    config: Path, run: Run, tmp_path: Path, changed: dict[str, str | None], message: str
) -> None:
    options = {"--days": "30", "--endpoint": "https://sharing.example.org/delta-sharing"} | changed
    given = [item for key, value in options.items() if value is not None for item in (key, value)]
    before = config.read_bytes()
    code, _, err = run("share", "config", tmp_path / "a.share", "--config", config, *given)
    assert code == 2
    assert message in err
    assert not (tmp_path / "a.share").exists()
    assert config.read_bytes() == before


@pytest.mark.parametrize("names", [["a.json"], ["a.share", "./a.share"], ["none/a.share"]])
def test_a_profile_has_a_place_and_a_name_of_its_own(config: Path, run: Run, tmp_path: Path, names: list[str]) -> None:
    before = config.read_bytes()
    assert run("share", "config", *[f"{tmp_path}/{name}" for name in names], "--config", config, *ISSUE)[0] == 2
    assert config.read_bytes() == before


def test_the_help_says_what_the_reference_server_cannot_do() -> None:
    said = " ".join((share_cli.share_config.__doc__ or "").split())
    assert "one token for all recipients" in said
    assert "does not look at its expiry" in said
