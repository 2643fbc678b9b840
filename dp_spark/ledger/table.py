"""The ledger: an append-only Delta table that is the only truth about budget.

An entry is appended by a guarded MERGE on its sequence number and then read back: of two writers that saw the same
ledger one commits, and the other finds the number taken, or is refused by Delta's conflict detection, and looks
again. On a local path a file lock stands in front, as a local commit is not atomic between processes. docs/ledger.md
has the whole protocol.
"""

from __future__ import annotations

import contextlib
import difflib
import getpass
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from dp_spark.errors import BudgetError, ConflictError, DamageError, SpecError
from dp_spark.ledger.entries import CHARGE, CORRECTION, EPOCH, GENESIS, OPEN, PUBLISHED, Entry, entry_of_row
from dp_spark.ledger.same_file import corrected_meanwhile, is_correction
from dp_spark.ledger.state import LedgerState
from dp_spark.ledger.witness import Witness
from dp_spark.places.paths import is_local
from dp_spark.privacy.accountants.account import Account
from dp_spark.privacy.accountants.registry import cost_of
from dp_spark.privacy.decimals import decimal_text
from dp_spark.privacy.events import Event, events_to_json
from dp_spark.spark.errors import SPARK_ERRORS, is_concurrent, translated
from dp_spark.tables.delta import exists, has_local_log, operations, read
from dp_spark.tables.refs import TableRef
from dp_spark.tables.store import create_table, local_lock, merge_rows

_COLUMNS = """entry STRING, dataset STRING, sequence BIGINT, release_id STRING, file_digest STRING, accountant STRING,
privacy_unit STRING, source STRING, events STRING, epsilon STRING, delta STRING, rho STRING, reason STRING,
at TIMESTAMP, who STRING, previous_digest STRING"""
# Every commit stays in the history: what was done to the table besides appending can be seen for ever.
_PROPERTIES = """'delta.isolationLevel' = 'Serializable', 'delta.appendOnly' = 'true',
'delta.logRetentionDuration' = 'interval 36500 days'"""
#: What may happen to a ledger; whatever else its history names, such as DELETE or RESTORE, changed or removed entries.
_HARMLESS = frozenset(
    ("CREATE TABLE", "MERGE", "SET TBLPROPERTIES", "UPGRADE PROTOCOL", "OPTIMIZE", "VACUUM START", "VACUUM END")
)
_ATTEMPTS = 12


