"""Public keys: the product of listed values, tables of keys, and every key type, with nothing bent to fit."""

from __future__ import annotations

import datetime as dt
import hashlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from frames import frame_of, tuples
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from dp_spark.engine.public_keys import PublicKeys, public_keys
from dp_spark.errors import SourceError, SpecError
from dp_spark.spark.settings import settings
from dp_spark.spec.release_spec import PublicPartitions

STRING, INT = T.StringType(), T.IntegerType()


def listed(spark: SparkSession | None, types: dict[str, T.DataType], *, timezone: str = "UTC", **values: Any) -> PublicKeys:
    """Keys from values; a session is not used for these."""
    return public_keys(spark, PublicPartitions.model_validate({"values": values}), types, timezone)


def from_file(spark: SparkSession, types: dict[str, T.DataType], **source: Any) -> PublicKeys:
    return public_keys(spark, PublicPartitions.model_validate({"source": source}), types, "UTC")


def rows(keys: PublicKeys) -> list[tuple[Any, ...]]:
    return list(zip(*(item.to_pylist() for item in keys.table.columns), strict=True))


# --- values -----------------------------------------------------------------------------------------------------------


def test_values_are_a_product_in_their_order() -> None:
    keys = listed(None, {"test": STRING, "year": INT}, year=[2, 1], test=["hdl", None, "chol"])
    assert keys.table.column_names == ["test", "year"], "the order of group_by"
    assert rows(keys) == [("hdl", 2), ("hdl", 1), (None, 2), (None, 1), ("chol", 2), ("chol", 1)]
    assert keys.table.schema.types == [pa.string(), pa.int32()]


UTC = dt.UTC
GOOD = [
    (STRING, "x", "x"), (STRING, "", ""), (STRING, "2024-01-01", "2024-01-01"), (T.BooleanType(), True, True),
    (T.ByteType(), -128, -128), (T.ShortType(), 32767, 32767), (INT, -(2**31), -(2**31)),
    (T.LongType(), 2**63 - 1, 2**63 - 1),
    (T.DecimalType(6, 2), 3, Decimal("3.00")), (T.DecimalType(6, 2), Decimal("1234.5"), Decimal("1234.50")),
    (T.DecimalType(3, 3), Decimal("0.001"), Decimal("0.001")), (T.DecimalType(38, 2), 10**32, Decimal(10**32)),
    (T.DateType(), "2024-02-29", dt.date(2024, 2, 29)), (T.DateType(), dt.date(2024, 2, 29), dt.date(2024, 2, 29)),
    (T.TimestampNTZType(), "2024-02-29 12:30:00.5", dt.datetime(2024, 2, 29, 12, 30, 0, 500_000)),
    (T.TimestampType(), "2024-02-29T12:30:00+02:00", dt.datetime(2024, 2, 29, 10, 30, tzinfo=UTC)),
    (T.TimestampType(), "2024-02-29T12:30:00Z", dt.datetime(2024, 2, 29, 12, 30, tzinfo=UTC)),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value", "key"), GOOD, ids=lambda item: str(item))
def test_each_key_type_takes_its_own_values(kind: T.DataType, value: Any, key: Any) -> None:
    assert rows(listed(None, {"g": kind}, g=[value])) == [(key,)]


BAD = [
    (STRING, 1), (STRING, True), (STRING, Decimal("1.5")), (INT, "1"), (INT, True), (INT, Decimal("1.5")),
    (INT, Decimal("1.0")), (INT, 2**31), (INT, -(2**31) - 1), (T.LongType(), 2**63), (T.ByteType(), 128),
    (T.ShortType(), -32769),
    (T.BooleanType(), "true"),
    (T.BooleanType(), 1), (T.BooleanType(), 0), (T.DecimalType(6, 2), Decimal("1.005")),
    (T.DecimalType(6, 2), 10_000), (T.DecimalType(6, 2), True), (T.DecimalType(6, 2), "1.5"), (T.DecimalType(3, 3), 1),
    (T.DecimalType(38, 2), 10**36), (T.DateType(), "2024-02-30"), (T.DateType(), "yesterday"), (T.DateType(), 20240101),
    (T.DateType(), "2024-01-01 10:00:00"), (T.TimestampNTZType(), "2024-01-01T00:00:00Z"), (T.TimestampNTZType(), "now"),
    (T.TimestampType(), "24 January"), (T.TimestampType(), 0),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value"), BAD, ids=lambda item: str(item))
def test_a_value_of_another_type_is_refused(kind: T.DataType, value: Any) -> None:
    with pytest.raises(SpecError, match=f"is not a value of type .*{kind.simpleString()[:4]}.*the type of g") as caught:
        listed(None, {"g": kind}, g=[value])
    assert caught.value.where == "partitions.public.values.g"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("kind", [STRING, INT, T.BooleanType(), T.DecimalType(6, 2), T.DateType(), T.TimestampType()])
def test_null_is_a_key_of_every_type(kind: T.DataType) -> None:
    assert rows(listed(None, {"g": kind}, g=[None])) == [(None,)]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (STRING, ["a", "b", "a"]),
        (STRING, [None, None]),
        (T.DecimalType(6, 2), [1, Decimal("1.00")]),
        (T.TimestampType(), ["2024-01-01T01:00:00Z", "2024-01-01T02:00:00+01:00"]),
    ],
)
def test_a_key_that_stands_twice_is_refused(kind: T.DataType, values: list[Any]) -> None:
    with pytest.raises(SpecError, match="is listed twice"):
        listed(None, {"g": kind}, g=values)
    assert len(rows(listed(None, {"g": STRING}, g=["a", "A", "a ", ""]))) == 4


