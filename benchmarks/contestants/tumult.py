"""Tumult Analytics on Spark 3.5: one query for each aggregate, on users that are protected by their id."""

from __future__ import annotations

from functools import partial

from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from tmlt.analytics import (
    AddRowsWithID,
    GroupedQueryBuilder,
    KeySet,
    MaxGroupsPerID,
    MaxRowsPerGroupPerID,
    Query,
    QueryBuilder,
    RhoZCDPBudget,
    Session,
)

from benchmarks.contestants.protocol import Answer, Offer, Task, serve
from benchmarks.contestants.spark35 import collect_garbage, start_session
from benchmarks.workloads import KEY, USER, Aggregate, Workload

_TABLE, _VIEW, _UNIT = "rows", "bounded", "users"
_NOTES = {
    "tumult": "zCDP (rho as worth epsilon 1, delta 1e-6), split evenly over one query for each aggregate, which is all the API "
    "has. MaxGroupsPerID and MaxRowsPerGroupPerID are enforced once, in a cached view that all queries read, which is "
    "faster than enforcing them in each query.",
}


def view(spark: SparkSession, task: Task) -> Answer:
    """Contributions are bounded once, in a view that is cached."""
    session = _session(spark, task)
    session.create_view(_bounded(task.workload), _VIEW, cache=True)
    try:
        return _evaluate(session, task, QueryBuilder(_VIEW), _keys(spark, task))
    finally:
        session.delete_view(_VIEW)


def _session(spark: SparkSession, task: Task) -> Session:
    rows = spark.read.parquet(task.path).select(USER, KEY, *task.workload.columns)
    return (
        Session.Builder()
        .with_privacy_budget(RhoZCDPBudget(task.workload.rho))
        .with_id_space(_UNIT)
        .with_private_dataframe(_TABLE, rows, protected_change=AddRowsWithID(USER, _UNIT))
        .build()
    )


def _keys(spark: SparkSession, task: Task) -> KeySet:
    return KeySet.from_dataframe(spark.range(task.partitions).select(F.col("id").cast("int").alias(KEY)))


def _bounded(workload: Workload) -> QueryBuilder:
    return (
        QueryBuilder(_TABLE)
        .enforce(MaxGroupsPerID(KEY, workload.max_partitions))
        .enforce(MaxRowsPerGroupPerID(KEY, workload.max_rows))
    )


def _evaluate(session: Session, task: Task, rows: QueryBuilder, keys: KeySet) -> Answer:
    aggregates = task.workload.aggregates
    share = RhoZCDPBudget(task.workload.rho / len(aggregates))
    released = [session.evaluate(_query(rows.groupby(keys), item), share).toPandas() for item in aggregates]
    return Answer(len(released[0]))


def _query(groups: GroupedQueryBuilder, item: Aggregate) -> Query:
    if item.function == "count":
        return groups.count(name=item.name)
    if item.function == "privacy_id_count":
        return groups.count_distinct(columns=[USER], name=item.name)
    if item.function == "sum":
        return groups.sum(item.column, item.low, item.high, name=item.name)
    return groups.average(item.column, item.low, item.high, name=item.name)


def start() -> Offer:
    """Starts the session."""
    spark = start_session("tumult")
    runs = {"tumult": partial(view, spark)}
    return Offer(runs, _NOTES, ("tmlt.analytics", "tmlt.core", "pyspark"), partial(collect_garbage, spark))


if __name__ == "__main__":
    serve(start)
