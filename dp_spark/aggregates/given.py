"""What aggregates are given and what they give back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dp_spark.privacy.integers import Doubles, Noisy
from dp_spark.privacy.trees import NoisyTree, TreeShape

Flags = npt.NDArray[np.bool_]

_Number = TypeVar("_Number", bound=np.generic)

#: Below this many of its own stddevs a noisy number says too little to divide by it.
MIN_STDDEVS = 3.0


@dataclass(frozen=True)
class Noise:
    """The noise of one query.

    Attributes:
        mechanism: ``laplace`` or ``gaussian``.
        scale: The noise scale, in steps of the grid that it is drawn on.
        granularity: Such a step, in the column's own unit (of squares: in its square); 1 for counts.
        stddev: The standard deviation, in the same unit as the step.
        half_width: The 95 % half-width, in the same unit.
    """

    mechanism: str
    scale: float
    granularity: float
    stddev: float
    half_width: float


@dataclass(frozen=True)
class Drawn:
    """One query as it was drawn.

    Attributes:
        steps: The noisy integers in steps of the grid, of shape (partitions, width of the query), or what of a tree was drawn.
        noise: What was added to them.
    """

    steps: Noisy | NoisyTree
    noise: Noise

    @property
    def _all(self) -> Noisy:
        assert not isinstance(self.steps, NoisyTree), "a tree is not read as a vector"
        return self.steps

    def tree(self, shape: TreeShape) -> NoisyTree:
        """The integers of a query of a tree's nodes."""
        return self.steps if isinstance(self.steps, NoisyTree) else NoisyTree.whole(shape, self.steps)

    @property
    def amounts(self) -> Doubles:
        """The noisy values in the column's own unit, of the same shape."""
        return self._all.astype(np.float64) * self.noise.granularity

    @property
    def single(self) -> Noisy:
        """The integers of a query that has one for each partition."""
        return _only(self._all)

    @property
    def amount(self) -> Doubles:
        """The same in the column's own unit."""
        return _only(self.amounts)


def _only(values: npt.NDArray[_Number]) -> npt.NDArray[_Number]:
    assert values.shape[1] == 1, "a query of several integers must not lose them"
    return values[:, 0]


@dataclass(frozen=True)
class Need:
    """A column that an aggregate reads.

    Attributes:
        column: Its name.
        numeric: Whether its values are computed with, or only looked at for being there.
        text: Whether its values are compared with texts.
        or_texts: Whether an author can list texts instead of what has to be a number.
    """

    column: str
    numeric: bool
    text: bool = False
    or_texts: bool = False


@dataclass(frozen=True)
class Accuracy:
    """How wrong a released cell may be, as ``plan`` tells it; in the column's own unit.

    Attributes:
        stddev: The standard deviation of the noise; None where it differs by cell.
        half_width_95: The 95 % half-width; None where it differs by cell.
        half_width_95_at: Otherwise a bound on the half-width by the number of values in the partition.
        of_rank: Whether that is the share of the partition's values by which a quantile's rank may be wrong.
    """

    stddev: float | None
    half_width_95: float | None
    half_width_95_at: Mapping[int, float] | None = None
    of_rank: bool = False


#: The numbers of values for which a plan bounds an error that depends on it.
SIZES = (100, 1_000, 10_000)


class PartyCells(Protocol):
    """One party's published cells, as a combination reads them."""

    def column(self, name: str) -> pa.ChunkedArray:
        """A released column."""

    def column_of(self, label: str, function: str | None = None) -> str | None:
        """The released column that a query alone was drawn for, or None.

        Args:
            label: The query's label.
            function: The function whose column is meant, where several can be read from the query.
        """

    def stddev_of(self, label: str) -> float:
        """The standard deviation of a query's noise, in the column's own unit."""


class CannotCombine(Exception):  # noqa: N818 - it is a reason, and becomes an error where the party's name is known
    """Why the cells of several parties cannot be combined.

    Attributes:
        mend: What the parties can do.
    """

    def __init__(self, reason: str, mend: str) -> None:
        super().__init__(reason)
        self.mend = mend


def doubles(column: pa.ChunkedArray) -> Doubles:
    """A released column as doubles; null is NaN."""
    return np.asarray(column.to_numpy(), dtype=np.float64)


def too_few(count: Doubles, stddev: Doubles | float) -> Flags:
    """Where a noisy count says too little for the error bar of what is divided by it.

    Args:
        count: The noisy counts.
        stddev: The standard deviation of their noise.
    """
    return np.asarray((count < MIN_STDDEVS * stddev) | (count < 1))
