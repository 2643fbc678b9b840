"""One release id is one release file: what a charged id may go on with, and what it says to anything else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dp_spark.errors import BudgetError, ConflictError
from dp_spark.ledger.state import LedgerState
from dp_spark.spec.file_digests import is_current, version_for
from dp_spark.spec.release_spec import ReleaseSpec

#: What a report says of a release whose file cannot be compared with the one that was charged.
NOT_COMPARED = "file not compared: this release was charged under digests of another format, by {version}"


def check_comparable(release_id: str, stored: str | None) -> None:
    """Checks that the digest of a release's file has the format of this version.

    Raises:
        BudgetError: If it has not: whether a file is the same cannot be told.
    """
    if not is_current(stored):
        version = version_for(stored)
        raise BudgetError(
            f"the release id {release_id} was charged by {version}, whose digests of release files cannot be compared here",
            where="--release-id",
            mend=f"finish it with {version}, or use a new release id, which is charged anew",
        )


def check_same_file(release_id: str, stored: str | None, found: str) -> None:
    """Checks that a file is the one that a release id was charged for.

    Args:
        release_id: The release.
        stored: The digest that counts for it: of its draw, else of its charge or of the charge's last correction.
        found: The digest of the file that is given now.

    Raises:
        BudgetError: If it is another file.
    """
    if stored != found:
        raise _another_file(release_id)


def is_correction(state: LedgerState, release_id: str, found: str, unparsed: str | None) -> bool:
    """Whether a charged release, of which nothing was drawn yet, can go on with a file only as a correction of its parsing.

    Args:
        state: The ledger.
        release_id: A release that was charged.
        found: The digest of the file that is given now.
        unparsed: The same without parsing (``ReleaseSpec.unparsed_digest``).

    Returns:
        False where the file is the one that counts; True where only its parsing differs.

    Raises:
        BudgetError: If anything else differs.
        ConflictError: If this way of parsing was corrected since.
    """
    digests, charge = state.digests_of(release_id), state.charge_of(release_id)
    assert charge is not None, "only a charge can be corrected"
    if found == digests[-1]:
        return False
    if found in digests:
        raise corrected_meanwhile(release_id)
    if charge.entry.unparsed is not None and charge.entry.unparsed == unparsed:
        return True
    check_same_file(release_id, digests[-1], found)
    return False


def corrected_meanwhile(release_id: str) -> ConflictError:
    """The error of a run that still parses its source in a way that was corrected."""
    return ConflictError(
        f"the parsing of the release {release_id} was corrected since this file was charged, and only the last one counts",
        where="--release-id",
        mend="run the corrected file with this id; to return to this file's parsing, write out an option of the source that "
        "has its default, such as mode: PERMISSIVE",
        final=True,
    )


def check_likely(manifest: Mapping[str, Any], spec: ReleaseSpec) -> None:
    """Checks what a manifest tells of the file that it was drawn for; all there is where the digests cannot be compared.

    Raises:
        BudgetError: If it was another file.
    """
    drawn: list[Any] = [manifest[name] for name in ("name", "dataset", "timezone", "group_by")]
    given: list[Any] = [spec.name, spec.dataset, spec.timezone, list(spec.group_by)]
    drawn.append([(item["name"], item["function"]) for item in manifest["aggregates"]])
    given.append([(item.name, item.function) for item in spec.aggregates])
    if drawn != given:
        raise _another_file(str(manifest["release_id"]))


def _another_file(release_id: str) -> BudgetError:
    return BudgetError(
        f"the release id {release_id} was charged for a different release file",
        where="--release-id",
        mend="use a new release id, or the file (with the same --set and public keys) that it was charged for",
    )
