"""Runs a release under spark-submit or as a Databricks job; takes the same arguments as ``dp-spark run``."""

from __future__ import annotations

import sys

from dp_spark.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
