from __future__ import annotations

import pytest

from dp_spark.errors import (
    BudgetError,
    ConflictError,
    DamageError,
    DpSparkError,
    SourceError,
    SpecError,
)


@pytest.mark.parametrize(
    ("kind", "exit_code"),
    [(DpSparkError, 1), (SpecError, 2), (BudgetError, 3), (SourceError, 4), (ConflictError, 5), (DamageError, 6)],
)
def test_exit_codes_are_the_contracts(kind: type[DpSparkError], exit_code: int) -> None:
    assert kind.exit_code == exit_code
    assert issubclass(kind, DpSparkError)


def test_error_codes_are_distinct_words() -> None:
    kinds = [DpSparkError, SpecError, BudgetError, SourceError, ConflictError, DamageError]
    assert len({kind.code for kind in kinds}) == len(kinds)


@pytest.mark.parametrize(
    ("where", "mend", "line"),
    [
        ("a.b", "do x", "a.b: wrong (mend: do x)"),
        ("a.b", "", "a.b: wrong"),
        ("", "do x", "wrong (mend: do x)"),
        ("", "", "wrong"),
    ],
)
def test_an_error_is_one_line(where: str, mend: str, line: str) -> None:
    assert str(SpecError("wrong", where=where, mend=mend)) == line


def test_json_form_has_exactly_the_contracts_keys() -> None:
    error = BudgetError("too much", where="budget", mend="ask for less")
    assert error.to_dict() == {
        "code": "budget_refused",
        "message": "too much",
        "where": "budget",
        "mend": "ask for less",
    }


def test_json_form_says_what_was_charged_where_it_was() -> None:
    """The four keys come first; a verdict on the command itself cannot be finished by the same command."""
    for error, resumable in (
        (SourceError("unreadable"), True),
        (ConflictError("another run came first"), True),
        (ConflictError("a newer release is there", final=True), False),
        (BudgetError("another file"), False),
    ):
        error.of_release("r1", charged=True)
        document = error.to_dict()
        assert list(document) == ["code", "message", "where", "mend", "charged", "release_id", "resumable"]
        assert list(document.values())[4:] == [True, "r1", resumable]
        assert str(error).endswith("r1 can finish it" if resumable else "command cannot finish it")
    error.of_release("r1", charged=None)
    assert "may have been charged as r1" in str(error)
