"""Queries and drawn integers, as tests write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from dp_spark.aggregates.query import Query, Total, Values, centred_sum, count_of_column, total_of_column
from dp_spark.plan.cells import release_table
from dp_spark.plan.manifest_building import build_manifest
from dp_spark.plan.planning import ReleasePlan
from dp_spark.privacy.integers import Noisy, one_for_each
from dp_spark.privacy.lattice import sum_lattice
from dp_spark.privacy.mechanisms.base import Mechanism


def plain_sum(column: str, low: float, high: float) -> Query:
    return total_of_column("sum", Total(Values(column), sum_lattice(low, high)))


def centred(column: str, low: float, high: float) -> Query:
    return centred_sum(Values(column), low, high)


def count_of(column: str) -> Query:
    return count_of_column(Values(column))


def total_in(query: Query) -> Total:
    assert isinstance(query.measure, Total)
    return query.measure


def steps(values: Sequence[int]) -> Noisy:
    """What was drawn for a query that has one integer for each partition."""
    return np.array(values, np.int64).reshape(-1, 1)


def released_table(plan: ReleasePlan, keys: pa.Table, noisy: Mapping[Query, Sequence[int]]) -> pa.Table:
    return release_table(plan, keys, {query: steps(values) for query, values in noisy.items()})


def manifest_of(plan: ReleasePlan, *, release_id: str = "r1", file_digest: str = "sha256:f", **charge: Any) -> dict[str, Any]:
    """The manifest of a plan that was charged as entry 2 of a ledger, whose keys are texts."""
    paid = {"sequence": 2, "at": "2024-05-06T07:08:09+00:00", **charge}
    types = dict.fromkeys(plan.spec.group_by, "string")
    return build_manifest(plan, release_id=release_id, file_digest=file_digest, charge=paid, key_types=types)


def drawn(mechanism: Mechanism, exact: Sequence[int]) -> Sequence[int]:
    """Exact integers of a query that has one for each partition, with noise."""
    return mechanism.draw(one_for_each(exact))[0].ravel().tolist()
