"""How to mend the reading of a source, from the counts of ``source_reading``: words for a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dp_spark.engine.columns import quoted
from dp_spark.release.source_reading import Lost, Reading
from dp_spark.spec.spark_types import type_kind
from dp_spark.spec.unit_definition import quoted_text

#: How numbers with a comma look -> what makes numbers of them.
_TURNED = {
    "comma": "replace({}, ',', '.')",
    "points and a comma": "replace(replace({}, '.', ''), ',', '.')",
    "commas and a point": "replace({}, ',', '')",
}


def mends(reading: Reading) -> list[str]:
    """What to change in the release file so that less is lost, as far as the counts tell."""
    found = [*_quotes(reading)]
    for lost in reading.lost:
        found += [_mend(reading, lost, look) for look in lost.found.looks]
    return list(dict.fromkeys(found))


def _quotes(reading: Reading) -> Iterator[str]:
    source = reading.spec.source
    if source.format != "csv" or not (reading.quotes.number or reading.broken.number):
        return
    if not any(key.lower() == "escape" for key in source.options):
        yield "a file that pandas or Excel wrote doubles the quotes in a field: write under source   options: {escape: '\"'}"
    if reading.broken.number:
        yield "if fields hold line breaks: write the source as Parquet; a CSV record is one line here"


def _mend(reading: Reading, lost: Lost, look: str) -> str:
    name, schema = lost.column, lost.step is None
    if schema and "." in name and name.lower() not in {item.lower() for item in reading.spec.source.columns or ()}:
        return _field_mend(reading, name, lost.kind, look)
    key = name.lower() in {item.lower() for item in (*reading.spec.unit_columns, *reading.spec.group_by)}
    unit = name.lower() in {item.lower() for item in reading.spec.unit_columns}
    place = "under source.schema" if schema else f"at {lost.step}"
    match look:
        case "whole number with a point":
            what, write = "whole numbers written like 1234.0 (pandas, where some are missing)", f'{name}: "decimal(20,0)"'
            if schema and reading.spec.source.format == "json":
                write += f"   (or {name}: string where they are in quotes)"
        case "number with a fraction":
            what, write = "numbers with a fraction", f"{name}: {'string' if key else 'double'}"
        case "comma" | "points and a comma" | "commas and a point":
            return _comma(name, look, schema, place)
        case "plain number" | "plain fraction":
            then = "" if unit else f"   and under preprocess   - cast: {{{name}: {lost.kind}}}"
            what, write = "numbers written as text, or too large", f"{name}: string{then}"
        case "blanks":
            what, place = "values with blanks around them", "under source.options"
            write = "ignoreLeadingWhiteSpace: true   and   ignoreTrailingWhiteSpace: true"
        case "date in another form":
            what, place = "dates in another form", "under source.options"
            option = "dateFormat" if type_kind(lost.kind) == "date" else "timestampFormat"
            write = f"{option}: dd/MM/yyyy   (or MM/dd/yyyy, dd.MM.yyyy ..., as the file has it)"
        case _:
            return f"{name} holds words such as NA where there is no value: null is right for them"
    return f"{name} holds {what}: write {place}   {write}"


def _field_mend(reading: Reading, name: str, kind: str, look: str) -> str:
    """For a field of a struct: its type is written within that of the struct, and what is made of it has another name."""
    whole, _, field = name.rpartition(".")
    place = f"under source.schema, in the type of {whole},"
    free = re.sub(r"[^A-Za-z0-9]+", "_", name)
    unit = name.lower() in {item.lower() for item in reading.spec.unit_columns}
    text = ".".join(map(quoted, name.split(".")))
    match look:
        case "whole number with a point":
            return f"{name} holds whole numbers written like 1234.0: write {place}   {field}: decimal(20,0)"
        case "number with a fraction":
            return f"{name} holds numbers with a fraction: write {place}   {field}: {'string' if unit else 'double'}"
        case "plain number" | "plain fraction" | "comma" | "points and a comma" | "commas and a point":
            turned, made = (_TURNED[look].format(text), "double") if look in _TURNED else (text, kind)
            step = f'   and under preprocess   - derive: {{{free}: "cast({turned} as {made})"}}   and use {free}'
            return f"{name} holds numbers written as text: write {place}   {field}: string{'' if unit else step}"
        case _:
            return f"{name} holds texts that are no {kind}: write {place}   {field}: string"


def _comma(name: str, look: str, schema: bool, place: str) -> str:
    turned = _TURNED[look].format(quoted_text(name))
    first = f"write {place}   {name}: string   and" if schema else f"in place of the cast {place} write"
    step = f'- derive: {{{name}: "cast({turned} as double)"}}'
    return f"{name} holds numbers with a comma: {first} under preprocess   {step}"
