"""What ``dp-spark check`` shows on the data owner's terminal: counts and places, no values."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dp_spark.cli.source_mends import mends
from dp_spark.published.cells import key_text
from dp_spark.release.source_reading import Finding, Place, Reading
from dp_spark.spec.source_checks import TEXT_FORMATS


def show_reading(console: Console, reading: Reading) -> None:
    """How a source is read, for the data owner."""
    spec = reading.spec
    console.print(
        "[bold red]CONFIDENTIAL[/bold red]: exact counts of private rows, for mending how the source is read. Do not pass them"
    )
    console.print("on, and do not choose bounds by them. Nothing was written or charged.")
    _line(console, "Rows read", f"{reading.rows:,}", None, reading)
    if spec.source.format in TEXT_FORMATS:
        what = f"{reading.broken.number:,}"
        if reading.dropped:
            what += f" (mode DROPMALFORMED drops {reading.dropped:,} records, also those with a value that is not of its type)"
        _line(console, "Malformed records", what, reading.broken, reading)
    if spec.source.format == "csv" and reading.quotes.number:
        _line(console, "Quotes left doubled", f"{reading.quotes.number:,} rows", reading.quotes, reading)
    if any(name != text for name, text in spec.unit_definition.items()):
        console.print("Rows without a unit: not counted, since a count of what an expression gives would be a free exact query")
    elif spec.unit_columns:
        what = f"{reading.without_unit.number:,} (a release drops them)"
        _line(console, "Rows without a unit", what, reading.without_unit, reading)
    table = Table("column", "type", "turned into null by", "values", "for example", title="Values lost", title_justify="left")
    for lost in reading.lost:
        by = "reading the file" if lost.step is None else lost.step
        where = _places(lost.found.places, reading)
        table.add_row(*map(_safe, (lost.column, lost.kind, by)), f"{lost.found.number:,}", where)
    if reading.lost:
        console.print(table)
    for mend in mends(reading):
        console.print(f"[bold]Mend[/bold] {_safe(mend)}", soft_wrap=True)
    if reading.problem is None and not mends(reading):
        console.print("Nothing to mend was found.")


def _line(console: Console, word: str, what: str, finding: Finding | None, reading: Reading) -> None:
    places = "" if finding is None else _places(finding.places, reading)
    console.print(f"{word:<21}{what}{'   for example ' + places if places else ''}", soft_wrap=True)


def _places(places: Sequence[Place], reading: Reading) -> str:
    """Where examples are, in the words that fit the format."""
    word = "line" if reading.spec.source.format == "json" else "record"
    shown = []
    for place in places:
        row = "" if place.row is None else f" {word} {place.row:,}"
        part = f" after byte {place.after_byte:,}" if place.after_byte else ""
        shown.append(_safe(place.file) + row + part)
    return "; ".join(shown)


def _safe(text: str) -> str:
    return escape(key_text(text))
