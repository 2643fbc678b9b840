"""What a release file alone tells about its source: options, types and columns, before a budget or a minute is spent.

These refusals are for a new charge (``preview``, ``release``). A release that is drawn is completed by the rules of the
version that drew it, so the model of the file (``release_spec``) stays as it was.
"""

from __future__ import annotations

import re

from dp_spark.errors import DpSparkError, SpecError, collected, said_together
from dp_spark.published.cells import key_text
from dp_spark.spec.file_columns import FileColumns
from dp_spark.spec.release_spec import ReleaseSpec
from dp_spark.spec.source_checks import check_source_file, sources_of
from dp_spark.spec.spark_types import KEYS
from dp_spark.spec.unit_definition import ROW_UNIT, mend, quoted_text


def check_file(spec: ReleaseSpec) -> None:
    """Checks sources, types and columns as far as the release file alone tells; needs no Spark.

    Args:
        spec: The release file, after ``${NAME}`` and ``preprocess.check_steps``.

    Raises:
        SpecError: Naming the key and the mend, with all ``problems``.
    """
    found: list[DpSparkError] = []
    for where, source in sources_of(spec).items():
        with collected(found):
            check_source_file(source, where, needs_schema=where != "partitions.public.source")
    columns = FileColumns.of(spec.source).with_units(spec)
    for index, step in enumerate(spec.preprocess):
        columns.step(step, spec, f"preprocess.{index}")
    unit = spec.unit_definition or {part: part for part in spec.unit_columns}
    for name in spec.unit_columns:
        whole = mend(unit, name, f"cast({quoted_text(name)} as bigint)", spec.source.columns or ())
        remedies = dict.fromkeys(("float", "double"), whole)
        if columns.lacks(name) and (name.lower() == "row" or re.search(r"[(:|]", name)):
            meant = mend(unit, name, name, spec.source.columns or ()) if name.lower() != "row" else ROW_UNIT
            columns.found.append(SpecError(f"there is no column {name} in source.schema", where="privacy_unit", mend=meant))
            continue
        columns.require(name, "privacy_unit", KEYS | {"binary"}, "cannot be a privacy unit", remedies)
    for name in spec.group_by:
        columns.require(name, "group_by", KEYS, "cannot be a key")
    _check_listed_keys(spec, columns)
    for aggregate in spec.aggregates:
        for need in aggregate.needs():
            columns.require_need(need, f"aggregates.{aggregate.name}")
        if aggregate.where is not None:
            columns.expression(aggregate.where, spec, f"aggregates.{aggregate.name}.where")
    if found or columns.found:
        raise said_together([*found, *columns.found])


def _check_listed_keys(spec: ReleaseSpec, columns: FileColumns) -> None:
    """Public keys that are listed: each once, and of its column's type."""
    listed = spec.public_partitions.values if spec.public_partitions is not None else None
    for name, values in (listed or {}).items():
        where = f"partitions.public.values.{name}"
        seen: set[object] = set()
        for value in values:
            if value is not None:
                columns.constant(name, value, where)
            identity = (isinstance(value, bool), value)  # True is 1 to Python
            if identity in seen:
                columns.found.append(
                    SpecError(f"the key {key_text(value)} is listed twice", where=where, mend="list each key once")
                )
            seen.add(identity)
