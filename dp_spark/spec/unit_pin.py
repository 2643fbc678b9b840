"""What the ledger keeps of a privacy unit, so that one account protects one unit.

A plain unit is the JSON list of its columns, and a row unit is ``"row"``. What a name alone does not tell is pinned with it,
in a JSON object: of a definition its expressions and the types of what they read; of a CSV file without a header, where each
column's position is all that names it, the positions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

# Charges of versions that did not pin positions have digests without a version.
_KEPT_POSITIONS = re.compile(r"^sha256-\d+:")


#: The position of a column that is in no line: the names of folders make it.
IN_FOLDERS = 0


def unit_text(
    units: Sequence[str], definition: Mapping[str, str], types: Mapping[str, str], positions: Mapping[str, int]
) -> str:
    """A privacy unit as a charge keeps it.

    Args:
        units: Its names, in order; none where each row is a unit.
        definition: Name -> expression, where it is defined; empty where all of it is plain columns.
        types: Column -> type, of the columns that a definition reads.
        positions: Column -> position in a line, from 1, where only that tells columns apart.

    >>> unit_text(["id"], {}, {}, {}), unit_text([], {}, {}, {})
    ('["id"]', '"row"')
    >>> unit_text(["id"], {}, {}, {"id": 2})
    '{"unit": ["id"], "positions": {"id": 2}}'
    """
    if not units:
        return json.dumps("row")
    document: dict[str, Any] = {"unit": list(units)}
    if definition:
        document |= {"definition": [list(pair) for pair in definition.items()], "types": dict(types)}
    if positions:
        document |= {"positions": dict(positions)}
    return json.dumps(document if len(document) > 1 else document["unit"])


def agrees(pinned: str | None, wanted: str) -> bool:
    """Whether a charge for ``wanted`` is for the unit that an earlier charge has pinned.

    >>> agrees('["id"]', '{"unit": ["id"], "positions": {"id": 2}}')  # pinned by this charge
    True
    >>> agrees('{"unit": ["id"], "positions": {"id": 1}}', '{"unit": ["id"], "positions": {"id": 2}}')
    False
    """
    old, new = _Pin.of(pinned), _Pin.of(wanted)
    if old.positions is None or new.positions is None:
        old, new = replace(old, positions=None), replace(new, positions=None)
    return old == new


def loses_names(pinned: str | None, file_digest: str | None, wanted: str) -> bool:
    """Whether a source that was charged with names of its own would now be read by position.

    What earlier versions charged may have been read by position, too: there, it cannot be told.
    """
    by_name = _Pin.of(pinned).positions is None and _KEPT_POSITIONS.match(file_digest or "") is not None
    return by_name and _Pin.of(wanted).positions is not None


def gains_names(pinned: str | None, wanted: str) -> bool:
    """Whether a source that was charged by position would now be read by names of its own, which may be in another order.

    >>> gains_names('{"unit": ["id"], "positions": {"id": 1}}', '["id"]'), gains_names('["id"]', '["id"]')
    (True, False)
    """
    return _Pin.of(pinned).positions is not None and _Pin.of(wanted).positions is None


def unit_words(pinned: str | None) -> str:
    """A pinned unit in words.

    >>> unit_words('{"unit": ["id"], "positions": {"id": 2}}')
    '["id"] (id at position 2 of schema, without columns that folders make)'
    >>> unit_words('{"unit": ["id"], "positions": {"id": 0}}')
    '["id"] (id from the names of folders)'
    """
    pin = _Pin.of(pinned)
    said = [f"{name} = {text}" for name, text in pin.definition if name != text]
    said += [f"{column} of type {kind}" for column, kind in pin.types]
    said += [_place(column, position) for column, position in pin.positions or ()]
    return f"{json.dumps(pin.unit)} ({'; '.join(said)})" if said else str(pinned)


def _place(column: str, position: int) -> str:
    if position == IN_FOLDERS:
        return f"{column} from the names of folders"
    return f"{column} at position {position} of schema, without columns that folders make"


@dataclass(frozen=True)
class _Pin:
    unit: Any
    definition: tuple[tuple[str, str], ...] = ()
    types: tuple[tuple[str, str], ...] = ()
    positions: tuple[tuple[str, int], ...] | None = None

    @staticmethod
    def of(text: str | None) -> _Pin:
        """A pinned unit as it compares; a text that is none is equal to itself alone."""
        try:
            found = json.loads(text or "")
            if isinstance(found, list):
                return _Pin(tuple(found))
            if not isinstance(found, dict):
                return _Pin(found)
            definition = tuple((str(name), str(expression)) for name, expression in found.get("definition", ()))
            positions = tuple(sorted(found["positions"].items())) if "positions" in found else None
            return _Pin(tuple(found["unit"]), definition, tuple(sorted(found.get("types", {}).items())), positions)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return _Pin(text)
