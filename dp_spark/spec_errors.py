"""Turns what pydantic finds wrong in a release file into one line that says how to mend it."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import BaseModel, ValidationError

from dp_spark.errors import SpecError

_KINDS = {
    bool: "true or false",
    int: "a whole number",
    str: "a text",
    dict: "a mapping",
    list: "a list",
    tuple: "a list",
    type(None): "nothing",
}
# Pydantic names the branch of a union in the location; an author never wrote these words there.
_BRANCHES = ("function-", "constrained-", "tuple[", "str", "RowUnit", "int", "bool", "decimal", "date", "datetime", "none")
_FUNCTIONS = ("privacy_id_count", "count", "sum", "mean")


def to_spec_error(error: ValidationError, model: type[BaseModel]) -> SpecError:
    """The first thing wrong, with its key and its mend; ``model`` is what the keys are looked up in."""
    found = _most_telling(error.errors(include_url=False))
    path = _key(found["loc"])
    return SpecError(*_message(found, path), **_mend(found, path, model))


def _most_telling(errors: list[Any]) -> Any:
    # Where a union has no match every branch complains: the deepest complaint is the branch that was meant.
    return max(errors, key=lambda item: (item["type"] == "extra_forbidden", -errors.index(item)))


def _key(location: tuple[int | str, ...]) -> str:
    parts = []
    for index, part in enumerate(location):
        text = str(part)
        is_branch = index > 0 and isinstance(part, str) and (text.startswith(_BRANCHES[:3]) or text in _BRANCHES[3:])
        after_aggregate = index == 2 and location[0] == "aggregates" and text in _FUNCTIONS
        if not (is_branch or after_aggregate):
            parts.append(text)
    return ".".join(parts)


def _message(found: Any, path: str) -> tuple[str]:
    kind = _KINDS.get(type(found.get("input")), "a number")
    match found["type"]:
        case "missing":
            return ("is missing",)
        case "extra_forbidden":
            return ("is not a key of the release file",)
        case "value_error":
            text = str(found["ctx"]["error"])
            return (text.partition(": ")[2] if not path and ": " in text else text,)
        case "string_pattern_mismatch":
            return ("is not a plain name (letters, digits and underscores, not starting with a digit)",)
        case _:
            return (f"{_lower(found['msg'])}; found {kind}",)


def _lower(message: str) -> str:
    text = message.removeprefix("Input ")
    return text[0].lower() + text[1:]


def _mend(found: Any, path: str, model: type[BaseModel]) -> dict[str, Any]:
    if found["type"] == "value_error" and not path:
        text = str(found["ctx"]["error"])
        where, separator, _ = text.partition(": ")
        return {"where": where if separator else "", "mend": "see `dp-spark schema`"}
    if found["type"] == "extra_forbidden":
        last = path.rpartition(".")[2]
        close = difflib.get_close_matches(last, sorted(_known_keys(model)), n=1)
        return {"where": path, "mend": f"did you mean {close[0]}?" if close else "remove it; see `dp-spark schema`"}
    if found["type"] == "missing":
        return {"where": path, "mend": f"add {path.rpartition('.')[2]}"}
    return {"where": path, "mend": "see `dp-spark schema` for what it may hold"}


def _known_keys(model: type[BaseModel]) -> set[str]:
    schema = model.model_json_schema(by_alias=True)
    keys = set(schema.get("properties", {}))
    for definition in schema.get("$defs", {}).values():
        keys |= set(definition.get("properties", {}))
    return keys