class Ledger:
    """One ledger table.

    Args:
        spark: The session.
        ref: Where the table is.
    """

    def __init__(self, spark: SparkSession, ref: TableRef) -> None:
        self.spark = spark
        self.ref = ref
        self.witness = Witness(ref)

    def state(self) -> LedgerState:
        """The ledger now, checked.

        Raises:
            BudgetError: If there is no ledger.
            DamageError: If it is not what it must be, or no longer holds what a witness has seen.
        """
        if not exists(self.spark, self.ref):
            self.witness.check_never_there()
            raise BudgetError("there is no ledger here", where=str(self.ref), mend=_right_place(self.ref))
        return self._read()

    def examine(self) -> tuple[LedgerState, DamageError | None]:
        """The ledger up to its first damage, and what is wrong with it.

        Raises:
            BudgetError: If there is no ledger.
        """
        try:
            return self.state(), None
        except DamageError as error:
            with contextlib.suppress(DamageError):
                return LedgerState.sound_part(self._entries(), self.witness.seen(), where=str(self.ref)), error
            return LedgerState((), where=str(self.ref)), error

    def open(self, dataset: str, account: Account, reason: str | None = None, group: str | None = None) -> LedgerState:
        """Opens an account, and makes the ledger where there is none yet.

        Args:
            dataset: The dataset it is for.
            account: Its budget.
            reason: Why, for people.
            group: The group of datasets that share users with this one: a charge to one counts in all of them.

        Raises:
            BudgetError: If the dataset has an account already, or the group and the account do not fit.
        """
        with local_lock(self.ref):
            if not exists(self.spark, self.ref):
                self.witness.check_never_there()
                create_table(self.spark, self.ref, _COLUMNS, _PROPERTIES)

        def entry(state: LedgerState) -> Entry:
            state.check_open(dataset, account, group)
            return _opening(dataset, account, reason, group)

        return self._append(entry, None)

    def raise_budget(self, dataset: str, account: Account, reason: str) -> LedgerState:
        """Raises an account to new totals, by a new opening entry with its reason.

        Raises:
            BudgetError: If there is no account, a total would fall, or the accountant would change.
            SpecError: If there is no reason.
        """
        if not reason.strip():
            raise SpecError("is empty", where="--reason", mend="say why the budget is raised")

        def entry(state: LedgerState) -> Entry:
            state.check_raise(dataset, account)
            return _opening(dataset, account, reason, state.account(dataset).group)

        return self._append(entry, self.state())

    def charge(
        self,
        dataset: str,
        events: Sequence[Event],
        *,
        release_id: str,
        file_digest: str,
        privacy_unit: str,
        source: str,
        guarantee: tuple[str, str],
        unparsed: str | None = None,
        known: LedgerState | None = None,
    ) -> LedgerState:
        """Charges a release to an account; the same release is charged once only.

        Args:
            dataset: The account.
            events: Every draw of the release.
            release_id: Its identity.
            file_digest: The digest of its effective file.
            privacy_unit: Its unit, as JSON.
            source: Its source's identity.
            guarantee: The release's own (epsilon, delta), as decimal text.
            unparsed: The file's digest without parsing, where its source is parsed (``ReleaseSpec.unparsed_digest``).
            known: A state read a moment ago; if it is stale by now it is read again.

        Raises:
            BudgetError: If the account cannot bear it, or the release id was charged for another file.
            ConflictError: If other runs kept coming first.
        """

        def entry(state: LedgerState) -> Entry | None:
            if state.charge_of(release_id) is not None:
                is_correction(state, release_id, file_digest, unparsed)
                return None
            state.check_charge(dataset, events, privacy_unit=privacy_unit, source=source)
            account = state.account(dataset)
            accountant = account.account.accountant
            return _entry(
                CHARGE,
                dataset,
                release_id=release_id,
                file_digest=file_digest,
                accountant=accountant,
                privacy_unit=privacy_unit,
                source=source,
                events=events_to_json(events, unparsed),
                epsilon=guarantee[0],
                delta=guarantee[1],
                rho=decimal_text(cost_of(events, accountant).amount) if accountant == "zcdp" else None,
            )

        return self._append(entry, known)

    def correct(
        self,
        charge: Entry,
        file_digest: str,
        *,
        unparsed: str | None,
        check_undrawn: Callable[[], None],
        known: LedgerState | None = None,
    ) -> LedgerState:
        """Lets a charged release go on with a file that differs in parsing only; costs nothing, and is written once for a file.

        Args:
            charge: Its charge.
            file_digest: The digest of the corrected file.
            unparsed: The same without parsing.
            check_undrawn: Raises where the release was drawn; asked under the ledger's lock.
            known: A state read a moment ago.

        Raises:
            BudgetError: If more than parsing differs. ConflictError: if other runs came first, or it was drawn meanwhile.
        """
        release_id = str(charge.release_id)

        def entry(state: LedgerState) -> Entry | None:
            if not is_correction(state, release_id, file_digest, unparsed):
                return None
            check_undrawn()
            return _entry(
                CORRECTION,
                charge.dataset,
                release_id=release_id,
                file_digest=file_digest,
                accountant=charge.accountant,
                privacy_unit=charge.privacy_unit,
                source=charge.source,
            )

        return self._append(entry, known)

    def check_counts(self, release_id: str, file_digest: str) -> None:
        """Checks that a file is the last one that a charge was made or corrected for.

        Raises:
            ConflictError: If it was corrected since.
        """
        if self.state().digests_of(release_id)[-1] != file_digest:
            raise corrected_meanwhile(release_id)

    def mark_published(
        self, charge: Entry, sink: str, version: int, draw_digest: str, known: LedgerState | None = None
    ) -> LedgerState:
        """Writes down that a charged release is in its sink, in this version of the table, with this draw."""

        def entry(state: LedgerState) -> Entry | None:
            if state.publication_of(str(charge.release_id)) is not None:
                return None
            return _entry(
                PUBLISHED,
                charge.dataset,
                release_id=charge.release_id,
                file_digest=charge.file_digest,
                accountant=charge.accountant,
                privacy_unit=charge.privacy_unit,
                source=charge.source,
                events=json.dumps({"sink": sink, "version": version, "draw": draw_digest}),
            )

        # An entry that got lost would be written again by the next run of this release (and found missing by a witness
        # before that): it spends nothing, so that MERGE counts it as inserted is enough.
        return self._append(entry, known, read_back=False)

    def _append(
        self, make: Callable[[LedgerState], Entry | None], known: LedgerState | None, *, read_back: bool = True
    ) -> LedgerState:
        with local_lock(self.ref):
            for attempt in range(_ATTEMPTS):
                state = known if known is not None and attempt == 0 else self._read()
                made = make(state)
                if made is None:
                    return state
                made = replace(made, sequence=state.next_sequence, previous_digest=state.last_digest)
                inserted = 0
                try:
                    inserted = merge_rows(self.spark, self.ref, self.spark.createDataFrame(_as_rows(made)), "sequence")
                except SPARK_ERRORS as error:
                    if not is_concurrent(error):
                        raise _unwritable(self.ref) from None
                after = LedgerState((*state.entries, made), where=str(self.ref)) if inserted and not read_back else self._read()
                if after.entries[made.sequence - 1 : made.sequence] == (made,):
                    self.witness.remember(after.entries[-1].seal)
                    return after
                time.sleep(min(5.0, 0.1 * 2**attempt) * (0.5 + random.random()))  # noqa: S311 - jitter, not noise
        raise ConflictError("other runs kept writing to the ledger", where=str(self.ref), mend="run the same command again")

    def _read(self) -> LedgerState:
        seen = self.witness.seen()  # before the table: a rival's entry that comes in between is no damage
        state = LedgerState(self._entries(), where=str(self.ref))
        state.check_seals(seen, f"the file {self.witness.path}")
        if not seen:
            self.check_history()
        return state

    def _entries(self) -> list[Entry]:
        with translated(
            DamageError, "the ledger cannot be read", where=str(self.ref), mend="check that it is a dp-spark ledger"
        ):
            table = read(self.spark, self.ref).withColumn("at", F.unix_micros("at")).toArrow()
        try:
            rows = table.to_pylist()
            return [entry_of_row({**row, "at": EPOCH + timedelta(microseconds=row["at"])}) for row in rows]
        except (KeyError, TypeError, ValueError, OverflowError):
            raise DamageError(
                "the table is not a ledger, or an entry cannot be read",
                where=str(self.ref),
                mend="name the ledger's own place, or restore it from a backup (docs/ledger.md)",
            ) from None

    def check_history(self) -> None:
        """Checks that nothing but appending ever happened to the table.

        Raises:
            DamageError: If its history names anything else, such as a RESTORE to an older state.
        """
        with translated(DamageError, "the ledger's history cannot be read", where=str(self.ref)):
            found = operations(self.spark, self.ref)
        for version, operation in found:
            if operation not in _HARMLESS:
                raise DamageError(
                    f"the ledger was changed by {operation} in version {version} of its table",
                    where=str(self.ref),
                    mend="find out who did it; put a backup of its files back (docs/ledger.md)",
                )