@pytest.mark.parametrize("zone", ["Europe/Berlin", "UTC", "America/New_York"])
def test_a_timestamp_without_a_zone_is_in_the_releases_time_zone(spark: SparkSession, tmp_path: Path, zone: str) -> None:
    """As Spark reads the same text in the source, in an expression, or in a CSV file of keys."""
    text, types = "2024-07-01 00:00:00", {"g": T.TimestampType()}
    (tmp_path / "keys.csv").write_text(f"g\n{text}\n")
    with settings(spark, {"spark.sql.session.timeZone": zone}):
        in_spark = tuples(spark.sql(f"SELECT timestamp'{text}' AS g"))
        assert rows(from_file(spark, types, format="csv", path=str(tmp_path / "keys.csv"))) == in_spark
        assert rows(listed(spark, types, timezone=zone, g=[text])) == in_spark


FAR = [
    "0001-01-01 00:00:00", "9999-12-31 23:59:59.999999", "1582-10-10 12:00:00", "+12345-07-01 00:00:00",
    "1947-06-01 12:00:00", "2024-03-10 02:30:00", "2024-11-03 01:30:00",
]  # fmt: skip


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "Africa/Niamey"])
def test_a_far_or_repeated_time_is_the_one_that_spark_reads(spark: SparkSession, zone: str) -> None:
    """Python ends at the years 1 and 9999, and its history of Africa/Niamey is not Java's."""
    with settings(spark, {"spark.sql.session.timeZone": zone}):
        found = listed(spark, {"g": T.TimestampType()}, timezone=zone, g=[*FAR, None]).table.column("g")
        expected = spark.range(1).select(*(F.unix_micros(F.expr(f"timestamp '{text}'")) for text in FAR)).collect()[0]
    assert found.cast(pa.int64()).to_pylist() == [*expected, None]


def test_the_two_times_of_a_night_are_two_keys_and_far_ones_are_shown(spark: SparkSession, tmp_path: Path) -> None:
    """Python compares times of one zone by what the clock shows."""
    (tmp_path / "keys.csv").write_text("g\n2024-11-03T01:30:00-04:00\n2024-11-03T01:30:00-05:00\n9999-12-31T23:30:00-05:00\n")
    types = {"g": T.TimestampType()}
    with settings(spark, {"spark.sql.session.timeZone": "America/New_York"}):
        keys = from_file(spark, types, format="csv", path=str(tmp_path / "keys.csv"))
        assert len(set(keys.table.column("g").cast(pa.int64()).to_pylist())) == 3
        (tmp_path / "keys.csv").write_text("g\n9999-12-31T23:30:00-05:00\n+10000-01-01T04:30:00Z\n")
        with pytest.raises(SpecError, match=r"\+10000-01-01 04:30:00Z\) is listed twice"):
            from_file(spark, types, format="csv", path=str(tmp_path / "keys.csv"))


