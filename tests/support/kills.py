"""Releases that die, or that something happens to, while they draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from dp_spark.release import draw as drawing


class KilledError(BaseException):
    """Not an Exception: nothing may catch it."""


def die(*_: Any, **__: Any) -> NoReturn:
    raise KilledError


def while_drawing(monkeypatch: pytest.MonkeyPatch, happen: Callable[[], None]) -> None:
    """Lets something happen once, between the checks of a run and its publication."""
    original = drawing._draw

    def draw(*arguments: Any) -> Any:
        monkeypatch.setattr(drawing, "_draw", original)
        happen()
        return original(*arguments)

    monkeypatch.setattr(drawing, "_draw", draw)
