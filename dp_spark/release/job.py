"""What every step of one run of a release needs, and what its error must tell whoever runs it again."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from pyspark.sql import SparkSession

from dp_spark.errors import BudgetError, say_charged
from dp_spark.ledger.entries import check_release_id
from dp_spark.ledger.on_delta import books_at
from dp_spark.ledger.outbox import Outbox
from dp_spark.ledger.table import Ledger
from dp_spark.spec.release_spec import ReleaseSpec
from dp_spark.tables.refs import TableRef


@dataclass(frozen=True)
class Job:
    """One run of a release.

    Attributes:
        spark: The session, with ``settings.RELEASE_SETTINGS`` held.
        written: The release file as it was written: its digest is the release's.
        spec: The same after ``${NAME}``.
        release_id: The release's identity.
        on_stage: Called with the name of each stage as it begins.
        ledger: Its ledger.
        outbox: The outbox beside it.
    """

    spark: SparkSession
    written: ReleaseSpec
    spec: ReleaseSpec
    release_id: str
    on_stage: Callable[[str], None]
    ledger: Ledger
    outbox: Outbox

    @staticmethod
    def of(spark: SparkSession, written: ReleaseSpec, release_id: str, on_stage: Callable[[str], None]) -> Job:
        """The run of a release file.

        Raises:
            SpecError: If a ``${NAME}`` in it is not set.
        """
        spec = written.expand()
        return Job(spark, written, spec, release_id, on_stage, *books_at(spark, TableRef.of(spec.ledger)))


@dataclass
class Standing:
    """What became of a release so far, for the error that ends its run.

    Attributes:
        release_id: The release's identity.
        made_up: Whether the id was made up for this run, so that only its error can tell it.
        charged: Whether the release was charged; None while a commit may have gone through.
    """

    release_id: str
    made_up: bool
    charged: bool | None = False

    @staticmethod
    def of(spec: ReleaseSpec, release_id: str | None) -> Standing:
        """Nothing yet: under the id that is given, else one of its own, as two deliberate runs are two releases.

        Raises:
            SpecError: If it is no release id.
        """
        if release_id is not None:
            return Standing(check_release_id(release_id), made_up=False)
        return Standing(f"{spec.name[:80]}-{datetime.now(UTC):%Y%m%d}-{secrets.token_hex(6)}", made_up=True)

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Whatever ends the run after its charge says so: a retry under another id would be charged again."""
        try:
            yield
        except BaseException as error:
            refused = self.charged is None and isinstance(error, BudgetError)
            if self.charged is not False and not refused:
                word = "was" if self.charged else "may have been"
                advice = f"it {word} charged: run it again with --release-id {self.release_id}" if self.made_up else ""
                say_charged(error, self.release_id, charged=self.charged, advice=advice)
            raise
