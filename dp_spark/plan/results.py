"""Noisy integers to released cells: post-processing only, so it can cost nothing and leak nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dp_spark.aggregates.queries import Query, queries_of
from dp_spark.plan.planning import ReleasePlan, is_ratio
from dp_spark.spec.release_spec import Aggregate, ClippedAggregate

#: Below this many of its own stddevs a noisy denominator says too little for an error bar.
MIN_DENOMINATOR_STDDEVS = 3.0


def release_table(plan: ReleasePlan, keys: pa.Table, noisy: Mapping[Query, Sequence[int]]) -> pa.Table:
    """The rows to publish: keys, then each aggregate with its standard deviation.

    Args:
        plan: What was drawn.
        keys: The group_by columns, one row per released partition.
        noisy: The noisy integers of each query, in the order of ``keys``.

    Guarantees: a function of noisy values and public settings only (post-processing).
    """
    names, columns = list(keys.column_names), list(keys.columns)
    for aggregate in plan.spec.aggregates:
        values, stddevs = _cells(plan, aggregate, noisy)
        names += [aggregate.name, f"{aggregate.name}_stddev"]
        columns += [values, stddevs]
    return pa.table(columns, names=names)


def _cells(plan: ReleasePlan, aggregate: Aggregate, noisy: Mapping[Query, Sequence[int]]) -> tuple[pa.Array, pa.Array]:
    queries = queries_of(aggregate)
    drawn = [noisy[query] for query in queries]
    if is_ratio(aggregate):
        assert isinstance(aggregate, ClippedAggregate)
        return _mean(plan, aggregate, queries, drawn)
    noise = plan.aggregate_noise(aggregate)
    stddev = pa.array([noise.stddev] * len(drawn[0]), pa.float64())
    if queries[0].lattice is None:
        return pa.array(drawn[0], pa.int64()), stddev
    return pa.array(_doubles(drawn[0]) * plan.granularity(queries[0]), pa.float64()), stddev


def _mean(
    plan: ReleasePlan, aggregate: ClippedAggregate, queries: Sequence[Query], drawn: Sequence[Sequence[int]]
) -> tuple[pa.Array, pa.Array]:
    """mean = clamp(mid + S / max(n, 1), a, b), from the noisy n and S only; its stddev by first-order propagation.

    Var(S / n) ~ (Var S + (S / n)^2 Var n) / n^2 (the delta method; Casella and Berger 2002, section 5.5.4).
    """
    lattice = queries[1].lattice
    assert lattice is not None
    step = plan.granularity(queries[1])
    count, total = _doubles(drawn[0]), _doubles(drawn[1]) * step
    denominator = np.maximum(count, 1.0)
    quotient = total / denominator
    mean = np.clip(lattice.to_value(lattice.midpoint) + quotient, aggregate.min_value, aggregate.max_value)
    count_stddev, total_stddev = plan.mechanisms[queries[0]].stddev, plan.mechanisms[queries[1]].stddev * step
    stddev = np.hypot(total_stddev, quotient * count_stddev) / denominator
    unknown = (count < MIN_DENOMINATOR_STDDEVS * count_stddev) | (count < 1)
    return pa.array(mean, pa.float64()), pa.array(stddev, pa.float64(), mask=unknown)


def _doubles(values: Sequence[int]) -> npt.NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)
