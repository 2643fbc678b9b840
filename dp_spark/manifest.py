"""What a recipient is told: one JSON document, kept in the table property ``dp_spark.manifest``.

This module needs nothing but Python: a recipient who installs dp-spark without its libraries (``pip install --no-deps``)
reads a manifest and computes how wrong each number may be.

    >>> from dp_spark.manifest import read_manifest, confidence_intervals  # doctest: +SKIP
    >>> manifest = read_manifest("releases/lab_values")  # doctest: +SKIP
    >>> confidence_intervals(manifest, "patients", frame["patients"])  # doctest: +SKIP
"""

from __future__ import annotations

import importlib.util
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from dp_spark import first_manifest
from dp_spark.errors import DamageError, SourceError, SpecError
from dp_spark.noise_width import error_width

MANIFEST_PROPERTY = "dp_spark.manifest"
FORMAT = "dp_spark.manifest/2"
#: Of a table that combines several organisations' releases (docs/combine.md): no charge, and ``inputs``.
COMBINED_FORMAT = "dp_spark.combined/2"
#: The formats before: they do not describe their columns.
FORMAT_1, COMBINED_FORMAT_1 = "dp_spark.manifest/1", "dp_spark.combined/1"
#: The column of a combined table that says how many parties a row covers.
PARTIES = "parties"
#: As many edges or texts stand in a column's comment.
_SHOWN_BINS = 50
#: And so many characters of a text, and of a meaning, which tells a condition as its author wrote it; the manifest has all.
_SHOWN_OF_A_TEXT, _SHOWN_OF_A_MEANING = 40, 1_000
_FORMATS = (FORMAT, COMBINED_FORMAT, FORMAT_1, COMBINED_FORMAT_1)


def read_manifest(path: str | Path) -> dict[str, Any]:
    """The manifest of a released Delta table, read from its log.

    Args:
        path: The table's folder; a place on another store needs the ``deltalake`` package.

    Raises:
        SourceError: If there is no Delta table, or one that dp-spark did not release.
        DamageError: If its log or its manifest cannot be read.
    """
    place = str(path)
    if not re.match(r"^[A-Za-z][A-Za-z0-9+.-]+:", place) or place.startswith("file:"):
        folder = Path(unquote(urlparse(place).path)) if place.startswith("file:") else Path(place)
        properties = _properties_of_local(folder.expanduser())
    else:
        properties = _properties_by_delta_rs(place)
    if MANIFEST_PROPERTY not in properties:
        raise SourceError("this table carries no dp-spark manifest", where=place, mend="give the place of a published release")
    return from_json(properties[MANIFEST_PROPERTY], where=place)


def _properties_of_local(folder: Path) -> Mapping[str, str]:
    """The table's properties, from the newest commit that sets them: each publication does."""
    log = folder / "_delta_log"
    commits = sorted((file for file in log.glob("*.json") if re.fullmatch(r"\d{20}\.json", file.name)), reverse=True)
    if not commits:
        raise SourceError("there is no Delta table", where=str(folder), mend="give the folder of a published release")
    try:
        for commit in commits:
            actions = [json.loads(line) for line in commit.read_text(encoding="utf-8").splitlines() if line.strip()]
            found = [action["metaData"] for action in actions if "metaData" in action]
            if found:
                return dict(found[-1].get("configuration") or {})
    except (OSError, ValueError, TypeError, AttributeError):
        raise DamageError(
            "the table's log cannot be read", where=str(commit), mend="ask the publisher for a fresh copy of the table"
        ) from None
    return _properties_by_delta_rs(str(folder))  # the commit that set them is in a checkpoint by now


def _properties_by_delta_rs(place: str) -> Mapping[str, str]:
    if importlib.util.find_spec("deltalake") is None:
        raise SourceError("reading this table needs the deltalake package", where=place, mend="pip install deltalake")
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        return dict(DeltaTable(place).metadata().configuration)
    except (DeltaError, OSError) as error:
        raise SourceError(
            f"cannot be opened as a Delta table ({type(error).__name__})", where=place, mend="check the place and your access"
        ) from None


def from_json(text: str, *, where: str) -> dict[str, Any]:
    """Reads a stored manifest, as it is: ``to_json`` makes of it the very text that was stored, whatever its format.

    Raises:
        DamageError: If it is not a manifest of a format that this version knows.
    """
    try:
        manifest = json.loads(text)
        known = isinstance(manifest, dict) and manifest["format"] in _FORMATS
    except (ValueError, KeyError):
        known = False
    if not known:
        raise DamageError("the manifest cannot be read", where=where, mend="ask the publisher for a fresh copy of the table")
    return dict(manifest)


