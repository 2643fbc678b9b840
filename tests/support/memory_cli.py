"""The commands of ``dp-spark budget`` on stores in memory: without a session, in this process."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

import pytest
from memory_books import MemoryBooks
from release_helpers import Outcome

from dp_spark.cli import main


def budget_commands(books: MemoryBooks, patch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """``dp-spark budget`` where whatever is a ledger is in the memory of these books."""
    patch.setattr("dp_spark.cli.budget.session", lambda: None)
    patch.setattr("dp_spark.ledger.on_delta.DeltaStore", books.store)
    patch.setattr("dp_spark.spark.settings.bookkeeping", lambda _: contextlib.nullcontext())

    def call(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = main(["budget", *(os.fspath(item) if isinstance(item, os.PathLike) else str(item) for item in arguments)])
        captured = capfd.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return Outcome(code, captured.out, captured.err)

    return call
