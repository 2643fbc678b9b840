"""A Java that Spark cannot run on is refused, with the mend."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from dp_spark.errors import DpSparkError
from dp_spark.session import get_session
from dp_spark.spark.java import check_java


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
    check_java()
