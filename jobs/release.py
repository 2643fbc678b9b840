"""Runs a release under spark-submit or as a Databricks job; takes the same arguments as ``dp-spark run``."""

from __future__ import annotations

import sys

from dp_spark.cli import main

if __name__ == "__main__":
    code = main(["run", *sys.argv[1:]])
    if code:  # a Databricks task takes any SystemExit for a failure, even of 0
        sys.exit(code)
