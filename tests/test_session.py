"""The session: settings held and put back, the Java check, and loggers that would quote values."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import cast

import pyarrow as pa
import pytest
from frames import frame_of, tuples
from py4j.protocol import Py4JError
from pyspark.sql import SparkSession

from dp_spark import session
from dp_spark.errors import DpSparkError
from dp_spark.session import RELEASE_SETTINGS, get_session, settings, silence_value_quoting_loggers

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
    effective = session._effective
    monkeypatch.setattr(session, "_effective", lambda spark, name: None if name == key else effective(spark, name))

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


@pytest.mark.parametrize("variable", ["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "SPARK_SUBMIT_OPTS"])
def test_a_collector_that_was_chosen_is_the_only_one(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """Java does not start with two."""
    assert "-XX:+UseParallelGC" in session._local_settings(False)["spark.driver.extraJavaOptions"]
    monkeypatch.setenv(variable, "-XX:+UseZGC")
    assert "GC" not in session._local_settings(False)["spark.driver.extraJavaOptions"]


def test_under_the_release_settings_spark_gives_null_where_it_would_raise(spark: SparkSession) -> None:
    frame = frame_of(spark, {"s": pa.string()}, [("x",)])
    with settings(spark, {ANSI: "true"}):
        with settings(spark, RELEASE_SETTINGS):
            assert tuples(frame.selectExpr("cast(s as int)", "1 / 0", "'a' = \"a\"")) == [(None, None, True)]
        with pytest.raises(Exception, match="CAST_INVALID_INPUT"):
            tuples(frame.selectExpr("cast(s as int)"))


def test_release_settings_cover_what_can_raise_or_misread() -> None:
    """Invariant 11, and how expressions bind text parameters."""
    assert RELEASE_SETTINGS["spark.sql.ansi.enabled"] == "false"
    assert RELEASE_SETTINGS["spark.sql.legacy.timeParserPolicy"] == "CORRECTED"
    assert RELEASE_SETTINGS["spark.sql.parser.escapedStringLiterals"] == "false"
    assert RELEASE_SETTINGS["spark.sql.caseSensitive"] == "false"


def test_the_session_that_is_there_is_the_one_we_get(spark: SparkSession) -> None:
    assert get_session() is spark


def test_loggers_that_quote_values_are_silent(caplog: pytest.LogCaptureFixture) -> None:
    names = ("SQLQueryContextLogger", "DataFrameQueryContextLogger", "py4j", "pyspark")
    for name in names:
        logging.getLogger(name).setLevel(logging.INFO)
    silence_value_quoting_loggers()
    for name in (*names, "pyspark.sql", "py4j.clientserver"):
        assert not logging.getLogger(name).isEnabledFor(logging.CRITICAL)
        logging.getLogger(name).critical("secret-4711")
    assert "4711" not in caplog.text


# --- Spark Connect and versions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["grpc", "grpc_status"])
@pytest.mark.parametrize("remote", ["sc://localhost", "local[2]"])
def test_without_the_libraries_of_connect_the_error_names_the_mend(library: str, remote: str) -> None:
    code = f"import sys\nsys.modules[{library!r}] = None\nfrom dp_spark.cli.app import main\n"
    code += "sys.exit(main(['show', 'x', '--json']))"
    environment = {**os.environ, "SPARK_REMOTE": remote, "PYTHONPATH": str(Path(session.__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    assert "dp_spark[connect]" in json.loads(done.stdout)["error"]["mend"]
    assert done.stderr == ""


def test_a_server_that_does_not_answer_is_named_and_its_token_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """pyspark itself asks again for minutes without a word."""
    for name in ("grpc_proxy", "https_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        with pytest.raises(DpSparkError, match=f"answers at 127.0.0.1:{port}") as caught:
            session._check_server(f"sc://127.0.0.1:{port}/;token=secret")
        assert "secret" not in str(caught.value)
        nobody.listen()
        session._check_server(f"sc://127.0.0.1:{port}/;token=secret")
    for wrong in ("sc://host:PORT/", "host:15002", "sc://", "http://host"):
        with pytest.raises(DpSparkError, match="not the address"):
            session._check_server(wrong)
    monkeypatch.setenv("https_proxy", "http://proxy:3128")  # the server may be beyond our reach
    session._check_server(f"sc://127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("spark", "delta", "package"),
    [
        ("4.1.1", "4.3.1", "io.delta:delta-spark_4.1_2.13:4.3.1"),
        ("4.0.5", "4.3.1", "io.delta:delta-spark_4.0_2.13:4.3.1"),
        ("4.0.1", "4.0.1", "io.delta:delta-spark_2.13:4.0.1"),
    ],
)
def test_the_jar_of_delta_fits_what_is_installed(monkeypatch: pytest.MonkeyPatch, spark: str, delta: str, package: str) -> None:
    monkeypatch.setattr(session, "version", {"pyspark": spark, "delta-spark": delta}.__getitem__)
    assert session._delta_package() == package
    monkeypatch.setenv("HOME", "/nowhere")  # where no jars are cached
    assert session._local_settings(False)["spark.jars.packages"] == package


def test_a_delta_that_was_never_built_for_this_spark_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "version", {"pyspark": "4.1.1", "delta-spark": "4.0.1"}.__getitem__)
    with pytest.raises(DpSparkError, match=r"delta-spark 4\.0 is not for pyspark 4\.1") as caught:
        session._delta_package()
    assert "delta-spark" in caught.value.mend


# --- Java --------------------------------------------------------------------------------------------------------------------


def fake_java(folder: Path, version: str) -> Path:
    java = folder / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2024-01-16' >&2\n")
    java.chmod(0o755)
    return java


@pytest.fixture
def no_session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """No session is running, nor any platform; JAVA_HOME and PATH lead nowhere."""
    monkeypatch.setattr(SparkSession, "getActiveSession", classmethod(lambda cls: None))
    for name in ("DATABRICKS_RUNTIME_VERSION", "PYSPARK_GATEWAY_PORT", "SPARK_REMOTE", "JAVA_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "nothing").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    return monkeypatch


def test_without_java_the_error_names_the_mend(no_session: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(DpSparkError, match="needs Java 17 or later, and there is none") as caught:
        get_session()
    assert "PATH" in caught.value.mend
    assert caught.value.exit_code == 1
    no_session.setenv("JAVA_HOME", str(tmp_path / "nothing"))
    with pytest.raises(DpSparkError, match="there is none"):
        get_session()


@pytest.mark.parametrize(
    ("version", "shown"),
    [("1.8.0_392", "8"), ("11.0.22", "11"), ("16-ea", "16"), ("16", "16"), ("", "unknown"), ("?", "unknown|[?]")],
)
@pytest.mark.parametrize("by", ["JAVA_HOME", "PATH"])
def test_an_old_java_is_refused_by_its_version(
    no_session: pytest.MonkeyPatch, tmp_path: Path, version: str, shown: str, by: str
) -> None:
    java = fake_java(tmp_path / "jdk", version)
    if by == "JAVA_HOME":
        no_session.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    else:
        no_session.setenv("PATH", f"{java.parent}{os.pathsep}/bin")
    with pytest.raises(DpSparkError, match=rf"needs Java 17 or later; .*/jdk/bin/java is version ({shown})"):
        get_session()


@pytest.mark.parametrize("version", ["17", "17.0.12", "21-ea", "25.0.1"])
def test_a_new_java_is_accepted(no_session: pytest.MonkeyPatch, tmp_path: Path, version: str) -> None:
    fake_java(tmp_path / "jdk", version)
    no_session.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    session._check_java()
