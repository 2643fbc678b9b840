"""How much memory a process and the Java process below it have held at most, as Linux counts it; elsewhere nothing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")


def reset_peaks() -> None:
    """Starts counting anew, for this process and its Java process."""
    for pid in _measured().values():
        with contextlib.suppress(OSError):
            (_PROC / str(pid) / "clear_refs").write_text("5")


def peaks() -> dict[str, int]:
    """The peak resident set since ``reset_peaks`` in MiB: ``python`` and, where there is one, ``java``."""
    found = {name: _peak_mib(pid) for name, pid in _measured().items()}
    return {name: peak for name, peak in found.items() if peak is not None}


def _measured() -> dict[str, int]:
    java = next((pid for pid in _descendants(os.getpid()) if _status(pid).get("Name") == "java"), None)
    return {"python": os.getpid()} | ({} if java is None else {"java": java})


def _descendants(parent: int) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for folder in _PROC.glob("[0-9]*"):
        status = _status(int(folder.name))
        if "PPid" in status:
            children.setdefault(int(status["PPid"]), []).append(int(folder.name))
    open_ends = [parent]
    while open_ends:
        below = children.get(open_ends.pop(), [])
        yield from below
        open_ends += below


def _status(pid: int) -> dict[str, str]:
    try:
        lines = (_PROC / str(pid) / "status").read_text().splitlines()
    except OSError:  # the process has ended meanwhile, or there is no /proc
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _peak_mib(pid: int) -> int | None:
    peak = _status(pid).get("VmHWM")
    return None if peak is None else int(peak.split()[0]) // 1024
