"""What a recipient of a combined table is told: each party's manifest as it is, and the guarantee of all of them together."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Any

from dp_spark.aggregates.registry import aggregate_of
from dp_spark.combine.agreement import Party, definition_of
from dp_spark.manifest import COMBINED_FORMAT, columns_of, defined_as, parties_column
from dp_spark.privacy.decimals import decimal_text, sum_exactly
from dp_spark.privacy.selection.registry import strategy_of
from dp_spark.spec.file_digests import says_same_file


class Users(StrEnum):
    """What the author of a combination knows about the parties' users (privacy units)."""

    disjoint = "disjoint"
    overlapping = "overlapping"


def combined_manifest(parties: Sequence[Party], users: Users) -> dict[str, Any]:
    """The manifest of a combined table; a function of its inputs' manifests and of ``users``.

    Args:
        parties: Releases that agree, sorted by identity.
        users: Whether one user can be in the data of several parties.
    """
    manifests = [party.manifest for party in parties]
    first = manifests[0]
    return {
        "format": COMBINED_FORMAT,
        "name": " + ".join(dict.fromkeys(manifest["name"] for manifest in manifests)),
        # No dataset can have this name, so no release is ever published over a combined table.
        "dataset": " + ".join(manifest["dataset"] for manifest in manifests),
        "release_id": _combination_id(manifests, users),
        "guarantee": joint_guarantee([manifest["guarantee"] for manifest in manifests], users),
        "group_by": first["group_by"],
        "partitions": _partitions(manifests),
        "contribution_bounds": first["contribution_bounds"],
        "aggregates": [_aggregate(manifests, index, users) for index in range(len(first["aggregates"]))],
        "columns": _columns(manifests, users),
        "timezone": first["timezone"],
        "same_file": all(says_same_file(str(first["file_digest"]), str(item["file_digest"])) for item in manifests),
        "libraries": {"dp_spark": importlib.metadata.version("dp_spark")},
        "inputs": manifests,
    }


def _combination_id(manifests: Sequence[Mapping[str, Any]], users: Users) -> str:
    text = json.dumps([users, manifests], sort_keys=True)
    return f"combined-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def joint_guarantee(guarantees: Sequence[Mapping[str, Any]], users: Users) -> dict[str, Any]:
    """The guarantee of independent releases together.

    Args:
        guarantees: The guarantee of each release.
        users: Whether one user can be in the data of several parties.

    Guarantees: each release is (e_i, d_i)-DP and draws its noise by itself. A user in the data of one party changes the
    distribution of that party's release alone, so the joint release is (max e_i, max d_i)-DP where users are disjoint
    (parallel composition). A user in the data of several changes the distributions of these; the joint one changes by at most
    the sums over them, so by at most the sums over all (basic composition; Dwork and Roth 2014, theorem 3.16).
    """
    total = {name: sum_exactly(Decimal(item[name]) for item in guarantees) for name in ("epsilon", "delta")}
    largest = {name: max(Decimal(item[name]) for item in guarantees) for name in ("epsilon", "delta")}
    rhos = [Decimal(item["rho"]) for item in guarantees if item["rho"] is not None]
    joint = largest if users is Users.disjoint else total
    rho = max(rhos) if rhos and users is Users.disjoint else sum_exactly(rhos)
    accountants = {item["accountant"] for item in guarantees}
    return {
        "epsilon": decimal_text(joint["epsilon"]),
        "delta": decimal_text(joint["delta"]),
        "rho": decimal_text(rho) if len(rhos) == len(guarantees) else None,
        "accountant": accountants.pop() if len(accountants) == 1 else None,
        "users": users.value,
        "composition": "parallel" if users is Users.disjoint else "sequential",
        "adjacency": f"add or remove one privacy unit in {'one party' if users is Users.disjoint else 'any of the parties'}",
        **{name: guarantees[0][name] for name in ("privacy_unit", "privacy_unit_definition") if name in guarantees[0]},
        "sentence": _sentence(guarantees, users, joint, total),
    }


