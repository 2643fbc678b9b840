"""CSV and JSON record by record: a hostile record changes no other row, and a header line binds columns by name."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from frames import tuples
from helpers import of_each_kind
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from release_helpers import Outcome, Place
from source_helpers import DERBY, source

from dp_spark.engine import csv_files
from dp_spark.engine.sources import made_by_folders, open_checked, open_source
from dp_spark.errors import SourceError, SpecError
from dp_spark.spark.settings import RELEASE_SETTINGS, settings

SCHEMA = {"id": "int", "ward": "string", "cost": "int", "day": "date"}
CSV_HEADER = "id,ward,cost,day\n"


pytestmark = [pytest.mark.usefixtures("held"), pytest.mark.books_in_memory]


def checked(spark: SparkSession, **keys: Any) -> DataFrame:
    return open_checked(spark, source(**keys), where="source")


# --- a hostile record ------------------------------------------------------------------------------------------------

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "dropped": {"mode": "DROPMALFORMED"},
    "pandas": {"escape": '"'},
    "quote": {"quote": "'"},
    "no quote": {"quote": ""},
    "same": {"quote": "'", "escape": "'", "charToEscapeQuoteEscaping": "\\"},
    "comment": {"comment": "#"},
    "comment is quote": {"comment": '"'},
    "blanks": {"ignoreLeadingWhiteSpace": True, "ignoreTrailingWhiteSpace": True, "comment": "#"},
    "words": {"nullValue": "er", "emptyValue": "gp", "nanValue": "1", "positiveInf": "2", "negativeInf": "3"},
    "latin": {"encoding": "ISO-8859-1"},
    "ascii": {"encoding": "US-ASCII"},
    "line end": {"lineSep": "\n"},
    "formats": {"dateFormat": "yyyy-MM-dd", "locale": "de"},
    "enforced": {"enforceSchema": True},
}
CSV_HOSTILE = [
    '6,"open', '6,"bad\\",5,2024-01-01', '6,""",5', '6,"a""b,",5,"', '"', "\\", '6,"\\\\"",1', "#6,er,5,2024-01-01", " #6",
    "\t", ",,,,,,,,,,,", "6" + "," * 30_000, "6," + "x" * 200_000, "\x006,er,5,2024-01-01", "6,a\0b,5", "6,\xff\xfe,5",
    "6,'open,1",
    "6,er,5,99999999-01-01", "id,ward,cost,day", "6,er,99999999999999999999999,2024-02-31", "\uff16,er", "6,er,5,now",
]  # fmt: skip


@pytest.mark.parametrize("name", of_each_kind(OPTIONS, "plain", "dropped", "pandas", "comment is quote", "blanks", "latin"))
def test_a_hostile_csv_record_changes_no_other_row(spark: SparkSession, tmp_path: Path, name: str) -> None:
    """Each hostile record stands in a file of its own, between others; the files are read at once."""
    before, after = "1,er,5,2024-01-05\n2,gp,7,2024-01-06\n", "3,er,8,2024-01-07\n4,,9,2024-01-08\n"
    others = (1, 2, 3, 4)
    rows = []
    for index, hostile in enumerate(["", *CSV_HOSTILE]):
        folder = tmp_path / f"case={index}"
        folder.mkdir()
        record = hostile.encode("latin-1", "replace") + b"\n" if hostile else b""
        (folder / "x.csv").write_bytes((CSV_HEADER + before).encode() + record + after.encode())
    frame = checked(spark, format="csv", path=str(tmp_path), schema=SCHEMA, options=OPTIONS[name])
    rows = tuples(frame.where(F.col("id").isin(*others)))
    by_case: dict[Any, list[Any]] = {}
    for *values, case in rows:
        by_case.setdefault(case, []).append(tuple(values))
    assert len(by_case) == len(CSV_HOSTILE) + 1
    honest = sorted(by_case["0"], key=str)
    assert [row[0] for row in honest] == [1, 2, 3, 4]
    for case, found in by_case.items():
        assert sorted(found, key=str) == honest, f"{CSV_HOSTILE[int(case) - 1][:40]!r} changed other rows"


