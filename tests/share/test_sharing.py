"""Sharing from end to end: what is accepted, what is refused, and what the real Delta Sharing client then reads."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import delta_sharing
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import requests
import yaml
from checkout import ROOT
from delta_sharing.protocol import DeltaSharingProfile, Table
from delta_sharing.rest_client import DataSharingRestClient
from release_helpers import MEAN, PATIENTS, Outcome, Place, write_delta
from sharing_server import serving

from dp_spark.cli import main
from dp_spark.ledger.outbox import Draw
from dp_spark.share.server_config import read_config

pytestmark = pytest.mark.books_in_memory

Cli = Callable[..., Outcome]
URL = "hospital.releases.visits"


@pytest.fixture(scope="module")
def added(made_once: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration that ``share add`` makes of the releases that tests share."""
    path, ledger = tmp_path_factory.mktemp("added") / "sharing.yaml", str(made_once.ledger)
    assert main(["share", "add", URL, str(made_once.sink), "--ledger", ledger, "--config", str(path), "--json"]) == 0
    return path


@pytest.fixture
def config(added: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(added, tmp_path / "sharing.yaml"))


def add(place: Place, cli: Cli, config: Path, release: object = None, *more: str, ledger: Path | None = None) -> Outcome:
    table = place.sink if release is None else release
    return cli("share", "add", URL, table, "--ledger", ledger or place.ledger, "--config", config, *more)


def issue(cli: Cli, config: Path, profile: Path, endpoint: str, *more: str) -> str:
    outcome = cli("share", "config", profile, "--config", config, "--endpoint", endpoint, "--days", "1", *more)
    assert outcome.code == 0, outcome.err
    return str(profile)


@pytest.fixture
def open_share(config: Path, cli: Cli, tmp_path: Path) -> Iterator[str]:
    """The profile of a recipient whose server is running."""
    profile = tmp_path / "acme.share"
    issue(cli, config, profile, "http://127.0.0.1:1/delta-sharing")
    with serving(config) as server:
        at(profile, server.endpoint)
        yield str(profile)


def at(profile: Path, endpoint: str, **changes: str) -> None:
    document = json.loads(profile.read_text()) | {"endpoint": endpoint} | changes
    profile.write_text(json.dumps(document))


def refused(outcome: Outcome, config: Path, code: int, message: str) -> None:
    assert (outcome.code, outcome.out) == (code, ""), outcome.err
    assert message in outcome.err
    assert not config.exists()


# --- what recipients read --------------------------------------------------------------------------------------------


def test_the_client_reads_the_rows_that_were_published(released: Place, open_share: str) -> None:
    frame = delta_sharing.load_as_pandas(f"{open_share}#{URL}")
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    assert rows == released.sink_rows() == released.drawn("r2").rows.to_pylist()
    assert rows != released.drawn("r1").rows.to_pylist()
    found = delta_sharing.SharingClient(open_share).list_all_tables()
    assert [(table.share, table.schema, table.name) for table in found] == [tuple(URL.split("."))]


def test_the_manifest_and_the_comments_reach_the_recipient(released: Place, open_share: str) -> None:
    """In Delta's own format; in the older one, which a server prefers for simple tables, properties are left out."""
    client = DataSharingRestClient(DeltaSharingProfile.read_from_file(open_share))
    client.set_delta_format_header()
    table = Table(**dict(zip(("share", "schema", "name"), URL.split("."), strict=True)))
    metadata = client.query_table_metadata(table).metadata
    assert json.loads(metadata.configuration["dp_spark.manifest"]) == released.drawn("r2").manifest
    assert not delta_sharing.get_table_metadata(f"{open_share}#{URL}").configuration
    comments = {field["name"]: field["metadata"].get("comment", "") for field in json.loads(metadata.schema_string)["fields"]}
    assert "noise" in comments["patients"]


def test_older_versions_are_not_served(open_share: str) -> None:
    assert delta_sharing.get_table_version(f"{open_share}#{URL}") == 1
    for asked in ({"version": 0}, {"timestamp": "2020-01-01T00:00:00Z"}):
        with pytest.raises(requests.HTTPError, match="history sharing is not enabled"):
            delta_sharing.load_as_pandas(f"{open_share}#{URL}", **asked)
    with pytest.raises(requests.HTTPError, match="history sharing is not enabled"):
        delta_sharing.load_table_changes_as_pandas(f"{open_share}#{URL}", starting_version=0)


def test_what_is_not_in_the_configuration_is_not_found(open_share: str) -> None:
    for name in ("hospital.releases.other", "hospital.other.visits", "other.releases.visits"):
        with pytest.raises(requests.HTTPError, match="404"):
            delta_sharing.load_as_pandas(f"{open_share}#{name}")


