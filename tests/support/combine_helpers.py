"""Published releases of several parties, as they are read, without Spark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
from helpers import COUNT, MEAN, PUBLIC, SUM, UNITS, release_spec
from queries import manifest_of, released_table

from dp_spark.aggregates.query import Query
from dp_spark.combine.agreement import Party
from dp_spark.manifest import FORMAT, FORMAT_1, columns_of
from dp_spark.plan.planning import ReleasePlan, plan_release

VALUES = {"function": "count", "column": "value", "name": "values"}
ALL = (UNITS, COUNT, SUM, VALUES, MEAN)


def plan(*aggregates: Mapping[str, Any], accountant: Any = "zcdp", **changes: Any) -> ReleasePlan:
    changes = {"partitions": PUBLIC, **changes}
    spec = release_spec(aggregates=list(aggregates or ALL), **changes)
    return plan_release(spec, accountant, 3 if spec.public_partitions is not None else None)


def party(
    found: ReleasePlan,
    keys: Sequence[Any] = ("a", "b", "c"),
    noisy: Mapping[Query, Sequence[int]] | None = None,
    *,
    label: str = "A",
    sequence: int = 1,
    digest: str = "sha256:f",
) -> Party:
    """A release of a plan; without noisy values, each cell of a query is its position among the queries plus one."""
    drawn = {query: [index + 1] * len(keys) for index, query in enumerate(found.mechanisms)} if noisy is None else noisy
    rows = released_table(found, pa.table({"test": pa.array(list(keys), pa.string())}), drawn)
    at = "2026-01-01T00:00:00+00:00"
    manifest = manifest_of(
        found, release_id=f"r-{label}", file_digest=digest, sequence=sequence, at=at, ledger=f"sha256:{label}"
    )
    return Party(label, manifest, rows)


def described(given: Party) -> Party:
    """The party with a manifest of format 2."""
    columns = [{name: item for name, item in column.items() if name != "comment"} for column in columns_of(given.manifest)]
    return Party(given.label, {**given.manifest, "format": FORMAT, "columns": columns}, given.rows)


def undescribed(given: Party) -> Party:
    """The party with a manifest of format 1."""
    manifest = {name: item for name, item in given.manifest.items() if name != "columns"}
    return Party(given.label, {**manifest, "format": FORMAT_1}, given.rows)


def budget(epsilon: str, delta: str = "1e-6") -> dict[str, Decimal]:
    return {"epsilon": Decimal(epsilon), "delta": Decimal(delta)}
