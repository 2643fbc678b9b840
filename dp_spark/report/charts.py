"""The report's charts: altair to SVG, each as a picture inside the page, so that nothing is loaded and no script runs.

They are as wide as a phone's page and stand side by side where there is room: text in them is never scaled down.
"""

from __future__ import annotations

import base64
import itertools
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dp_spark.ledger.history import BudgetHistory
from dp_spark.report.values import Released

if TYPE_CHECKING:
    import altair as alt

_WIDTH = 356  # of the whole picture, on a page of 390 pixels
_ROW = 14
_LABEL = 110
_INK, _BLUE, _ORANGE, _GREY, _GRID = "#1f2933", "#1d5a96", "#9a4a00", "#5c6773", "#dde3e9"
_QUARTERS = [0, 0.25, 0.5, 0.75, 1]
#: What may lie between two marks on an axis of time, in seconds; beyond that months.
_STEPS = (1, 5, 15, 60, 300, 900, 1800, 3600, 10800, 21600, 43200, 86400, 172800, 604800, 1209600)
_FONT = "'Helvetica Neue', Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"


@dataclass(frozen=True)
class Picture:
    """A chart as an image.

    Attributes:
        source: A data URI.
        width: In CSS pixels.
        height: In CSS pixels.
    """

    source: str
    width: int
    height: int


def values_picture(cells: Sequence[Released], name: str) -> Picture:
    """Each value with its interval, one line for each partition, in the order given."""
    import altair as alt

    points = [_point(index, item) for index, item in enumerate(cells)]
    # The line's number is its place: two keys with one text stay two.
    names = json.dumps([item.partition for item in cells])
    axis = alt.Axis(labelExpr=f"{names}[datum.value]", title=None, labelLimit=_LABEL, grid=False, ticks=False, domain=False)
    base = alt.Chart(alt.Data(values=points)).encode(y=alt.Y("line:O", axis=axis, sort="ascending"))
    scale = alt.Scale(zero=False, nice=True)
    chart = alt.layer(
        _zero_line(cells),
        base.transform_filter("isValid(datum.low)")
        .mark_rule(color=_BLUE, strokeWidth=2.5, opacity=0.55)
        .encode(x=alt.X("low:Q", title=name, scale=scale), x2="high:Q"),
        base.transform_filter("isValid(datum.low)")
        .mark_point(filled=True, size=34, color=_BLUE, opacity=1)
        .encode(x=alt.X("value:Q", title=name)),
        base.transform_filter("!isValid(datum.low)")
        .mark_point(filled=False, size=34, color=_GREY, strokeWidth=1.5, opacity=1)
        .encode(x=alt.X("value:Q", title=name)),
    )
    return _picture(chart, alt.Step(_ROW))


def ranks_picture(cells: Sequence[Released], name: str) -> Picture:
    """All values with their intervals, the largest first: for more partitions than lines can be read."""
    import altair as alt

    points = [_point(index + 1, item) for index, item in enumerate(cells)]
    base = alt.Chart(alt.Data(values=points)).encode(
        x=alt.X(
            "line:Q", title="rank of the released value", scale=alt.Scale(nice=False, zero=False), axis=alt.Axis(format="d")
        )
    )
    chart = alt.layer(
        _zero_line(cells, vertical=False),
        base.mark_area(color=_BLUE, opacity=0.25).encode(y=alt.Y("low:Q", title=name), y2="high:Q"),
        base.mark_line(color=_BLUE, strokeWidth=2).encode(y=alt.Y("value:Q", title=name)),
    )
    return _picture(chart, 220)


def errors_picture(labels: Sequence[str], counts: Sequence[int]) -> Picture:
    """How many values have which relative error."""
    import altair as alt

    points = [{"error": label, "values": count} for label, count in zip(labels, counts, strict=True)]
    base = alt.Chart(alt.Data(values=points)).encode(
        y=alt.Y("error:N", sort=None, axis=alt.Axis(title=None, ticks=False, domain=False, labelLimit=_LABEL)),
        x=alt.X("values:Q", title="number of released values", axis=alt.Axis(format="d", tickMinStep=1)),
    )
    text = base.mark_text(align="left", dx=4, color=_INK).encode(text=alt.Text("values:Q", format=","))
    return _picture(alt.layer(base.mark_bar(color=_BLUE), text), alt.Step(22))