def test_a_wrong_token_is_refused(open_share: str) -> None:
    profile = Path(open_share)
    at(profile, json.loads(profile.read_text())["endpoint"], bearerToken="wrong")
    with pytest.raises(requests.HTTPError, match="401"):
        delta_sharing.load_as_pandas(f"{profile}#{URL}")


def test_rotation_ends_old_profiles_when_the_server_is_restarted(
    released: Place, cli: Cli, config: Path, tmp_path: Path
) -> None:
    old, new = tmp_path / "old.share", tmp_path / "new.share"
    issue(cli, config, old, "http://127.0.0.1:1/delta-sharing")
    with serving(config) as server:
        issue(cli, config, new, server.endpoint)
        at(old, server.endpoint)
        assert len(delta_sharing.load_as_pandas(f"{old}#{URL}")) == len(released.sink_rows()), "the server knows only its start"
    with serving(config) as server:
        at(old, server.endpoint)
        at(new, server.endpoint)
        with pytest.raises(requests.HTTPError, match="401"):
            delta_sharing.load_as_pandas(f"{old}#{URL}")
        assert len(delta_sharing.load_as_pandas(f"{new}#{URL}")) == len(released.sink_rows())


def test_an_expired_token_is_refused_where_expiry_is_enforced(cli: Cli, config: Path, tmp_path: Path) -> None:
    """By a proxy that reads the configuration; the reference server itself goes on serving until the token is rotated."""
    profile = tmp_path / "acme.share"
    issue(cli, config, profile, "http://127.0.0.1:1/delta-sharing")
    document = yaml.safe_load(config.read_text())
    document["authorization"]["expirationTime"] = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    late = tmp_path / "late.yaml"
    late.write_text(yaml.safe_dump(document))
    for path, enforces, served in ((config, True, True), (late, True, False), (late, False, True)):
        with serving(path, enforces_expiry=enforces) as server:
            at(profile, server.endpoint)
            if served:
                assert delta_sharing.get_table_version(f"{profile}#{URL}") == 1
                continue
            with pytest.raises(requests.HTTPError, match="expired token"):
                delta_sharing.get_table_version(f"{profile}#{URL}")


# --- what is accepted ------------------------------------------------------------------------------------------------


def test_add_writes_the_place_and_says_what_the_reference_server_cannot_do(released: Place, cli: Cli, tmp_path: Path) -> None:
    config = tmp_path / "sharing.yaml"
    outcome = add(released, cli, config, None, "--json")
    assert outcome.document == {
        "table": URL,
        "location": f"file://{released.sink}",
        "release_id": "r2",
        "config": str(config),
    }
    assert "S3, Azure and Google storage only" in outcome.err
    [(_, table)] = read_config(config).tables
    assert (table.location, table.history_shared, table.cdf_enabled) == (f"file://{released.sink}", False, False)
    assert config.stat().st_mode & 0o777 == 0o600
    authorization = read_config(config).authorization
    assert authorization is not None
    assert authorization.bearer_token not in outcome.out + outcome.err


def private_places(released: Place) -> dict[str, tuple[Path, str]]:
    return {
        "ledger": (released.ledger, "this is the ledger"),
        "outbox": (released.outbox_path, "this is the outbox"),
        "source": (released.source, "this is the protected source"),
        "inside the ledger": (released.ledger / "_delta_log", "this is the ledger"),
        "inside the source": (released.source / "part", "this is the protected source"),
        "above": (released.folder, "this is the ledger"),
        "above the source": (released.source.parent, "this is the protected source"),
    }


@pytest.mark.parametrize(
    "what", ["ledger", "outbox", "source", "inside the ledger", "inside the source", "above", "above the source"]
)
def test_private_places_are_refused(released: Place, cli: Cli, tmp_path: Path, what: str) -> None:
    path, message = private_places(released)[what]
    config = tmp_path / "sharing.yaml"
    if what == "source":  # a link is as private as what it leads to
        path = tmp_path / "link"
        path.symlink_to(released.source)
    refused(add(released, cli, config, path), config, 2, message)


@pytest.mark.slow
def test_a_raw_table_is_refused(released: Place, cli: Cli, tmp_path: Path) -> None:
    config = tmp_path / "sharing.yaml"
    raw = write_delta(released.spark, tmp_path / "raw", [{"patient": "p1", "cost": 1.0}])
    refused(add(released, cli, config, raw), config, 4, "carries no dp-spark manifest")
    refused(add(released, cli, config, tmp_path / "none"), config, 4, "there is no Delta table")
    manifest = json.dumps(released.drawn("r2").manifest)
    frame = released.spark.range(3).writeTo(f"delta.`{tmp_path / 'forged'}`").using("delta")
    frame.tableProperty("dp_spark.manifest", manifest).create()
    refused(add(released, cli, config, tmp_path / "forged"), config, 6, "the rows differ")


