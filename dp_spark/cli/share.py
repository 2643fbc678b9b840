"""The commands ``dp-spark share ...``: add, list, remove, config."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dp_spark.cli.options import together
from dp_spark.cli.terminal import AsJson, emit, home, log, out, session
from dp_spark.errors import SpecError

if TYPE_CHECKING:
    from dp_spark.share.server_config import SharedName
    from dp_spark.tables.refs import TableRef

share_app = typer.Typer(
    name="share",
    help="Share published releases over Delta Sharing: with the open-source server, or on Databricks.",
    no_args_is_help=True,
)

_NAME = Annotated[str, typer.Argument(metavar="SHARE.SCHEMA.TABLE", help="The table's name as recipients see it.")]
_CONFIG = Annotated[
    Path,
    typer.Option(
        "--config", metavar="FILE", callback=home, help="The sharing server's configuration (.yaml); kept with mode 0600."
    ),
]


@dataclass(frozen=True)
class Way:
    """The options that say how a release is shared: by a server's configuration, or on Databricks by SQL."""

    config: Annotated[
        Path | None,
        typer.Option(
            "--config", metavar="FILE", callback=home, help="Add it to this server configuration; made where there is none."
        ),
    ] = None
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL that shares it on Databricks, and change nothing.")] = False
    recipients: Annotated[
        list[str] | None, typer.Option("--recipient", help="With --sql: grant the share to this recipient; repeatable.")
    ] = None


@share_app.command("add")
@together
def share_add(
    name: _NAME,
    release: Annotated[str, typer.Argument(metavar="RELEASE", help="The published table: a path or a name a.b.c.")],
    ledger: Annotated[str, typer.Option("--ledger", help="The ledger that paid for it: a path or a table name a.b.c.")],
    way: Way,
    as_json: AsJson = False,
) -> None:
    """Share a release.

    The table is accepted only if its manifest and its rows are those that were drawn, the ledger was charged for them, and
    nothing but releases was ever written to it. A raw table, a source, the ledger and the outbox are refused. Recipients
    see the newest version only: its history and its change feed are not shared.
    """
    from dp_spark.share.server_config import SharedName
    from dp_spark.tables.refs import TableRef

    shared, ref = SharedName.parse(name), TableRef.parse(release)
    if (way.config is None) == (not way.sql):
        raise SpecError("give one of --config and --sql", where="share add", mend="--config FILE, or --sql for Databricks")
    if way.config is None:
        _print_sql(shared, ref, TableRef.parse(ledger), way.recipients or [], as_json)
    elif way.recipients:
        raise SpecError("belongs to --sql", where="--recipient", mend="write profile files with `dp-spark share config`")
    else:
        _add_to_config(shared, ref, TableRef.parse(ledger), way.config, as_json)


def _print_sql(name: SharedName, release: TableRef, ledger: TableRef, recipients: list[str], as_json: bool) -> None:
    from dp_spark.share.sharing import check_shareable, databricks_sql

    statements = databricks_sql(name.share, f"{name.schema}.{name.table}", release, recipients)
    check_shareable(session(), ledger, release)
    if as_json:
        emit({"sql": statements})
    else:
        for statement in statements:
            out().print(statement, soft_wrap=True, markup=False)


def _add_to_config(name: SharedName, release: TableRef, ledger: TableRef, config: Path, as_json: bool) -> None:
    from dp_spark.places.paths import is_local
    from dp_spark.share.server_config import editing, server_location
    from dp_spark.share.sharing import check_shareable

    if release.path is None:
        raise SpecError("the server needs a path, not a name", where=str(release), mend="share it on Databricks with --sql")
    location = server_location(release.path)
    manifest = check_shareable(session(), ledger, release)  # takes its time: others may change the file meanwhile
    with editing(config, create=True) as server:
        server.add(name, location)
    if is_local(release.path):
        log().print(
            "[yellow]warning:[/yellow] the reference server hands out files of S3, Azure and Google storage only; "
            "a local table needs another server (docs/share.md)",
            soft_wrap=True,
        )
    if as_json:
        emit({"table": str(name), "location": location, "release_id": manifest["release_id"], "config": str(config)})
    else:
        out().print(f"Shared {name}: {location}", soft_wrap=True, markup=False)
        log().print("Restart the server: it reads its configuration at the start.", style="dim")


@share_app.command("list")
def share_list(config: _CONFIG, as_json: AsJson = False) -> None:
    """Show which tables a server configuration shares, and when its token expires."""
    from rich.markup import escape
    from rich.table import Table

    from dp_spark.share.server_config import read_config

    server = read_config(config)
    expires = None if server.authorization is None else server.authorization.expiration_time
    if as_json:
        shared = [{"table": str(name), "location": table.location} for name, table in server.tables]
        emit({"tables": shared, "token_expires": expires})
        return
    shown = Table("table", "location")
    for name, table in server.tables:
        shown.add_row(escape(str(name)), escape(table.location))
    out().print(shown)
    if server.authorization is None:
        log().print("[yellow]warning:[/yellow] it has no token: the server answers everybody", soft_wrap=True)
    else:
        out().print(f"The token expires {expires}." if expires else "No recipient has a profile yet: see `share config`.")


@share_app.command("remove")
def share_remove(name: _NAME, config: _CONFIG, as_json: AsJson = False) -> None:
    """Share a table no more, from the server's next start; recipients keep what they have read."""
    from dp_spark.share.server_config import SharedName, editing

    shared = SharedName.parse(name)
    with editing(config) as server:
        server.remove(shared)
    if as_json:
        emit({"removed": str(shared), "config": str(config)})
    else:
        out().print(f"Removed {shared}. Restart the server.", markup=False)


@share_app.command("config")
def share_config(
    profiles: Annotated[
        list[Path], typer.Argument(metavar="PROFILE...", callback=home, help="A .share file for each recipient.")
    ],
    config: _CONFIG,
    endpoint: Annotated[str, typer.Option("--endpoint", help="Where recipients reach the server: https://HOST/delta-sharing.")],
    days: Annotated[int, typer.Option("--days", help="The days until the token expires: 1 to 90.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace profile files that are there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a new token, and write it into the server's configuration and recipients' profiles.

    The files have mode 0600; the token is printed nowhere. Hand each recipient its file over a safe channel.

    The reference server knows one token for all recipients and all shares, and does not look at its expiry. So name the
    profiles of all recipients: earlier ones end when the server is started again with the new token. Run this by the day
    of expiry, and at once when a recipient leaves or a file is lost. Recipients who must not see each other's shares need
    a configuration and a server each.
    """
    from dp_spark.share.profiles import issue_profiles
    from dp_spark.share.server_config import editing

    with editing(config) as server:
        expires = issue_profiles(server, profiles, endpoint=endpoint, days=days, overwrite=overwrite)
    if as_json:
        emit({"profiles": [str(path) for path in profiles], "token_expires": expires, "config": str(config)})
        return
    for path in profiles:
        out().print(f"Wrote {path}", soft_wrap=True, markup=False)
    out().print(f"The token expires {expires}. Restart the server: older profiles end then, and not before.")