def to_json(manifest: Mapping[str, Any]) -> str:
    """The manifest as the one line of JSON that is stored."""
    return json.dumps(manifest, separators=(",", ":"), ensure_ascii=True)


def defined_as(guarantee: Mapping[str, Any]) -> str:
    """How the privacy unit is defined, where it is not plain columns: `` with name = expression``, or nothing.

    >>> defined_as({"privacy_unit": ["id"]}), defined_as({"privacy_unit_definition": {"a": "a", "b": "lower(c)"}})
    ('', ' with b = lower(c)')
    """
    found = [f"{name} = {text}" for name, text in guarantee.get("privacy_unit_definition", {}).items() if name != text]
    return f" with {', '.join(found)}" if found else ""


def is_combined(manifest: Mapping[str, Any]) -> bool:
    """Whether it is the manifest of a table that combines several releases.

    >>> is_combined({"format": "dp_spark.combined/1"}), is_combined({"format": "dp_spark.manifest/2"})
    (True, False)
    """
    return str(manifest["format"]).startswith("dp_spark.combined/")


def columns_of(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The released columns in order, as the manifest describes them.

    Each has a ``name``, a ``type`` as Spark writes it (the first format tells none of keys), a ``meaning`` for people and,
    where there are any, ``notes``. A column of ``group_by`` has ``key``. A column with an ``error`` holds an aggregate's
    values (``aggregate`` names it), which lie within ``range`` where one is given. The error's ``rule`` tells how wrong a
    cell may be:

    - ``constant``: each cell has noise of one ``stddev``: ``noise_scale`` steps of ``granularity`` from ``mechanism``.
    - ``quantiles``: its size at some probabilities, ``[[0.95, 12.0], ...]``, for noise of no named shape.
    - ``per_row``: the standard deviation of a cell's noise stands in the row, in ``stddev_column``.
    - ``interval``: the ends of a cell's interval stand in the row, in ``low_column`` and ``high_column``, for one ``level``.

    Cells of type ``array<...>`` have one element for each of the column's ``values``, or between each of its ``edges`` and the
    next, or at each of the edges; each element has the error of its cell.

    A later version can have rules that this one does not know; it tells no intervals there.

    Args:
        manifest: The manifest, of whatever format; it stays as it is. What the first one did not tell is told here.
    """
    if "columns" in manifest:
        return [dict(column) for column in manifest["columns"]]
    found = first_manifest.columns(manifest)
    return [*found, parties_column(len(manifest["inputs"]))] if is_combined(manifest) else found


def parties_column(number: int) -> dict[str, Any]:
    """The column of a combined table that says how many of so many parties a row covers."""
    return {"name": PARTIES, "type": "int", "meaning": f"how many of the {number} parties' releases hold this row's key"}


def value_columns(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The columns that hold aggregates' values: those that have an error."""
    return [column for column in columns_of(manifest) if "error" in column]


def value_column(manifest: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What the manifest says of one column of values.

    Raises:
        SpecError: If it is none of this release.
    """
    return _named(value_columns(manifest), name)


def aggregate_of(manifest: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What the manifest says of one aggregate: its function, its settings, the queries that were drawn for it.

    Raises:
        SpecError: If it is none of this release.
    """
    return _named(manifest["aggregates"], name)


def _named(items: Iterable[Mapping[str, Any]], name: str) -> dict[str, Any]:
    known = {str(item["name"]): item for item in items}
    for each, item in known.items():
        if each.lower() == name.lower():
            return dict(item)
    raise SpecError("is not an aggregate of this release", where=name, mend=f"use one of: {', '.join(known)}")


def half_width(manifest: Mapping[str, Any], column: str, *, level: float = 0.95) -> float | None:
    """How far the noise takes a cell of a column with probability ``level``, at most; None where it differs by cell.

    Args:
        manifest: The release's manifest.
        column: A count or a sum; a mean's noise depends on the cell, and its ``_stddev`` column tells.
        level: The probability, above 0 and below 1.

    Returns:
        The half-width in the column's own unit; None, too, where this version does not know the rule of the error.

    Raises:
        SpecError: If the column is no aggregate of this release, or the level is no probability.
    """
    if not 0 < level < 1:
        raise SpecError("is not a probability", where="level", mend="write a number above 0 and below 1, such as 0.95")
    return error_width(value_column(manifest, column)["error"], level=level)


def confidence_intervals(
    manifest: Mapping[str, Any],
    column: str,
    values: Iterable[float | None],
    stddevs: Sequence[float | None] | None = None,
    *,
    ends: tuple[Iterable[float | None], Iterable[float | None]] | None = None,
    level: float = 0.95,
) -> list[Any]:
    """An interval for each cell of a column: what the noise may have hidden, not what bounding left out.

    Args:
        manifest: The release's manifest.
        column: The aggregate.
        values: Its released cells.
        stddevs: Their ``_stddev`` cells; needed for a mean.
        ends: Their ``_low`` and their ``_high`` cells; needed for quantiles, whose intervals they are.
        level: The probability, at least, that an interval covers the value without noise; for a mean to first order.

    Returns:
        (low, high) for each cell, or a list of them for a cell of many elements; None where the cell or its stddev is null,
        and everywhere where this version does not know the rule of the error, or no intervals of that level are told.

    Raises:
        SpecError: If the column is no aggregate of this release, or a mean comes without its stddevs, a quantile without ends.
    """
    width, cells = half_width(manifest, column, level=level), list(values)
    error = value_column(manifest, column)["error"]
    if error["rule"] == "interval":
        return _told_intervals(column, error, ends, level, len(cells))
    if error["rule"] != "per_row":
        return [_interval(cell, width) for cell in cells]
    if stddevs is None:
        mend = f"give the column {error['stddev_column']} as stddevs, too"
        raise SpecError("the noise of its cells differs", where=column, mend=mend)
    return [_interval(cell, error_width(error, own, level=level)) for cell, own in zip(cells, stddevs, strict=True)]


def _told_intervals(
    column: str,
    error: Mapping[str, Any],
    ends: tuple[Iterable[float | None], Iterable[float | None]] | None,
    level: float,
    cells: int,
) -> list[Any]:
    if ends is None:
        mend = f"give the columns {error['low_column']} and {error['high_column']} as ends, too"
        raise SpecError("its intervals are columns of their own", where=column, mend=mend)
    if level > error["level"]:
        return [None] * cells
    return [None if low is None or high is None else (low, high) for low, high in zip(*ends, strict=True)]


def _interval(cell: Any, around: float | None) -> Any:
    if isinstance(cell, list | tuple):
        return [_interval(element, around) for element in cell]
    if cell is None or around is None or math.isnan(cell):
        return None
    return (cell - around, cell + around)


def column_comments(manifest: Mapping[str, Any]) -> dict[str, str]:
    """A comment for each released column, from the manifest alone."""
    return {column["name"]: column.get("comment") or _comment(column) for column in columns_of(manifest)}


def _comment(column: Mapping[str, Any]) -> str:
    noise = [f"with discrete {column['error']['mechanism']} noise"] if "mechanism" in column.get("error", {}) else []
    return "; ".join([_cut(column["meaning"], _SHOWN_OF_A_MEANING), *_bins(column), *noise, *column.get("notes", [])])


def _cut(text: str, most: int) -> str:
    """At most so many characters of a text.

    >>> _cut("abcdef", 6), _cut("abcdefg", 6)
    ('abcdef', 'abc...')
    """
    return text if len(text) <= most else text[: most - 3] + "..."


def edge_text(edge: float) -> str:
    """An edge in as few characters as tell it from any other.

    >>> edge_text(18.0), edge_text(1234567.0), edge_text(0.1)
    ('18', '1234567', '0.1')
    """
    return repr(float(edge)).removesuffix(".0")


def _bins(column: Mapping[str, Any]) -> list[str]:
    """The bins of a column of arrays; of very many the ends, as the manifest has all.

    >>> _bins({"edges": [0.0, 18.5, 65.0]}), _bins({"values": ["a", "b"]}), _bins({})
    (['edges 0, 18.5, 65'], ['values a, b'], [])
    """
    for name in ("edges", "values"):
        if name in column:
            items = [edge_text(item) if name == "edges" else _cut(str(item), _SHOWN_OF_A_TEXT) for item in column[name]]
            shown = items if len(items) <= _SHOWN_BINS else [*items[:2], "...", items[-1]]
            return [f"{name} {', '.join(shown)}"]
    return []
