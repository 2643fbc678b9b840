"""Variables of the environment stand in places, and an error names no value."""

import pytest

from dp_spark.errors import SpecError
from dp_spark.schema.variables import expand_variables


def test_variables_are_replaced_wherever_they_stand() -> None:
    environment = {"A": "1", "B_2": "two"}
    assert expand_variables("${A}/x${B_2}${A}", where="w", environment=environment) == "1/xtwo1"
    assert expand_variables("$A ${} ${1} {A} $${A", where="w", environment=environment) == "$A ${} ${1} {A} $${A"
    assert expand_variables("${A}", where="w", environment={"A": "${B}", "B": "x"}) == "${B}"


def test_variables_come_from_the_process_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DP_SPARK_TEST", "here")
    assert expand_variables("${DP_SPARK_TEST}", where="w") == "here"


def test_a_variable_that_is_not_set_is_named_and_no_value_is_shown() -> None:
    with pytest.raises(SpecError) as caught:
        expand_variables("${SET}/${UNSET}", where="sink.path", environment={"SET": "hunter2"})
    assert "UNSET" in caught.value.message
    assert caught.value.where == "sink.path"
    assert "hunter2" not in str(caught.value)
