"""What goes into a manifest: what the author declared and what the mechanisms are.

Nothing in it was computed from private values. So no row, file or byte count of the source, no source version, no
number of dropped rows or candidate keys, no run time.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import Any

from dp_spark.aggregates.base import described
from dp_spark.aggregates.query import Query
from dp_spark.manifest import FORMAT, defined_as
from dp_spark.plan.planning import ReleasePlan
from dp_spark.privacy.decimals import decimal_text
from dp_spark.privacy.selection import registry as selections
from dp_spark.spec.privacy_unit import RowUnit

_LIBRARIES = ("dp_spark", "pyspark", "delta-spark", "opendp", "dp-accounting")


def build_manifest(
    plan: ReleasePlan, *, release_id: str, file_digest: str, charge: Mapping[str, Any], key_types: Mapping[str, str]
) -> dict[str, Any]:
    """The manifest of a release.

    Args:
        plan: What is drawn and charged.
        release_id: The release's identity in the ledger.
        file_digest: The digest of the effective release file.
        charge: The charge in the ledger: ``sequence``, its number there (a later release has a higher one); ``at``, its day in
            UTC, ISO 8601; ``ledger``, the digest of the ledger's first entry, by which two ledgers can be told apart.
        key_types: Spark's name of the type of each group_by column.
    """
    spec = plan.spec
    return {
        "format": FORMAT,
        "name": spec.name,
        "dataset": spec.dataset,
        "release_id": release_id,
        "file_digest": file_digest,
        "charge": dict(charge),
        "guarantee": _guarantee(plan),
        "group_by": list(spec.group_by),
        "partitions": _partitions(plan),
        "contribution_bounds": plan.bounds.describe(),
        "aggregates": [item.entry(plan.noises_of(item)) for item in spec.aggregates],
        "columns": _columns(plan, key_types),
        "queries": [_query(plan, query) for query in plan.mechanisms],
        "timezone": spec.timezone,
        "libraries": {name: _version(name) for name in _LIBRARIES},
    }


def _guarantee(plan: ReleasePlan) -> dict[str, Any]:
    spec = plan.spec
    row_unit = isinstance(spec.privacy_unit, RowUnit)
    unit = "row" if row_unit else ", ".join(spec.unit_columns)
    definition = {"privacy_unit_definition": dict(spec.unit_definition)} if spec.unit_definition else {}
    whom = "one row" if row_unit else f"all rows that share one value of ({unit}){defined_as(definition)}"
    epsilon, delta = decimal_text(plan.guarantee_epsilon), decimal_text(plan.guarantee_delta)
    sentence = (
        f"This table was computed by a randomised procedure that is ({epsilon}, {delta})-differentially private: "
        f"for any set of possible published tables, adding or removing {whom} of the dataset '{spec.dataset}' changes "
        f"the probability of publishing a table in that set by at most a factor of exp({epsilon})"
        + (f", plus at most {delta}." if plan.guarantee_delta else ".")
    )
    return {
        "epsilon": epsilon,
        "delta": delta,
        "rho": decimal_text(plan.cost.amount) if plan.cost.currency == "rho" else None,
        "accountant": plan.accountant,
        "adjacency": "add or remove one privacy unit",
        "privacy_unit": "row" if row_unit else list(spec.unit_columns),
        **definition,
        "sentence": sentence,
    }


def _partitions(plan: ReleasePlan) -> dict[str, Any]:
    if plan.selection is None:
        return {"selection": "public" if plan.spec.group_by else "none"}
    return selections.described(plan.selection)


def _columns(plan: ReleasePlan, key_types: Mapping[str, str]) -> list[dict[str, Any]]:
    """The released columns in order, as a recipient's programs and people read them."""
    keys = [described(name, key_types[name], "partition key", key=True) for name in plan.spec.group_by]
    return keys + [column for item in plan.spec.aggregates for column in item.describe(plan.noises_of(item))]


def _query(plan: ReleasePlan, query: Query) -> dict[str, Any]:
    noise, event = plan.noise_of(query), plan.mechanisms[query].event
    return {
        "query": query.label,
        "mechanism": noise.mechanism,
        "noise_scale": noise.scale,
        "granularity": noise.granularity,
        "stddev": noise.stddev,
        "epsilon": None if event.epsilon is None else decimal_text(event.epsilon),
        "rho": None if event.rho is None else decimal_text(event.rho),
        "delta": decimal_text(event.delta),
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
