"""What is measured: sections of calls that alternate, over tables, in a full and in a quick size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.environments import PRODUCT
from benchmarks.tables import Table
from benchmarks.workloads import COUNT, COUNT_SUM, FIVE, QUANTILES, TWO_COLUMNS, WIDE, Workload

#: A call that takes longer is ended.
CALL_LIMIT = 720.0


@dataclass(frozen=True)
class Rounds:
    """How many measured rounds follow the cold call, by how long that took; with none, the cold call is the figure.

    Attributes:
        short: How many follow a short call.
        up_to_150_s: How many follow one that is not short.
        up_to_300_s: And so on.
        longer: And so on.
        short_limit: The seconds that a short call takes at most.
    """

    short: int
    up_to_150_s: int
    up_to_300_s: int
    longer: int
    short_limit: float = 60.0

    def after(self, cold: float) -> int:
        """The number of measured rounds."""
        if cold <= self.short_limit:
            return self.short
        if cold <= 150:
            return self.up_to_150_s
        return self.up_to_300_s if cold <= 300 else self.longer


@dataclass(frozen=True)
class Entry:
    """One thing that is timed: a contestant's call for one workload on one table."""

    environment: str
    contestant: str
    workload: Workload
    table: Table


@dataclass(frozen=True)
class Section:
    """Entries that alternate: each is called once (cold), then once in each round.

    Attributes:
        name: Its name in the results.
        entries: In order.
        rounds: How many rounds.
        fresh: Whether its processes start anew, so that peak memory is the section's own.
        discard_tables: Whether its tables are removed once it is done.
    """

    name: str
    entries: tuple[Entry, ...]
    rounds: Rounds
    fresh: bool = False
    discard_tables: bool = False


@dataclass(frozen=True)
class Plan:
    """A whole run."""

    name: str
    sections: tuple[Section, ...]

    def of(self, names: Sequence[str]) -> Plan:
        """The same plan with some of its sections."""
        return replace(self, sections=tuple(section for section in self.sections if section.name in names))

    @property
    def environments(self) -> list[str]:
        """The environments of its contestants, each once."""
        return list(dict.fromkeys(entry.environment for section in self.sections for entry in section.entries))


_PEERS = (("tumult", "tumult"), ("pipelinedp", "pipelinedp"), ("opendp", "opendp"))
_WITH_QUANTILES = _PEERS[:2]
_LIBRARY = ("floor_group", "floor_shuffle", "exact", "dp_spark", "release_public", "release_private")


def full_plan() -> Plan:
    """Ten million rows; about forty minutes on two cores."""
    main = Table("even", 10_000_000, 1_000_000, 10_000)
    sizes = tuple(Table(f"scale-{millions}M", millions * 10**6, millions * 10**5, 10_000) for millions in (1, 10, 100))
    wide = Table("wide", 2_000_000, 500_000, 1_000_000)
    # So many rows for each partition that noise leaves something of its quantiles, and no more than peers finish in a minute.
    few = Table("few-partitions", 1_000_000, 100_000, 100)
    return Plan("full", _sections(main, sizes, wide, few, Rounds(3, 2, 0, 0), Rounds(2, 1, 0, 0)))


def quick_plan() -> Plan:
    """The same code on a hundred thousand rows: that it runs, not how fast anything is."""
    main = Table("even-quick", 100_000, 10_000, 1_000)
    sizes = tuple(Table(f"scale-quick-{rows}", rows, rows // 10, 1_000) for rows in (50_000, 100_000, 200_000))
    wide = Table("wide-quick", 100_000, 25_000, 20_000)
    few = Table("few-partitions-quick", 50_000, 5_000, 10)
    rounds = Rounds(1, 0, 0, 0, short_limit=10.0)
    sections = _sections(main, sizes, wide, few, rounds, rounds)
    # Starting anew is for peak memory, which means nothing here: once is enough to see that it works.
    return Plan("quick", tuple(replace(section, fresh=section.name == "shapes") for section in sections))


def _sections(
    main: Table, sizes: tuple[Table, ...], wide: Table, few_partitions: Table, rounds: Rounds, few: Rounds
) -> tuple[Section, ...]:
    return (
        Section("count_sum", (*_of_library(main, COUNT_SUM, *_LIBRARY), *_of_peers(main, COUNT_SUM, *_PEERS)), rounds),
        Section("five", (*_of_library(main, FIVE, "exact", "dp_spark"), *_of_peers(main, FIVE, *_PEERS)), rounds),
        Section("two_columns", tuple(entry for work in (COUNT, TWO_COLUMNS) for entry in _own(main, work)), rounds),
        Section("quantiles", tuple(entry for work in (COUNT_SUM, QUANTILES) for entry in _own(main, work)), rounds),
        Section(
            "quantile_errors",
            (*_own(few_partitions, QUANTILES), *_of_peers(few_partitions, QUANTILES, *_WITH_QUANTILES)),
            few,
        ),
        Section("shapes", tuple(entry for table in _shapes(main) for entry in _both(table)), few, fresh=True),
        # The process is warm when it comes to the largest table: its first call is a fair figure.
        Section(
            "scaling",
            tuple(entry for table in sizes for entry in _both(table)),
            replace(few, up_to_150_s=0, up_to_300_s=0),
            fresh=True,
            discard_tables=True,
        ),
        Section("wide", tuple(_of_library(wide, WIDE, "release_public")), few, fresh=True),
    )


def _own(table: Table, workload: Workload) -> list[Entry]:
    return _of_library(table, workload, "dp_spark")


def _of_library(table: Table, workload: Workload, *contestants: str) -> list[Entry]:
    return [Entry(PRODUCT, contestant, workload, table) for contestant in contestants]


def _of_peers(table: Table, workload: Workload, *peers: tuple[str, str]) -> list[Entry]:
    return [Entry(environment, contestant, workload, table) for environment, contestant in peers]


def _both(table: Table) -> list[Entry]:
    return _of_library(table, COUNT_SUM, "exact", "dp_spark")


def _shapes(main: Table) -> list[Table]:
    return [
        main,
        replace(main, name=f"{main.name}-one-user", heavy_user_share=0.1),
        replace(main, name=f"{main.name}-half-partition", heavy_partition_share=0.5),
        replace(main, name=f"{main.name}-zipf", zipf_users=1.1, zipf_partitions=1.1),
        replace(main, name=f"{main.name}-string", ids="string"),
    ]
