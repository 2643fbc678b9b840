"""A release in a process of its own that kills itself, with its JVM, at a named point: ``crash_run.py POINT ARGUMENTS...``.

Everything after POINT is what ``dp-spark run`` takes. Without a kill it ends with that command's exit code.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import yaml

from dp_spark.cli import main
from dp_spark.engine import aggregation
from dp_spark.ledger.outbox import Outbox
from dp_spark.ledger.table import Ledger
from dp_spark.release import draw as drawing
from dp_spark.tables import sink as sinks


def die() -> NoReturn:
    """SIGKILL to this process and to everything that it started."""
    os.killpg(0, signal.SIGKILL)
    raise AssertionError("killed")


def before(owner: Any, name: str) -> None:
    setattr(owner, name, lambda *_arguments, **_named: die())


def after(owner: Any, name: str) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def replaced(*arguments: Any, **named: Any) -> Any:
        original(*arguments, **named)
        die()

    setattr(owner, name, replaced)


def during(owner: Any, name: str, ready: Callable[[], bool]) -> None:
    """Dies as soon as something is true while a function runs."""
    original = getattr(owner, name)

    def watch() -> None:
        while not ready():
            time.sleep(0.002)
        die()

    @functools.wraps(original)
    def replaced(*arguments: Any, **named: Any) -> Any:
        threading.Thread(target=watch, daemon=True).start()
        return original(*arguments, **named)

    setattr(owner, name, replaced)


def a_new_file_in(folder: Path) -> Callable[[], bool]:
    known = set(folder.glob("*.parquet"))
    return lambda: bool(set(folder.glob("*.parquet")) - known)


def after_seconds(seconds: float) -> Callable[[], bool]:
    began: list[float] = []

    def ready() -> bool:
        began.append(time.monotonic())
        return began[-1] - began[0] > seconds

    return ready


def points(file: Path) -> Mapping[str, Callable[[], None]]:
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    ledger, sink = Path(document["ledger"]["path"]), Path(document["sink"]["path"])
    outbox = ledger.with_name(f"{ledger.name}_outbox")
    return MappingProxyType(
        {
            "before_charge": lambda: before(Ledger, "charge"),
            "during_charge": lambda: during(Ledger, "charge", a_new_file_in(ledger)),
            "after_charge": lambda: after(Ledger, "charge"),
            "while_aggregating": lambda: during(aggregation, "collect", after_seconds(0.1)),
            "after_noise": lambda: after(drawing, "_add_noise"),
            "during_outbox": lambda: during(Outbox, "commit", a_new_file_in(outbox)),
            "after_outbox": lambda: after(Outbox, "commit"),
            "during_write": lambda: during(sinks, "publish", a_new_file_in(sink)),
            "after_commit": lambda: after(sinks, "publish"),
            "before_published": lambda: before(Ledger, "mark_published"),
            "after_published": lambda: after(Ledger, "mark_published"),
        }
    )


if __name__ == "__main__":
    points(Path(sys.argv[2]))[sys.argv[1]]()
    sys.exit(main(["run", *sys.argv[2:]]))
