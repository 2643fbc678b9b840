"""The local folders of a release: its sink is apart from what it reads and from the books."""

from __future__ import annotations

from dp_spark.errors import SpecError
from dp_spark.places.paths import fixed_part, is_local, resolve
from dp_spark.places.stores import overlap
from dp_spark.spec.release_spec import ReleaseSpec
from dp_spark.spec.source_checks import sources_of


def check_places(spec: ReleaseSpec) -> None:
    """Checks that the local folders of a release are different ones; what lies elsewhere only Spark can compare.

    Args:
        spec: The release file, after ``${NAME}``.

    Raises:
        SpecError: If the sink overlaps a source, the ledger or its outbox, or the ledger is a source.
    """
    ledger, sink = _local(spec.ledger.path), _local(spec.sink.path)
    read = {where: place for where, source in sources_of(spec).items() if (place := _local(source.path)) is not None}
    books = {} if ledger is None else {"ledger": ledger, "outbox": f"{ledger}_outbox"}
    for role, place in {**books, **{where: fixed_part(place) for where, place in read.items()}}.items():
        if sink is not None and overlap(sink, place):
            raise SpecError(f"the sink is the {role}, or inside or above it", where="sink", mend="give it a place of its own")
    for role, place in read.items():
        if ledger == place:
            raise SpecError(f"the ledger is the {role}", where="ledger", mend="give it a place of its own")


def _local(path: str | None) -> str | None:
    return resolve(path) if path is not None and is_local(path) else None
