"""References to our own Delta tables, by path or by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dp_spark.places.paths import resolve, spark_path
from dp_spark.spec.release_spec import Location
from dp_spark.spec.table_names import joined, parts, reads_as_name


@dataclass(frozen=True)
class TableRef:
    """A Delta table of ours, by resolved path or by name.

    Attributes:
        path: The resolved path, or None for a table by name.
        name: The table's name, or None for a table by path.
    """

    path: str | None
    name: str | None

    @staticmethod
    def of(location: Location) -> TableRef:
        """The table at a location of the release file; relative local paths become absolute here."""
        return TableRef(None if location.path is None else resolve(location.path), location.table)

    @staticmethod
    def parse(text: str) -> TableRef:
        """The table that a command-line argument means: a path, or ``a.b.c``.

        A name has a dot or backticks. ``budget.delta`` is a path, and so is whatever is there.

        >>> TableRef.parse("main.gold.visits").name, TableRef.parse("./visits").name, TableRef.parse("budget.delta").name
        ('main.gold.visits', None, None)
        """
        if reads_as_name(text) and not Path(text).exists():
            return TableRef(None, text)
        return TableRef(resolve(text), None)

    @staticmethod
    def stored(text: str) -> TableRef:
        """The table that ``str`` of a reference said: a stored path is absolute or has a scheme, a name is neither.

        >>> TableRef.stored("visits").name, TableRef.stored("/data/visits").path, TableRef.stored("s3a://b/visits").name
        ('visits', '/data/visits', None)
        """
        is_path = text.startswith("/") or ":" in text
        return TableRef(text, None) if is_path else TableRef(None, text)

    @property
    def sql(self) -> str:
        """The table as SQL names it."""
        if self.path is not None:
            return f"delta.`{spark_path(self.path)}`"
        assert self.name is not None
        return quoted_name(self.name)

    def beside(self, suffix: str) -> TableRef:
        """The table next to this one whose name has a suffix."""
        if self.path is not None:
            return TableRef(self.path + suffix, None)
        *above, last = parts(str(self.name))
        return TableRef(None, joined((*above, last + suffix)))

    def __str__(self) -> str:
        return self.path or self.name or ""


def quoted_name(name: str) -> str:
    """A table's name as Spark SQL reads it literally."""
    return ".".join(f"`{part}`" for part in parts(name))


def has_local_log(path: str) -> bool:
    """Whether a local folder is a Delta table."""
    return any((Path(path) / "_delta_log").glob("*.json")) or any((Path(path) / "_delta_log").glob("*.parquet"))
