"""dp-spark on its own session, and beside it on the same session the exact query and two floors."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.contestants.protocol import Answer, Offer, Task, serve
from benchmarks.tables import Table, write_keys, write_table
from benchmarks.workloads import KEY, USER, Aggregate, Workload
from dp_spark import ReleaseSpec, run_release
from dp_spark.aggregates.quantiles import percent_name
from dp_spark.engine import aggregation
from dp_spark.engine.bounding import Salt, bound_contributions
from dp_spark.engine.features import prepare_rows
from dp_spark.engine.public_keys import public_keys
from dp_spark.engine.sources import open_source
from dp_spark.errors import BudgetError
from dp_spark.ledger.on_delta import ledger_at
from dp_spark.plan.cells import release_table
from dp_spark.plan.planning import plan_release
from dp_spark.privacy.accountants.account import Account
from dp_spark.release.draw import draw_query
from dp_spark.session import get_session
from dp_spark.spark.settings import RELEASE_SETTINGS, settings
from dp_spark.tables.refs import TableRef

_DATASET = "bench"
_NOTES = {
    "floor_group": "No privacy: count and sum by key.",
    "floor_shuffle": "No privacy: the needed columns are shuffled by user, then counted and summed by key. "
    "Whoever bounds what a user contributes has to do at least this.",
    "exact": "No privacy: what the owner would run otherwise, with a distinct count of users.",
    "dp_spark": "zCDP (the ledger's rho for epsilon 1, delta 1e-6), public keys; until noisy rows are on the driver. Quantiles "
    "are all read from one tree for each partition, of 1,000 leaves and 10 branches (defaults), with 95 % intervals.",
    "release_public": "As dp_spark, as a whole release: validation, ledger, noise, outbox, published Delta table, read back.",
    "release_private": "The same with private partition selection, which costs a privacy-id count.",
}


def floor_group(spark: SparkSession, task: Task) -> Answer:
    """The least that any aggregate by key costs."""
    return _collect(_count_and_sum(spark.read.parquet(task.path), task.workload))


def floor_shuffle(spark: SparkSession, task: Task) -> Answer:
    """The least that any aggregate by key costs whose rows must first come together by user."""
    rows = spark.read.parquet(task.path).select(USER, KEY, *task.workload.columns)
    return _collect(_count_and_sum(rows.repartition(USER), task.workload))


def exact(spark: SparkSession, task: Task) -> Answer:
    """The number of users, and the workload's sums and means, without privacy; a count is free next to these."""
    sums = [_exact_column(item) for item in task.workload.aggregates if item.column]
    return _collect(spark.read.parquet(task.path).groupBy(KEY).agg(F.count_distinct(USER), *sums))


def _exact_column(item: Aggregate) -> Column:
    return {"sum": F.sum, "mean": F.avg}[item.function](item.column).alias(item.name)


def _count_and_sum(rows: DataFrame, workload: Workload) -> DataFrame:
    return rows.groupBy(KEY).agg(F.count(F.lit(1)), *(F.sum(name) for name in workload.columns))


def _collect(frame: DataFrame) -> Answer:
    return Answer(frame.toArrow().num_rows)


def to_noisy_rows(spark: SparkSession, task: Task) -> Answer:
    """What a release does between its ledger and its outbox, with public keys that are listed in the file."""
    stages = _Stages()
    stages.begin("plan")
    spec = _spec(task, {"public": {"values": {KEY: list(range(task.partitions))}}})
    with settings(spark, {**RELEASE_SETTINGS, "spark.sql.session.timeZone": spec.timezone}):
        frame = open_source(spark, spec.source, where="source")
        assert spec.public_partitions is not None
        keys = public_keys(spark, spec.public_partitions, {KEY: frame.schema[KEY].dataType}, spec.timezone)
        plan = plan_release(spec, "zcdp", keys.table.num_rows)
        queries = list(plan.queries)
        stages.begin("read and aggregate")
        rows = prepare_rows(frame, spec.unit_columns, spec.group_by, queries, keys.frame(spark))
        bounded = bound_contributions(rows, plan.bounds, Salt.fresh())
        found = aggregation.collect(aggregation.aggregate(bounded, queries), bounded, queries)
        found = aggregation.fill_public(found, keys)
        stages.begin("noise")
        noisy = {query: draw_query(plan, query, found.values[query])[0] for query in queries}
        stages.begin("cells")
        released = release_table(plan, found.keys, noisy)
        stages.begin("")
    return Answer(released.num_rows, stages.seconds, _quantiles(task, released))


