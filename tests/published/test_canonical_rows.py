"""Nothing that is stored of a release tells in which order, or in which pieces, its groups came from Spark; no JVM."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Sequence
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from helpers import COUNT, MEAN, SUM, UNITS, release_spec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import types as T

from dp_spark.engine import aggregation
from dp_spark.engine.public_keys import POSITION, PublicKeys
from dp_spark.ledger import outbox
from dp_spark.ledger.outbox import Draw
from dp_spark.ledger.rows import Seal
from dp_spark.plan.planning import ReleasePlan, plan_release
from dp_spark.privacy.integers import Exact, Noisy
from dp_spark.privacy.mechanisms.base import Mechanism
from dp_spark.privacy.selection.base import Shown
from dp_spark.privacy.selection.thresholding import Thresholding
from dp_spark.published.canonical_rows import canonical_order, one_chunk
from dp_spark.release import draw as drawing

DAY = dt.date(2024, 2, 29)
MOMENT = dt.datetime(2024, 2, 29, 23, 59, 59, 1)
#: Two or more values of every type that a key can have, and null among them.
COLUMNS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "text": (pa.string(), ["", "a", "B", "b", "é", "\x00", None]),
    "bytes": (pa.binary(), [b"", b"\xff", b"\x00", None]),
    "flag": (pa.bool_(), [False, None, True]),
    "tiny": (pa.int8(), [-128, None, 127]),
    "long": (pa.int64(), [-(2**63), 2**63 - 1, 0, None]),
    "amount": (pa.decimal128(38, 18), [Decimal("-1.5"), Decimal(0), None, Decimal("1e-18")]),
    "day": (pa.date32(), [DAY, dt.date(1, 1, 1), None]),
    "at": (pa.timestamp("us", tz="UTC"), [MOMENT.replace(tzinfo=dt.UTC), None]),
    "local": (pa.timestamp("us"), [MOMENT, dt.datetime(1, 1, 1), None]),
}


#: Every integer that Spark can return for up to four queries: as one limb or as two.
INTEGERS = [f"q{index}_0{limb}" for index in range(4) for limb in ("_whole", "_high", "_low")]


def rearranged(table: pa.Table, order: Sequence[int], cuts: Sequence[int]) -> pa.Table:
    """The same rows in another order and in other pieces: slices with an offset, with something else before and under nulls."""
    shuffled = table.take(pa.array(list(order), pa.int64()))
    bounds = [0, *sorted({cut % (table.num_rows + 1) for cut in cuts}), table.num_rows]
    pieces = [shuffled.slice(start, end - start) for start, end in itertools.pairwise(bounds)]
    return pa.concat_tables([pa.concat_tables([table, piece]).combine_chunks().slice(table.num_rows) for piece in pieces])


@st.composite
def exact_tables(draw: st.DrawFn) -> tuple[pa.Table, pa.Table]:
    """A table of distinct keys with integers as Spark could return it, and the same rows rearranged."""
    names = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=3, unique=True))
    rows = draw(st.lists(st.tuples(*(st.sampled_from(COLUMNS[name][1]) for name in names)), unique=True, max_size=12))
    keys = [pa.array([row[index] for row in rows], COLUMNS[name][0]) for index, name in enumerate(names)]
    counts = [pa.array([1000 * index + number for number in range(len(rows))], pa.int64()) for index in range(len(INTEGERS))]
    table = pa.table([*keys, *counts], names=[*(f"k{index}" for index in range(len(names))), *INTEGERS])
    order = draw(st.permutations(range(len(rows))))
    return table, rearranged(table, order, draw(st.lists(st.integers(0, 12), max_size=4)))


def stored(
    monkeypatch: pytest.MonkeyPatch, plan: ReleasePlan, exact: pa.Table, keys: PublicKeys | None = None
) -> dict[str, Any]:
    """What the outbox holds of a release whose exact table came from Spark like this, with noise that depends on the place."""

    def add(_: Mechanism, values: Exact) -> Noisy:
        return (values + 7 * np.arange(len(values))[:, None]).astype(np.int64)

    def choose(selection: Thresholding, counts: Exact) -> Shown:
        places = np.array([place for place in range(len(counts)) if place % 3], dtype=np.int64)
        return Shown(places, (counts[places] + 7 * places[:, None]).astype(np.int64), selection.noise.event)

    names = [name for name in exact.column_names if name.startswith("k")]
    with monkeypatch.context() as patch:
        patch.setattr(Mechanism, "draw", lambda self, values: (add(self, values), self.event))
        patch.setattr(Thresholding, "draw", choose)
        patch.setattr(drawing, "prepare_rows", lambda *_, **__: None)
        patch.setattr(drawing, "bound_contributions", lambda *_: SimpleNamespace(keys=names, shifts={}))
        patch.setattr(aggregation, "aggregate", lambda *_: SimpleNamespace(toArrow=lambda: exact))
        patch.setattr(PublicKeys, "frame", lambda *_: None)
        state = SimpleNamespace(rows=[SimpleNamespace(digest="sha256:ledger")])
        checked: Any = SimpleNamespace(
            plan=plan, spec=plan.spec, frame=None, clustered=False, keys=keys, digest="sha256-2:f", unparsed=None, state=state
        )
        paid = SimpleNamespace(release_id="r1", events=tuple(plan.events))
        charge: Any = SimpleNamespace(entry=paid, sequence=2, at=dt.datetime(2024, 1, 1))
        draw = drawing._draw(None, checked, charge, lambda stage: None)  # type: ignore[arg-type]
    row = outbox._as_rows("r1", draw, Seal(2, "sha256:c")).to_pylist()[0]
    return {name: row[name] for name in ("manifest", "payload", "digest")}


def planned(accountant: Any, public_keys: int | None, group_by: Sequence[str], **changes: Any) -> ReleasePlan:
    return plan_release(release_spec(group_by=list(group_by), **changes), accountant, public_keys)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(exact_tables())
def test_what_is_stored_depends_on_neither_order_nor_pieces(
    monkeypatch: pytest.MonkeyPatch, tables: tuple[pa.Table, pa.Table]
) -> None:
    """Private keys: all four queries, one of them selection's own."""
    one, other = tables
    group_by = [f"g{name}" for name in one.column_names if name.startswith("k")]
    plan = planned("zcdp", None, group_by, aggregates=[UNITS, COUNT, SUM, {**SUM, "name": "more", "max_value": 40}])
    assert len(plan.mechanisms) == 4
    assert stored(monkeypatch, plan, one) == stored(monkeypatch, plan, other)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [2, 1, 0]])
