"""The commands of ``dp-spark budget`` on stores in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from memory_books import MemoryBooks

if TYPE_CHECKING:
    from release_helpers import Outcome


@pytest.fixture
def books(tmp_path: Path) -> MemoryBooks:
    """Where ``budget`` finds its ledgers; the one in ``tmp_path`` is not there yet."""
    return MemoryBooks(tmp_path)


@pytest.fixture
def budget(books: MemoryBooks, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """``dp-spark budget`` in this process, on these books."""
    from memory_cli import budget_commands

    return budget_commands(books, monkeypatch, capfd)
