"""What ``--set a.b=value`` changes in a release file, and what it must not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from dp_spark.errors import SpecError
from dp_spark.schema.reading import parse_yaml

# A command line that could swap the protected dataset or its unit would make the ledger's pin worthless.
_FIXED = ("dataset", "privacy_unit")
# Where a source is may change from machine to machine; how it is read says which of its columns is the unit.
_FREE_IN_SOURCE = ("path", "table")


def apply_overrides(data: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Returns the data with every ``a.b=value`` of ``--set`` applied; values are read as YAML scalars.

    Args:
        data: The release file as plain data.
        overrides: Texts of the form ``key.subkey=value``; a number as a key part picks a list element.

    Raises:
        SpecError: If an override has no ``=``, there is no such place, or it names ``dataset``, ``privacy_unit`` or anything in
            ``source`` but its ``path`` or ``table``.

    >>> apply_overrides({"budget": {"epsilon": 1}}, ["budget.epsilon=0.5"])
    {'budget': {'epsilon': Decimal('0.5')}}
    """
    result: dict[str, Any] = _copy(data)
    for text in overrides:
        path, separator, value = text.partition("=")
        where = f"--set {path}"
        parts = path.strip().split(".")
        if not separator or not all(parts):
            raise SpecError("an override has the form a.b=value", where=f"--set {text}", mend="write --set key=value")
        _check_free(parts, where)
        _assign(result, parts, parse_yaml(value, where=where), where)
    return result


def _check_free(parts: Sequence[str], where: str) -> None:
    names = [part.strip() for part in parts]
    if names[0] in _FIXED:
        raise SpecError(f"{names[0]} cannot be overridden from the command line", where=where, mend="change it in the file")
    if names[0] == "source" and (len(names) == 1 or names[1] not in _FREE_IN_SOURCE):
        raise SpecError(
            f"{'.'.join(names[:2])} cannot be overridden from the command line: it can make another column the privacy unit",
            where=where,
            mend="change it in the file; source.path and source.table can be overridden",
        )


def _copy(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _copy(value) for key, value in data.items()}
    return [_copy(value) for value in data] if isinstance(data, list) else data


def _assign(target: Any, parts: list[str], value: Any, where: str) -> None:
    for part in parts[:-1]:
        target = _step(target, part, where)
    if isinstance(target, list):
        target[_index(target, parts[-1], where)] = value
    elif isinstance(target, dict):
        target[parts[-1]] = value
    else:
        raise SpecError("there are no keys below this value", where=where, mend="check the names and the dots")


def _step(target: Any, part: str, where: str) -> Any:
    if isinstance(target, list):
        return target[_index(target, part, where)]
    if not isinstance(target, dict):
        raise SpecError("there are no keys below this value", where=where, mend="check the names and the dots")
    if target.get(part) is None:
        target[part] = {}
    return target[part]


def _index(target: list[Any], part: str, where: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", part) or int(part) >= len(target):
        raise SpecError(
            f"the list there has no element {part!r}", where=where, mend=f"use a number from 0 to {len(target) - 1}"
        )
    return int(part)
