"""The exceptions of dp-spark, each with the exit code the command line ends with.

An error says what is wrong, where (file, key, column or table) and how to mend it. It never carries a value or
a count that was read from a private table, so it can be shown to anybody and logged anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar


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
        #: All that is wrong where it is more than this one thing; this error is the first of it.
        self.problems: Sequence[DpSparkError] = ()

    def __str__(self) -> str:
        """One line: where, what, mend.

        >>> str(SpecError("must be positive", where="budget.epsilon", mend="write a number above 0"))
        'budget.epsilon: must be positive (mend: write a number above 0)'
        """
        line = f"{self.where}: {self.message}" if self.where else self.message
        more = f" (and {len(self.problems) - 1} more)" if self.problems else ""
        return (f"{line} (mend: {self.mend})" if self.mend else line) + more

    @property
    def lines(self) -> list[str]:
        """One line for each thing that is wrong."""
        return [str(problem) for problem in self.problems] or [str(self)]

    def to_dict(self) -> dict[str, Any]:
        """The error as the ``--json`` document shows it: the first problem, and where there are more, a list of all."""
        document: dict[str, Any] = {"code": self.code, "message": self.message, "where": self.where, "mend": self.mend}
        if self.problems:
            document["problems"] = [{"message": p.message, "where": p.where, "mend": p.mend} for p in self.problems]
        return document


class SpecError(DpSparkError):
    """The release file, the usage or a place is wrong: nothing private was read, and an earlier charge stays."""

    exit_code = 2
    code = "bad_release_file"


def said_together(problems: Sequence[DpSparkError], *, file: str = "") -> SpecError:
    """One error for several problems of a file: the first one, which knows them all.

    Args:
        problems: What is wrong; at least one.
        file: The file, which is put before each key.

    >>> str(said_together([SpecError("is missing", where="name"), SpecError("is missing", where="sink")], file="a.yaml"))
    'a.yaml: name: is missing (and 1 more)'
    """
    placed = [SpecError(p.message, where=": ".join(filter(None, (file, p.where))), mend=p.mend) for p in problems]
    first = SpecError(placed[0].message, where=placed[0].where, mend=placed[0].mend)
    if len(placed) > 1:
        first.problems = placed
    return first


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