def budget_picture(history: BudgetHistory) -> Picture:
    """What was left of the budget over time."""
    import altair as alt

    points = [
        {"at": step.at.isoformat(), "part": part, "left": share, "line": step.sequence}
        for step in history.steps
        for part, share in step.shares_left.items()
    ]
    ticks, form, title = time_ticks(history.steps[0].at, history.last.at)
    marked = alt.Axis(values=[tick.timestamp() * 1000 for tick in ticks], labelOverlap=True, format=form)
    parts = sorted(history.last.shares_left)
    colours = alt.Scale(domain=parts, range=[_ORANGE, _BLUE][: len(parts)])
    base = alt.Chart(alt.Data(values=points)).encode(
        x=alt.X("at:T", title=title, scale=alt.Scale(type="utc"), axis=marked),
        y=alt.Y(
            "left:Q", title="left of the budget", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%", values=_QUARTERS)
        ),
        color=alt.Color("part:N", scale=colours, legend=alt.Legend(title=None, orient="top")),
        order="line:Q",
    )
    # Both parts can have the same share left: delta is a broad band, and what is drawn over it is narrow.
    layers = []
    for part in parts:
        of_part = base.transform_filter(f"datum.part === '{part}'")
        broad = part == "delta"
        layers.append(of_part.mark_line(interpolate="step-after", strokeWidth=7 if broad else 2, opacity=0.5 if broad else 1))
        layers.append(of_part.mark_point(filled=not broad, size=110 if broad else 30, opacity=1))
    return _picture(alt.layer(*layers), 220)


def time_ticks(first: datetime, last: datetime) -> tuple[list[datetime], str, str]:
    """Where an axis of time has its marks, how they are written, and its title: no two marks have one text.

    >>> at, until = datetime(2026, 11, 26, 9, 30, 12, tzinfo=UTC), datetime(2026, 11, 26, 11, 0, 12, tzinfo=UTC)
    >>> [[f"{tick:{form}}" for tick in ticks] for ticks, form, _ in [time_ticks(at, at), time_ticks(at, until)]]
    [['09:30:12'], ['10:00', '10:30', '11:00']]
    """
    first, last = first.astimezone(UTC), last.astimezone(UTC)
    seconds = (last - first).total_seconds()
    step = next((unit for unit in _STEPS if seconds <= 5 * unit), None)
    if step is None:
        months = next(count for count in itertools.count(1) if seconds <= 5 * count * 31 * 86400)
        begins = [datetime(year, month, 1, tzinfo=UTC) for year in range(first.year, last.year + 1) for month in range(1, 13)]
        ticks = [begin for begin in begins if first <= begin <= last][::months]
    else:
        start = math.ceil(first.timestamp() / step) * step
        ticks = [datetime.fromtimestamp(at, UTC) for at in range(start, math.floor(last.timestamp()) + 1, step)]
    form = "%b %Y" if step is None else "%d %b" if step >= 86400 else "%H:%M" if step >= 60 else "%H:%M:%S"
    if "d" not in form and "Y" not in form and first.date() != last.date():
        form = f"%d %b {form}"
    title = f"{first:%Y-%m-%d}, UTC" if first.date() == last.date() else "UTC"
    return ticks or [first], form if ticks else "%H:%M:%S", title


def _point(line: int, item: Released) -> dict[str, Any]:
    low, high = item.interval or (None, None)
    return {"line": line, "value": item.value, "low": low, "high": high}


def _zero_line(cells: Sequence[Released], *, vertical: bool = True) -> alt.Chart:
    """A line at 0, where the values or their intervals reach it."""
    import altair as alt

    ends = [end for item in cells for end in (item.interval or (item.value, item.value)) if end is not None]
    reached = bool(ends) and min(ends) <= 0 <= max(ends)
    line = alt.Chart(alt.Data(values=[{"zero": 0}] if reached else [])).mark_rule(color=_GREY, strokeDash=[3, 3])
    placed: alt.Chart = line.encode(x="zero:Q") if vertical else line.encode(y="zero:Q")
    return placed


def _picture(chart: alt.LayerChart | alt.FacetChart, height: Any) -> Picture:
    import vl_convert

    chart = (
        chart.properties(width=_WIDTH - 2, height=height, background="white", autosize={"type": "fit-x", "contains": "padding"})
        .configure(
            font=_FONT, aria=False, padding={"left": 16, "top": 4, "right": 6, "bottom": 4}
        )  # a reader's font can be wider than the one measured here
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=_INK,
            titleColor=_INK,
            gridColor=_GRID,
            domainColor=_GREY,
            tickColor=_GREY,
            labelFontSize=11,
            titleFontSize=12,
        )
        .configure_axisX(labelOverlap=True, labelSeparation=8, tickCount=5)
        .configure_legend(labelColor=_INK, labelFontSize=12, symbolStrokeWidth=2.5)
        .configure_text(fontSize=11)
    )
    # Unchecked: Altair would look at every row in each layer, which takes longer than the picture does.
    svg = str(vl_convert.vegalite_to_svg(chart.to_dict(validate=False)))
    size = re.search(r'width="(\d+)" height="(\d+)"', svg)
    assert size is not None, "vl-convert writes the size of a picture first"
    source = "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
    return Picture(source, int(size[1]), int(size[2]))
