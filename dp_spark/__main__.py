"""``python -m dp_spark``: the command line, where its script is not on the path."""

from dp_spark.cli import entry_point

entry_point()
