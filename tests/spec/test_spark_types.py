"""Which texts are types, as Spark says, too."""

from __future__ import annotations

import re

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import types as T

from dp_spark.spark.errors import SPARK_ERRORS
from dp_spark.spec.spark_types import type_kind

GOOD = [
    "string", "INT", " bigint ", "integer", "long", "short", "byte", "real", "float", "double", "boolean", "binary", "date",
    "timestamp", "timestamp_ntz", "timestamp_ltz", "decimal", "dec(3)", "numeric( 4 , 2 )", "decimal(38,38)",
]  # fmt: skip
NESTED = [
    "array<int>", "map<string, array<date>>", "struct<a: int, b: struct<`a b`: decimal(5,2)>>", "struct<a int>",
    "struct<date:date,int:int>", "struct<1a: int>", "array<array<array<string>>>",
]  # fmt: skip
WRONG = [
    "integr", "", "varchar2(10)", "decimal(39,1)", "decimal(5,7)", "decimal(5,-1)", "decimal()", "decimal(5,2",
    "decimal(1,2,3)", "int(5)", "int int", "array<>", "array<int", "array<int>>", "map<int>", "struct<a:int,>",
    "struct<a-b:int>", "float(3)",
    "bigint unsigned", "double precision", "object", "null", "string) --",
]  # fmt: skip
#: Types that Spark knows, and that its CSV and JSON readers, our casts or keys do not.
NOT_HERE = [
    "struct<a:int,A:int>",
    "int, other string",
    "int comment 'x'",
    "variant",
    "void",
    "interval",
    "interval day",
    "time",
    "char(3)",
    "varchar(3)",
    "decimal(0,0)",
    "struct<>",
]


@pytest.mark.parametrize("text", GOOD + NESTED)
def test_a_type_is_known(text: str) -> None:
    assert type_kind(text, nested=True) is not None
    assert (type_kind(text) is not None) == (text in GOOD)


@pytest.mark.parametrize("text", WRONG + NOT_HERE)
def test_a_type_is_not_known(text: str) -> None:
    assert type_kind(text, nested=True) is None


def test_spark_agrees_about_types(spark: SparkSession) -> None:
    for text in GOOD + NESTED:
        found = T.StructType.fromDDL(f"`x` {text}")
        assert isinstance(found, T.StructType)
        simple = found[0].dataType.simpleString()
        assert re.split(r"[(<]", simple)[0] == type_kind(text, nested=True)
    for text in WRONG:
        with pytest.raises(SPARK_ERRORS):
            T.StructType.fromDDL(f"`x` {text}")
