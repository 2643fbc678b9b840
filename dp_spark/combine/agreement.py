"""What the releases that are combined must have in common, and all that differs where they do not."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dp_spark.aggregates.registry import is_whole
from dp_spark.errors import DamageError, SourceError, SpecError
from dp_spark.manifest import PARTIES, columns_of, is_combined, value_columns
from dp_spark.privacy.accountants.registry import ACCOUNTANTS
from dp_spark.privacy.selection.registry import strategy_of
from dp_spark.published.cells import key_text, plain_rows
from dp_spark.published.row_comparison import same_rows

#: As many public keys as an error names.
_SHOWN_KEYS = 5
#: The most characters of a budget in a manifest: sums of such numbers are exact.
_LONGEST_NUMBER = 100
#: What a manifest calls a type, as Arrow writes it; a type that is not here is not compared.
_ARROW_TYPES = {"bigint": "int64", "double": "double", "array<bigint>": "list of int64", "array<double>": "list of double"}
#: What an aggregate's entry in a manifest says of one release alone: the rest is its definition.
_OF_ONE_RELEASE = ("name", "mechanism", "queries", "stddev", "half_width_95", "note")


@dataclass(frozen=True)
class Party:
    """One organisation's published release, as it was read.

    Attributes:
        label: What the author of the combination calls it: a path or a name.
        manifest: Its manifest.
        rows: Its published rows.
    """

    label: str
    manifest: Mapping[str, Any]
    rows: pa.Table = field(repr=False)

    @property
    def identity(self) -> tuple[str, ...]:
        """What makes this release another than any other: dataset, release id, digest of the file, charge."""
        charge = self.manifest["charge"]
        names = ("dataset", "release_id", "file_digest")
        return (*(str(self.manifest[name]) for name in names), f"{charge['sequence']:020}", str(charge["at"]))


def check_parties(parties: Sequence[Party]) -> None:
    """Checks that releases can be combined: whole, each one once, and of one definition.

    Args:
        parties: The releases.

    Raises:
        SpecError: If a release is given twice.
        SourceError: If one is a combination already, or the definitions differ; every difference is named.
        DamageError: If a table does not hold what its manifest says.
    """
    for party in parties:
        _check_whole(party)
    _check_each_once(parties)
    differences = _differences(parties)
    if differences:
        raise SourceError(
            f"the definitions differ: {'; '.join(differences)}",
            where=", ".join(party.label for party in parties),
            mend="agree on one release file, release again from it, and combine those",
        )


def check_disjoint(parties: Sequence[Party]) -> None:
    """Checks that no two releases can be of one dataset of one ledger: such have the same users, whoever says otherwise.

    A manifest names its ledger by the digest of the first entry. One of a development version does not: within one ledger a
    release id and a number of an entry are given once, and a later entry has no earlier day, so two releases that break one
    of these are of two ledgers; all else is refused.

    Raises:
        SpecError: If two of them can.
    """
    for one, other in itertools.combinations(parties, 2):
        if _may_share_a_ledger(one.manifest, other.manifest):
            dataset = one.manifest["dataset"]
            raise SpecError(
                f"{one.label} and {other.label} are releases of the dataset {dataset}, as far as can be told of one ledger: "
                "they have the same users",
                where="--users",
                mend="say --users overlapping; if they are of two ledgers after all, release them again: manifests name theirs",
            )


def _may_share_a_ledger(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if one["dataset"] != other["dataset"]:
        return False
    ledgers = [item["charge"].get("ledger") for item in (one, other)]
    if all(ledgers):
        return bool(ledgers[0] == ledgers[1])
    if one["release_id"] == other["release_id"]:
        return False
    (first, day), (second, later) = sorted((item["charge"]["sequence"], str(item["charge"]["at"])) for item in (one, other))
    return bool(first != second and day <= later)


def _check_whole(party: Party) -> None:
    if is_combined(party.manifest):
        raise SourceError("is a combination already", where=party.label, mend="give the parties' own releases, all at once")
    wrong = DamageError(
        "the table does not hold what its manifest says",
        where=party.label,
        mend="ask the publisher for a fresh copy of the table",
    )
    if not _is_readable(party):
        raise wrong
    told, found = columns_of(party.manifest), party.rows.schema
    kinds = [_arrow_type(kind) for kind in found.types]
    types = [_ARROW_TYPES.get(column.get("type", ""), kind) for column, kind in zip(told, kinds, strict=False)]
    if found.names != [column["name"] for column in told]:
        raise wrong
    if types != kinds:
        raise wrong
    if key_presence([party]).num_rows != party.rows.num_rows:  # without keys, there is one row
        raise wrong
    taken = [name for name in found.names if name.lower() == PARTIES]
    if taken:
        raise SourceError(
            f"the column {taken[0]} has the name of a column that a combined table adds",
            where=party.label,
            mend="give it another name in the release file, and release again",
        )


def _arrow_type(kind: pa.DataType) -> str:
    """A type as text; what the elements of a list are called is the writer's business."""
    return f"list of {kind.value_type}" if pa.types.is_list(kind) else str(kind)