LOOSE = (
    "allowComments allowUnquotedFieldNames allowSingleQuotes allowNumericLeadingZeros allowBackslashEscapingAnyCharacter "
    "allowUnquotedControlChars allowNonNumericNumbers"
)
JSON_OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "dropped": {"mode": "DROPMALFORMED"},
    "loose": dict.fromkeys(LOOSE.split(), True),
    "latin": {"encoding": "ISO-8859-1"},
    "ascii": {"charset": "us-ascii"},
    "line end": {"lineSep": "\n"},
    "formats": {"dateFormat": "yyyy-MM-dd", "locale": "de", "timeZone": "Europe/Berlin"},
}  # fmt: skip
JSON_HOSTILE = [
    '[{"id":6,"cost":1},{"id":6,"cost":"x"},{"id":1,"ward":"er","cost":5}]', '[{"id":1,"cost":"bad"}', "[]", '[[{"id":1}]]',
    "{", '{"id":6', '{"id":6}{"id":1}', '{"id":6}, {"id":1}', '"', "/* open", "// c", "'", "null", "6", "\0", "]", "[" * 5_000,
    '{"id":6,"ward":"\xff"}', '{"a":' * 5_000, '{"id":6,"ward":"' + "x" * 200_000 + '"}', '{"id":6,"cost":' + "9" * 5_000 + "}",
    '{"id":6,"id":7}', '{"id":"6"}', '{"id":6,"day":"99999999-01-01"}', "\xef\xbb\xbf{}", '{"id":6,"cost":NaN}',
]  # fmt: skip


@pytest.mark.parametrize("name", of_each_kind(JSON_OPTIONS, "plain", "dropped", "loose", "latin"))
def test_a_hostile_json_record_changes_no_other_row(spark: SparkSession, tmp_path: Path, name: str) -> None:
    good = [{"id": n, "ward": "er", "cost": n * 2, "day": f"2024-01-0{n}"} for n in (1, 2, 3, 4)]
    lines = [json.dumps(item).encode() for item in good]
    for index, hostile in enumerate(["", *JSON_HOSTILE]):
        folder = tmp_path / f"case={index}"
        folder.mkdir()
        record = [hostile.encode("latin-1")] if hostile else []
        (folder / "x.json").write_bytes(b"\n".join([*lines[:2], *record, *lines[2:]]) + b"\n")
    frame = checked(spark, format="json", path=str(tmp_path), schema=SCHEMA, options=JSON_OPTIONS[name])
    by_case: dict[str, list[Any]] = {}
    for *values, case in tuples(frame.where("id in (1, 2, 3, 4)")):
        by_case.setdefault(case, []).append(tuple(values))
    assert len(by_case) == len(JSON_HOSTILE) + 1
    honest = sorted(by_case["0"], key=str)
    assert [(row[0], row[2]) for row in honest] == [(1, 2), (2, 4), (3, 6), (4, 8)]
    for case, found in by_case.items():
        assert sorted(found, key=str) == honest, f"{JSON_HOSTILE[int(case) - 1][:40]!r} changed other rows"


def test_an_array_is_one_malformed_record_whatever_is_in_it(spark: SparkSession, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"id":1}\n[{"id":2}]\n[{"id":3},{"id":"x"}]\n[]\n')
    schema = {"id": "int"}
    kept = checked(spark, format="json", path=str(path), schema=schema)
    assert tuples(kept) == [(1,), (None,), (None,), (None,)]
    dropped = checked(spark, format="json", path=str(path), schema=schema, options={"mode": "dropMalformed"})
    assert tuples(dropped) == [(1,)]


