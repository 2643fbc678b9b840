"""dp-spark: differentially private releases of Spark tables, under a budget that a ledger enforces.

    from dp_spark import ReleaseSpec, run_release

Importing the package loads neither pyspark nor anything else that is slow; each name is loaded when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dp_spark.errors import DpSparkError
    from dp_spark.release.publication import ReleaseResult
    from dp_spark.release.run import run_release
    from dp_spark.spec.release_spec import ReleaseSpec

__all__ = ["DpSparkError", "ReleaseResult", "ReleaseSpec", "run_release"]
__version__ = "0.1.0"

_HOMES = {
    "DpSparkError": "dp_spark.errors",
    "ReleaseResult": "dp_spark.release.publication",
    "ReleaseSpec": "dp_spark.spec.release_spec",
    "run_release": "dp_spark.release.run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
