"""What may be shared: a release that its ledger was charged for, in its own place, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyspark.sql import SparkSession

from dp_spark.errors import DamageError, SpecError
from dp_spark.ledger.books import read_books
from dp_spark.ledger.on_delta import books_at
from dp_spark.ledger.outbox import Outbox
from dp_spark.ledger.state import LedgerState
from dp_spark.ledger.verification import verify_release
from dp_spark.places.identities import same_source
from dp_spark.places.stores import canonical
from dp_spark.spark.errors import translated
from dp_spark.spark.settings import bookkeeping
from dp_spark.spec.release_spec import Location
from dp_spark.tables import delta as tables
from dp_spark.tables.refs import TableRef, quoted_name

#: What brings no rows: at most it moves those that are there.
_UPKEEP = ("OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES", "UNSET TBLPROPERTIES")
_MEND = "share the table in which `dp-spark run` published it"


def check_shareable(spark: SparkSession, ledger: TableRef, release: TableRef) -> dict[str, Any]:
    """Checks that a table may be shared, now and with all that its versions ever held.

    Args:
        spark: The session.
        ledger: The ledger that paid for the release.
        release: The table.

    Returns:
        Its manifest.

    Raises:
        BudgetError: If there is no ledger.
        SpecError: If the table is the ledger, the outbox or a protected source, or inside or above one of them, or is not
            where the release was published.
        SourceError: If there is no table, or one without a manifest.
        DamageError: If ledger or outbox is damaged, the release was not charged or not published there, its rows or its
            manifest are not those that were drawn, or somebody else wrote to the table.

    Guarantees: a table that passes shows the rows of a draw that the ledger was charged for; none of the versions that its
    history names brought other rows.
    """
    for ref in (ledger, release):
        Location.model_validate({"path": ref.path, "table": ref.name})
    with bookkeeping(spark):
        book, outbox = books_at(spark, ledger)
        state, _ = read_books(book, outbox)
        _check_apart(spark, state, outbox, release)
        tables.require_manifest(spark, release)
        manifest = verify_release(spark, outbox, state, release)
        _check_place(spark, state, outbox, release, str(manifest["release_id"]))
        _check_history(spark, state, release)
    return manifest


def _check_apart(spark: SparkSession, state: LedgerState, outbox: Outbox, release: TableRef) -> None:
    location = tables.location_of(spark, release)
    private = [(tables.location_of(spark, outbox.ledger), "ledger"), (tables.location_of(spark, outbox.ref), "outbox")]
    private += [(source, "protected source") for source in state.charged_sources]
    for place, role in private:
        if same_source(location, place):
            raise SpecError(f"this is the {role}, or inside or above it: it is private", where=str(release), mend=_MEND)


def _check_place(spark: SparkSession, state: LedgerState, outbox: Outbox, release: TableRef, release_id: str) -> None:
    """A copy has a history of its own, which nobody checked when it was made; a draw can be replaced with its digest."""
    done, draw = state.publication_of(release_id), outbox.find(release_id)
    if done is None:
        raise DamageError(
            f"{release_id}: the ledger does not say that it is published",
            where=str(release),
            mend=f"complete it: dp-spark run FILE --release-id {release_id}",
        )
    if draw is None or draw.digest != done.draw:
        raise DamageError(f"{release_id}: the draw is not the one that the ledger names", where=str(outbox.ref))
    if _location(spark, done.sink) != _location(spark, str(release)):
        raise SpecError(f"{release_id} was published elsewhere ({done.sink})", where=str(release), mend=_MEND)


def _location(spark: SparkSession, sink: str) -> str:
    return canonical(tables.location_of(spark, TableRef.stored(sink)))


def _check_history(spark: SparkSession, state: LedgerState, release: TableRef) -> None:
    """An older version can be read by whoever gets at the files, and a deleted row can still be in one of them.

    What the ledger says was published counts, not what a commit says of itself: anybody can write a release id into one.
    """
    location = _location(spark, str(release))
    here = {sink for sink in {place.sink for place in state.publications} if _location(spark, sink) == location}
    ours = {(place.version, place.release_id) for place in state.publications if place.sink in here}
    with translated(DamageError, "the table's history cannot be read", where=str(release)):
        history = spark.sql(f"DESCRIBE HISTORY {release.sql}").select("version", "operation", "userMetadata").collect()
    for version, operation, release_id in history:
        if operation not in _UPKEEP and (version, release_id) not in ours:
            raise DamageError(
                f"version {version} ({operation}) is not one that this ledger says was published",
                where=str(release),
                mend="complete what `dp-spark budget verify` lists as unfinished; if that is not it, publish into a fresh "
                "place and share that: what was written here may be private",
            )


# --- Databricks shares tables of Unity Catalog by name ---------------------------------------------------------------


def databricks_sql(share: str, shared_as: str, release: TableRef, recipients: Sequence[str]) -> list[str]:
    """The statements that share a release of Unity Catalog, to be run there.

    Args:
        share: The share's name.
        shared_as: The table's name in the share: ``schema.table``.
        release: The release.
        recipients: Who may read the share.

    Raises:
        SpecError: If the release is not a table ``catalog.schema.table``.

    >>> databricks_sql("hospital", "gold.visits", TableRef(None, "main.gold.visits"), ["acme"])[1]
    'ALTER SHARE `hospital` ADD TABLE `main`.`gold`.`visits` AS `gold`.`visits` WITHOUT HISTORY;'
    """
    if release.name is None or release.name.count(".") != 2:
        raise SpecError(
            "Databricks shares tables of Unity Catalog", where=str(release), mend="give its name CATALOG.SCHEMA.TABLE"
        )
    name = _quoted(share)
    return [
        f"CREATE SHARE IF NOT EXISTS {name};",
        # WITH HISTORY is the default of newer runtimes, so it must be said.
        f"ALTER SHARE {name} ADD TABLE {quoted_name(release.name)} AS {quoted_name(shared_as)} WITHOUT HISTORY;",
        *(f"GRANT SELECT ON SHARE {name} TO RECIPIENT {_quoted(recipient)};" for recipient in recipients),
    ]


def _quoted(name: str) -> str:
    if not name.strip() or not name.isprintable():
        raise SpecError("is not a name", where=name.strip() or "--recipient", mend="give the recipient's name")
    return "`" + name.replace("`", "``") + "`"
