"""What was promised before measuring, and whether it holds; computed from the results, never written by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchmarks.results import Results

#: The stage of a call until exact integers are on the driver.
SPARKS_PART = "read and aggregate"


@dataclass(frozen=True)
class Target:
    """One promise.

    Attributes:
        text: What is compared.
        bound: "at most" or "at least".
        limit: The promised ratio.
        measured: The ratio found; None where one side has no figure.
    """

    text: str
    bound: Literal["at most", "at least"]
    limit: float
    measured: float | None

    @property
    def verdict(self) -> str:
        """Met, missed, or not measured."""
        if self.measured is None:
            return "not measured"
        met = self.measured <= self.limit if self.bound == "at most" else self.measured >= self.limit
        return "met" if met else "missed"


def ratio(over: float | None, under: float | None) -> float | None:
    """A quotient, or None where there is none."""
    return None if over is None or not under else over / under


def targets(results: Results) -> list[Target]:
    """Every promise with what was found."""
    own, five = results.figure("count_sum", "dp_spark"), results.figure("five", "dp_spark")
    exact, floor = results.figure("count_sum", "exact"), results.figure("count_sum", "floor_shuffle")
    tumult = {section: results.figure(section, "tumult") for section in ("count_sum", "five")}
    return [
        Target("dp-spark ÷ exact query, count_sum", "at most", 0.9, ratio(own, exact)),
        Target("dp-spark ÷ shuffle floor, count_sum", "at most", 2.0, ratio(own, floor)),
        Target("Tumult Analytics ÷ dp-spark, count_sum", "at least", 6.0, ratio(tumult["count_sum"], own)),
        Target("Tumult Analytics ÷ dp-spark, five", "at least", 10.0, ratio(tumult["five"], five)),
        Target("PipelineDP ÷ dp-spark, count_sum", "at least", 18.0, ratio(results.figure("count_sum", "pipelinedp"), own)),
        Target("dp-spark: five ÷ count_sum", "at most", 1.3, ratio(five, own)),
        Target("dp-spark: two_columns ÷ count alone", "at most", 1.3, _beside(results, "two_columns")),
        Target(
            "dp-spark: Spark's part of quantiles ÷ of count_sum", "at most", 1.5, _beside(results, "quantiles", SPARKS_PART)
        ),
        Target("dp-spark: worst skew ÷ even", "at most", 1.5, _worst_skew(results)),
        Target("dp-spark: seconds per row, largest ÷ middle table", "at most", 1.15, _growth(results)),
    ]


def _beside(results: Results, section: str, stage: str | None = None) -> float | None:
    """The second of the two measurements of a section beside the first; only of one stage, where one is given."""
    found = [item.stage(stage) if stage else item.figure for item in results.of(section)]
    return ratio(found[1], found[0]) if found else None


def even_table(results: Results) -> str:
    """The name of the table that the shapes are compared with: the first of its section."""
    shapes = results.of("shapes")
    return shapes[0].table if shapes else ""


def _worst_skew(results: Results) -> float | None:
    even = even_table(results)
    skewed = [item for item in results.of("shapes") if item.contestant == "dp_spark" and _is_skewed(results, item.table)]
    ratios = [ratio(item.figure, results.figure("shapes", "dp_spark", even)) for item in skewed]
    known = [value for value in ratios if value is not None]
    return max(known) if known and len(known) == len(ratios) else None


def _is_skewed(results: Results, table: str) -> bool:
    shape = results.tables[table]
    return any(shape[name] for name in ("zipf_users", "zipf_partitions", "heavy_user_share", "heavy_partition_share"))


def _growth(results: Results) -> float | None:
    own = [item for item in results.of("scaling") if item.contestant == "dp_spark"]
    per_row = [ratio(item.figure, item.rows) for item in sorted(own, key=lambda item: item.rows)]
    return ratio(per_row[-1], per_row[-2]) if len(per_row) > 1 else None
