"""How wrong released quantiles are, against the exact ones of the table as it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from benchmarks.workloads import KEY

_Doubles = npt.NDArray[np.float64]


def rank_errors(path: str, column: str, shares: Sequence[float], released: Sequence[Sequence[float]]) -> Mapping[str, float]:
    """The median and the 95 % quantile, over keys and shares, of how far the rank of a released value is from its share.

    Args:
        path: The Parquet folder of the table.
        column: The column of values.
        shares: The quantiles that were asked for.
        released: Those of each key, from 0.
    """
    keys, values = _sorted(path, column)
    starts = np.searchsorted(keys, np.arange(len(released) + 1))
    asked = np.array(shares)
    found = [
        errors_of_ranks(values[starts[key] : starts[key + 1]], asked, np.array(of_key)) for key, of_key in enumerate(released)
    ]
    every = np.concatenate(found)
    return {"median": float(np.median(every)), "95 %": float(np.quantile(every, 0.95))}


def errors_of_ranks(values: _Doubles, shares: _Doubles, released: _Doubles) -> _Doubles:
    """How far each share is from the shares of values that are below, and not above, the value released for it.

    >>> errors_of_ranks(np.array([1.0, 2.0, 2.0, 2.0, 3.0]), np.array([0.5, 0.5, 0.1]), np.array([2.0, 2.5, 3.0])).tolist()
    [0.0, 0.30000000000000004, 0.7000000000000001]
    """
    if not len(values):
        return np.empty(0)
    below, not_above = (np.searchsorted(values, released, side=side) / len(values) for side in ("left", "right"))
    return np.asarray(np.maximum(0.0, np.maximum(below - shares, shares - not_above)))


@lru_cache(maxsize=1)
def _sorted(path: str, column: str) -> tuple[npt.NDArray[Any], _Doubles]:
    """The keys and values of a table, by key and ascending."""
    table = pq.read_table(path, columns=[KEY, column])
    keys, values = table.column(KEY).to_numpy(), table.column(column).to_numpy()
    order = np.lexsort((values, keys))
    return keys[order], values[order]
