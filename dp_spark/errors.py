"""The exceptions of dp-spark, each with the exit code the command line ends with.

An error says what is wrong, where (file, key, column or table) and how to mend it. It never carries a value or
a count that was read from a private table, so it can be shown to anybody and logged anywhere.
"""

from __future__ import annotations

from typing import ClassVar


class DpSparkError(Exception):
    """Base of every error that dp-spark raises on purpose.

    Args:
        message: What is wrong, in one sentence, without private values.
        where: The file, key, column or table it is about.
        mend: What the reader can do about it.
    """

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, where: str = "", mend: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.mend = mend

    def __str__(self) -> str:
        """One line: where, what, mend.

        >>> str(SpecError("must be positive", where="budget.epsilon", mend="write a number above 0"))
        'budget.epsilon: must be positive (mend: write a number above 0)'
        """
        line = f"{self.where}: {self.message}" if self.where else self.message
        return f"{line} (mend: {self.mend})" if self.mend else line

    def to_dict(self) -> dict[str, str]:
        """The error as the ``--json`` document shows it."""
        return {"code": self.code, "message": self.message, "where": self.where, "mend": self.mend}


class SpecError(DpSparkError):
    """The release file, the usage or a place is wrong: nothing private was read, and an earlier charge stays."""

    exit_code = 2
    code = "bad_release_file"


class BudgetError(DpSparkError):
    """The ledger refuses the charge: nothing was written."""

    exit_code = 3
    code = "budget_refused"


class SourceError(DpSparkError):
    """A source is missing or of the wrong shape."""

    exit_code = 4
    code = "bad_source"


class ConflictError(DpSparkError):
    """Another run got there first; running the same command again is safe, and useless where a newer release is in the sink."""

    exit_code = 5
    code = "lost_to_concurrent_run"


class DamageError(DpSparkError):
    """The ledger, the outbox or a release does not hold what it must hold."""

    exit_code = 6
    code = "damaged"