def test_half_of_a_surrogate_pair_is_no_text() -> None:
    with pytest.raises(SpecError, match="half of a surrogate pair") as caught:
        listed(None, {"g": STRING}, g=["a", "\ud800"])
    str(caught.value).encode()


# --- tables of keys ---------------------------------------------------------------------------------------------------


def test_a_csv_of_keys_needs_no_schema(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "keys.csv").write_text("test,year\nhdl,2\nchol,1\n007,3\n")
    keys = from_file(spark, {"test": STRING, "year": T.LongType()}, format="csv", path=str(tmp_path / "keys.csv"))
    assert rows(keys) == [("hdl", 2), ("chol", 1), ("007", 3)]
    assert keys.table.schema.types == [pa.string(), pa.int64()]


def test_a_csv_of_keys_with_dates_and_decimals(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "keys.csv").write_text("d,m,b\n2024-02-29,1.5,true\n2024-03-01,2.25,false\n")
    types = {"d": T.DateType(), "m": T.DecimalType(6, 2), "b": T.BooleanType()}
    keys = from_file(spark, types, format="csv", path=str(tmp_path / "keys.csv"))
    assert rows(keys) == [(dt.date(2024, 2, 29), Decimal("1.50"), True), (dt.date(2024, 3, 1), Decimal("2.25"), False)]


@pytest.mark.parametrize("line", ["x,1", "2,", "1.5,1", "3000000000,1", ",1", "true,1"])
def test_a_csv_key_that_does_not_parse_is_refused(spark: SparkSession, tmp_path: Path, line: str) -> None:
    (tmp_path / "keys.csv").write_text(f"year,test\n1,1\n{line}\n")
    with pytest.raises(SpecError, match=r"is empty or not of type (int|string)") as caught:
        from_file(spark, {"year": INT, "test": STRING}, format="csv", path=str(tmp_path / "keys.csv"))
    assert caught.value.where == "partitions.public.source"


def test_a_csv_of_keys_in_another_order_is_read_by_name(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "keys.csv").write_text("year,TEST\n1,2\n")
    keys = from_file(spark, {"test": INT, "year": INT}, format="csv", path=str(tmp_path / "keys.csv"))
    assert keys.table.to_pylist() == [{"test": 2, "year": 1}]


@pytest.mark.parametrize("header", ["test,when", "test", "test,year,more"])
def test_a_csv_of_keys_with_other_columns_is_refused(spark: SparkSession, tmp_path: Path, header: str) -> None:
    (tmp_path / "keys.csv").write_text(f"{header}\n1,2\n")
    with pytest.raises(SourceError, match=r"header line is not exactly the columns of schema \(2: test, year\)") as caught:
        from_file(spark, {"test": INT, "year": INT}, format="csv", path=str(tmp_path / "keys.csv"))
    assert caught.value.where == "partitions.public.source"


def test_a_delta_table_of_keys(spark: SparkSession, tmp_path: Path) -> None:
    columns = {"more": pa.string(), "YEAR": pa.int32(), "test": pa.string()}
    path = str(tmp_path / "keys")
    frame_of(spark, columns, [("x", 1, "a"), ("y", None, "b"), ("z", 1, None)]).coalesce(1).write.format("delta").save(path)
    keys = from_file(spark, {"test": STRING, "year": INT}, format="delta", path=path)
    assert keys.table.column_names == ["test", "year"]
    assert sorted(rows(keys), key=repr) == [("a", 1), ("b", None), (None, 1)]
    with pytest.raises(SourceError, match="no column ward"):
        from_file(spark, {"ward": STRING}, format="delta", path=path)
    with pytest.raises(SpecError, match="year is int there and bigint in the source"):
        from_file(spark, {"test": STRING, "year": T.LongType()}, format="delta", path=path)
    with pytest.raises(SpecError, match="is listed twice"):
        from_file(spark, {"year": INT}, format="delta", path=path)


