"""The chart of the report, drawn in the report's own environment: ``python -m benchmarks.chart results.json results.svg``."""

from __future__ import annotations

import sys
from pathlib import Path

import altair as alt
import vl_convert

from benchmarks.results import Results

_NAMES = {
    "floor_group": "floor: group",
    "floor_shuffle": "floor: shuffle",
    "exact": "exact query",
    "dp_spark": "dp-spark",
    "release_public": "dp-spark, whole release",
    "release_private": "… private keys",
    "tumult": "Tumult",
    "pipelinedp": "PipelineDP",
    "opendp": "OpenDP, Polars",
}
_KINDS = {"floor_group": "no privacy", "floor_shuffle": "no privacy", "exact": "no privacy"}
_COLOURS = {"no privacy": "#9aa5b1", "dp-spark": "#1f6feb", "other libraries": "#d98c3f"}


def draw(results: Results) -> alt.VConcatChart:
    """One panel of bars for each workload."""
    return alt.vconcat(*(_panel(results, section) for section in ("count_sum", "five") if results.of(section)))


def _panel(results: Results, section: str) -> alt.LayerChart:
    found = [item for item in results.of(section) if item.figure is not None]
    bars = [
        {"who": _NAMES[item.contestant], "seconds": item.figure, "kind": _kind(item.contestant), "text": f"{item.figure:.1f} s"}
        for item in found
    ]
    order = [bar["who"] for bar in bars]
    base = alt.Chart(alt.Data(values=bars), title=f"{section}, {found[0].rows:,} rows" if found else section).encode(
        x=alt.X("seconds:Q", title="seconds (less is better)"), y=alt.Y("who:N", sort=order, title=None)
    )
    colours = alt.Scale(domain=list(_COLOURS), range=list(_COLOURS.values()))
    drawn = base.mark_bar().encode(color=alt.Color("kind:N", scale=colours, title=None))
    return (drawn + base.mark_text(align="left", dx=3).encode(text="text:N")).properties(width=560)


def _kind(contestant: str) -> str:
    own = contestant == "dp_spark" or contestant.startswith("release_")
    return _KINDS.get(contestant, "dp-spark" if own else "other libraries")


if __name__ == "__main__":
    svg = vl_convert.vegalite_to_svg(draw(Results.read(Path(sys.argv[1]))).to_dict())
    Path(sys.argv[2]).write_text(svg)