def _sentence(
    guarantees: Sequence[Mapping[str, Any]], users: Users, joint: Mapping[str, Decimal], total: Mapping[str, Decimal]
) -> str:
    unit = guarantees[0]["privacy_unit"]
    whom = "one row" if unit == "row" else f"all rows that share one value of ({', '.join(unit)}){defined_as(guarantees[0])}"
    bound, sums = _pair(joint), _pair(total)
    start = (
        f"This table was computed from {len(guarantees)} published releases and from nothing else. What follows holds if each "
        "of them is what its manifest states, which a published table cannot show. "
    )
    effect = (
        f"changes the probability of any set of possible outcomes by at most a factor of exp({decimal_text(joint['epsilon'])})"
        + (f", plus at most {decimal_text(joint['delta'])}" if joint["delta"] else "")
    )
    if users is Users.disjoint:
        return start + (
            "Its author states that nobody is in the data of more than one party. Then the releases together are "
            f"{bound}-differentially private: adding or removing {whom} in one party's data {effect}. Whoever is in the "
            f"data of several parties after all has the sum of their guarantees, at most {sums}."
        )
    return start + (
        "A user can be in the data of several parties, and then has the sum of the guarantees of these. Over all parties the "
        f"releases together are {bound}-differentially private: adding or removing {whom}, wherever they are, {effect}."
    )


def _pair(values: Mapping[str, Decimal]) -> str:
    return f"({decimal_text(values['epsilon'])}, {decimal_text(values['delta'])})"


def _partitions(manifests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found = [manifest["partitions"] for manifest in manifests]
    same = {name: found[0][name] for name in ("selection", "strategy") if name in found[0]}
    strategy = strategy_of(found[0])
    return same if strategy is None else {**same, **strategy.combined(found)}


def _aggregate(manifests: Sequence[Mapping[str, Any]], index: int, users: Users) -> dict[str, Any]:
    """One aggregate: the definition that all share. Its noise is no single mechanism's, so no stddev but each row's own."""
    entry = manifests[0]["aggregates"][index]
    found = {
        "name": entry["name"],
        **definition_of(entry),
        "mechanism": _mechanisms(manifests, index),
        "queries": entry["queries"],
        "stddev": None,
        "half_width_95": None,
    }
    note = aggregate_of(entry).combination_note(overlapping=users is Users.overlapping)
    return {**found, "note": note} if note else found


def _mechanisms(manifests: Sequence[Mapping[str, Any]], index: int) -> str:
    return " and ".join(sorted({manifest["aggregates"][index]["mechanism"] for manifest in manifests}))


def _columns(manifests: Sequence[Mapping[str, Any]], users: Users) -> list[dict[str, Any]]:
    """The columns of the first party, of whatever format, each with an error of its row's own; and the number of parties."""
    first = manifests[0]
    places = {entry["name"]: index for index, entry in enumerate(first["aggregates"])}
    columns = []
    for column in columns_of(first):
        told = {name: value for name, value in column.items() if name != "comment"}
        if "error" in column:
            index = places[column["aggregate"]]
            error = _error(column, _mechanisms(manifests, index))
            note = aggregate_of(first["aggregates"][index]).combination_note(overlapping=users is Users.overlapping)
            told["error"] = error
            told |= {"notes": [*column.get("notes", []), note]} if note else {}
        columns.append(told)
    return [*columns, parties_column(len(manifests))]


def _error(column: Mapping[str, Any], mechanisms: str) -> dict[str, Any]:
    """What a combined table tells of the error of a column: a stddev of each row's own, or the interval that is in the row."""
    error = column["error"]
    if error["rule"] == "interval":
        return {**error, "mechanism": mechanisms}
    stddev_column = error.get("stddev_column", f"{column['name']}_stddev")
    return {"rule": "per_row", "mechanism": mechanisms, "stddev_column": stddev_column}
