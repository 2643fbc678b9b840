"""A ledger and every release it knows, held against each other: ``dp-spark budget verify``.

Nothing is changed and no private table is read; what is found is said with the place where it was found.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.sql import SparkSession

from dp_spark.errors import DamageError, DpSparkError
from dp_spark.ledger.books import read_books
from dp_spark.ledger.entries import Publication
from dp_spark.ledger.outbox import Outbox
from dp_spark.ledger.state import LedgerState
from dp_spark.ledger.table import Ledger
from dp_spark.published.row_comparison import same_rows
from dp_spark.spark.errors import SPARK_ERRORS, translated
from dp_spark.spec.file_digests import is_current, version_for
from dp_spark.tables import delta as tables
from dp_spark.tables.refs import TableRef


@dataclass(frozen=True)
class Finding:
    """Something that is not as it must be.

    Attributes:
        where: The table it was found in.
        message: What was found.
    """

    where: str
    message: str


@dataclass(frozen=True)
class Verification:
    """What ``verify`` found.

    Attributes:
        state: The ledger, up to its first damage.
        damage: What is not as it must be; nothing where all is well.
        unfinished: Release ids that were charged and not published.
        advice: What can be done about each of these.
        unreachable: Published releases whose table is gone, or no longer has the version they were published in.
        verified: Release ids whose published table was compared with the outbox, row by row.
    """

    state: LedgerState
    damage: tuple[Finding, ...]
    unfinished: tuple[str, ...]
    advice: Mapping[str, str]
    unreachable: tuple[str, ...]
    verified: tuple[str, ...]


class _OutOfReachError(Exception):
    """The table of a publication is gone, or the version that it was published in."""


def verify(spark: SparkSession, ledger: Ledger, outbox: Outbox) -> Verification:
    """Checks a ledger, its outbox, and every published release that can be reached.

    Args:
        spark: The session, for the published tables.
        ledger: The ledger.
        outbox: Its outbox.

    Raises:
        BudgetError: If there is no ledger.
    """
    state, error = ledger.examine()
    damage = list(_findings([_raising(error) if error else lambda: read_books(ledger, outbox), ledger.chain.check_history]))
    published = {place.release_id: place for place in state.publications}
    unreachable, verified = [], []
    for release_id, place in published.items():
        try:
            with _as_damage(place.sink):
                _check_release(spark, outbox, place)
            verified.append(release_id)
        except _OutOfReachError:
            unreachable.append(release_id)
        except DpSparkError as problem:
            damage.append(Finding(problem.where, f"{release_id}: {problem.message}"))
    sinks = sorted({place.sink for place in published.values()})
    damage += _findings([functools.partial(_check_newest, spark, outbox, state, sink) for sink in sinks])
    charged = [charge.entry.release_id for charge in state.charges]
    unfinished = tuple(release_id for release_id in charged if release_id not in published)
    drawn: set[str] = set()
    if unfinished:
        with contextlib.suppress(DamageError):  # it is among the damage already
            drawn = set(outbox.seals())
    advice = {release_id: _advice(state, release_id, drawn=release_id in drawn) for release_id in unfinished}
    return Verification(state, tuple(dict.fromkeys(damage)), unfinished, advice, tuple(unreachable), tuple(verified))


def _advice(state: LedgerState, release_id: str, *, drawn: bool) -> str:
    """How a release that was charged and not published goes on."""
    again = f"again with --release-id {release_id}"
    if drawn:
        return f"charged and drawn, not published; run its file {again}: unless a newer release is in its sink, it is published"
    digests, charge = state.digests_of(release_id), state.charge_of(release_id)
    if not is_current(digests[-1]):
        version = version_for(digests[-1])
        return (
            f"charged, not drawn; only {version} can finish it; with this version use a new release id, which is charged anew"
        )
    if len(digests) > 1:
        return f"charged, its parsing corrected, not drawn; run the corrected file {again}"
    if charge is not None and charge.entry.unparsed is not None:
        return f"charged, not drawn; run the same file {again}; only how its source is parsed may be corrected in it"
    return f"charged, not drawn; run the same file {again}"


def _as_damage(sink: str) -> contextlib.AbstractContextManager[None]:
    return translated(DamageError, "the table cannot be read", where=sink)


def _findings(checks: Iterable[Callable[[], object]]) -> Iterator[Finding]:
    for check in checks:
        try:
            check()
        except DamageError as error:
            yield Finding(error.where, error.message)


def _raising(error: DamageError) -> Callable[[], object]:
    def check() -> None:
        raise error

    return check


def _check_release(spark: SparkSession, outbox: Outbox, place: Publication) -> None:
    """One published release: its draw is the one that the ledger names, and its version of the table holds that draw."""
    draw, sink = outbox.find(place.release_id), TableRef.stored(place.sink)
    if draw is None:
        raise DamageError("it was published, but its draw is gone", where=str(outbox.ref))
    if draw.digest != place.draw:
        raise DamageError("the draw is not the one that the ledger names", where=str(outbox.ref))
    if not tables.exists(spark, sink):
        raise _OutOfReachError
    newest, found = tables.newest_version(spark, sink), tables.published_version(spark, sink, place.release_id)
    if found is None:
        raise _OutOfReachError  # the table was made anew, or its history no longer goes back that far
    if found != place.version:
        raise DamageError(f"version {place.version} of the table is not this release", where=place.sink)
    try:
        rows = tables.read_rows(spark, sink, place.version)
    except SPARK_ERRORS:
        if newest == place.version:
            raise
        raise _OutOfReachError from None  # an overwritten version may have been vacuumed
    if not same_rows(rows, draw.rows, draw.manifest["group_by"]):
        raise DamageError("the rows differ from those that were drawn", where=place.sink)


def _check_newest(spark: SparkSession, outbox: Outbox, state: LedgerState, place: str) -> None:
    """What a sink of ours shows now, where it is still there."""
    sink = TableRef.stored(place)
    with _as_damage(place):
        present = tables.exists(spark, sink)
    if present:
        verify_release(spark, outbox, state, sink)


def verify_release(spark: SparkSession, outbox: Outbox, state: LedgerState, release: TableRef) -> dict[str, Any]:
    """Checks that what a table shows now is a release that was charged in this ledger, as it was drawn.

    Args:
        spark: The session.
        outbox: The ledger's outbox.
        state: The ledger.
        release: The table, which is there.

    Returns:
        Its manifest.

    Raises:
        DamageError: If it carries no manifest, was not charged, or its manifest or rows are not those that were drawn.
    """
    place = str(release)
    with _as_damage(place):
        manifest = tables.read_manifest(spark, release)
        if manifest is None:
            raise DamageError("the table carries no manifest", where=place)
        release_id = str(manifest.get("release_id"))
        if state.charge_of(release_id) is None:
            raise DamageError(f"{release_id}: it is published, but this ledger has no charge for it", where=place)
        draw = outbox.find(release_id)
        if draw is None:
            raise DamageError(f"{release_id}: it is published, but its draw is gone from the outbox", where=place)
        if manifest != draw.manifest:
            raise DamageError(f"{release_id}: the manifest differs from the one that was drawn", where=place)
        shown = tables.read_rows(spark, release, tables.newest_version(spark, release))
        if not same_rows(shown, draw.rows, draw.manifest["group_by"]):
            raise DamageError(f"{release_id}: the rows differ from those that were drawn", where=place)
    return manifest
