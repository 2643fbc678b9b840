"""Whether a file is a draw's commit to a new table: whole, as Delta writes it, and with no other text in it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from dp_spark.manifest import MANIFEST_PROPERTY, column_comments, to_json

#: The names of Delta's own fields.
_FIELDS = frozenset(
    (
        "commitInfo", "metaData", "protocol", "txn", "add", "timestamp", "operation", "operationParameters", "partitionBy",
        "clusterBy", "description", "isManaged", "properties", "isolationLevel", "isBlindAppend", "operationMetrics",
        "numFiles", "numRemovedFiles", "numRemovedBytes", "numOutputRows", "numOutputBytes", "userMetadata", "engineInfo",
        "txnId", "id", "format", "provider", "options", "schemaString", "type", "fields", "name", "nullable", "metadata",
        "comment", "partitionColumns", "configuration", "createdTime", "inCommitTimestamp", "minReaderVersion",
        "minWriterVersion", "readerFeatures", "writerFeatures", "appId", "version", "lastUpdated", "path",
        "partitionValues", "size", "modificationTime", "dataChange", "stats",
        "delta.enableChangeDataFeed", "delta.enableDeletionVectors",
    )
)  # fmt: skip
_OF_STATISTICS = frozenset(("numRecords", "minValues", "maxValues", "nullCount", "tightBounds"))
_WORDS = re.compile(
    r"CREATE OR REPLACE TABLE AS SELECT|Serializable|WriteSerializable|SnapshotIsolation|parquet|struct|true|false|\[\]|"
    r"string|boolean|byte|short|integer|long|float|double|decimal\(\d+,\d+\)|date|timestamp|timestamp_ntz|binary|"
    r"timestampNtz|invariants|appendOnly|\d+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|dp-spark/after--?\d+|"
    r"Apache-Spark/[\d.]+ Delta-Lake/[\d.]+|part-\d{5}-[0-9a-f-]+[.-]c\d+(\.[a-z0-9]+)?\.parquet"
)
_MOMENT = re.compile(r"\d{4,}-\d\d-\d\d(T[\d:.]+(Z|[+-]\d\d:\d\d)?)?")
#: What Delta puts behind a text that it cut off for its statistics.
_CUT_OFF = "\x7f\U0010ffff"


def is_commit_of(content: bytes, rows: pa.Table, manifest: Mapping[str, Any]) -> bool:
    """Whether a file is the whole commit of a draw to a new table, with no other text in it.

    Args:
        content: The file's content.
        rows: The rows of the draw.
        manifest: Its manifest.
    """
    shown = {*rows.column_names, *column_comments(manifest).values(), str(manifest["release_id"])}
    cells = [cell for column in rows.columns for cell in column.to_pylist() if isinstance(cell, str)]
    statistics = _OF_STATISTICS | {*rows.column_names}

    def is_told(text: str) -> bool:
        return text in shown or _WORDS.fullmatch(text) is not None

    def is_cell(text: str) -> bool:
        return _MOMENT.fullmatch(text) is not None or any(cell.startswith(text.rstrip(_CUT_OFF)) for cell in cells)

    def field(name: str, value: Any) -> bool:
        if name == MANIFEST_PROPERTY:
            return bool(value == to_json(manifest))
        if name == "stats":
            return _only(_read(value), statistics, is_cell)
        if name in ("properties", "schemaString"):
            value = _read(value)
        return name in _FIELDS and _only(value, _FIELDS, is_told, field)

    try:
        *lines, last = content.decode().split("\n")
        actions = [_read(line) for line in ([*lines, last] if last else lines)]
        properties = [action["metaData"]["configuration"][MANIFEST_PROPERTY] for action in actions if "metaData" in action]
        return bool(properties) and all(_only(action, _FIELDS, is_told, field) for action in actions)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _only(
    value: Any, fields: frozenset[str], text: Callable[[str], bool], field: Callable[[str, Any], bool] | None = None
) -> bool:
    """Whether all names and texts in a document are known: names by ``field`` or in ``fields``, texts by ``text``."""
    if isinstance(value, dict):
        if field is not None:
            return all(field(name, item) for name, item in value.items())
        return all(name in fields and _only(item, fields, text) for name, item in value.items())
    if isinstance(value, list):
        return all(_only(item, fields, text, field) for item in value)
    return not isinstance(value, str) or text(value)


def _read(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_once)


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a name is given twice")
    return dict(pairs)
