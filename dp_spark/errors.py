"""The exceptions of dp-spark, each with the exit code the command line ends with.

An error says what is wrong, where (file, key, column or table) and how to mend it. It never carries a value or
a count that was read from a private table, so it can be shown to anybody and logged anywhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar


class DpSparkError(Exception):
    """Base of every error that dp-spark raises on purpose.

    Args:
        message: What is wrong, in one sentence, without private values.
        where: The file, key, column or table it is about.
        mend: What the reader can do about it.
        final: Whether the same command cannot succeed later, whatever is mended around it.

    Attributes:
        charged: After ``of_release``: whether the release was charged; None where a commit may have gone through.
        release_id: After ``of_release``: the id with which the release goes on.
        resumable: After ``of_release``: whether the same command, with that id, can finish it.
    """

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "error"
    #: Whether such an error is a verdict on the command itself, so that the same one cannot succeed later.
    refuses: ClassVar[bool] = False

    def __init__(self, message: str, *, where: str = "", mend: str = "", final: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.mend = mend
        self.final = final
        self.charged: bool | None = False
        self.release_id: str | None = None
        self.resumable = False
        #: All that is wrong where it is more than this one thing; this error is the first of it.
        self.problems: Sequence[DpSparkError] = ()

    def of_release(self, release_id: str, *, charged: bool | None) -> None:
        """Says that a release was charged, or may have been, before this error.

        >>> error = DpSparkError("the disk is full", mend="make room")
        >>> error.of_release("r1", charged=True)
        >>> str(error)
        'the disk is full; it was charged as r1, and the same command with --release-id r1 can finish it (mend: make room)'
        """
        self.release_id, self.charged, self.resumable = release_id, charged, not (self.final or self.refuses)

    def __str__(self) -> str:
        """One line: where, what, mend, and what became of a charge.

        >>> str(SpecError("must be positive", where="budget.epsilon", mend="write a number above 0"))
        'budget.epsilon: must be positive (mend: write a number above 0)'
        """
        line = f"{self.where}: {self.message}" if self.where else self.message
        if self.release_id is not None:
            again = f"--release-id {self.release_id}"
            can = f"with {again} can" if self.resumable else "cannot"
            was = "was" if self.charged else "may have been"
            said = "" if again in self.mend else f", and the same command {can} finish it"
            line = f"{line}; it {was} charged as {self.release_id}{said}"
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
        if self.release_id is not None:
            document |= {"charged": self.charged, "release_id": self.release_id, "resumable": self.resumable}
        return document


def say_charged(error: BaseException, release_id: str, *, charged: bool | None, advice: str = "") -> None:
    """Puts onto any exception what ``DpSparkError.of_release`` says: also one that nobody foresaw must tell what was charged.

    Args:
        error: Anything that was raised.
        release_id: The release that was run.
        charged: Whether it was charged; None where a commit may have gone through.
        advice: How to go on, for one that came without a release id.
    """
    if isinstance(error, DpSparkError):
        error.of_release(release_id, charged=charged)
        if error.resumable:
            error.mend = f"{error.mend}; {advice}".strip("; ")
        return
    error.charged, error.release_id, error.resumable, error.advice = charged, release_id, True, advice  # type: ignore[attr-defined]
    was = "perhaps" if charged is None else "yes"
    error.add_note(f"charged: {was}; release id: {release_id}; run again with this id, it is not charged again")


def foreseen(error: BaseException, known: DpSparkError) -> DpSparkError:
    """An error of ours in the place of one that nobody foresaw, which keeps what ``say_charged`` said."""
    if getattr(error, "release_id", None) is not None:
        charge: Any = error
        say_charged(known, charge.release_id, charged=charge.charged, advice=charge.advice)
    return known


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


@contextlib.contextmanager
def collected(problems: list[DpSparkError]) -> Iterator[None]:
    """Keeps what is wrong with one part of a file, so that the next part is looked at, too.

    Args:
        problems: What was found; ``said_together`` makes one error of it.
    """
    try:
        yield
    except SpecError as error:
        problems += error.problems or [error]


@contextlib.contextmanager
def at_key(where: str) -> Iterator[None]:
    """Says where a SpecError belongs that comes from something that does not know its key."""
    try:
        yield
    except SpecError as error:
        raise SpecError(error.message, where=where, mend=error.mend) from None


class BudgetError(DpSparkError):
    """The ledger refuses the charge: nothing was written."""

    exit_code = 3
    code = "budget_refused"
    refuses = True


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
