"""Tables that are never each other: what is protected is not public, and a sink is neither, nor the ledger or the outbox."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import SparkSession

from dp_spark.engine.source_identity import source_identity, source_location
from dp_spark.engine.sources import open_source
from dp_spark.errors import SpecError
from dp_spark.ledger.outbox import outbox_of
from dp_spark.places.identities import same_source
from dp_spark.spec.release_spec import ReleaseSpec, Source
from dp_spark.tables import delta as tables
from dp_spark.tables.refs import TableRef


def check_public_sources(spark: SparkSession, spec: ReleaseSpec, protected: list[str]) -> dict[str, str]:
    """A table that is protected cannot be declared public: as keys or in a join it would be released unpaid.

    Args:
        spark: The session.
        spec: The release file, after ``${NAME}``.
        protected: The identities of the tables that are protected.

    Returns:
        The identities of the public tables by key.

    Raises:
        SpecError: If a public table is a protected one, or overlaps it. SourceError: If one cannot be opened.
    """
    identities = {}
    for where, public in _public_sources(spec).items():
        own = source_identity(spark, public, where=where)  # says so even of one that cannot be opened so
        _check_public(own, protected, where)
        frame = open_source(spark, public, where=where, types={"unknown": "string"})
        identities[where] = source_identity(spark, public, frame, where=where)
        _check_public(identities[where], protected, where)
    return identities


def _check_public(identity: str, protected: list[str], where: str) -> None:
    if any(same_source(identity, other) for other in protected):
        raise SpecError("this table is protected, not public", where=where, mend="use a table that holds no one's data")


def _public_sources(spec: ReleaseSpec) -> dict[str, Source]:
    joined = {f"preprocess.{index}.join.source": step.join.source for index, step in enumerate(spec.preprocess) if step.join}
    public = spec.public_partitions
    return joined | ({"partitions.public.source": public.source} if public is not None and public.source is not None else {})


def kept_apart(spark: SparkSession, spec: ReleaseSpec, sources: Mapping[str, str]) -> dict[str, str]:
    """Role -> location or identities of the tables that a sink must not touch.

    Args:
        spark: The session.
        spec: The release file, after ``${NAME}``.
        sources: The identities of the sources that are known: role -> identities.
    """
    ledger = TableRef.of(spec.ledger)
    apart = {"ledger": tables.location_of(spark, ledger), "outbox": tables.location_of(spark, outbox_of(ledger))}
    for role, source in {"source": spec.source, **_public_sources(spec)}.items():
        location = sources.get(role) or source_location(spark, source)
        if location is not None:
            apart[role] = location
    return apart
