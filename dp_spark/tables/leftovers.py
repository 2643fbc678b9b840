"""What a killed publisher leaves in a sink where nothing was committed: empty files, or rows that were drawn."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

from dp_spark.places.paths import is_local, spark_path
from dp_spark.published.row_comparison import same_rows
from dp_spark.spark.errors import SPARK_ERRORS
from dp_spark.tables.first_commit import is_commit_of

_DATA = re.compile(r"part-[\w.-]+\.parquet")
_COMMIT = re.compile(r"_delta_log/\.\d{20}\.json\.[\w-]+\.tmp")
_CHECKSUM = re.compile(r"(?P<folder>(?:.*/)?)\.(?P<name>[^/]+)\.crc")


class Draws(Protocol):
    """Rows that may be shown, with their manifest."""

    @property
    def rows(self) -> pa.Table:
        """The rows, noise included."""

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What they are."""


@dataclass(frozen=True)
class _File:
    name: str
    path: str
    size: int


def only_leftovers(spark: SparkSession, folder: str, drawn: Callable[[], Iterable[Draws]]) -> bool:
    """Whether a place without a table is absent or empty, or holds only what a killed publisher of these draws left.

    A Parquet file is written in one go as it is closed: one that was not closed holds at most four bytes, always the same.
    Guarantees: no file that stays holds anything but rows of ``drawn``.

    Args:
        spark: The session.
        folder: The place, resolved.
        drawn: The draws; asked only where a file has content.
    """
    if not is_local(folder):
        files = list(_listed_by_spark(spark, folder))
    elif not os.path.lexists(folder):
        return True
    elif not Path(folder).is_dir():
        return False
    else:
        files = list(_listed(folder))
    sizes = {file.name: file.size for file in files}
    draws: list[Draws] | None = None
    for file in files:
        if _is_blank(file, sizes):
            continue
        draws = list(drawn()) if draws is None else draws
        if not _was_drawn(spark, file, draws):
            return False
    return True


def _is_blank(file: _File, sizes: Mapping[str, int]) -> bool:
    checksum = _CHECKSUM.fullmatch(file.name)
    if checksum is not None:
        of = checksum["folder"] + checksum["name"]  # a file that is judged itself
        path = Path(file.path)
        if of not in sizes or not is_local(file.path) or path.is_symlink():
            return False
        return checksums(path.with_name(checksum["name"]).read_bytes()).startswith(path.read_bytes())
    if _DATA.fullmatch(file.name) is None and _COMMIT.fullmatch(file.name) is None:
        return False
    begun = _DATA.fullmatch(file.name) is not None and file.size <= 4 and is_local(file.path)
    return file.size == 0 or (begun and b"PAR1".startswith(Path(file.path).read_bytes()))


def _was_drawn(spark: SparkSession, file: _File, draws: Sequence[Draws]) -> bool:
    if _COMMIT.fullmatch(file.name) is not None:
        content = Path(file.path).read_bytes()
        return any(is_commit_of(content, draw.rows, draw.manifest) for draw in draws)
    if _DATA.fullmatch(file.name) is None:
        return False
    try:
        rows = spark.read.parquet(spark_path(file.path)).coalesce(1).toArrow()
    except SPARK_ERRORS:
        return False
    return any(same_rows(rows, draw.rows, draw.manifest["group_by"]) for draw in draws)


def checksums(content: bytes) -> bytes:
    """What Hadoop writes beside a local file: a header, and a checksum of each 512 bytes."""
    sums = (zlib.crc32(content[start : start + 512]) for start in range(0, len(content), 512))
    return b"crc\0\0\0\2\0" + b"".join(value.to_bytes(4, "big") for value in sums)


def _listed(folder: str) -> Iterator[_File]:
    """All files, links and foreign folders."""
    for path in Path(folder).rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not path.is_dir() or not name.startswith("_delta_log"):
            yield _File(name, str(path), path.lstat().st_size)


def _listed_by_spark(spark: SparkSession, folder: str) -> Iterator[_File]:
    """The files that a reader would see; their content is not read."""
    try:
        frame = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(folder)
        rows = frame.selectExpr("path", "length").collect()
    except AnalysisException:
        return
    for row in rows:
        name = str(row["path"]).partition(folder.rstrip("/") + "/")[2]
        yield _File(name or "?", str(row["path"]), int(row["length"]))
