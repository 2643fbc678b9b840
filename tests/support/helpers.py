"""Builders that several test modules share."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest

from dp_spark.spec.release_spec import ReleaseSpec

MEAN = {"function": "mean", "name": "average", "column": "value", "min_value": 0, "max_value": 100}
COUNT = {"function": "count", "name": "rows"}
UNITS = {"function": "privacy_id_count", "name": "patients"}
SUM = {"function": "sum", "name": "total", "column": "value", "min_value": -10, "max_value": 30}
PUBLIC = {"public": {"values": {"test": ["a", "b", "c"]}}}


def minimal_spec(**changes: Any) -> dict[str, Any]:
    """A small valid release file as plain data; a change to None removes the key."""
    data: dict[str, Any] = {
        "version": 1,
        "name": "release",
        "dataset": "nafld",
        "source": {"format": "delta", "path": "data/nafld"},
        "privacy_unit": "id",
        "contribution_bounds": {"max_partitions_contributed": 4, "max_contributions_per_partition": 2},
        "group_by": ["test"],
        "partitions": {"private": {}},
        "aggregates": [dict(COUNT)],
        "budget": {"epsilon": Decimal("1.0"), "delta": Decimal("1e-6")},
        "ledger": {"path": "warehouse/ledger"},
        "sink": {"path": "warehouse/release"},
    }
    data |= changes
    return {key: value for key, value in data.items() if value is not None}


def release_spec(**changes: Any) -> ReleaseSpec:
    """The same, checked."""
    return ReleaseSpec.model_validate(minimal_spec(**changes))


def of_each_kind(cases: Iterable[Any], *always: Any) -> list[Any]:
    """All cases of a parameter, or of several as tuples: every run has those named, ``make test-all`` the others too."""
    found = list(cases)
    assert {*always} <= {*found}
    rest = {case: case if isinstance(case, tuple) else (case,) for case in found if case not in always}
    return [pytest.param(*rest[case], marks=pytest.mark.long) if case in rest else case for case in found]