def test_places_that_cannot_be_meant_are_refused(released: Place, cli: Cli, tmp_path: Path) -> None:
    config = tmp_path / "sharing.yaml"
    refused(add(released, cli, config, f"{released.sink}@v0"), config, 2, "must not end like a version")
    refused(add(released, cli, config, "hdfs://nn:8020/visits"), config, 2, "this store")
    refused(add(released, cli, config, "main.gold.visits"), config, 2, "--sql")
    refused(add(released, cli, config, None, "--recipient", "acme"), config, 2, "--sql")
    refused(add(released, cli, config, None, "--sql"), config, 2, "one of --config and --sql")
    refused(cli("share", "add", URL, released.sink, "--ledger", released.ledger), config, 2, "one of --config and --sql")
    refused(add(released, cli, config, ledger=tmp_path / "none"), config, 3, "ledger")


@pytest.mark.long
@pytest.mark.books_on_delta
def test_what_commits_and_the_outbox_say_of_themselves_is_not_enough(place: Place, cli: Cli) -> None:
    """Whoever can write can write a release id, too, and a digest; raw rows would stay in an old file and in the log."""
    place.release("r1", aggregates=[PATIENTS, MEAN])
    spark, config, drawn, charge = place.spark, place.folder / "sharing.yaml", place.drawn("r1"), place.entries()[-2]
    schema = spark.read.format("delta").load(str(place.sink)).schema

    def write(rows: pa.Table, mode: str) -> None:
        frame = spark.createDataFrame(rows, schema=schema).write.format("delta").mode(mode)
        frame.option("userMetadata", "r1").save(str(place.sink))

    write(drawn.rows.slice(0, 1), "append")
    write(drawn.rows, "overwrite")
    refused(add(place, cli, config), config, 6, "is not one that this ledger says was published")

    other = drawn.rows.set_column(1, "patients", pc.add(drawn.rows["patients"], 1))
    outbox = f"delta.`{place.outbox_path}`"
    spark.sql(f"ALTER TABLE {outbox} SET TBLPROPERTIES ('delta.appendOnly' = 'false')")
    spark.sql(f"DELETE FROM {outbox} WHERE release_id = 'r1'")
    place.outbox().commit(Draw(other, drawn.manifest), charge.seal)
    write(other, "overwrite")
    refused(add(place, cli, config), config, 6, "the draw is not the one that the ledger names")


def test_a_copy_is_refused(released: Place, cli: Cli, tmp_path: Path) -> None:
    config = tmp_path / "sharing.yaml"
    shutil.copytree(released.sink, tmp_path / "copy")
    refused(add(released, cli, config, tmp_path / "copy"), config, 2, "r2 was published elsewhere")


def test_a_release_of_another_ledger_is_refused(released: Place, cli: Cli, tmp_path: Path, template: Path) -> None:
    config = tmp_path / "sharing.yaml"
    shutil.copytree(template / "ledger", tmp_path / "ledger")
    other = tmp_path / "ledger"
    refused(add(released, cli, config, ledger=other), config, 6, "this ledger has no charge for it")


def test_a_second_name_is_refused_and_the_first_kept(released: Place, cli: Cli, config: Path) -> None:
    before = config.read_bytes()
    outcome = add(released, cli, config)
    assert (outcome.code, config.read_bytes()) == (2, before)
    assert "already" in outcome.err


MANIFEST = "ALTER TABLE {} SET TBLPROPERTIES ('dp_spark.manifest' = '{}')"
NO_ID = json.dumps({"format": "dp_spark.manifest/1", "dataset": "visits"})