def _opening(dataset: str, account: Account, reason: str | None, group: str | None) -> Entry:
    return _entry(
        OPEN,
        dataset,
        accountant=account.accountant,
        epsilon=decimal_text(account.epsilon),
        delta=decimal_text(account.delta),
        rho=None if account.rho is None else decimal_text(account.rho),
        reason=reason,
        events="[]" if group is None else json.dumps({"group": group}),
    )


def _entry(kind: str, dataset: str, **values: str | None) -> Entry:
    blank: dict[str, str | None] = dict.fromkeys(("release_id", "file_digest", "privacy_unit", "source", "rho", "reason"), None)
    required = {"events": "[]", "epsilon": "0", "delta": "0", "accountant": ""}
    return Entry(
        entry=kind,
        dataset=dataset,
        sequence=0,
        at=datetime.now(UTC),
        who=_user(),
        previous_digest=GENESIS,
        **{**blank, **required, **values},  # type: ignore[arg-type]
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _as_rows(entry: Entry) -> pa.Table:
    values = asdict(entry)
    types = {"sequence": pa.int64(), "at": pa.timestamp("us", tz="UTC")}
    return pa.table({name: pa.array([value], types.get(name, pa.string())) for name, value in values.items()})


def _right_place(ref: TableRef) -> str:
    """The mend where no ledger is found: a second ledger would be a second budget, so none is offered."""
    mend = "correct its place: a dataset's budget is where it was opened; if none ever was, see `dp-spark budget open --help`"
    if ref.path is None or not is_local(ref.path):
        return mend
    place = Path(ref.path.removeprefix("file:"))
    with contextlib.suppress(OSError):  # an offer only
        beside = [
            item.name for item in place.parent.iterdir() if not item.name.endswith("_outbox") and has_local_log(str(item))
        ]
        near = difflib.get_close_matches(place.name, beside, n=1)
        return f"did you mean {place.parent / near[0]}?" if near else mend
    return mend


def _unwritable(ref: TableRef) -> DamageError:
    return DamageError(
        "the ledger cannot be written", where=str(ref), mend="check that it is writable, then run the same command again"
    )