def test_a_text_that_is_no_utf8_is_the_null_key(spark: SparkSession, tmp_path: Path) -> None:
    path, texts = str(tmp_path / "keys"), "cast(unhex(h) as string) AS g"
    spark.createDataFrame(pa.table({"h": ["61", "FF"]})).selectExpr(texts).coalesce(1).write.parquet(path)
    assert sorted(rows(from_file(spark, {"g": STRING}, format="parquet", path=path)), key=repr) == [("a",), (None,)]
    spark.createDataFrame(pa.table({"h": ["FE"]})).selectExpr(texts).write.mode("append").parquet(path)
    with pytest.raises(SpecError, match=r"the key \(null\) is listed twice"):
        from_file(spark, {"g": STRING}, format="parquet", path=path)


def test_a_table_without_keys_and_a_missing_one_are_refused(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "keys.csv").write_text("g\n")
    with pytest.raises(SpecError, match="has no keys"):
        from_file(spark, {"g": STRING}, format="csv", path=str(tmp_path / "keys.csv"))
    with pytest.raises(SourceError, match="cannot be opened as csv") as caught:
        from_file(spark, {"g": STRING}, format="csv", path=str(tmp_path / "nowhere.csv"))
    assert caught.value.where == "partitions.public.source"


# --- positions and the digest -----------------------------------------------------------------------------------------


def test_the_frame_of_keys_carries_their_positions(spark: SparkSession) -> None:
    keys = listed(spark, {"g": STRING, "h": INT}, g=["b", None], h=[2, 1])
    frame = keys.frame(spark)
    assert tuples(frame) == [("b", 2, 0), ("b", 1, 1), (None, 2, 2), (None, 1, 3)]
    assert [item.dataType for item in frame.schema.fields] == [STRING, INT, INT]


def test_the_digest_is_that_of_earlier_versions(spark: SparkSession, tmp_path: Path) -> None:
    """A release that was charged before must be found again."""
    (tmp_path / "keys.csv").write_text(
        "s,i,m,d,t\nünï,1,1.5,2024-02-29,2024-07-01T00:00:00Z\nb,-2,2.25,1900-01-01,1999-01-01T00:00:00Z\n"
    )
    types = {"s": STRING, "i": INT, "m": T.DecimalType(6, 2), "d": T.DateType(), "t": T.TimestampType()}
    with settings(spark, {"spark.sql.session.timeZone": "UTC"}):
        keys = from_file(spark, types, format="csv", path=str(tmp_path / "keys.csv"))
    assert keys.digest == hashlib.sha256("\n".join(sorted(map(repr, rows(keys)))).encode()).hexdigest()


def test_the_digest_changes_with_the_keys_and_not_with_their_order(spark: SparkSession, tmp_path: Path) -> None:
    types = {"g": STRING, "h": INT}
    base = listed(None, types, g=["a", "b"], h=[1, 2]).digest
    assert listed(None, types, g=["b", "a"], h=[2, 1]).digest == base
    (tmp_path / "keys.csv").write_text("g,h\nb,2\na,1\nb,1\na,2\n")
    assert from_file(spark, types, format="csv", path=str(tmp_path / "keys.csv")).digest == base
    others = [
        listed(None, types, g=["a", "c"], h=[1, 2]).digest,
        listed(None, types, g=["a", "b"], h=[1, 3]).digest,
        listed(None, types, g=["a", "b"], h=[1]).digest,
        listed(None, types, g=["a", None], h=[1, 2]).digest,
        listed(None, types, g=["a", "None"], h=[1, 2]).digest,
        listed(None, {"g": STRING}, g=["a', 'b"]).digest,
        listed(None, {"g": STRING, "h": STRING}, g=["a"], h=["b"]).digest,
    ]
    assert len({base, *others}) == 1 + len(others)
