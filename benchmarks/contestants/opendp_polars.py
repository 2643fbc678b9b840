"""OpenDP's Polars context: one query plan on one machine, without Spark."""

from __future__ import annotations

import opendp.prelude as dp
import polars as pl

from benchmarks.contestants.protocol import Answer, Offer, Task, serve
from benchmarks.workloads import KEY, USER, Aggregate

_NOTE = (
    "One process on all cores without Spark. zCDP (rho as worth epsilon 1, delta 1e-6). truncate_num_groups keeps the lowest "
    "keys of each user: its default, a sample, fails with Polars 1.36 on a named column; and as its ranks begin at 1, it keeps "
    "one group fewer than asked for. Float sums need a public bound on the rows of a group: the number of rows of the table."
)


def aggregate(task: Task) -> Answer:
    """All aggregates in one query plan."""
    rows = pl.scan_parquet(f"{task.path}/*.parquet").select(USER, KEY, *task.workload.columns)
    keys = pl.LazyFrame({KEY: pl.Series(range(task.partitions), dtype=pl.Int32)})
    context = dp.Context.compositor(
        data=rows,
        privacy_unit=dp.unit_of(contributions=1, identifier=pl.col(USER)),
        privacy_loss=dp.loss_of(rho=task.workload.rho),
        split_evenly_over=1,
        margins=[dp.polars.Margin(by=[KEY], max_length=rows.select(pl.len()).collect().item(), max_groups=task.partitions)],
    )
    query = (
        context.query()
        .truncate_num_groups(task.workload.max_partitions, by=[KEY], keep="first")
        .truncate_per_group(task.workload.max_rows, by=[KEY])
        .group_by(KEY)
        .agg(*(_expression(item) for item in task.workload.aggregates))
        .with_keys(keys)
    )
    return Answer(query.release().collect().height)


def _expression(item: Aggregate) -> pl.Expr:
    if item.function == "count":
        return dp.len(signed=True).alias(item.name)
    if item.function == "privacy_id_count":
        return pl.col(USER).dp.n_unique(signed=True).alias(item.name)
    column = pl.col(item.column).fill_null(0.0).fill_nan(0.0)
    bounds = (item.low, item.high)
    return {"sum": column.dp.sum, "mean": column.dp.mean}[item.function](bounds).alias(item.name)


def start() -> Offer:
    """Opts into the features that the context needs."""
    dp.enable_features("contrib")
    return Offer({"opendp": aggregate}, {"opendp": _NOTE}, ("opendp", "polars"))


if __name__ == "__main__":
    serve(start)
