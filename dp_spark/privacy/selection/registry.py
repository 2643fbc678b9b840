"""The selection strategies by name: a new one is a file of its own, and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from dp_spark.privacy.selection.base import Selection
from dp_spark.privacy.selection.thresholding import Thresholding

SelectionName = Literal["thresholding"]

SELECTIONS: Mapping[SelectionName, type[Selection]] = {
    "thresholding": Thresholding,
}
