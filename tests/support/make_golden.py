"""What this version writes, as test data for those that come after it: ``make_golden.py NUMBER`` makes ``tests/golden/NUMBER``.

A format that changes gets a folder of its own, once; nothing in one is ever written again (``tests/golden/README.md``).
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from checkout import GOLDEN
from kills import KilledError, die
from release_helpers import COUNT, MEAN, PATIENTS, TOTAL, Place, visits, write_delta

from dp_spark.cli import main
from dp_spark.release import draw, publication
from dp_spark.session import get_session

COSTS = {"function": "count", "column": "cost", "name": "costs"}
SPREAD = [{**MEAN, "function": function, "name": function} for function in ("variance", "stddev")]


def release_file(home: Path, name: str, dataset: str, **changes: Any) -> Path:
    """Writes a release file, whose sink has its name."""
    place = Place(home, home / ("source" if dataset == "visits" else "source_gauss"), get_session())
    given: dict[str, Any] = {
        "aggregates": [PATIENTS, COUNT, COSTS, TOTAL, MEAN],
        "sink": {"path": str(home / {"public": "release", "drawn-private": "drawn_private"}.get(name, name))},
    }
    path = home / f"{name}.yaml"
    document = place.document(dataset=dataset, **given | changes)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")  # JSON is YAML
    return path


@contextlib.contextmanager
def killed(owner: Any, name: str) -> Iterator[None]:
    """Runs what dies at a function."""
    with mock.patch.object(owner, name, die):
        try:
            yield
        except KilledError:
            return
    raise AssertionError("nothing was killed")


def command(*arguments: object) -> None:
    """Runs a command that has to succeed."""
    assert main([str(argument) for argument in arguments]) == 0, arguments


def make(home: Path) -> None:
    """Fills a folder: sources, a ledger with two accounts, releases at every point of their progress, a combination."""
    spark = get_session()
    for name in ("source", "source_gauss"):
        write_delta(spark, home / name, visits())
    ledger = ("--ledger", home / "ledger")
    command("budget", "open", *ledger, "--dataset", "visits", "--epsilon", "5", "--delta", "0")
    command("budget", "raise", *ledger, "--dataset", "visits", "--epsilon", "20", "--reason", "a second year")
    command("budget", "open", *ledger, "--dataset", "gauss", "--epsilon", "10", "--delta", "1e-5", "--group", "town")
    private: dict[str, Any] = {"partitions": {"private": {}}, "budget": {"epsilon": 5.0, "delta": 5e-06}}
    steps = [{"filter": "cost >= :least"}, {"derive": {"rounded": "cast(cost as int)"}}]
    files = {
        "public": release_file(home, "public", "visits"),
        "second": release_file(home, "second", "visits"),
        "spread": release_file(home, "spread", "visits", aggregates=SPREAD),
        "private": release_file(home, "private", "gauss", **private, parameters={"least": 0}, preprocess=steps),
    }
    for name, file in files.items():
        command("run", file, "--release-id", name)
    undrawn = release_file(home, "charged", "visits")
    with killed(draw, "_draw"):
        main(["run", str(undrawn), "--release-id", "charged"])
    less = {**private, "budget": {"epsilon": 2.0, "delta": 2e-06}, "aggregates": [COUNT]}
    for name, dataset, changes in (("drawn", "visits", {}), ("drawn-private", "gauss", less)):
        unpublished = release_file(home, name, dataset, **changes)
        with killed(publication.sinks, "publish"):
            main(["run", str(unpublished), "--release-id", name])
    command("combine", home / "release", home / "second", "--sink", home / "combined", "--users", "overlapping")


if __name__ == "__main__":
    number = sys.argv[1]
    assert not (GOLDEN / number).exists(), "what a version wrote is never written again"
    place = Path("/tmp/dp-spark-golden") / number  # the place that its entries name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    make(place)
    shutil.copytree(place, GOLDEN / number, ignore=shutil.ignore_patterns("*.crc", "*.lock", "spark-warehouse", "metastore_db"))
