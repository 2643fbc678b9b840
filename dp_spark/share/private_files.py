"""Files that hold a secret: readable by their owner alone from their first byte on."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from dp_spark.errors import SpecError


def write_private(files: Mapping[Path, str], *, replace: bool) -> None:
    """Writes files of mode 0600: none, where one of them cannot be made.

    Args:
        files: Where each goes, and what is written.
        replace: Whether files that are there are replaced, each in one step; else they are an error.

    Raises:
        SpecError: If a file is there already, or cannot be written.

    Guarantees: no other user can open a file at any moment, whatever the umask is and whatever was there before.
    """
    made: dict[Path, Path] = {}
    path = next(iter(files))
    try:
        for path, text in files.items():
            # A new file each time: the old one's mode, its open handles and a link in its place must not matter.
            target = path.with_name(f".{path.name}.{secrets.token_hex(8)}") if replace else path
            handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            made[path] = target
            with open(handle, "w", encoding="utf-8") as file:  # noqa: PTH123 - a handle, not a path
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        for path in files:
            if replace and path.is_dir():
                raise IsADirectoryError(errno.EISDIR, "is a directory")
        if replace:
            for path, target in made.items():
                target.replace(path)
    except OSError as error:
        for target in made.values():
            with contextlib.suppress(OSError):
                target.unlink()
        raise (already_there(path) if isinstance(error, FileExistsError) else not_writable(path, error)) from None


def already_there(path: Path) -> SpecError:
    """The error for a file that must not be replaced silently."""
    return SpecError("is there already", where=str(path), mend="choose another file, or replace it with --overwrite")


def not_writable(path: Path, error: OSError) -> SpecError:
    """The error for a place where a file cannot be made."""
    return SpecError(f"cannot be written: {error.strerror}", where=str(path), mend="choose a folder that you can write to")
