"""Every aggregate there is: a new one is a file and its name here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from dp_spark.aggregates.base import Aggregate
from dp_spark.aggregates.cdf import Cdf
from dp_spark.aggregates.count import Count
from dp_spark.aggregates.histogram import Histogram
from dp_spark.aggregates.max import Max
from dp_spark.aggregates.mean import Mean
from dp_spark.aggregates.median import Median
from dp_spark.aggregates.min import Min
from dp_spark.aggregates.privacy_id_count import PrivacyIdCount
from dp_spark.aggregates.quantiles import Quantiles
from dp_spark.aggregates.sum import Sum
from dp_spark.aggregates.variance import Stddev, Variance

AnyAggregate = PrivacyIdCount | Count | Sum | Mean | Variance | Stddev | Quantiles | Median | Min | Max | Histogram | Cdf

BY_FUNCTION: Mapping[str, type[Aggregate]] = {
    get_args(found.model_fields["function"].annotation)[0]: found for found in get_args(AnyAggregate)
}


def aggregate_of(entry: Mapping[str, Any]) -> Aggregate:
    """The aggregate that an entry of a manifest's list ``aggregates`` describes.

    Args:
        entry: The entry, of any version.

    Raises:
        KeyError: If its function is not known to this version.
        SpecError: If it is not what such an aggregate can be.
    """
    kind = BY_FUNCTION[entry["function"]]
    found = kind.model_validate({name: entry[name] for name in kind.model_fields if name in entry and name != "weight"})
    return found.served_by(entry["queries"])


def is_whole(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of a manifest has the settings and the queries of its function; a later version's is not judged here.

    Raises:
        SpecError: If it has not.
    """
    if entry["function"] not in BY_FUNCTION:
        return True
    return [query.label for query in aggregate_of(entry).queries()] == list(entry["queries"])


def table() -> str:
    """The table of aggregates in docs/release-file.md."""
    lines = ["| function | keys | released as |", "|---|---|---|"]
    for function, kind in BY_FUNCTION.items():
        fields = {name: field for name, field in kind.model_fields.items() if name not in ("function", "weight")}
        keys = [f"`{name}`{'' if field.is_required() else ' (optional)'}" for name, field in fields.items()]
        lines.append(f"| `{function}` | {', '.join(keys)} | {kind.released_as} |")
    return "\n".join(lines)