def _quantiles(task: Task, released: pa.Table) -> list[list[float]]:
    """The released quantiles of each key, in the order of keys."""
    ordered = released.sort_by(KEY)
    names = [f"{item.name}_{percent_name(share)}" for item in task.workload.aggregates for share in item.shares]
    return [list(of_key) for of_key in zip(*(ordered.column(name).to_pylist() for name in names), strict=True)]


def release(spark: SparkSession, task: Task, *, private: bool) -> Answer:
    """A whole release, with the seconds of each of its stages."""
    public = {"public": {"source": {"format": "parquet", "path": task.keys_path}}}
    spec = _spec(task, {"private": {}} if private else public)
    stages = _Stages()
    result = run_release(spark, spec, on_stage=stages.begin)
    stages.begin("")
    assert result.rows is not None, "a new release comes back with its rows"
    return Answer(result.rows.num_rows, stages.seconds)


class _Stages:
    """How long each stage took, as told by when each begins."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._name, self._since = "", 0.0

    def begin(self, name: str) -> None:
        now = time.perf_counter()
        if self._name:
            self.seconds[self._name] = round(now - self._since, 3)
        self._name, self._since = name, now


def _spec(task: Task, partitions: dict[str, Any]) -> ReleaseSpec:
    workload = task.workload
    return ReleaseSpec.model_validate(
        {
            "version": 1,
            "name": "bench",
            "dataset": _DATASET,
            "source": {"format": "parquet", "path": task.path},
            "privacy_unit": USER,
            "contribution_bounds": {
                "max_partitions_contributed": workload.max_partitions,
                "max_contributions_per_partition": workload.max_rows,
            },
            "group_by": [KEY],
            "partitions": partitions,
            "aggregates": [_aggregate(item) for item in workload.aggregates],
            "budget": {"epsilon": Decimal(str(workload.epsilon)), "delta": Decimal(str(workload.delta))},
            "ledger": {"path": f"{task.scratch}/ledger"},
            "sink": {"path": f"{task.scratch}/{workload.name}-{'-'.join(partitions)}"},
        }
    )


def _aggregate(item: Aggregate) -> dict[str, Any]:
    named: dict[str, Any] = {"function": item.function, "name": item.name}
    named |= {"column": item.column, "min_value": item.low, "max_value": item.high} if item.column else {}
    return named | ({"quantiles": item.shares} if item.shares else {})


def open_ledger(spark: SparkSession, task: Task) -> Answer:
    """Opens an account that outlasts all rounds; an owner does so once, so it is no part of what is timed."""
    ledger = ledger_at(spark, TableRef.of(_spec(task, {"private": {}}).ledger))
    with contextlib.suppress(BudgetError):  # it is open already
        ledger.open(_DATASET, Account.open(Decimal(1000), Decimal("1e-2")))
    return Answer(0)


def make_table(spark: SparkSession, task: Task) -> Answer:
    """Writes a table and its public keys, where they are not there yet."""
    table = Table(**task.table)
    for path, write in _writers(spark, task, table):
        if not (Path(path) / "_SUCCESS").exists():
            write(path)
    return Answer(table.rows)


def _writers(spark: SparkSession, task: Task, table: Table) -> Iterator[tuple[str, Callable[[str], None]]]:
    yield task.path, partial(write_table, spark, table)
    yield task.keys_path, partial(write_keys, spark, table.partitions)


def start() -> Offer:
    """Starts dp-spark's own session."""
    spark = get_session()
    spark.sparkContext.setLogLevel("ERROR")
    runs: dict[str, Callable[[SparkSession, Task], Answer]] = {
        "floor_group": floor_group,
        "floor_shuffle": floor_shuffle,
        "exact": exact,
        "dp_spark": to_noisy_rows,
        "release_public": partial(release, private=False),
        "release_private": partial(release, private=True),
        "open_ledger": open_ledger,
        "make_table": make_table,
    }
    packages = ("pyspark", "delta-spark", "pyarrow", "numpy", "opendp", "dp-accounting")
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    return Offer({name: partial(run, spark) for name, run in runs.items()}, _NOTES, packages, jvm.System.gc)


if __name__ == "__main__":
    serve(start)
