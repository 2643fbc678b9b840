"""What docs/privacy.md advises a platform to set, and which of it is not in force: told, never enforced."""

from __future__ import annotations

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

#: Setting -> the value that is advised, and whether Spark's own default is another.
_EVERYWHERE = {
    "spark.io.encryption.enabled": ("true", True),
    "spark.eventLog.enabled": ("false", False),
    "spark.ui.enabled": ("false", True),
}
_BETWEEN_MACHINES = {"spark.authenticate": ("true", True), "spark.network.crypto.enabled": ("true", True)}


def not_in_force(spark: SparkSession) -> list[str]:
    """The advised settings that a session does not have, each as ``key=value``.

    Args:
        spark: The session; only its own configuration is read.

    Guarantees: a platform that hides the settings of its start (Databricks, some Connect servers) is believed: only
        what it shows and what is wrong is named.
    """
    master = _shown(spark, "spark.master")
    advised = _EVERYWHERE if master is None or master.partition("[")[0] == "local" else {**_EVERYWHERE, **_BETWEEN_MACHINES}
    found = []
    for key, (value, differs) in advised.items():
        shown = _shown(spark, key)
        wrong = shown.lower() != value if shown is not None else differs and master is not None
        if wrong:
            found.append(f"{key}={value}")
    return found


def _shown(spark: SparkSession, key: str) -> str | None:
    try:
        return spark.conf.get(key, None)
    except (PySparkException, Py4JError):
        return None
