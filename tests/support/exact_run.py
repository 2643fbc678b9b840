"""The exact aggregates of a Parquet file under a fixed salt, as a digest: ``exact_run.py SOURCE``."""

from __future__ import annotations

import hashlib
import sys

from queries import plain_sum

from dp_spark.aggregates.query import PRIVACY_ID_COUNT, ROW_COUNT
from dp_spark.engine import aggregation
from dp_spark.engine.bounding import Salt, bound_contributions
from dp_spark.engine.features import prepare_rows
from dp_spark.privacy.bounds import ContributionBounds
from dp_spark.session import get_session

QUERIES = [PRIVACY_ID_COUNT, ROW_COUNT, plain_sum("value", 0, 50)]


def main() -> None:
    spark = get_session()
    frame = spark.read.schema("who bigint, key int, value double").parquet(sys.argv[1])
    rows = prepare_rows(frame, ["who"], ["key"], QUERIES, None)
    bounded = bound_contributions(rows, ContributionBounds(3, 2), Salt(1, 2))
    sys.stdout.write("aggregating\n")
    exact = aggregation.collect(aggregation.aggregate(bounded, QUERIES), bounded, QUERIES)
    keys = exact.keys.column(0).to_pylist()
    found = sorted(zip(keys, *(exact.values[query][:, 0] for query in QUERIES), strict=True))
    assert len(found) == 500
    sys.stdout.write(hashlib.sha256(repr(found).encode()).hexdigest() + "\n")


if __name__ == "__main__":
    main()
