"""The labels of queries: what tells one draw from another in events, ledgers and manifests, for ever."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

#: A longer value stands in a label by its digest: charges and manifests hold labels, and users' texts can be long.
_LONGEST_TOLD = 300


def label_of(kind: str, *, column: str | None = None, **told: str | float | Sequence[Any] | None) -> str:
    """The label of a query: plain for a column, or one JSON object where there is more to tell.

    Args:
        kind: Its first word, another one for each kind of query.
        column: The column.
        told: What else makes it another query than one of the same kind; what is None is not told.

    Guarantees: two queries that differ in what is told have different labels, whatever texts are in it: JSON quotes them, and
    what stands for a long value is a mapping, which no value is.

    >>> label_of("sum", column="spend", per_unit="sum", bounds=[0.0, 500.0])
    'sum{"bounds":[0.0,500.0],"column":"spend","per_unit":"sum"}'
    """
    found = {name: _in_label(value) for name, value in {"column": column, **told}.items() if value is not None}
    return kind + _compact(found) if found else kind


def _in_label(value: Any) -> Any:
    text = _compact(value)
    return value if len(text) <= _LONGEST_TOLD else {"sha256": hashlib.sha256(text.encode()).hexdigest()}


def _compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
