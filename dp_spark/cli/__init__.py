"""The command line: arguments in, exit code out."""

from dp_spark.cli.app import entry_point, main

__all__ = ["entry_point", "main"]
