"""Exact integers on their way to a sampler: checked as a whole, then drawn for in parts on all cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from dp_spark.errors import DpSparkError

#: How many values one thread draws noise for at a time.
_CHUNK = 2**15

_Item = TypeVar("_Item")
_Drawn = TypeVar("_Drawn")


def check_integers(values: Any) -> None:
    """Checks that exact integers are Python ints in an array of shape (partitions, integers).

    Raises:
        DpSparkError: If they are not. No value is shown.
    """
    # OpenDP and numpy cast what they are given without a word, so each type is checked here.
    whole = isinstance(values, np.ndarray) and values.dtype == np.object_ and values.ndim == 2
    if not whole or not set(map(type, values.ravel().tolist())) <= {int}:
        raise DpSparkError("the aggregates are not integers, some for each partition; no value is shown")


def in_chunks(draw: Callable[[Sequence[_Item]], _Drawn], items: Sequence[_Item]) -> list[_Drawn]:
    """Draws for parts of a vector on all cores, and returns what was drawn in the vector's order.

    Noise is drawn for each coordinate by itself, so the parts together have the distribution of the whole, and its
    privacy. OpenDP's samplers hold no lock of Python's, so threads are enough (ADR 7 has the figures).
    """
    chunks = [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]
    if len(chunks) < 2:
        return [draw(chunk) for chunk in chunks]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(draw, chunks))
