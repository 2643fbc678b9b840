"""Ledgers and outboxes in memory: what they decide needs no Spark."""

from __future__ import annotations

from pathlib import Path

import pytest
from memory_books import MemoryBooks


@pytest.fixture
def books(tmp_path: Path) -> MemoryBooks:
    """A ledger with the accounts visits, gauss, rich and poor, and its outbox."""
    return MemoryBooks(tmp_path).opened()


@pytest.fixture
def ten(tmp_path: Path) -> MemoryBooks:
    """One account of epsilon 1, after ten charges of 0.1."""
    made = MemoryBooks(tmp_path / "ten")
    made.open("visits", "1", reason="approved by the board")
    for number in range(10):
        made.charge(f"r{number}")
    return made
