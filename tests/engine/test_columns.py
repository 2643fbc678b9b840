"""Which columns can be keys or be summed, and how to mend those that cannot."""

from __future__ import annotations

import pytest
import yaml
from helpers import release_spec
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T
from source_helpers import opened

from dp_spark.engine.columns import column, field, quoted, require_key, require_numeric
from dp_spark.engine.preprocess import apply_steps, check_steps
from dp_spark.errors import SourceError
from dp_spark.spark.settings import RELEASE_SETTINGS, settings


@pytest.fixture(scope="module")
def kinds(spark: SparkSession) -> DataFrame:
    return spark.sql(
        """SELECT 'a' AS text, true AS flag, 1Y AS tiny, 1S AS small, 1 AS whole, 1L AS big, 1.5BD AS dec,
        date'2024-01-01' AS day,
        timestamp'2024-01-01 00:00:00' AS moment, timestamp_ntz'2024-01-01 00:00:00' AS local,
        'a' COLLATE UTF8_LCASE AS lower_text, 'a' COLLATE UNICODE_CI AS unicode_text, 1.5F AS single,
        1.5D AS real, X'01' AS bytes, array(1) AS list, map(1, 1) AS dict,
        named_struct('x', 1) AS record, interval 1 day AS span, null AS nothing, parse_json('1') AS variant, 1 AS `a.b`"""
    )


@pytest.mark.parametrize(
    "name", ["text", "flag", "tiny", "small", "whole", "big", "dec", "day", "moment", "local", "a.b", "TEXT"]
)
def test_columns_with_plain_equality_can_be_keys(kinds: DataFrame, name: str) -> None:
    assert require_key(kinds, name, where="group_by") == field(kinds, name).dataType


def followed(spark: SparkSession, frame: DataFrame, name: str, mend: str) -> tuple[DataFrame, str]:
    """What an error proposes, done to the letter: the frame after the step, and the column to use."""
    step = yaml.safe_load(mend[mend.index("{") : mend.rindex("}") + 1])
    used = mend.rpartition(", and use ")[2] if ", and use " in mend else name
    with settings(spark, RELEASE_SETTINGS):
        spec = release_spec(preprocess=[step])
        check_steps(spec)
        frame = apply_steps(spark, frame, spec)
        frame.select(column(used)).collect()
    return frame, used


@pytest.mark.parametrize(
    "name",
    ["lower_text", "unicode_text", "single", "real", "bytes", "list", "dict", "record", "span", "nothing", "variant"],
)
def test_columns_without_plain_equality_are_refused_as_keys(spark: SparkSession, kinds: DataFrame, name: str) -> None:
    with pytest.raises(SourceError, match=f"the column {name} has type .*cannot be a key") as caught:
        require_key(kinds, name, where="group_by")
    assert caught.value.where == "group_by"
    assert require_key(*followed(spark, kinds, name, caught.value.mend), where="group_by") is not None


def test_only_a_privacy_unit_may_be_binary(kinds: DataFrame) -> None:
    assert require_key(kinds, "bytes", where="privacy_unit", binary=True).simpleString() == "binary"
    with pytest.raises(SourceError, match="real"):
        require_key(kinds, "real", where="privacy_unit", binary=True)


@pytest.mark.parametrize("name", ["tiny", "small", "whole", "big", "dec", "single", "real", "WHOLE"])
def test_numbers_can_be_summed(kinds: DataFrame, name: str) -> None:
    assert require_numeric(kinds, name, where="aggregates.x") == field(kinds, name).dataType


@pytest.mark.parametrize("name", ["text", "flag", "day", "moment", "local", "bytes", "list", "dict", "nothing"])
def test_nothing_else_can_be_summed(spark: SparkSession, kinds: DataFrame, name: str) -> None:
    with pytest.raises(SourceError, match=f"the column {name} has type .*is not a number") as caught:
        require_numeric(kinds, name, where="aggregates.x")
    assert require_numeric(*followed(spark, kinds, name, caught.value.mend), where="aggregates.x") is not None


@pytest.mark.parametrize("name", ["record", "span", "variant"])
def test_what_no_step_makes_a_number_is_only_refused(kinds: DataFrame, name: str) -> None:
    with pytest.raises(SourceError, match="is not a number") as caught:
        require_numeric(kinds, name, where="aggregates.x")
    assert caught.value.mend == "name a column of numbers, or derive one from it"


def test_missing_and_ambiguous_columns_are_named(spark: SparkSession, kinds: DataFrame) -> None:
    both = spark.sql("SELECT 1 AS a, 2 AS b").toDF("twice", "TWICE")
    for check in (require_key, require_numeric):
        with pytest.raises(SourceError, match=r"there is no column nowhere .*use one of: .*text") as caught:
            check(kinds, "nowhere", where="group_by")
        assert caught.value.exit_code == 4
        for name in ("twice", "Twice"):
            with pytest.raises(SourceError, match=f"no column {name}"):
                check(both, name, where="group_by")
    with pytest.raises(SourceError, match=r"record\.x"):
        require_key(kinds, "record.x", where="privacy_unit")


def test_names_are_quoted_as_they_are(kinds: DataFrame) -> None:
    assert quoted("a`b.c") == "`a``b.c`"
    assert kinds.select(column("a.b")).columns == ["a.b"]


def test_a_padded_column_is_no_key(spark: SparkSession, schema: str) -> None:
    spark.sql(f"CREATE TABLE {schema}.padded (ward CHAR(5), name VARCHAR(5)) USING parquet")
    frame = opened(spark, table=f"{schema}.padded")
    assert require_key(frame, "name", where="group_by") is not None
    with pytest.raises(SourceError, match="padded with spaces") as caught:
        require_key(frame, "ward", where="group_by")
    assert require_key(*followed(spark, frame, "ward", caught.value.mend), where="group_by") == T.StringType()
