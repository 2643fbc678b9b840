"""The witness of a local ledger: a small file beside the table that remembers the last entry that was written.

A chain of digests shows a change anywhere but at its end: whoever cuts off the last entries, deletes the newest file of the
Delta log or puts an older copy back leaves a sound, shorter chain. The witness knows better. A ledger that is not on a
local path has none; there the table's history and the outbox (which keeps the seal of every charge that was drawn) say it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from dp_spark.errors import DamageError
from dp_spark.ledger.rows import Seal
from dp_spark.places.paths import is_local
from dp_spark.tables.refs import TableRef


class Witness:
    """The witness of one ledger.

    Args:
        ledger: Where the ledger is.
    """

    def __init__(self, ledger: TableRef) -> None:
        self.ledger = str(ledger)
        self.path: Path | None = None
        if ledger.path is not None and is_local(ledger.path):
            self.path = Path(ledger.path).parent / f".{Path(ledger.path).name}.head"

    def seen(self) -> list[Seal]:
        """The last entry that was written, if any; ask before reading the ledger.

        Raises:
            DamageError: If it cannot be read.
        """
        if self.path is None or not self.path.exists():
            return []
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            return [Seal(int(found["sequence"]), str(found["digest"]))]
        except (OSError, ValueError, KeyError, TypeError):
            raise DamageError(
                "the ledger's witness cannot be read", where=str(self.path), mend="restore it from a backup (docs/ledger.md)"
            ) from None

    def remember(self, seal: Seal) -> None:
        """Remembers an entry that was committed; to be called under the ledger's lock.

        Raises:
            DamageError: If it cannot be written.
        """
        if self.path is None:
            return
        fresh = self.path.with_suffix(".head-new")
        try:
            with fresh.open("w", encoding="utf-8") as file:
                json.dump(asdict(seal), file)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
        except OSError as error:
            raise DamageError(
                f"the ledger's witness cannot be written: {error.strerror}",
                where=str(self.path),
                mend="make it writable, then run the same command again",
            ) from None

    def check_never_there(self) -> None:
        """Checks, where there is no ledger, that there never was one.

        Raises:
            DamageError: If there was.
        """
        for seal in self.seen():
            raise DamageError(
                f"the ledger is gone: the file {self.path} has seen {seal.sequence} entries of it",
                where=self.ledger,
                mend="restore the ledger from a backup; remove that file only if nothing charged there was ever published",
            )
