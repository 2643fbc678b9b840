"""How rows get into the ledger and the outbox: made once, appended to under a guard, one local writer at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout
from pyspark.sql import DataFrame, SparkSession

from dp_spark.errors import ConflictError, SpecError
from dp_spark.places.paths import is_local
from dp_spark.spark.errors import SPARK_ERRORS, condition
from dp_spark.tables.delta import exists
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


def create_table(spark: SparkSession, ref: TableRef, columns: str, properties: str) -> None:
    """Makes one of our tables where it is not there yet.

    Raises:
        SpecError: If it cannot be made there.
    """
    if exists(spark, ref):
        return
    try:
        spark.sql(f"CREATE TABLE IF NOT EXISTS {ref.sql} ({columns}) USING delta TBLPROPERTIES ({properties})")
    except SPARK_ERRORS as error:
        if not exists(spark, ref):  # a rival that made it at the same moment did us a favour
            raise SpecError(
                f"the table cannot be made ({condition(error)})", where=str(ref), mend="name a place that can be written"
            ) from None


def merge_rows(spark: SparkSession, ref: TableRef, rows: DataFrame, key: str) -> int:
    """Inserts rows whose key is not in the table, in one commit; returns how many it inserted."""
    target = ref.sql.replace("{", "{{").replace("}", "}}")
    merge = f"MERGE INTO {target} AS present USING {{added}} AS added ON present.`{key}` = added.`{key}`"
    done = spark.sql(f"{merge} WHEN NOT MATCHED THEN INSERT *", added=rows).collect()
    return int(done[0]["num_inserted_rows"])