def _is_readable(party: Party) -> bool:
    """Whether a manifest has all that combining reads of it, with values that a release can have."""
    manifest = party.manifest
    try:
        _facts(party)
        stddevs = {query["query"]: float(query["stddev"]) for query in manifest["queries"]}
        drawn = {label for aggregate in manifest["aggregates"] for label in aggregate["queries"]}
        return (
            bool(party.identity)
            and drawn <= set(stddevs)
            and all(math.isfinite(stddev) and stddev >= 0 for stddev in stddevs.values())
            and _describes_all(manifest)
            and all(is_whole(aggregate) and isinstance(aggregate["mechanism"], str) for aggregate in manifest["aggregates"])
            and _is_guarantee(manifest["guarantee"])
            and _tells_selection(manifest["partitions"])
        )
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, SpecError):
        return False


def _describes_all(manifest: Mapping[str, Any]) -> bool:
    """Whether the columns are those of the keys and of every aggregate, in order."""
    keys = [column["name"] for column in columns_of(manifest) if column.get("key")]
    described = list(dict.fromkeys(column["aggregate"] for column in value_columns(manifest)))
    return bool(keys == manifest["group_by"] and described == [aggregate["name"] for aggregate in manifest["aggregates"]])


def _tells_selection(partitions: Mapping[str, Any]) -> bool:
    strategy = strategy_of(partitions)
    return partitions["selection"] != "private" if strategy is None else strategy.is_described(partitions)


def _is_guarantee(guarantee: Mapping[str, Any]) -> bool:
    definition = guarantee.get("privacy_unit_definition")
    if definition is not None and (
        list(definition) != guarantee["privacy_unit"] or set(map(type, definition.values())) != {str}
    ):
        return False
    texts = [guarantee["epsilon"], guarantee["delta"], *([] if guarantee["rho"] is None else [guarantee["rho"]])]
    if any(len(text) > _LONGEST_NUMBER for text in texts):
        return False
    epsilon, delta, *rho = (Decimal(text) for text in texts)
    small = all(
        item.is_finite() and 0 <= item < 10**12 and item.adjusted() > -_LONGEST_NUMBER for item in (epsilon, delta, *rho)
    )
    return small and epsilon > 0 and delta < 1 and guarantee["accountant"] in ACCOUNTANTS


def _check_each_once(parties: Sequence[Party]) -> None:
    for index, party in enumerate(parties):
        for other in parties[:index]:
            # Two organisations that run one file on one day can have one identity; two draws of noise they have.
            if party.identity == other.identity and same_rows(party.rows, other.rows, party.manifest["group_by"]):
                raise SpecError(
                    f"is the release {party.manifest['release_id']} of {other.label} once more: its users would count twice",
                    where=party.label,
                    mend="give each release once",
                )


def _differences(parties: Sequence[Party]) -> list[str]:
    """Every fact that is not the same everywhere, with what it is at each party."""
    facts = {party.label: _facts(party) for party in parties}
    names = dict.fromkeys(name for found in facts.values() for name in found)
    differences: list[str] = []
    for name in names:
        by_value: dict[str, list[str]] = {}
        for label, found in facts.items():
            by_value.setdefault(found.get(name, "absent"), []).append(label)
        if len(by_value) > 1:
            differences.append(f"{name} is " + ", ".join(f"{value} in {' and '.join(at)}" for value, at in by_value.items()))
    keys = [party.rows.select(party.manifest["group_by"]).schema for party in parties]
    all_public = all(party.manifest["partitions"]["selection"] == "public" for party in parties)
    if all_public and all((schema.names, schema.types) == (keys[0].names, keys[0].types) for schema in keys):
        differences += _key_differences(parties)
    return differences


