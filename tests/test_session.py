"""The session: the one that is there, Spark Connect's server and libraries, and what a local one is given."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from dp_spark import session
from dp_spark.errors import DpSparkError
from dp_spark.installed import conf_file
from dp_spark.session import get_session


@pytest.mark.parametrize("variable", ["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "SPARK_SUBMIT_OPTS"])
def test_a_collector_that_was_chosen_is_the_only_one(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """Java does not start with two."""
    for name in session._JAVA_OPTIONS:
        monkeypatch.delenv(name, raising=False)
    assert "-XX:+UseParallelGC" in session._local_settings(False)["spark.driver.extraJavaOptions"]
    monkeypatch.setenv(variable, "-XX:+UseZGC")
    assert "GC" not in session._local_settings(False)["spark.driver.extraJavaOptions"]


def test_what_a_local_session_is_given_the_file_for_spark_submit_gives_too() -> None:
    """One of them without the other would end a release by the number of its bins, after the charge."""
    lines = conf_file("spark-defaults.conf").read_text(encoding="utf-8").splitlines()
    shipped = dict(line.split() for line in lines if line and not line.startswith("#"))
    local = session._local_settings(False)
    assert {key for key in local.keys() & shipped.keys() if local[key] != shipped[key]} == set()
    assert "spark.driver.maxResultSize" in local.keys() & shipped.keys()


def test_the_session_that_is_there_is_the_one_we_get(spark: SparkSession) -> None:
    assert get_session() is spark
    assert spark.conf.get("spark.driver.maxResultSize") == "0", "it is in force"


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
