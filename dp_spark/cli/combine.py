"""The command ``dp-spark combine``."""

from __future__ import annotations

from typing import Annotated

import typer

from dp_spark.cli.terminal import AsJson, emit, log, out, session
from dp_spark.combine.manifest import Users


def combine(
    releases: Annotated[
        list[str], typer.Argument(metavar="RELEASE", help="The parties' published tables: paths or names a.b.c.")
    ],
    sink: Annotated[str, typer.Option("--sink", help="Where the combined table goes: a path or a table name a.b.c.")],
    users: Annotated[
        Users,
        typer.Option("--users", help="Whether one user can be in the data of several parties. Only their organisations know."),
    ],
    as_json: AsJson = False,
) -> None:
    """Combine several organisations' releases of one release file into one table; costs no budget and needs no ledger."""
    from dp_spark.cli.display import show_combined
    from dp_spark.cli.documents import combined_document
    from dp_spark.combine.run import combine as combine_releases
    from dp_spark.spec.release_spec import Location
    from dp_spark.tables.refs import TableRef

    place = TableRef.parse(sink)
    Location.model_validate({"path": place.path, "table": place.name})
    result = combine_releases(session(), [TableRef.parse(release) for release in releases], place, users)
    if as_json:
        emit(combined_document(result))
    else:
        show_combined(out(), result)
    if not result.manifest["same_file"]:
        log().print(
            "[yellow]warning:[/yellow] the digests of the release files differ, or are of an earlier format, which cannot be "
            "compared. A manifest tells bounds and aggregates, but no filters and no derived columns: make sure that the files "
            "agree in these.",
            soft_wrap=True,
        )