def test_rows_of_jdbc_parquet_and_orc_do_not_depend_on_others(spark: SparkSession, tmp_path: Path) -> None:
    values = ", ".join(f"({n}, 'er', {n})" for n in range(1, 9))
    honest = spark.sql(f"SELECT * FROM VALUES {values} AS t(id, ward, cost)")
    extremes = "(-2147483648, 'x', 1), (2147483647, null, null), (cast(null as int), '', 7)"
    hostile = spark.sql(f"SELECT * FROM VALUES {extremes} AS t(id, ward, cost)")
    wanted = sorted(tuples(honest))
    url = "jdbc:derby:memory:hostile;create=true"
    for name, frame in (("ALONE", honest), ("TOGETHER", honest.unionAll(hostile))):
        frame.write.jdbc(url, name, mode="overwrite", properties={"driver": DERBY})
        options = {"url": url, "dbtable": name, "driver": DERBY, "fetchsize": 2, "pushDownPredicate": True}
        for more in ({}, {"partitionColumn": "id", "lowerBound": 3, "upperBound": 6, "numPartitions": 3}):
            found = checked(spark, format="jdbc", options={**options, **more})
            assert sorted(tuples(found.where("id between 1 and 8"))) == wanted
    for kind in ("parquet", "orc"):
        honest.coalesce(1).write.format(kind).save(str(tmp_path / kind))
        hostile.withColumn("more", F.lit("x")).coalesce(1).write.format(kind).mode("append").save(str(tmp_path / kind))
        found = checked(spark, format=kind, path=str(tmp_path / kind), options={"mergeSchema": True})
        assert sorted(tuples(found.where("id between 1 and 8").select("id", "ward", "cost"))) == wanted


def test_a_record_with_too_many_or_too_few_fields_is_dropped_whatever_columns_are_used(
    spark: SparkSession, tmp_path: Path
) -> None:
    (tmp_path / "x.csv").write_text(f"{CSV_HEADER}1,er,5,2024-01-05\n3,gp,5,2024-01-05,more\n4,er\n")
    (tmp_path / "x.json").write_text('{"id":1,"ward":"er"}\n{"id":2,"ward":"gp","cost":"x"}\n')
    for kind in ("csv", "json"):
        options = {"mode": "DROPMALFORMED"}
        frame = checked(spark, format=kind, path=str(tmp_path / f"x.{kind}"), schema=SCHEMA, options=options)
        assert tuples(frame.select("id")) == [(1,)]
        assert frame.select(F.lit(1)).count() == 1


