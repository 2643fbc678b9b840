"""The noise of a release, without Spark: every draw is one that the plan's events pay for, each once."""

from __future__ import annotations

import traceback
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pytest
from helpers import COUNT, MEAN, UNITS, release_spec
from strategies import Silent

from dp_spark.aggregates.query import PRIVACY_ID_COUNT
from dp_spark.engine.aggregation import ExactAggregates
from dp_spark.errors import DpSparkError, SourceError
from dp_spark.plan.planning import plan_release
from dp_spark.privacy.accountants.registry import ACCOUNTANTS, AccountantName
from dp_spark.privacy.selection.base import Selection
from dp_spark.privacy.selection.registry import SELECTIONS, UNNAMED
from dp_spark.release import draw as drawing
from dp_spark.release.draw import _add_noise, draw_quietly


@pytest.mark.parametrize("aggregates", [[COUNT], [COUNT, UNITS], [UNITS, MEAN]], ids=["no count of units", "one", "first"])
@pytest.mark.parametrize(
    ("accountant", "strategy"),
    [
        (name, strategy)
        for name, kind in ACCOUNTANTS.items()
        for strategy in [*SELECTIONS.values(), Silent]
        if kind.currency in strategy.currencies
    ],
)
def test_what_is_drawn_is_what_is_charged_whatever_selects(
    accountant: AccountantName, strategy: type[Selection], aggregates: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SELECTIONS, UNNAMED, strategy)  # type: ignore[misc]
    plan = plan_release(release_spec(aggregates=aggregates), accountant, None)
    units = [1, 50_000, 1, 90_000]
    values = {query: np.array([[7]] * len(units), dtype=object) for query in plan.queries}
    values[PRIVACY_ID_COUNT] = np.array([[count] for count in units], dtype=object)
    keys, noisy, drawn = _add_noise(plan, ExactAggregates(pa.table({"test": list("abcd")}), values))
    assert keys.column("test").to_pylist() == ["b", "d"]
    assert set(noisy) == set(plan.mechanisms)
    assert {array.shape for array in noisy.values()} == {(2, 1)}
    assert drawn == list(plan.events), "each draw once, and no other"
    for count in noisy.get(PRIVACY_ID_COUNT, np.empty((0, 1))).tolist()[:1]:
        assert abs(count[0] - 50_000) < 5_000


@pytest.mark.parametrize("kind", [DpSparkError, SourceError, ValueError, MemoryError])
def test_no_error_of_a_draw_holds_on_to_exact_values(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in its frames and not in those of another error behind it: debuggers and error trackers keep the locals of both."""

    def fail(*_: Any) -> NoReturn:
        exact = {"er": 7231}
        try:
            raise KeyError(exact["er"])
        except KeyError:
            raise kind("what") from None

    monkeypatch.setattr(drawing, "_draw", fail)
    with pytest.raises(DpSparkError) as caught:
        draw_quietly(*[SimpleNamespace(unparsed="x")] * 3, lambda stage: None)  # type: ignore[arg-type]
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    frames = [frame.f_code.co_name for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    assert frames[-1] == "draw_quietly"
    assert "fail" not in frames
