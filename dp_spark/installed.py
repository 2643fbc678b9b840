"""Files that come with the package."""

from __future__ import annotations

from pathlib import Path


def conf_file(name: str) -> Path:
    """A file of ``conf/``: beside the package in a checkout, inside it when installed from a wheel."""
    inside = Path(__file__).parent / "conf" / name
    return inside if inside.exists() else Path(__file__).parent.parent / "conf" / name
