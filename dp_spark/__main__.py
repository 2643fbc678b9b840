"""``python -m dp_spark``: the command line, where its script is not on the path."""

from dp_spark.cli import entry_point

if __name__ == "__main__":
    entry_point()
