"""The driver's end of a contestant's process: starts it, asks it, and ends it when it takes too long."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.environments import MODULES, ROOT, WORK, python_of

#: Of every contestant's JVM; three of them live at a time.
HEAP = "6g"
_START_LIMIT, _STOP_LIMIT = 240.0, 30.0


class ContestantFailedError(Exception):
    """The process gave no answer; the message says why."""


class Contestant:
    """One long-lived process in one environment.

    Attributes:
        name: The environment's name.
        versions: The versions of its libraries.
        notes: What its contestants' figures mean.
    """

    def __init__(self, name: str) -> None:
        """Starts the process and waits until it is ready.

        Raises:
            ContestantFailedError: If it does not come up. EnvironmentFailedError: if its environment cannot be made.
        """
        self.name = name
        scratch = WORK / "scratch" / name
        scratch.mkdir(parents=True, exist_ok=True)
        python = python_of(name)
        self._log = (WORK / f"{name}.log").open("wb")
        self._process = subprocess.Popen(
            [str(python), "-m", MODULES[name]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=scratch,
            env=_environment(python),
            start_new_session=True,  # so that its JVM and Python workers can be ended with it
        )
        self._lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        hello = self._receive(_START_LIMIT)
        self.versions: dict[str, str] = hello["versions"]
        self.notes: dict[str, str] = hello["notes"]

    def ask(self, request: Mapping[str, Any], limit: float) -> dict[str, Any]:
        """One call: its answer, or what went wrong in it.

        Raises:
            ContestantFailedError: If the process died, or did not answer within ``limit`` seconds and was ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise ContestantFailedError("the process has died") from None
        return self._receive(limit)

    def close(self) -> None:
        """Ends the process, gently first."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_LIMIT)
        self._end()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def _receive(self, limit: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=limit)
        except queue.Empty:
            self._end()
            raise ContestantFailedError(f"no answer within {limit:.0f} s; the process was ended") from None
        if not line:
            self._end()
            raise ContestantFailedError(_last_words(Path(self._log.name)))
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()


def _environment(python: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYSPARK_PYTHON": str(python),
        "PYSPARK_DRIVER_PYTHON": str(python),
        "PYSPARK_SUBMIT_ARGS": f"--driver-memory {HEAP} pyspark-shell",
        "SPARK_LOCAL_IP": "127.0.0.1",
    }


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f"the process died: {lines[-1] if lines else 'it said nothing'}"[:300]