def _facts(party: Party) -> dict[str, str]:
    """The definition of a release as the manifest and the table tell it; names, budgets and noise are left out."""
    manifest, bounds = party.manifest, party.manifest["contribution_bounds"]
    unit, part = manifest["guarantee"]["privacy_unit"], manifest["partitions"]
    facts = {
        "privacy_unit": unit if isinstance(unit, str) else f"({', '.join(unit)})",
        "timezone": str(manifest["timezone"]),
        "group_by": f"[{', '.join(manifest['group_by'])}]",
        "partitions": " by ".join(str(part[name]) for name in ("selection", "strategy") if name in part),
        "max_partitions_contributed": str(bounds["max_partitions_contributed"]),
        "max_contributions_per_partition": str(bounds["max_contributions_per_partition"]),
    }
    if "max_contributions" in bounds:
        facts["max_contributions"] = str(bounds["max_contributions"])
    for name in manifest["group_by"]:
        facts[f"the type of {name}"] = str(party.rows.schema.field(name).type)
    definition = manifest["guarantee"].get("privacy_unit_definition")
    if definition is not None:
        facts["privacy_unit_definition"] = "; ".join(f"{name} = {text}" for name, text in definition.items())
    for aggregate in manifest["aggregates"]:
        facts[f"aggregates.{aggregate['name']}"] = _definition_text(definition_of(aggregate))
    for column in value_columns(manifest):  # what a combined table repeats of the first party's; not texts, which versions word
        told = {"range": column.get("range"), "its stddev": column["error"].get("stddev_column")}
        parts = [column["type"], *(f"{name} {value}" for name, value in told.items() if value is not None)]
        facts[f"columns.{column['name']}"] = ", ".join(map(str, parts))
    return facts


def definition_of(aggregate: Mapping[str, Any]) -> dict[str, Any]:
    """What is computed, as an aggregate's entry in a manifest tells it: all that must be the same at all parties.

    >>> definition_of({"name": "n", "function": "count", "column": None, "mechanism": "laplace", "stddev": 2.0})
    {'function': 'count', 'column': None}
    """
    return {name: value for name, value in aggregate.items() if name not in _OF_ONE_RELEASE}


def _definition_text(definition: Mapping[str, Any]) -> str:
    """A definition in one line. What is null is not said: a version that has more settings writes those that are not used."""
    said = {name: value for name, value in definition.items() if value is not None}
    text = f"{said.pop('function')}({said.pop('column', '')})"
    if "min_value" in said:
        text += f" clipped to [{said.pop('min_value')}, {said.pop('max_value')}]"
    return "".join([text, *(f", {name} {value}" for name, value in sorted(said.items()))])


def _key_differences(parties: Sequence[Party]) -> list[str]:
    """The public keys that a party lacks; whoever publishes them has made them public."""
    presence = key_presence(parties)
    differences = []
    for index, party in enumerate(parties):
        absent = presence.filter(pc.equal(presence.column(f"p{index}"), 0))
        if absent.num_rows:
            keys = absent.slice(0, _SHOWN_KEYS).drop_columns([f"p{other}" for other in range(len(parties))])
            shown = [f"({', '.join(map(key_text, row.values()))})" for row in plain_rows(keys)]
            more = f" and {absent.num_rows - len(shown)} more" if absent.num_rows > len(shown) else ""
            differences.append(f"the public keys {', '.join(shown)}{more} are absent in {party.label}")
    return differences


def key_presence(parties: Sequence[Party]) -> pa.Table:
    """The keys k0, k1, ... of any party, each once, with the number of rows p0, p1, ... that each party has of it."""
    tables = []
    for index, party in enumerate(parties):
        keys = [party.rows.column(name) for name in party.manifest["group_by"]]
        here = [pa.array([int(index == other)] * party.rows.num_rows, pa.int64()) for other in range(len(parties))]
        names = [f"k{position}" for position in range(len(keys))] + [f"p{other}" for other in range(len(parties))]
        tables.append(pa.table([*keys, *here], names=names))
    keys_of_all = [name for name in tables[0].column_names if name.startswith("k")]
    counted = [(f"p{index}", "sum") for index in range(len(parties))]
    found = pa.concat_tables(tables).group_by(keys_of_all, use_threads=False).aggregate(counted)
    return found.rename_columns([name.removesuffix("_sum") for name in found.column_names])