def test_no_setting_of_the_session_has_a_column_filled_with_whole_records(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("id,ward\n1,er\nx,gp\n")
    (tmp_path / "x.json").write_text('{"id":1,"ward":"er"}\n{"id":"x","ward":"gp"}\n')
    with settings(spark, {"spark.sql.columnNameOfCorruptRecord": "ward"}):
        for kind in ("csv", "json"):
            frame = checked(spark, format=kind, path=str(tmp_path / f"x.{kind}"), schema={"id": "int", "ward": "string"})
            assert tuples(frame) == [(1, "er"), (None, "gp")]


def test_a_session_that_skips_broken_files_is_not_followed() -> None:
    """Else one record with a broken block would take those behind it along."""
    for key in ("ignoreCorruptFiles", "ignoreMissingFiles"):
        assert RELEASE_SETTINGS[f"spark.sql.files.{key}"] == "false"


# --- JSON as Spark's own reader reads it -----------------------------------------------------------------------------

TYPES = {
    "id": "bigint", "ward": "string", "cost": "double", "price": "decimal(10,2)", "day": "date", "at": "timestamp",
    "local": "timestamp_ntz", "ok": "boolean", "tags": "array<string>", "place": "struct<city:string,zip:int>",
    "seen": "map<string,int>", "a.b": "int", "blob": "binary", "small": "tinyint",
}  # fmt: skip
MOMENTS = {"day": "2024-02-29", "at": "2024-01-01T12:30:00Z", "local": "2024-01-01 12:30:00"}
NESTED = {"tags": ["a", None], "place": {"city": "x", "zip": 1}, "seen": {"a": 1}}
RECORDS: list[dict[str, Any]] = [
    {"id": 1, "ward": "é ☃ \U0001f600", "cost": 1.5, "price": 1.239, **MOMENTS},
    {"ID": 2, "ok": True, "a.b": 5, "blob": "eA==", "small": 300, **NESTED},
    {"id": "3", "ward": 4, "cost": "1", "price": "1.0", "day": "29.02.2024", "at": 17, "ok": "true"},
    {
        "id": 4.0,
        "ward": {"a": [1]},
        "cost": 10**400,
        "day": None,
        "unknown": 1,
        "place": {"zip": "x", "city": "y"},
        "tags": [1],
    },
    {"id": 5, "tags": "x", "place": [1], "seen": []},
    {},
]


@pytest.mark.parametrize(
    ("options", "ends"),
    [
        ({}, "\n"),
        ({"mode": "DROPMALFORMED"}, "\r\n"),
        ({"encoding": "UTF-8", "timeZone": "Asia/Tokyo"}, "\r"),
        ({"lineSep": "|", "dateFormat": "dd.MM.yyyy", "allowSingleQuotes": False}, "|"),
        ({"encoding": "ISO-8859-1", "lineSep": "\n"}, "\n"),
    ],
    ids=["plain", "dropped", "zone", "line end", "latin"],
)
def test_json_is_read_as_sparks_own_reader_reads_it(
    spark: SparkSession, tmp_path: Path, options: dict[str, Any], ends: str
) -> None:
    latin = options.get("encoding") == "ISO-8859-1"
    lines = [json.dumps(item, ensure_ascii=latin, separators=(",", ":")) for item in RECORDS] + [
        "",
        " \t ",
        "no record",
        "null",
        '{"id":5',
        '  {"id":6} x',
    ]
    if latin:
        lines.append('{"id":7,"ward":"é"}')
    text = ends.join(lines) + ends
    folder = tmp_path / "code=1"
    folder.mkdir()
    (folder / "x.json").write_bytes(text.encode("latin-1") if latin else b"\xef\xbb\xbf" + text.encode())
    keys = {**TYPES, "code": "int"}
    ddl = ", ".join(f"`{name}` {kind}" for name, kind in keys.items())
    theirs = spark.read.schema(ddl).options(**options).json(str(tmp_path))
    ours = open_source(spark, source(format="json", path=str(tmp_path), schema=keys, options=options), where="source")
    assert ours.schema.simpleString() == theirs.schema.simpleString()
    assert tuples(ours) == tuples(theirs)


# --- header lines ----------------------------------------------------------------------------------------------------


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_columns_are_bound_by_the_name_in_each_files_header(spark: SparkSession, tmp_path: Path) -> None:
    files = tmp_path / "wards"
    write(files / "1.csv", "\n#c\nWARD,id,Cost\ner,1,5\n")
    write(files / "2 ä{[%.csv", '"cost","ward","id"\n7,gp,2\n')
    (files / "3.csv.gz").write_bytes(gzip.compress(b"\xef\xbb\xbfid,cost,ward\n3,8,icu\n"))
    write(files / "4.csv", "")
    schema = {"id": "int", "ward": "string", "cost": "int"}
    frame = checked(spark, format="csv", path=str(files), schema=schema, options={"comment": "#", "nullValue": "id"})
    assert frame.columns == list(schema)
    assert sorted(tuples(frame)) == [(1, "er", 5), (2, "gp", 7), (3, "icu", 8)]
    assert sorted(tuples(frame.where("cost > 6").select("ward"))) == [("gp",), ("icu",)]


def test_columns_that_folders_make_are_in_no_header(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path / "code=7" / "at=2024-01-05" / "x.csv", "ward,id\ner,1\n")
    schema = {"code": "int", "id": "int", "at": "timestamp", "ward": "string"}
    frame = checked(spark, format="csv", path=str(tmp_path), schema=schema)
    assert tuples(frame.selectExpr("code", "id", "string(at)", "ward")) == [(7, 1, "2024-01-05 00:00:00", "er")]
    for path, options, made in (
        (tmp_path, {}, {"code", "at"}),
        (tmp_path / "code=7", {}, {"at"}),
        (tmp_path, {"recursiveFileLookup": True}, set()),
    ):
        assert made_by_folders(spark, source(format="csv", path=str(path), schema=schema, options=options)) == made


@pytest.mark.parametrize(("kind", "record"), [("csv", "id\n1\n"), ("json", '{"id": 1}\n')])
def test_a_folder_whose_name_is_not_of_its_columns_type_fails_nothing(
    spark: SparkSession, tmp_path: Path, kind: str, record: str
) -> None:
    for folder in ("code=7/at=2024-01-05", "code=X9/at=12%3A30", "code=__HIVE_DEFAULT_PARTITION__/at=x"):
        write(tmp_path / folder / f"x.{kind}", record)
    schema = {"code": "int", "id": "int", "at": "timestamp"}
    frame = checked(spark, format=kind, path=str(tmp_path), schema=schema)
    assert dict(frame.dtypes) == schema
    found = tuples(frame.selectExpr("id", "code", "string(at)"))
    assert sorted(found, key=str) == [(1, 7, "2024-01-05 00:00:00"), (1, None, None), (1, None, None)]


def test_a_file_that_is_not_found_by_its_name_is_refused(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise its header would go unchecked, and with several orders of columns its rows would be dropped."""
    for name in ("a b%20#ü?.csv", "odd.csv"):
        write(tmp_path / name, "a,b\n1,2\n")
    write(tmp_path / "empty.csv", "\n")
    keys = {"format": "csv", "path": str(tmp_path), "schema": {"b": "int", "a": "int"}}
    assert tuples(checked(spark, **keys)) == [(2, 1)] * 2
    real = csv_files._in_files
    monkeypatch.setattr(csv_files, "_in_files", lambda frame, files: real(frame, [f.replace("odd", "0dd") for f in files]))
    with pytest.raises(SourceError, match="header line of a file cannot be read") as caught:
        checked(spark, **keys)
    assert "odd" not in f"{caught.value} {caught.value.mend}"


@pytest.mark.parametrize(
    "header",
    ["id,ward,SECRET4711", "id,ward,cost,SECRET4711", "id,ward", "id,id,cost", ",id,ward,cost", "4711,er,5", "id;ward;cost"],
)
def test_another_header_is_refused_before_the_charge(place: Place, cli: Callable[..., Outcome], header: str) -> None:
    """The same is said of each: where there is no header line, it is the first record."""
    path = write(place.folder / "x.csv", f"{header}\n1,er,5\n")
    file = place.file(
        source={"format": "csv", "path": path, "schema": {"id": "int", "ward": "string", "cost": "int"}}, privacy_unit="id"
    )
    before = place.entries()
    outcome = cli("run", file, "--json")
    assert outcome.code == 4
    assert outcome.error["message"] == "a file's header line is not exactly the columns of schema (3: id, ward, cost)"
    assert all(word in outcome.error["mend"] for word in ("sep", "header: false", "index=False", "escape: '\"'"))
    assert "4711" not in outcome.out + outcome.err
    assert place.entries() == before


def test_one_file_with_another_header_among_many_is_refused(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dp_spark.engine.csv_files._FILES_AT_ONCE", 2)
    for number in range(5):
        write(tmp_path / f"{number}.csv", "a,b\n1,2\n" if number != 4 else "a,c\n1,2\n")
    with pytest.raises(SourceError, match=r"is not exactly the columns of schema \(2: b, a\)"):
        checked(spark, format="csv", path=str(tmp_path), schema={"b": "int", "a": "int"})


@pytest.mark.parametrize(
    ("kind", "options"),
    [("csv", {"dateFormat": "DD/MM/YYYY"}), ("csv", {"timestampFormat": "YYYY-MM"}), ("json", {"dateFormat": "YYYY"})],
)
def test_formats_that_spark_refuses_are_refused_before_the_charge(
    spark: SparkSession, tmp_path: Path, kind: str, options: dict[str, str]
) -> None:
    path = write(tmp_path / "x", "d,t\n" if kind == "csv" else "")
    with pytest.raises(SpecError, match="Spark refuses one of the options") as caught:
        checked(spark, format=kind, path=path, schema={"d": "date", "t": "timestamp"}, options=options)
    assert caught.value.where == "source.options"


def test_what_a_plan_refuses_no_reader_lets_through(spark: SparkSession, tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "a\n1\n")
    for name, options in (("multiLine", {"multiLine": True}), ("encoding", {"encoding": "UTF-16LE", "lineSep": "\n"})):
        with pytest.raises(SpecError, match=f"the option {name} ") as caught:
            open_source(spark, source(format="csv", path=path, schema={"a": "int"}, options=options), where="source")
        assert caught.value.where == f"source.options.{name}"
