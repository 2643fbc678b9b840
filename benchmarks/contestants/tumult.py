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
    "tumult": "zCDP (rho as worth epsilon 1, delta 1e-6), split evenly over one query for each aggregate, and for each of "
    "several quantiles (by the exponential mechanism), which is all the API has. MaxGroupsPerID "
    "and MaxRowsPerGroupPerID are enforced once, in a cached view that all queries read, which is faster than enforcing "
    "them in each query.",
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
    groups = rows.groupby(keys)
    queries = [query for item in task.workload.aggregates for query in _queries(groups, item)]
    budget = RhoZCDPBudget(task.workload.rho / len(queries))
    released = [session.evaluate(query, budget).toPandas() for query in queries]
    names = [_quantile_name(item, share) for item in task.workload.aggregates for share in item.shares]
    columns = [frame.sort_values(KEY)[name].tolist() for name, frame in zip(names, released, strict=True)] if names else []
    return Answer(len(released[0]), quantiles=list(zip(*columns, strict=True)))


def _queries(groups: GroupedQueryBuilder, item: Aggregate) -> list[Query]:
    if item.function != "quantiles":
        return [_query(groups, item)]
    return [groups.quantile(item.column, share, item.low, item.high, _quantile_name(item, share)) for share in item.shares]


def _quantile_name(item: Aggregate, share: float) -> str:
    return f"{item.name}_{share:g}"


def _query(groups: GroupedQueryBuilder, item: Aggregate) -> Query:
    if item.function == "count":
        return groups.count(name=item.name)
    if item.function == "privacy_id_count":
        return groups.count_distinct(columns=[USER], name=item.name)
    of_values = {"sum": groups.sum, "mean": groups.average}[item.function]
    return of_values(item.column, item.low, item.high, name=item.name)


def start() -> Offer:
    """Starts the session."""
    spark = start_session("tumult")
    runs = {"tumult": partial(view, spark)}
    return Offer(runs, _NOTES, ("tmlt.analytics", "tmlt.core", "pyspark"), partial(collect_garbage, spark))


if __name__ == "__main__":
    serve(start)
