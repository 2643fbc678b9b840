"""Noisy integers to released cells: post-processing only, so it can cost nothing and leak nothing."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from dp_spark.aggregates.given import Drawn
from dp_spark.aggregates.query import Query
from dp_spark.plan.planning import ReleasePlan
from dp_spark.privacy.integers import Noisy
from dp_spark.privacy.trees import NoisyTree


def release_table(plan: ReleasePlan, keys: pa.Table, noisy: Mapping[Query, Noisy | NoisyTree]) -> pa.Table:
    """The rows to publish: keys, then each aggregate's columns.

    Args:
        plan: What was drawn.
        keys: The group_by columns, one row per released partition.
        noisy: The noisy integers of each query, of shape (partitions, width of the query), or what was drawn of their trees, in
            the order of ``keys``.

    Guarantees: a function of noisy values and public settings only (post-processing).
    """
    names, columns = list(keys.column_names), list(keys.columns)
    for aggregate in plan.spec.aggregates:
        drawn = [Drawn(noisy[query], plan.noise_of(query)) for query in aggregate.queries()]
        names += aggregate.column_names()
        columns += aggregate.finish(drawn)
    return pa.table(columns, names=names)
