"""Whether a table shows the rows that it should: of what was published, two readings or two tables are compared."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa


def same_rows(found: pa.Table, expected: pa.Table, group_by: Sequence[str]) -> bool:
    """Whether two tables hold the same rows under the same names, in whatever order and zone of timestamps.

    Args:
        found: The rows of a table that was read.
        expected: The rows it should hold, one for each key.
        group_by: The key columns.
    """
    if found.column_names != expected.column_names:
        return False
    try:
        found = found.cast(expected.schema)
    except pa.ArrowException:
        return False
    order = [(key, "ascending") for key in group_by]
    tables = [table.sort_by(order) if order else table for table in (found, expected)]
    return all(column.equals(same) for column, same in zip(*(table.columns for table in tables), strict=True))
