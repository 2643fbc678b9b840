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