@pytest.mark.long
def test_a_tampered_table_is_refused_however_it_looks_now(place: Place, cli: Cli) -> None:
    """One table, one change after another; in the end it is exactly what was published, except its history."""
    place.release("r1", aggregates=[PATIENTS, MEAN])
    manifest = json.dumps(place.drawn("r1").manifest).replace("'", "\\'")
    table, config = f"delta.`{place.sink}`", place.folder / "sharing.yaml"
    changes = [
        (f"VACUUM {table}", 0, ""),  # upkeep: two versions that bring no rows
        (f"ALTER TABLE {table} UNSET TBLPROPERTIES ('dp_spark.manifest')", 4, "no dp-spark manifest"),
        (MANIFEST.format(table, NO_ID), 6, "no charge"),
        (MANIFEST.format(table, manifest.replace("visits-by-ward", "visits")), 6, "the manifest differs"),
        (MANIFEST.format(table, manifest), 0, ""),
        (f"INSERT INTO {table} SELECT 'raw', 1, 0, 1, 0", 6, "the rows differ"),
        (f"UPDATE {table} SET patients = patients + 1", 6, "the rows differ"),
        (f"DELETE FROM {table} WHERE ward = 'er'", 6, "the rows differ"),
        (f"RESTORE {table} TO VERSION AS OF 0", 6, "is not one that this ledger says was published"),
    ]
    for statement, code, message in changes:
        place.spark.sql(statement)
        if code:
            refused(add(place, cli, config), config, code, message)
        else:  # neither upkeep nor a property is a row
            assert add(place, cli, config).code == 0
            config.unlink()
    assert place.sink_rows() == place.drawn("r1").rows.to_pylist()
    done = place.spark.sql(f"DESCRIBE HISTORY {table}").collect()
    assert {"VACUUM START", "VACUUM END"} <= {row["operation"] for row in done}


@pytest.mark.slow
def test_a_release_whose_charge_or_draw_is_gone_is_refused(released: Place, cli: Cli, tmp_path: Path) -> None:
    config = tmp_path / "sharing.yaml"
    for gone, statement in (("ledger", "entry != 'open'"), ("ledger_outbox", "release_id = 'r2'")):
        folder = tmp_path / gone
        for name in ("ledger", "ledger_outbox"):
            shutil.copytree(released.folder / name, folder / name)
        table = f"delta.`{folder / gone}`"
        released.spark.sql(f"ALTER TABLE {table} SET TBLPROPERTIES ('delta.appendOnly' = 'false')")
        released.spark.sql(f"DELETE FROM {table} WHERE {statement}")
        refused(add(released, cli, config, ledger=folder / "ledger"), config, 6, "ledger")


# --- Databricks ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_sql_quotes_names_and_says_without_history(place: Place, cli: Cli) -> None:
    """On the local catalog, whose names look the same; the statements themselves run on Databricks only."""
    name = "spark_catalog.default.shared_visits"
    place.spark.sql(f"DROP TABLE IF EXISTS {name}")
    place.release("r1", sink={"table": name})
    given = ["share", "add", "hos-pital.gold.visits", name, "--ledger", place.ledger, "--sql", "--recipient"]
    outcome = cli(*given, "a`b; DROP SHARE x --", "--recipient", "acme")
    assert outcome.out.splitlines() == [
        "CREATE SHARE IF NOT EXISTS `hos-pital`;",
        "ALTER SHARE `hos-pital` ADD TABLE `spark_catalog`.`default`.`shared_visits` AS `gold`.`visits` WITHOUT HISTORY;",
        "GRANT SELECT ON SHARE `hos-pital` TO RECIPIENT `a``b; DROP SHARE x --`;",
        "GRANT SELECT ON SHARE `hos-pital` TO RECIPIENT `acme`;",
    ]
    assert cli(*given, "acme", "--json").document["sql"] == [outcome.out.splitlines()[index] for index in (0, 1, 3)]
    assert cli(*given, "a\nb").code == 2
    place.spark.sql(f"UPDATE {name} SET visits = visits + 1")
    assert cli(*given, "acme").code == 6
    assert "CATALOG.SCHEMA.TABLE" in cli("share", "add", URL, place.sink, "--ledger", place.ledger, "--sql").err
    place.spark.sql(f"DROP TABLE {name}")


# --- the how-to ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.books_on_delta
def test_the_how_to_runs(place: Place, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "share.md").read_text(encoding="utf-8")
    snippets = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert {kind for kind, _ in snippets} <= {"bash", "python", "text"}
    warehouse = place.folder / "warehouse"
    warehouse.mkdir()
    shutil.move(place.ledger, warehouse / "ledger")
    monkeypatch.chdir(place.folder)
    place.release("r1", ledger={"path": "warehouse/ledger"}, sink={"path": "warehouse/releases/visits"})
    said: dict[str, Any] = {}
    for kind, snippet in snippets:
        if kind == "bash":
            for line in snippet.replace("\\\n", " ").splitlines():
                words = line.split()
                assert words[0] == "dp-spark", line
                outcome = cli(*words[1:])
                assert outcome.code == 0, (line, outcome.err)
        elif kind == "python":
            with serving(place.folder / "sharing.yaml") as server:
                at(place.folder / "acme.share", server.endpoint)
                exec(compile(snippet, "docs/share.md", "exec"), said)  # as the reader would run it
    assert sorted(said["visits"]["ward"]) == ["er", "gp", "icu"]
    assert said["manifest"]["release_id"] == "r1"