def test_public_keys_and_no_keys_neither(monkeypatch: pytest.MonkeyPatch, order: list[int]) -> None:
    values = {"gk0": ["c", "a", "b"]}
    plan = planned("zcdp", 3, ["gk0"], partitions={"public": {"values": values}}, aggregates=[UNITS, MEAN])
    keys = PublicKeys(pa.table(values), T.StructType(), "")
    numbers = {name: pa.array([5, 6, 7], pa.int64()) for name in INTEGERS}
    table = pa.table({"k": pa.array([2, 0, 1], pa.int32()), **numbers})
    found = stored(monkeypatch, plan, rearranged(table, order, [1]), keys)
    assert found == stored(monkeypatch, plan, table, keys)
    assert POSITION not in found["manifest"]
    bare = planned("zcdp", None, [], partitions=None, aggregates=[UNITS, MEAN])
    one = pa.table({name: column.slice(0, 1) for name, column in numbers.items()})
    alone = stored(monkeypatch, bare, one)
    assert alone == stored(monkeypatch, bare, rearranged(one, [0], []))
    with pa.ipc.open_stream(alone["payload"]) as reader:
        assert reader.read_all().column("patients").to_pylist() == [5]


@pytest.mark.parametrize("name", COLUMNS)
def test_every_type_of_key_has_one_order(name: str) -> None:
    kind, values = COLUMNS[name]
    table = pa.table([pa.array(values, kind)], names=["k"])
    back = table.take(pa.array(list(range(len(values)))[::-1], pa.int64()))
    found = [one_chunk(item, canonical_order(item)) for item in (table, back)]
    assert found[0].equals(found[1])
    assert found[0].column(0).null_count == 1
    assert not found[0].column(0)[0].is_valid, "null comes first"


def test_a_payload_does_not_tell_how_its_rows_lay_in_memory() -> None:
    """Bytes before an offset, bytes and bits under nulls, pieces, dictionaries and metadata stay where they are."""
    plain = pa.table({"k": pa.array(["a", None, "b"]), "n": pa.array([1, None, 3], pa.int64())})
    secret = pa.StringArray.from_buffers(
        3,
        pa.py_buffer(b"".join(n.to_bytes(4, "little") for n in (0, 1, 7, 8))),
        pa.py_buffer(b"aSECRETb"),
        pa.py_buffer(b"\xf5"),
    )
    under = pa.Array.from_buffers(
        pa.int64(), 3, [pa.py_buffer(b"\xf5"), pa.py_buffer(b"".join(n.to_bytes(8, "little") for n in (1, 99, 3)))]
    )
    odd = pa.table({"k": secret, "n": under}, metadata={"rows": "17"})
    cut = pa.concat_tables([pa.concat_tables([plain, plain]).combine_chunks().slice(3, 1), plain.slice(1)])
    coded = plain.set_column(0, "k", plain.column("k").dictionary_encode())
    wanted = Draw(plain, {}).payload
    for table in (odd, cut, coded):
        assert Draw(table, {}).payload == wanted
    assert b"SECRET" not in wanted
    with pa.ipc.open_stream(wanted) as reader:
        assert len(list(reader)) == 1
