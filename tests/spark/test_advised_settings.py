"""Which advised settings a session does not have; what a platform hides is not guessed at."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

from dp_spark.spark.advised_settings import not_in_force

PRIVATE = ["spark.io.encryption.enabled=true"]
MACHINES = ["spark.authenticate=true", "spark.network.crypto.enabled=true"]
ALL = dict(item.split("=") for item in [*PRIVATE, *MACHINES])


def session(shown: dict[str, str], hidden: tuple[str, ...] = ()) -> Any:
    """A session's configuration alone: what it shows, and what it refuses to show."""

    def get(key: str, default: str | None = None) -> str | None:
        if key in hidden:
            raise AnalysisException("hidden", {})
        return shown.get(key, default)

    return SimpleNamespace(conf=SimpleNamespace(get=get))


@pytest.mark.parametrize(
    ("shown", "hidden", "named"),
    [
        ({"spark.master": "local[4]"}, (), [*PRIVATE, "spark.ui.enabled=false"]),
        ({"spark.master": "yarn", "spark.eventLog.enabled": "TRUE", "spark.ui.enabled": "False"}, (),
         [*PRIVATE, "spark.eventLog.enabled=false", *MACHINES]),
        ({"spark.master": "local-cluster[2,1,1024]", "spark.authenticate": "true", "spark.ui.enabled": "false"}, (),
         [*PRIVATE, MACHINES[1]]),
        ({"spark.ui.enabled": "true"}, ("spark.master",), ["spark.ui.enabled=false"]),
        ({}, (), []),
        ({"spark.master": "k8s://x", "spark.ui.enabled": "false", **ALL}, (), []),
    ],
)  # fmt: skip
def test_what_is_named(shown: dict[str, str], hidden: tuple[str, ...], named: list[str]) -> None:
    assert not_in_force(session(shown, hidden)) == named


def test_a_local_session_of_our_own_lacks_the_encryption_only(spark: SparkSession) -> None:
    assert not_in_force(spark) == PRIVATE
