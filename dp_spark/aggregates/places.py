"""Quantiles of every kind: places in the order of a column's values, found in one noisy tree per partition."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from typing_extensions import override

from dp_spark.aggregates.base import described
from dp_spark.aggregates.bins import MOST_BINS, bins_query
from dp_spark.aggregates.cdf import OF_THE_COUNT, added_shares, shares_of
from dp_spark.aggregates.clipped import Clipped
from dp_spark.aggregates.given import SIZES, Accuracy, CannotCombine, Drawn, Noise, PartyCells
from dp_spark.aggregates.query import Bins, Query
from dp_spark.errors import at_key
from dp_spark.noise_width import stddevs_for
from dp_spark.privacy.grids import Edges, even_edges
from dp_spark.privacy.integers import Doubles
from dp_spark.privacy.ranks import Aims, find, rank_stddev
from dp_spark.privacy.trees import TreeShape

#: As many shares stand in a narrow column.
_TOLD = 5


class Places(Clipped):
    """Quantiles of numbers that are clipped to [min_value, max_value], from a tree over leaves of equal width between the two.

    One row changes one node in each level by one: d = 1, touched = the number of levels. A number outside the bounds counts at
    the bound. Each quantile comes with the ends of its 95 % interval: what noise can have done to it, widened to whole leaves.
    """

    #: The number of leaves. A thousand parts a range finer than the noise of any partition of less than some ten thousand
    #: values lets one see, in three levels; ten thousand cost a fourth one.
    resolution: Literal[10, 100, 1000, 10000] = 1000

    #: What the ends of an interval are called, behind the name of the quantile.
    ENDS: ClassVar[tuple[str, str]] = ("low", "high")

    @property
    @abstractmethod
    def asked(self) -> Mapping[str, float]:
        """The column of each quantile, and the share of all values that is below it."""

    @property
    @override
    def in_short(self) -> str:
        bounds = f"[{self.min_value:g}, {self.max_value:g}]"
        return f"{self.function}{self.shares_told}{self.reduced} {bounds}, resolution {self.resolution}{self.conditional}"

    @property
    def shares_told(self) -> str:
        """The shares that are asked for, behind a blank; of many only their number."""
        shares = [f"{share:g}" for share in self.asked.values()]
        return " " + (", ".join(shares) if len(shares) <= _TOLD else f"of {len(shares)} shares")

    @property
    def shape(self) -> TreeShape:
        """The tree."""
        return TreeShape(len(str(self.resolution)) - 1)

    @property
    def grid(self) -> Edges:
        """The leaves."""
        with at_key(f"aggregates.{self.name}"):
            return even_edges(self.min_value, self.max_value, self.resolution)

    @override
    def queries(self) -> tuple[Query, ...]:
        with at_key(f"aggregates.{self.name}"):
            return (bins_query(self.of_values, self.grid, self.shape),)

    @property
    @override
    def searched(self) -> tuple[float, ...] | None:
        return tuple(self.asked.values())

    @override
    def column_names(self) -> list[str]:
        return [name for stem in self.asked for name in (stem, *(f"{stem}_{end}" for end in self.ENDS))]

    @override
    def finish(self, drawn: Sequence[Drawn]) -> list[pa.Array]:
        [found] = drawn
        aims = Aims(tuple(self.asked.values()), stddevs_for(found.noise.mechanism))
        places = find(found.tree(self.shape), aims, found.noise.stddev**2)
        columns = zip(places.place.T, places.low.T, places.high.T, strict=True)
        return [pa.array(self._values_at(column)) for three in columns for column in three]

    def _values_at(self, places: Doubles) -> Doubles:
        """Places in leaves as values of the column."""
        values = np.interp(places, np.arange(self.resolution + 1), self.grid.edges)
        return np.asarray(np.clip(values, self.min_value, self.max_value))

    @override
    def accuracy(self, noises: Sequence[Noise]) -> Accuracy:
        [noise] = noises
        shares = tuple(self.asked.values())
        wrong = stddevs_for(noise.mechanism) * rank_stddev(self.shape, shares, noise.stddev**2)
        return Accuracy(None, None, {n: min(1.0, wrong / n) for n in SIZES}, of_rank=True)

    @override
    def describe(self, noises: Sequence[Noise]) -> list[dict[str, Any]]:
        limits = [self.min_value, self.max_value]
        return [
            column
            for stem, share in self.asked.items()
            for column in (
                described(
                    stem,
                    "double",
                    self.meaning_of(self.said(share)),
                    aggregate=self.name,
                    range=limits,
                    error={
                        "rule": "interval",
                        "mechanism": noises[0].mechanism,
                        "level": 0.95,
                        **{f"{end}_column": f"{stem}_{end}" for end in self.ENDS},
                    },
                    notes=[*self.notes, "a value beyond the bounds counts at the bound"],
                ),
                self._end(stem, "low", "lower", limits),
                self._end(stem, "high", "upper", limits),
            )
        ]

    def _end(self, stem: str, end: str, word: str, limits: Sequence[float]) -> dict[str, Any]:
        meaning = f"{word} end of the 95 % interval of {stem}: how far noise can have moved it"
        note = "where too few values are behind a cell to tell, the interval is the whole range"
        return described(f"{stem}_{end}", "double", meaning, range=limits, notes=[note])

    def said(self, share: float) -> str:
        """What a quantile is called, for people."""
        return f"{share:g} quantile of {self.column}"

    @property
    def notes(self) -> list[str]:
        """What else a recipient has to know of the values."""
        return []

    @override
    def plain_sql(self, units: Sequence[str]) -> str:
        shares = ", ".join(f"{share!r}D" for share in self.asked.values())
        return self.plainly("percentile", f"array({shares})")

    @override
    def reference(self, rows: Sequence[Mapping[str, Any]], unit: str) -> list[Any]:
        measure = Bins(self.of_values, self.grid, self.shape)
        places = sorted(measure.place(value) or 0 for value in self.numbers(rows, unit))
        return [
            float(cell) for share in self.asked.values() for cell in self._values_at(_exact(places, share, self.resolution))
        ]

    @override
    def parts(self, party: PartyCells) -> dict[str, pa.ChunkedArray]:
        [query] = self.queries()
        name = party.column_of(query.label, "cdf")
        has_count = self.counted_by(party) is not None
        if name is None:
            raise CannotCombine(
                "parties' quantiles do not tell the quantile of all their values; their distribution functions do",
                self._beside(has_shares=False, has_count=has_count),
            )
        if not has_count:
            raise CannotCombine(
                "the number of values that their distribution function is a share of is not in the table",
                self._beside(has_shares=True, has_count=False),
            )
        return shares_of(party, name, self.of_values, self.shape, query.label)

    def _beside(self, *, has_shares: bool, has_count: bool) -> str:
        """What has to be in the release file as well, all of it, with what it costs."""
        resolution = min(self.resolution, MOST_BINS)
        shares = self.entry_beside("cdf", min_value=self.min_value, max_value=self.max_value, resolution=resolution)
        of_shares = "with the quantiles' weight: it is their own draw and costs nothing more"
        wanted = [] if has_shares else [f"{shares} ({of_shares})"]
        wanted += [] if has_count else [f"{self.count_beside} ({OF_THE_COUNT})"]
        coarse = f"set resolution: {resolution} in {self.name}, " if resolution != self.resolution else ""
        return f"{coarse}add {' and '.join(wanted)} to the release file, and release again"

    @override
    def combined(self, added: Mapping[str, pa.ChunkedArray]) -> list[Any]:
        """Cells by inversion of the distribution function of all parties' values, as it is and moved by its error."""
        shares, stddev = added_shares(added, self.resolution + 1)
        # Parties can have either noise; where no error is known the interval is the whole range.
        width = stddevs_for("laplace") * np.where(np.isnan(stddev), np.inf, stddev)[:, None]
        cells = []
        for share in self.asked.values():
            # Shares that parties' counts give are off by rounding.
            below = [(moved < share - 1e-12).sum(axis=1) for moved in (shares + width, shares, shares - width - 2e-12)]
            low, high = np.maximum(below[0] - 1, 0), np.minimum(below[2], self.resolution)
            ends = [np.clip(found, 0, self.resolution) for found in (below[1] - 1, below[1])]
            before, behind = (np.take_along_axis(shares, end[:, None], axis=1)[:, 0] for end in ends)
            within = np.divide(share - before, behind - before, out=np.zeros(len(low)), where=behind > before)
            place = np.clip(ends[0] + within, 0, self.resolution)
            cells += [pa.array(self._values_at(found)) for found in (place, np.minimum(low, place), np.maximum(high, place))]
        return cells

    @override
    def combination_note(self, *, overlapping: bool) -> str:
        return "from the parties' distribution functions, weighted by their noisy counts of values"


class OnePlace(Places):
    """One quantile, under the aggregate's own name."""

    @property
    @abstractmethod
    def share(self) -> float:
        """The share of all values that is below it."""

    @property
    @override
    def asked(self) -> Mapping[str, float]:
        return {self.name: self.share}


def _exact(places: Sequence[int], share: float, leaves: int) -> Doubles:
    """A quantile of sorted places of values in a grid, and the ends of the leaves that it may be in; in leaves."""
    if not places:
        return np.array([0, 0, leaves])
    rank = share * len(places)
    least, most = places[math.ceil(rank) - 1], places[min(math.floor(rank), len(places) - 1)]
    before, here = sum(place < least for place in places), places.count(least)
    return np.asarray(np.clip(np.array([least - 1 + (rank - before) / here, least - 1, most]), 0, leaves))
