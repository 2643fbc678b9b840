"""Functions of the session in the place of Spark's: refused before the charge, and the list of names is complete."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from checkout import ROOT
from pyspark.sql import SparkSession
from release_helpers import COUNT, TOTAL, Place

from dp_spark.errors import DpSparkError, SpecError
from dp_spark.release.run import run_release
from dp_spark.spark.session_functions import INTERNAL, check_functions, check_meanings
from dp_spark.spec.row_functions import ALLOWED_FUNCTIONS

#: What ``pyspark.sql.functions`` has besides functions that Spark looks up by this name.
_NO_FUNCTIONS = {"col", "lit", "expr", "broadcast", "call_function", "count_distinct"}
#: Called on made-up rows alone (``trial``).
_ON_NO_ROWS = {"from_csv", "from_json", "to_timestamp", "concat"}


@pytest.fixture
def other(spark: SparkSession) -> SparkSession:
    """A session whose functions are its own: what is registered can never be dropped."""
    return spark.newSession()


@pytest.mark.parametrize("name", ["ABS", "least", "+", "between", "isnan", "case"])
def test_a_session_function_with_a_name_of_sparks_is_refused(other: SparkSession, name: str) -> None:
    other.udf.register(name, lambda *x: 7, "int")
    with pytest.raises(SpecError, match="in the place of Spark's") as caught:
        check_functions(other, ["abs", "between"])
    assert name.lower() in caught.value.message
    assert caught.value.exit_code == 2
    assert "new session" in caught.value.mend


def test_what_the_catalog_does_not_list_is_not_known_to_be_sparks() -> None:
    built_in = {name: ["org.apache.spark.sql.catalyst.expressions.X"] for name in INTERNAL} | {"case": [""]}
    check_meanings(INTERNAL | {"try_cast", "timestampdiff"}, built_in)
    with pytest.raises(SpecError, match=r"place of Spark's: case "):
        check_meanings(INTERNAL, built_in | {"case": ["", ""]})
    for listed in ({}, {name: built_in[name] for name in INTERNAL - {"least"}}):
        with pytest.raises(DpSparkError, match=r"does not list.*\bleast\b") as caught:
            check_meanings(INTERNAL, listed)
        assert caught.value.exit_code == 1


def test_a_hive_function_is_refused_too(other: SparkSession) -> None:
    other.sql("CREATE OR REPLACE TEMPORARY FUNCTION greatest AS 'org.apache.hadoop.hive.ql.udf.UDFLog2'")
    with pytest.raises(SpecError, match="greatest"):
        check_functions(other, [])


def test_other_functions_of_the_session_and_of_databases_do_no_harm(other: SparkSession) -> None:
    other.udf.register("my_own", lambda x: x, "int")
    other.sql("CREATE OR REPLACE FUNCTION log2 AS 'a.B'")
    try:
        check_functions(other, ALLOWED_FUNCTIONS)
    finally:
        other.sql("DROP FUNCTION default.log2")


def test_a_release_is_refused_before_its_charge(place: Place, other: SparkSession) -> None:
    other.udf.register("least", lambda a, b: 1e6, "double")
    with pytest.raises(SpecError, match="least"):
        run_release(other, place.spec(aggregates=[COUNT, TOTAL]), release_id="r1")
    assert place.kinds() == []


def test_every_function_that_we_call_is_asked_for() -> None:
    called: set[str] = set()
    for path in Path(ROOT / "dp_spark").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "F":
                called.add(node.attr)
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "call_function":
                called.add(str(getattr(node.args[0], "value", "")))
    assert called - _NO_FUNCTIONS - _ON_NO_ROWS <= INTERNAL
    operators = {"+", "-", "*", "==", ">", "<=", "and", "not", "!", "isnotnull", "<=>", "nanvl"}
    assert operators <= INTERNAL
