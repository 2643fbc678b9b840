"""One order and one layout for rows that came from Spark, so that nothing that is stored of them tells how they came.

The order in which Spark returns groups, and how it cuts them into batches, depend on the private rows. Whatever is stored,
hashed or counted later must be a function of what is released alone.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc


def canonical_order(keys: pa.Table) -> pa.Array:
    """The positions of rows in the one order of their keys: column by column, null first, texts by their bytes.

    Args:
        keys: The keys, each row another one: then the order does not depend on that of the rows.
    """
    plain = one_chunk(keys)
    # By position: a source may call two columns by names that differ in letters' case only, or hold dots.
    numbered = plain.rename_columns([str(index) for index in range(plain.num_columns)])
    order = [(name, "ascending") for name in numbered.column_names]
    return pc.sort_indices(numbered, sort_keys=order, null_placement="at_start").cast(pa.int64())


def one_chunk(table: pa.Table, order: pa.Array | None = None) -> pa.Table:
    """The same rows, in an order if one is given, in fresh memory: one chunk, no offset, no metadata, nothing under a null.

    Args:
        table: Rows in whatever layout.
        order: The positions of its rows, in the order wanted.
    """
    order = pa.array(range(table.num_rows), pa.int64()) if order is None else order
    columns = [_fresh(column, order) for column in table.columns]
    schema = pa.schema([pa.field(name, column.type) for name, column in zip(table.column_names, columns, strict=True)])
    return pa.Table.from_arrays(columns, schema=schema)


def _fresh(column: pa.ChunkedArray, order: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    whole = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    return whole.take(order)
