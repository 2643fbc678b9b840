"""The columns of a manifest of the first format, which did not describe them: told from its four functions.

Nothing but this module knows what a function's name means for a column. That format is written no more, so this stays as
it is: a later aggregate describes its own columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_COUNTS = {"privacy_id_count": "number of different privacy units", "count": "number of rows"}


def columns(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The columns of a release, as ``dp_spark.manifest.columns_of`` tells them, each aggregate's with a ``comment``.

    Args:
        manifest: A manifest of the first format, of a release or a combination; it is not changed.
    """
    found: list[dict[str, Any]] = [{"name": key, "meaning": "partition key", "key": True} for key in manifest["group_by"]]
    for entry in manifest["aggregates"]:
        found += [_value(entry, manifest), _stddev(entry)]
    return found


def _value(entry: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": entry["name"],
        "type": "bigint" if entry["function"] in _COUNTS else "double",
        "meaning": _meaning(entry),
        "aggregate": entry["name"],
        **({"range": [entry["min_value"], entry["max_value"]]} if entry["function"] == "mean" else {}),
        "error": _error(entry, manifest),
        **({"notes": [entry["note"]]} if entry.get("note") else {}),
        "comment": _comment(entry),
    }


def _stddev(entry: Mapping[str, Any]) -> dict[str, Any]:
    null = "null where too few values are behind a cell to tell"
    return {
        "name": f"{entry['name']}_stddev",
        "type": "double",
        "meaning": f"standard deviation of the noise in {entry['name']}",
        **({"notes": [null]} if entry["function"] == "mean" else {}),
        "comment": f"standard deviation of the noise in {entry['name']}",
    }


def _meaning(entry: Mapping[str, Any]) -> str:
    function, column = entry["function"], entry.get("column")
    if function == "count" and column:
        return f"number of rows in which {column} has a value"
    if function in _COUNTS:
        return _COUNTS[function]
    clipped = f"[{entry['min_value']:g}, {entry['max_value']:g}]"
    return f"{function} of {column}, each value first moved into {clipped}"


def _error(entry: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, Any]:
    told = {"mechanism": entry["mechanism"], "stddev_column": f"{entry['name']}_stddev"}
    if entry.get("stddev") is None:
        return {"rule": "per_row", **told}
    [query] = [query for query in manifest["queries"] if query["query"] == entry["queries"][-1]]
    noise = {name: query[name] for name in ("noise_scale", "granularity")}
    return {"rule": "constant", **told, **noise, "stddev": entry["stddev"]}


def _comment(entry: Mapping[str, Any]) -> str:
    """To the letter what the versions of that format wrote: a commit of theirs that came to nothing is known by it."""
    over = f" of {entry['column']}" if entry.get("column") else ""
    clipped = f", values clipped to [{entry['min_value']}, {entry['max_value']}]" if "min_value" in entry else ""
    note = f"; {entry['note']}" if entry.get("note") else ""
    return f"{entry['function']}{over}{clipped}; with discrete {entry['mechanism']} noise{note}"
