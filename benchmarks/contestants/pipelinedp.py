"""PipelineDP on Spark 3.5 RDDs: one call computes all metrics of one value column."""

from __future__ import annotations

import operator
from functools import partial
from typing import Any

import pipeline_dp
from pipeline_dp import Metrics
from pyspark import RDD
from pyspark.sql import SparkSession

from benchmarks.contestants.protocol import Answer, Offer, Task, serve
from benchmarks.contestants.spark35 import collect_garbage, start_session
from benchmarks.workloads import KEY, USER, Aggregate, Workload

_METRICS = {
    "count": Metrics.COUNT,
    "privacy_id_count": Metrics.PRIVACY_ID_COUNT,
    "sum": Metrics.SUM,
    "mean": Metrics.MEAN,
}
_NOTE = (
    "(epsilon 1, delta 1e-6) with the naive accountant and Gaussian noise, public partitions. "
    "A call has one value column, so `five` takes two calls that share the accountant. Quantiles (PERCENTILE) are all read "
    "from one tree for each partition, of height 4 and 16 branches, which cannot be set: 65,536 leaves."
)


def aggregate(spark: SparkSession, task: Task) -> Answer:
    """One call for each value column; the first one has the counts as well."""
    workload = task.workload
    columns = workload.columns
    source = spark.read.parquet(task.path).select(USER, KEY, *columns).rdd
    accountant = pipeline_dp.NaiveBudgetAccountant(workload.epsilon, workload.delta)
    engine = pipeline_dp.DPEngine(accountant, pipeline_dp.SparkRDDBackend(spark.sparkContext))
    released = [_one_column(engine, source, task, index) for index in range(len(columns))]
    accountant.compute_budgets()
    rows = [result.collect() for result in released]
    return Answer(len(rows[0]), quantiles=_quantiles(task, dict(rows[0])))


def _quantiles(task: Task, released: dict[int, Any]) -> list[list[float]]:
    """The released quantiles of each key, in the order of keys."""
    names = [f"percentile_{percent}" for item in task.workload.aggregates for percent in _percents(item)]
    return [[getattr(released[key], name) for name in names] for key in range(task.partitions)] if names else []


def _percents(item: Aggregate) -> list[int]:
    return [round(share * 100) for share in item.shares]


def _one_column(engine: pipeline_dp.DPEngine, rows: RDD[Any], task: Task, index: int) -> RDD[Any]:
    extractors = pipeline_dp.DataExtractors(
        privacy_id_extractor=operator.itemgetter(0),
        partition_extractor=operator.itemgetter(1),
        value_extractor=operator.itemgetter(2 + index),
    )
    column = task.workload.columns[index]
    wanted = [item for item in task.workload.aggregates if item.column == column or (index == 0 and not item.column)]
    return engine.aggregate(rows, _params(task.workload, wanted), extractors, public_partitions=list(range(task.partitions)))


def _params(workload: Workload, wanted: list[Aggregate]) -> pipeline_dp.AggregateParams:
    clipped = next(item for item in wanted if item.column)
    return pipeline_dp.AggregateParams(
        metrics=[metric for item in wanted for metric in _metrics(item)],
        noise_kind=pipeline_dp.NoiseKind.GAUSSIAN,
        max_partitions_contributed=workload.max_partitions,
        max_contributions_per_partition=workload.max_rows,
        min_value=clipped.low,
        max_value=clipped.high,
    )


def _metrics(item: Aggregate) -> list[pipeline_dp.aggregate_params.Metric]:
    if item.function == "quantiles":
        return [Metrics.PERCENTILE(percent) for percent in _percents(item)]
    return [_METRICS[item.function]]


def start() -> Offer:
    """Starts the session."""
    spark = start_session("pipelinedp")
    runs = {"pipelinedp": partial(aggregate, spark)}
    return Offer(runs, {"pipelinedp": _NOTE}, ("pipeline-dp", "python-dp", "pyspark"), partial(collect_garbage, spark))


if __name__ == "__main__":
    serve(start)
