"""The folders of a release are apart."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import release_spec

from dp_spark.errors import SpecError
from dp_spark.release.preview import preview_release
from dp_spark.spec.file_places import check_places


@pytest.mark.parametrize(
    ("places", "where"),
    [
        ({"sink": "l"}, "sink"),
        ({"sink": "l/inside"}, "sink"),
        ({"sink": "file:{}/l_outbox"}, "sink"),
        ({"sink": "x/../s"}, "sink"),
        ({"sink": "s/inside"}, "sink"),
        ({"ledger": "s"}, "ledger"),
        ({"sink": "k"}, "sink"),
        ({}, ""),
    ],
)
def test_places_that_touch_one_another_are_refused_by_plan(tmp_path: Path, places: dict[str, str], where: str) -> None:
    at = {"ledger": "l", "sink": "out", **places}
    at = {key: text.format(tmp_path) if "{" in text else str(tmp_path / text) for key, text in at.items()}
    spec = release_spec(
        source={"format": "delta", "path": str(tmp_path / "s")},
        partitions={"public": {"source": {"format": "delta", "path": str(tmp_path / "k")}}},
        **{key: {"path": path} for key, path in at.items()},
    )
    if not where:
        check_places(spec)
        return
    with pytest.raises(SpecError) as caught:
        preview_release(spec, lambda: pytest.fail("no session is needed here"))
    assert caught.value.where == where
