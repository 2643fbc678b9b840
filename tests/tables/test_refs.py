"""References to tables come from paths and names, and say the same when they are stored."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dp_spark.spec.release_spec import Location
from dp_spark.tables.refs import TableRef


def test_references_come_from_paths_and_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here = os.path.realpath(tmp_path)
    assert TableRef.of(Location(path="x/../y")) == TableRef(f"{here}/y", None)
    assert TableRef.of(Location(table="a.b")) == TableRef(None, "a.b")
    assert TableRef.parse("a.b.c") == TableRef(None, "a.b.c")
    assert TableRef.parse("main.`my data`.größe-1") == TableRef(None, "main.`my data`.größe-1")
    for path in ("./a.b", "a/b", "plain", "a.b.c.d", "budget.delta", "visits.PARQUET"):
        assert TableRef.parse(path) == TableRef(f"{here}/{path.removeprefix('./')}", None)
    (tmp_path / "data.d").mkdir()
    assert TableRef.parse("data.d").path == f"{here}/data.d"
    assert TableRef.parse("~/x").path == os.path.realpath(Path.home() / "x")
    for path in ("s3a://bucket/ledger", "abfss://c@a.dfs.core.windows.net/ledger", "hdfs://nn:8020/ledger"):
        assert TableRef.parse(path).path == path
    assert TableRef("/x/y", None).sql == "delta.`file:/x/y`"
    assert TableRef(None, "a.b").sql == "`a`.`b`"
    assert TableRef("/x/y", None).beside("_outbox").path == "/x/y_outbox"
    assert TableRef(None, "a.b").beside("_outbox").name == "a.b_outbox"
    assert TableRef(None, "a.`b c`").beside("_outbox").name == "a.`b c_outbox`"
    assert TableRef(None, "a.`b c`.d-e").sql == "`a`.`b c`.`d-e`"
    for name in ("a.`b c`", "visits", "größe-1"):
        assert TableRef.stored(str(TableRef(None, name))).name == name
    assert TableRef.of(Location(path="~/x")).path == os.path.realpath(Path.home() / "x")
