"""One local writer at a time: a lock beside a ledger, held around every commit that belongs to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from dp_spark.errors import ConflictError, SpecError
from dp_spark.places.paths import is_local
from dp_spark.tables.refs import TableRef

_LOCK_SECONDS = 300.0


@contextlib.contextmanager
def local_lock(ledger: TableRef) -> Iterator[None]:
    """Held around every commit that belongs to a local ledger: a local commit is not atomic between processes.

    Elsewhere the store's own put-if-absent decides between rivals (docs/ledger.md), and nothing is held.

    Raises:
        ConflictError: If another process keeps it.
        SpecError: If the place cannot be written.
    """
    if ledger.path is None or not is_local(ledger.path):
        yield
        return
    path = Path(ledger.path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.parent / f".{path.name}.lock", timeout=_LOCK_SECONDS)
        lock.acquire()
    except Timeout:
        raise ConflictError(
            "another process holds the ledger's lock", where=str(ledger), mend="wait for it, then run the same command again"
        ) from None
    except OSError as error:
        raise SpecError(f"cannot write there: {error.strerror}", where=str(ledger), mend="make it writable") from None
    try:
        yield
    finally:
        lock.release()
