"""Session settings are held and put back, whatever happens."""

from __future__ import annotations

import threading
from typing import cast

import pyarrow as pa
import pytest
from frames import frame_of, tuples
from py4j.protocol import Py4JError
from pyspark.sql import SparkSession

from dp_spark.errors import DpSparkError
from dp_spark.spark import settings as settings_module
from dp_spark.spark.errors import SPARK_ERRORS
from dp_spark.spark.settings import RELEASE_SETTINGS, settings

ANSI, ZONE, OWN = "spark.sql.ansi.enabled", "spark.sql.session.timeZone", "spark.dp_spark.test"


def current(spark: SparkSession, *keys: str) -> list[str | None]:
    """What is in force; None for a key that has no default and is not set."""
    return [spark.conf.get(key) if key != OWN else spark.conf.get(key, None) for key in keys]


def test_settings_are_held_and_put_back(spark: SparkSession) -> None:
    keys = [*RELEASE_SETTINGS, ZONE, OWN]
    before = current(spark, *keys)
    with settings(spark, {**RELEASE_SETTINGS, ZONE: "Asia/Tokyo", OWN: "1"}):
        assert current(spark, *RELEASE_SETTINGS) == list(RELEASE_SETTINGS.values())
        assert current(spark, ZONE, OWN) == ["Asia/Tokyo", "1"]
        with settings(spark, {ZONE: "Europe/Berlin", OWN: "2"}):
            assert current(spark, ZONE, OWN) == ["Europe/Berlin", "2"]
        assert current(spark, ZONE, OWN) == ["Asia/Tokyo", "1"]
    assert current(spark, *keys) == before
    assert before[-1] is None, "a setting that was unset is unset again"


@pytest.mark.parametrize("old", ["true", "false"])
def test_settings_come_back_after_an_exception(spark: SparkSession, old: str) -> None:
    with settings(spark, {ANSI: old, ZONE: "Asia/Tokyo"}):
        with pytest.raises(ZeroDivisionError), settings(spark, {**RELEASE_SETTINGS, ZONE: "UTC", OWN: "x"}):
            _ = 1 / 0
        assert current(spark, ANSI, ZONE, OWN) == [old, "Asia/Tokyo", None]


def test_a_setting_that_the_platform_refuses_is_an_error_and_the_others_come_back(spark: SparkSession) -> None:
    fixed = "spark.sql.warehouse.dir"
    before = current(spark, fixed, OWN)
    with pytest.raises(DpSparkError, match=f"does not let {fixed} be set"), settings(spark, {OWN: "1", fixed: "/elsewhere"}):
        raise AssertionError("the block must not run")
    assert current(spark, fixed, OWN) == before
    with settings(spark, {fixed: str(before[0])}):  # it is what is wanted already
        assert current(spark, fixed) == before[:1]


class Hiding:
    """A session of a platform that hides one key, even from a question with a default."""

    def __init__(self, real: SparkSession) -> None:
        self.conf, self._real = self, real.conf

    def get(self, key: str, *default: None) -> str | None:
        if key == OWN:
            raise Py4JError("the platform does not show it")
        return self._real.get(key, *default)

    def set(self, key: str, value: str) -> None:
        self._real.set(key, value)

    def unset(self, key: str) -> None:
        self._real.unset(key)


def test_a_setting_that_the_platform_hides_is_set_all_the_same(spark: SparkSession) -> None:
    with settings(cast("SparkSession", Hiding(spark)), {OWN: "1", ANSI: "false"}):
        assert current(spark, OWN, ANSI) == ["1", "false"]
    assert current(spark, OWN) == [None]


@pytest.mark.parametrize("key", [ANSI, ZONE])
def test_what_every_release_depends_on_is_never_assumed(spark: SparkSession, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """Spark's own ANSI mode is on and its time zone the machine's: where neither can be seen nor set, nothing runs."""
    effective = settings_module._effective
    monkeypatch.setattr(settings_module, "_effective", lambda spark, name: None if name == key else effective(spark, name))

    class Refusing(Hiding):
        def set(self, name: str, value: str) -> None:
            if name in (key, OWN):
                raise Py4JError("fixed")
            super().set(name, value)

    refusing = cast("SparkSession", Refusing(spark))
    with settings(refusing, {OWN: "1"}):  # what a release can do without may be refused and hidden
        pass
    with pytest.raises(DpSparkError, match=f"does not let {key} be set"), settings(refusing, {key: "x"}):
        raise AssertionError("the block must not run")


def test_threads_hold_settings_one_after_the_other(spark: SparkSession) -> None:
    """Else one release would run under another's time zone, and put back what it found there."""
    before, inside, seen = current(spark, ZONE), threading.Event(), []

    def other() -> None:
        inside.wait(10)
        with settings(spark, {ZONE: "Asia/Tokyo"}):
            seen.extend(current(spark, ZONE))

    thread = threading.Thread(target=other)
    thread.start()
    with settings(spark, {ZONE: "Europe/Berlin"}):
        inside.set()
        thread.join(0.5)
        seen.extend(current(spark, ZONE))
    thread.join()
    assert seen == ["Europe/Berlin", "Asia/Tokyo"]
    assert current(spark, ZONE) == before


def test_under_the_release_settings_spark_gives_null_where_it_would_raise(spark: SparkSession) -> None:
    frame = frame_of(spark, {"s": pa.string()}, [("x",)])
    with settings(spark, {ANSI: "true"}):
        with settings(spark, RELEASE_SETTINGS):
            assert tuples(frame.selectExpr("cast(s as int)", "1 / 0", "'a' = \"a\"")) == [(None, None, True)]
        with pytest.raises(SPARK_ERRORS, match="CAST_INVALID_INPUT"):
            tuples(frame.selectExpr("cast(s as int)"))


def test_release_settings_cover_what_can_raise_or_misread() -> None:
    """Invariant 11, and how expressions bind text parameters."""
    assert RELEASE_SETTINGS["spark.sql.ansi.enabled"] == "false"
    assert RELEASE_SETTINGS["spark.sql.legacy.timeParserPolicy"] == "CORRECTED"
    assert RELEASE_SETTINGS["spark.sql.parser.escapedStringLiterals"] == "false"
    assert RELEASE_SETTINGS["spark.sql.caseSensitive"] == "false"
