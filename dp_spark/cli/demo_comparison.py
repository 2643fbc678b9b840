"""What privacy cost, in a table and a chart: exact against released values of public data.

Only a demo may show exact values, because its data are public already; nothing here is used by a release.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from rich.markup import escape
from rich.table import Table

from dp_spark.aggregates.clipped import UNIT_VALUE
from dp_spark.engine import preprocess
from dp_spark.engine.columns import column
from dp_spark.engine.sources import open_source
from dp_spark.manifest import confidence_intervals, value_columns
from dp_spark.noise_width import error_width
from dp_spark.published.cells import cell, elements, key_text
from dp_spark.release.publication import ReleaseResult
from dp_spark.spark.settings import RELEASE_SETTINGS, settings
from dp_spark.spec.release_spec import ReleaseSpec

_SHOWN_ROWS = 12


def compare(spark: SparkSession, spec: ReleaseSpec, result: ReleaseResult) -> list[dict[str, Any]]:
    """The released rows, each with the exact values of its partition under ``exact_<column>``, for each column of values."""
    with settings(spark, {**RELEASE_SETTINGS, "spark.sql.session.timeZone": spec.timezone}):
        frame = preprocess.apply_steps(spark, open_source(spark, spec.source, where="source"), spec)
        for name in spec.unit_columns:
            frame = frame.where(column(name).isNotNull())
        found = _exact(frame, spec)
    rows = [] if result.rows is None else result.rows.to_pylist()
    for row in rows:
        partition = found.get(tuple(row[key] for key in spec.group_by), {})
        for item in spec.aggregates:
            columns = [column for column in value_columns(result.manifest) if column["aggregate"] == item.name]
            exact = _for_each(columns, row, partition.get(item.name))
            row.update({f"exact_{column['name']}": value for column, value in zip(columns, exact, strict=True)})
    return rows


def _for_each(columns: list[dict[str, Any]], row: Mapping[str, Any], exact: Any) -> list[Any]:
    """The exact value of each column of an aggregate: quantiles are a list, one for each; a cell of many is itself a list."""
    if columns[0]["error"]["rule"] == "interval":
        return [None] * len(columns) if exact is None else list(exact)
    many = row[columns[0]["name"]]
    nothing = [0] * len(many) if isinstance(many, list) else 0
    return [nothing if exact is None else exact]


def _exact(frame: DataFrame, spec: ReleaseSpec) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Key -> the exact values by the names of aggregates: of rows all at once, and of units' values one by one."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    units, keys = list(spec.unit_columns), list(spec.group_by)
    of_units = [item for item in spec.aggregates if item.plain_unit_sql is not None]
    steps = [(frame, [item for item in spec.aggregates if item not in of_units])] + [
        (frame.groupBy(*units, *keys).agg(F.expr(str(item.plain_unit_sql)).alias(UNIT_VALUE)), [item]) for item in of_units
    ]
    for rows, items in steps:
        statistics = [F.expr(item.plain_sql(units)).alias(item.name) for item in items]
        for row in rows.groupBy(*keys).agg(*statistics).collect() if items else []:
            found.setdefault(tuple(row[key] for key in keys), {}).update(row.asDict())
    return found


def comparison_table(rows: list[dict[str, Any]], result: ReleaseResult) -> Table:
    """Exact and released values side by side, for a terminal; ``rows`` are those of ``compare``."""
    table = Table(title="What privacy cost: exact → released (this data is public already)", title_justify="left")
    for key in result.manifest["group_by"]:
        table.add_column(key)
    values = value_columns(result.manifest)
    for item in values:
        table.add_column(item["name"], justify="right")
    for row in rows[:_SHOWN_ROWS]:
        cells = [escape(key_text(row[key])) for key in result.manifest["group_by"]]
        for item in values:
            exact = elements(row[f"exact_{item['name']}"], _width(row, item["error"]))
            cells.append(f"{exact} → {cell(row, item)}")
        table.add_row(*cells)
    table.caption = (
        "Exact values count every row; released ones count at most the contribution bounds' share of each unit, "
        "and then have noise added."
    )
    return table


def _width(row: Mapping[str, Any], error: Mapping[str, Any]) -> float | None:
    """How wide an error is that leaves digits a meaning."""
    if error["rule"] == "interval":
        return float(row[error["high_column"]] - row[error["low_column"]])
    return error_width(error)


def _intervals(rows: list[dict[str, Any]], manifest: Mapping[str, Any], column: Mapping[str, Any]) -> list[list[Any]]:
    """For each row the intervals of its cell's elements, of a number the one; None where none is told."""
    name, error = column["name"], column["error"]
    ends = None
    if error["rule"] == "interval":
        ends = ([row[error["low_column"]] for row in rows], [row[error["high_column"]] for row in rows])
    stddevs = [row.get(error.get("stddev_column")) for row in rows]
    found = confidence_intervals(manifest, name, [row[name] for row in rows], stddevs, ends=ends)
    return [intervals if isinstance(intervals, list) else [intervals] for intervals in found]


