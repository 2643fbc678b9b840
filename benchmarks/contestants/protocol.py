"""How a contestant's process talks with the driver: one JSON document a line, requests in and answers out.

Nothing but the standard library is imported here, so the file runs in every contestant's environment.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, TextIO

from benchmarks.memory import peaks, reset_peaks
from benchmarks.workloads import WORKLOADS, Workload


@dataclass(frozen=True)
class Task:
    """One call of one contestant.

    Attributes:
        workload: What to compute.
        path: The Parquet folder with the rows.
        keys_path: A Parquet folder with the public keys, all from 0 to ``partitions`` - 1.
        partitions: The number of public keys.
        scratch: A folder for whatever the contestant has to write.
        table: The table to write, where that is the task.
    """

    workload: Workload
    path: str
    keys_path: str
    partitions: int
    scratch: str
    table: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What a call brought to the driver.

    Attributes:
        rows: The number of rows.
        stages: The seconds of each stage, where there are stages.
        quantiles: Where quantiles were released: those of each key, from 0, one for each share.
    """

    rows: int
    stages: Mapping[str, float] = field(default_factory=dict)
    quantiles: Sequence[Sequence[float]] = ()


@dataclass(frozen=True)
class Offer:
    """What a contestant's process can run, once its libraries are loaded and its session is up.

    Attributes:
        runs: Name -> the call, from the path of the table until noisy rows are on the driver; all of it is timed.
        notes: Name -> what the reader of its figures has to know.
        packages: The packages whose versions are reported.
        settle: Called after each call and not timed: hands back memory, so that the next one starts like the first.
    """

    runs: Mapping[str, Callable[[Task], Answer]]
    notes: Mapping[str, str]
    packages: tuple[str, ...]
    settle: Callable[[], None] = lambda: None


def serve(start: Callable[[], Offer]) -> None:
    """Answers requests until the driver closes the pipe.

    Args:
        start: Loads the library and starts its session.
    """
    channel = _take_stdout()
    offer = start()
    versions = {package: version(package) for package in offer.packages}
    _send(channel, {"versions": versions, "notes": dict(offer.notes)})
    for line in sys.stdin:
        _send(channel, _answer(offer, json.loads(line)))


def _take_stdout() -> TextIO:
    """The pipe to the driver; whatever libraries and their child processes print goes to stderr from now on."""
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return channel


def _send(channel: TextIO, document: Mapping[str, Any]) -> None:
    channel.write(json.dumps(document) + "\n")


def _answer(offer: Offer, request: dict[str, Any]) -> dict[str, Any]:
    run = offer.runs[request.pop("run")]
    task = Task(**{**request, "workload": WORKLOADS[request["workload"]]})
    reset_peaks()
    try:
        start = time.perf_counter()
        answer = run(task)
        seconds = time.perf_counter() - start
    except Exception as error:  # noqa: BLE001 - whatever a library raises is its row in the results
        return {"error": _first_line(error)}
    peak = peaks()
    offer.settle()
    found = {"rows": answer.rows, "stages": dict(answer.stages), "quantiles": list(answer.quantiles)}
    return {"seconds": round(seconds, 3), "peak_mib": peak, **found}


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]
