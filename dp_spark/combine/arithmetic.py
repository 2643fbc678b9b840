"""Noisy tables of several parties to one table: post-processing of what is published, so it costs nothing.

Each party's noise is drawn by itself, so variances add (docs/combine.md has the derivations). What of a cell adds up over
parties, and how cells come of the sums, each aggregate says itself (``Aggregate.parts``, ``Aggregate.combined``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from dp_spark.aggregates.base import Aggregate
from dp_spark.aggregates.given import CannotCombine
from dp_spark.aggregates.registry import aggregate_of
from dp_spark.combine.agreement import Party
from dp_spark.errors import SourceError
from dp_spark.manifest import PARTIES


def combine_rows(parties: Sequence[Party]) -> pa.Table:
    """One row for each key of any party: keys, each aggregate with its stddev, and how many parties the row covers.

    Args:
        parties: Releases that agree (``agreement.check_parties``), in an order that does not change from run to run.

    Raises:
        SourceError: If an aggregate cannot be combined, such as a mean without the count that it was divided by.

    Guarantees: a function of published tables only (post-processing).
    """
    keys = parties[0].manifest["group_by"]
    aggregates = [_known(entry, parties[0]) for entry in parties[0].manifest["aggregates"]]
    parts = pa.concat_tables([_parts(party, aggregates) for party in parties])
    names = [f"k{index}" for index in range(len(keys))]
    # One thread: sums of doubles depend on the order of addition.
    added = parts.group_by(names, use_threads=False).aggregate(
        [(name, "sum") for name in parts.column_names if name not in names]
    )
    columns = {key: added.column(name) for key, name in zip(keys, names, strict=True)}
    for index, aggregate in enumerate(aggregates):
        ending = f".{index}_sum"
        sums = {name.removesuffix(ending): added.column(name) for name in added.column_names if name.endswith(ending)}
        columns |= dict(zip(aggregate.column_names(), aggregate.combined(sums), strict=True))
    columns[PARTIES] = added.column("parties_sum").cast(pa.int32())
    return pa.table(columns)


def _known(entry: Mapping[str, Any], party: Party) -> Aggregate:
    try:
        return aggregate_of(entry)
    except KeyError:
        raise SourceError(
            f"no way is known to combine a {entry['function']} ({entry['name']})",
            where=party.label,
            mend="combine with a version of dp-spark that knows it",
        ) from None


def _parts(party: Party, aggregates: Sequence[Aggregate]) -> pa.Table:
    """What adds up over parties: the parts of aggregate j in columns <part>.<j>."""
    columns = {f"k{index}": party.rows.column(name) for index, name in enumerate(party.manifest["group_by"])}
    for index, aggregate in enumerate(aggregates):
        try:
            found = aggregate.parts(_Cells(party))
        except CannotCombine as reason:
            raise SourceError(
                f"the {aggregate.function} {aggregate.name} cannot be combined: {reason}", where=party.label, mend=reason.mend
            ) from None
        columns |= {f"{name}.{index}": part for name, part in found.items()}
    return pa.table({**columns, "parties": pa.array(np.ones(party.rows.num_rows, np.int64))})


@dataclass(frozen=True)
class _Cells:
    """One party's cells, as its aggregates read them (``PartyCells``)."""

    party: Party

    def column(self, name: str) -> pa.ChunkedArray:
        return self.party.rows.column(name)

    def column_of(self, label: str, function: str | None = None) -> str | None:
        entries = [entry for entry in self.party.manifest["aggregates"] if entry["queries"] == [label]]
        names = [entry["name"] for entry in entries if function in (None, entry["function"])]
        return names[0] if names else None

    def stddev_of(self, label: str) -> float:
        return {query["query"]: float(query["stddev"]) for query in self.party.manifest["queries"]}[label]
