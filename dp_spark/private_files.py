"""Files that hold a secret: readable by their owner alone from their first byte on."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from dp_spark.errors import SpecError


def write_private(path: Path, text: str, *, replace: bool) -> None:
    """Writes a file of mode 0600.

    Args:
        path: Where it goes.
        text: What is written.
        replace: Whether a file that is there is replaced, in one step; else it is an error.

    Raises:
        SpecError: If the file is there already, or cannot be written.

    Guarantees: no other user can open the file at any moment, whatever the umask is and whatever was there before.
    """
    # A new file each time: the old one's mode, its open handles and a link in its place must not matter.
    target = path.with_name(f".{path.name}.{secrets.token_hex(8)}") if replace else path
    try:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "w", encoding="utf-8") as file:  # noqa: PTH123 - a handle, not a path
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            target.replace(path)
    except FileExistsError:
        raise already_there(path) from None
    except OSError as error:
        if replace:
            target.unlink(missing_ok=True)
        raise not_writable(path, error) from None


def already_there(path: Path) -> SpecError:
    """The error for a file that must not be replaced silently."""
    return SpecError("is there already", where=str(path), mend="choose another file, or replace it with --overwrite")


def not_writable(path: Path, error: OSError) -> SpecError:
    """The error for a place where a file cannot be made."""
    return SpecError(f"cannot be written: {error.strerror}", where=str(path), mend="choose a folder that you can write to")