def coverage(rows: list[dict[str, Any]], manifest: Mapping[str, Any]) -> str:
    """How many intervals of each column cover the exact value, of cells of many those of all elements.

    They are fewer than 95 in 100 where bounds leave much out.

    Args:
        rows: Released rows, each with its exact values.
        manifest: Their manifest.
    """
    told = []
    for item in value_columns(manifest):
        name, known = item["name"], []
        for row, intervals in zip(rows, _intervals(rows, manifest, item), strict=True):
            exact = row[f"exact_{name}"]
            exacts = exact if isinstance(exact, list) else [exact]
            known += [(pair, value) for pair, value in zip(intervals, exacts, strict=True) if pair is not None]
        covered = sum(exact is not None and low <= exact <= high for (low, high), exact in known)
        told.append(f"{name} {covered} of {len(known)}")
    return ", ".join(told)


def write_charts(rows: list[dict[str, Any]], result: ReleaseResult, folder: Path) -> list[Path]:
    """One chart of the last column of numbers, as a self-contained page and as a picture; none without altair."""
    columns = [item for item in value_columns(result.manifest) if rows and not isinstance(rows[0][item["name"]], list)]
    if importlib.util.find_spec("altair") is None or not columns:
        return []
    import altair as alt

    name = columns[-1]["name"]
    points, keys = _points(rows, result.manifest, columns[-1]), result.manifest["group_by"]
    base = alt.Chart(alt.Data(values=points)).encode(
        x=alt.X("partition:N", sort=None, title=", ".join(keys), axis=alt.Axis(labelAngle=-60))
    )
    chart = (
        base.mark_errorbar(color="#4c78a8").encode(y=alt.Y("low:Q", title=name), y2="high:Q")
        + base.mark_point(filled=True, size=45, color="#4c78a8").encode(y="released:Q", tooltip=["partition:N", "released:Q"])
        + base.mark_tick(color="#d62728", thickness=3, width=14).encode(y="exact:Q", tooltip=["partition:N", "exact:Q"])
    ).properties(
        width=max(480, 16 * len(points)),
        height=320,
        title=alt.TitleParams(
            f"{result.manifest['name']}: {name}",
            subtitle="blue: released with its 95 % interval; red: exact, without bounding (public data only)",
        ),
    )
    paths = [folder / "chart.html", folder / "chart.png"]
    chart.save(paths[0], inline=True)
    chart.save(paths[1], scale_factor=2)
    return paths


def _points(rows: list[dict[str, Any]], manifest: Mapping[str, Any], column: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The cells of a column of numbers with their intervals; without those of which none is told."""
    name = column["name"]
    return [
        {
            "partition": ", ".join(key_text(row[key]) for key in manifest["group_by"]),
            "exact": row[f"exact_{name}"],
            "released": row[name],
            "low": interval[0],
            "high": interval[1],
        }
        for row, [interval] in zip(rows, _intervals(rows, manifest, column), strict=True)
        if interval is not None
    ]
