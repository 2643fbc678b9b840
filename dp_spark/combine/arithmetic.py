"""Noisy tables of several parties to one table: post-processing of what is published, so it costs nothing.

Each party's noise is drawn by itself, so variances add (docs/combine.md has the derivations):

- counts, privacy-id counts, sums: value = sum of values, Var = sum of Var.
- mean: a party released m_i = clamp(mid + S_i / max(n_i, 1)) from its noisy n_i and S_i. Where it released n_i as well, its
  sum is S_i = (m_i - mid) max(n_i, 1), and the combined mean is what one curator makes of S = sum S_i and n = sum n_i.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dp_spark.combine.agreement import Party
from dp_spark.errors import SourceError
from dp_spark.manifest import PARTIES
from dp_spark.plan.results import MIN_DENOMINATOR_STDDEVS
from dp_spark.privacy.lattice import centred_lattice

_Doubles = npt.NDArray[np.float64]


def combine_rows(parties: Sequence[Party]) -> pa.Table:
    """One row for each key of any party: keys, each aggregate with its stddev, and how many parties the row covers.

    Args:
        parties: Releases that agree (``definitions.check_parties``), in an order that does not change from run to run.

    Raises:
        SourceError: If an aggregate cannot be combined, such as a mean without the count that it was divided by.

    Guarantees: a function of published tables only (post-processing).
    """
    manifest = parties[0].manifest
    keys, aggregates = manifest["group_by"], manifest["aggregates"]
    parts = pa.concat_tables([_parts(party) for party in parties])
    names = [f"k{index}" for index in range(len(keys))]
    # One thread: sums of doubles depend on the order of addition.
    added = parts.group_by(names, use_threads=False).aggregate(
        [(name, "sum") for name in parts.column_names if name not in names]
    )
    columns = {key: added.column(name) for key, name in zip(keys, names, strict=True)}
    for index, aggregate in enumerate(aggregates):
        columns |= _cells(aggregate, {name: added.column(f"{name}{index}_sum") for name in _parts_of(aggregate)})
    columns[PARTIES] = added.column("parties_sum").cast(pa.int32())
    return pa.table(columns)


def _parts_of(aggregate: Mapping[str, Any]) -> tuple[str, ...]:
    return ("value", "var", "n", "nvar") if aggregate["function"] == "mean" else ("value", "var")


def _parts(party: Party) -> pa.Table:
    """What adds up over parties: for each aggregate j the columns value<j>, var<j>, and for a mean n<j>, nvar<j>."""
    rows, manifest = party.rows, party.manifest
    columns = {f"k{index}": rows.column(name) for index, name in enumerate(manifest["group_by"])}
    for index, aggregate in enumerate(manifest["aggregates"]):
        if aggregate["function"] == "mean":
            found = _parts_of_mean(party, aggregate)
        elif aggregate["function"] not in ("privacy_id_count", "count", "sum"):
            raise SourceError(
                f"no way is known to combine a {aggregate['function']} ({aggregate['name']})",
                where=party.label,
                mend="release counts, sums and means",
            )
        else:
            stddev = _doubles(rows.column(f"{aggregate['name']}_stddev"))
            found = {"value": rows.column(aggregate["name"]), "var": pa.array(stddev**2)}
        columns |= {f"{name}{index}": column for name, column in found.items()}
    return pa.table({**columns, "parties": pa.array(np.ones(rows.num_rows, np.int64))})


def _parts_of_mean(party: Party, aggregate: Mapping[str, Any]) -> dict[str, Any]:
    """The noisy centred sum S and count n behind a released mean, with the variances of their noise.

    S = (mean - mid) max(n, 1) is what the party drew, but for cells whose mean was clamped: there it is the sum that is
    nearest to it among those that give a mean within the clipping bounds.
    """
    counted = count_of(party.manifest, aggregate)
    if counted is None:
        raise SourceError(
            f"the mean {aggregate['name']} cannot be combined: the count it was divided by is not in the table",
            where=party.label,
            mend=f"add {{function: count, column: {aggregate['column']}, name: ...}} to the release file, with the mean's "
            "weight (it is the mean's own draw and costs nothing more), and release again",
        )
    stddevs = {query["query"]: float(query["stddev"]) for query in party.manifest["queries"]}
    count_stddev, total_stddev = (stddevs[label] for label in aggregate["queries"])
    count, mean = _doubles(party.rows.column(counted)), _doubles(party.rows.column(aggregate["name"]))
    total = (mean - _midpoint(aggregate)) * np.maximum(count, 1.0)
    return {
        "value": pa.array(total),
        "var": pa.array(np.full(len(count), total_stddev**2)),
        "n": pa.array(count),
        "nvar": pa.array(np.full(len(count), count_stddev**2)),
    }


def count_of(manifest: Mapping[str, Any], mean: Mapping[str, Any]) -> str | None:
    """The column of a release that holds the very count a mean was divided by, or None."""
    names = [other["name"] for other in manifest["aggregates"] if other["queries"] == mean["queries"][:1]]
    return names[0] if names else None


def _midpoint(aggregate: Mapping[str, Any]) -> float:
    lattice = centred_lattice(aggregate["min_value"], aggregate["max_value"])
    return lattice.midpoint * lattice.granularity


def _cells(aggregate: Mapping[str, Any], added: Mapping[str, pa.ChunkedArray]) -> dict[str, Any]:
    """The cells of one aggregate and their stddevs, from the sums over parties."""
    name, variance = aggregate["name"], _doubles(added["var"])
    if aggregate["function"] != "mean":
        return {name: added["value"], f"{name}_stddev": pa.array(np.sqrt(variance))}
    values, stddevs, unknown = mean_cells(
        _doubles(added["value"]), variance, _doubles(added["n"]), _doubles(added["nvar"]), midpoint=_midpoint(aggregate)
    )
    clamped = np.clip(values, aggregate["min_value"], aggregate["max_value"])
    return {name: pa.array(clamped), f"{name}_stddev": pa.array(stddevs, mask=unknown)}


def mean_cells(
    total: _Doubles, total_variance: _Doubles, count: _Doubles, count_variance: _Doubles, *, midpoint: float
) -> tuple[_Doubles, _Doubles, npt.NDArray[np.bool_]]:
    """Means of summed parts before clamping, their stddevs, and where a stddev says too little.

    With q = S / n, first-order propagation gives Var(mid + q) ~ (Var S + q^2 Var n) / n^2 (the delta method; Casella and
    Berger 2002, section 5.5.4). In terms of the parties' means: dM/dm_i = n_i / n and dM/dn_i = (m_i - M) / n, but the
    noise of n_i is in m_i, too, with dm_i/dn_i = -(m_i - mid) / n_i; together -(M - mid) / n, the same for each party.
    Adding the parties' own variances with squared weights instead would leave that out.

    Args:
        total: The noisy centred sums.
        total_variance: The variance of their noise.
        count: The noisy counts.
        count_variance: The variance of their noise.
        midpoint: Where the sums are centred.
    """
    denominator = np.maximum(count, 1.0)
    quotient = total / denominator
    stddev = np.sqrt(total_variance + quotient**2 * count_variance) / denominator
    unknown = (count < MIN_DENOMINATOR_STDDEVS * np.sqrt(count_variance)) | (count < 1)
    return midpoint + quotient, stddev, unknown


def _doubles(column: pa.ChunkedArray) -> _Doubles:
    return np.asarray(column.to_numpy(), dtype=np.float64)
