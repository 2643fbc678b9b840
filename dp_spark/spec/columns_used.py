"""Which columns of its source a release reads."""

from __future__ import annotations

from dp_spark.spec.expressions import check_expression
from dp_spark.spec.release_spec import ReleaseSpec
from dp_spark.spec.source_checks import TEXT_FORMATS
from dp_spark.spec.spark_types import type_kind
from dp_spark.spec.unit_definition import check_definition


def columns_used(spec: ReleaseSpec) -> dict[str, None]:
    """The names, in lower case and in order, that a release reads: unit, keys, aggregates and steps.

    Of a field of a struct, both the way to it and the column that holds it.
    """
    used = [*unit_sources(spec), *spec.group_by]
    used += _columns_of_aggregates(spec)
    for step in spec.preprocess:
        for text in [*(step.derive or {}).values(), *([step.filter] if step.filter is not None else [])]:
            used += sorted(check_expression(text, spec.parameters, where="preprocess").columns)
        used += [*(step.cast or {}), *(step.fill or {}), *(step.join.on if step.join is not None else ())]
    for item in spec.aggregates:
        used += [] if item.where is None else sorted(spec.condition(item).columns)
    columns = {name.lower() for name in spec.source.columns or ()}
    return dict.fromkeys(part for name in used for part in _with_column(name.lower(), columns))


def _columns_of_aggregates(spec: ReleaseSpec) -> list[str]:
    return [need.column for item in spec.aggregates for need in item.needs()]


def _with_column(name: str, columns: set[str]) -> tuple[str, ...]:
    return (name,) if name in columns else tuple(dict.fromkeys((name, name.partition(".")[0])))


def unit_sources(spec: ReleaseSpec) -> list[str]:
    """The source's columns, and fields of structs in them, that the privacy unit is made of."""
    defined = {name: text for name, text in spec.unit_definition.items() if name != text}
    read = {".".join(parts) for name, text in defined.items() for parts in check_definition(name, text).reads}
    return [*(name for name in spec.unit_columns if name not in defined), *sorted(read)]


def parsed_from_text(spec: ReleaseSpec) -> dict[str, str]:
    """The unit, key and value columns that a CSV or JSON file holds as text and the release needs as another type."""
    if spec.source.format not in TEXT_FORMATS:
        return {}
    casts = {name.lower(): text for step in spec.preprocess for name, text in (step.cast or {}).items()}
    needed = {*unit_sources(spec), *spec.group_by, *_columns_of_aggregates(spec)}
    columns = {name.lower() for name in spec.source.columns or ()}
    lowered = {part for name in needed for part in _with_column(name.lower(), columns)}
    found = {
        name: casts.get(name.lower(), text) for name, text in (spec.source.columns or {}).items() if name.lower() in lowered
    }
    return {name: text for name, text in found.items() if type_kind(text, nested=True) != "string"}
