"""Ledgers and outboxes in memory: what they decide needs no Spark. Each is made once, and copied for each test."""

from __future__ import annotations

from pathlib import Path

import pytest
from memory_books import MemoryBooks


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, MemoryBooks]:
    """The books that tests start from."""
    opened, ten, scene = (MemoryBooks(tmp_path_factory.mktemp(name)) for name in ("opened", "ten", "scene"))
    opened.opened()
    ten.open("visits", "1", reason="approved by the board")
    for number in range(10):
        ten.charge(f"r{number}")
    for dataset in ("visits", "scans"):
        scene.open(dataset, "10")
    for release_id in ("r0", "r1"):
        scene.release(release_id)
    return {"opened": opened, "ten": ten, "scene": scene}


@pytest.fixture
def books(made: dict[str, MemoryBooks], tmp_path: Path) -> MemoryBooks:
    """A ledger with the accounts visits, gauss, rich and poor, and its outbox."""
    return made["opened"].copied(tmp_path)


@pytest.fixture
def ten(made: dict[str, MemoryBooks], tmp_path: Path) -> MemoryBooks:
    """One account of epsilon 1, after ten charges of 0.1."""
    return made["ten"].copied(tmp_path / "ten")


@pytest.fixture
def scene(made: dict[str, MemoryBooks], tmp_path: Path) -> MemoryBooks:
    """r0 and r1 are published: two openings, then charge and publication of each. Both sinks are gone."""
    return made["scene"].copied(tmp_path)
