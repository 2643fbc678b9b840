"""Nothing exact leaves (invariant 5), and what can be seen from the code alone (invariants 5 and 8, the rooms)."""

from __future__ import annotations

import ast
import importlib
import io
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from checkout import ROOT
from pyspark.logger import PySparkLogger
from pyspark.sql import SparkSession
from release_helpers import Outcome, Place, put_garbage, write_delta

import dp_spark
from dp_spark.engine import aggregation, bounding
from dp_spark.engine.bounding import Salt
from dp_spark.spark.settings import RELEASE_SETTINGS

PACKAGE = Path(dp_spark.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if path.stem != "__init__"
)


# --- invariant 5: a source full of values that would be recognised anywhere ------------------------------------------

USER, KEY, NOTE = "SECRETUSER42", "SECRETKEY", "SECRETNOTE"
#: 1237 rows in one ward whose amounts add up to 123,456,789; their lattice integers (granularity 2^-27) add up to
#: 2^27 times that; their high limbs, and what is drawn on the grid of the noise, to 32 times that.
SUM, ROWS = 123_456_789, 1237
SECRETS = (USER, KEY, NOTE, "123456789", "1.23456789E8", "123,456,789", str(SUM * 32), str(SUM * 2**27), "987654321")


@pytest.fixture(scope="module")
def planted(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    amounts = [99_801.0] * (ROWS - 1)
    amounts.append(SUM - sum(amounts))
    rows = [
        {"who": f"{USER}-{index}", "ward": "er", "amount": amount, "text": f"{NOTE}{index}", "day": "987654321-99-99"}
        for index, amount in enumerate(amounts)
    ]
    rows.append({"who": USER, "ward": KEY, "amount": 5.0, "text": NOTE, "day": "x"})
    return write_delta(spark, tmp_path_factory.mktemp("planted") / "source", rows)


def planted_file(place: Place, planted: Path, **changes: Any) -> Path:
    amount = {"column": "amount", "min_value": 0, "max_value": 120_000}
    given: dict[str, Any] = {
        "source": {"format": "delta", "path": str(planted)},
        "privacy_unit": "who",
        "contribution_bounds": {"max_partitions_contributed": 2, "max_contributions_per_partition": 2},
        "partitions": {"private": {}},
        "preprocess": [
            {
                "derive": {
                    "number": "cast(text as int)",
                    "told": "to_date(day, 'yyyy-MM-dd')",
                    "ratio": "amount / (amount - amount)",
                    "wide": "cast(amount * 1e30 as decimal(10, 2))",
                    "length_of": "cast(substring(text, 1, 3) as double)",
                    "big": "cast(amount as bigint) * 9223372036854775807",
                }
            }
        ],
        "aggregates": [
            {"function": "privacy_id_count", "name": "people"},
            {"function": "sum", "name": "total", **amount},
            {"function": "mean", "name": "average", **amount},
            {"function": "sum", "name": "numbers", "column": "number", "min_value": 0, "max_value": 5},
            {"function": "sum", "name": "ratios", "column": "ratio", "min_value": 0, "max_value": 5},
            {"function": "sum", "name": "wides", "column": "wide", "min_value": 0, "max_value": 5},
            {"function": "sum", "name": "bigs", "column": "big", "min_value": 0, "max_value": 5},
        ],
        "budget": {"epsilon": 2.0, "delta": 1e-6},
    }
    return place.file(**{**given, **changes})


def texts_below(folder: Path) -> Iterator[tuple[str, str]]:
    """Everything a table holds, as text: its log, its files decoded, and the payloads of an outbox decoded again."""
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            yield str(path), json.dumps(table.to_pylist(), default=str)
            yield f"{path} (with its footer)", path.read_bytes().decode("latin-1")
            if "payload" in table.column_names:
                for payload in table.column("payload").to_pylist():
                    yield f"{path} (payload)", str(pa.ipc.open_stream(io.BytesIO(payload)).read_all().to_pylist())
        elif path.is_file():
            yield str(path), path.read_bytes().decode("utf-8", "replace")


def check_nothing_leaked(sources: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> int:
    seen = 0
    for name, text in sources:
        seen += 1
        for secret in SECRETS:
            assert secret not in text, f"{secret} is in {name}: {text[:300]}"
    return seen


class Heard(logging.Handler):
    """Everything that any logger of this process says."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append((record.name, f"{record.msg} {record.args} {vars(record)}"))


@pytest.fixture
def heard() -> Iterator[Heard]:
    """Listens on the root and on the loggers that quote values, as if nobody had silenced any of them yet."""
    handler = Heard()
    loggers = [logging.getLogger(name) for name in ("", "SQLQueryContextLogger", "DataFrameQueryContextLogger", "pyspark")]
    before = [logger.level for logger in loggers]
    for logger in loggers[1:3]:
        logger.__class__ = PySparkLogger  # as pyspark makes them where nobody asked for them by name before
    for logger in loggers:
        logger.setLevel(logging.DEBUG if logger.name == "root" else logging.NOTSET)
        logger.addHandler(handler)
    yield handler
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.removeHandler(handler)


def test_the_secrets_are_there_to_be_leaked(planted: Path, spark: SparkSession) -> None:
    frame = spark.read.format("delta").load(str(planted))
    row = frame.where("ward = 'er'").selectExpr("count(*) as n", "cast(sum(amount) as bigint) as s").collect()[0]
    assert (row["n"], row["s"]) == (ROWS, SUM)
    assert pq.read_table(next(iter(planted.glob("*.parquet")))).num_rows


@pytest.mark.slow
def test_no_exact_value_leaves(place: Place, planted: Path, cli: Callable[..., Outcome], heard: Heard) -> None:
    file = planted_file(place, planted)
    outcomes = [cli("run", file, "--release-id", "r1"), cli("run", file, "--release-id", "r1", "--json")]
    outcomes += [cli("show", place.sink, "--json"), cli("budget", "show", "--ledger", place.ledger, "--json")]
    assert [outcome.code for outcome in outcomes] == [0, 0, 0, 0], outcomes
    assert outcomes[1].document["rows"] == 1
    assert check_nothing_leaked([(str(index), item.out + item.err) for index, item in enumerate(outcomes)]) == 4
    check_nothing_leaked(heard.texts)
    assert check_nothing_leaked(texts_below(place.folder)) > 10
    [row] = place.sink_rows()
    assert row["ward"] == "er"
    assert row["people"] != ROWS or row["total"] != SUM
    exact = re.compile(rf"(?<![\w.-]){ROWS}(?![\w-])")
    for name, text in texts_below(place.folder):
        if "ledger" in name or name.endswith(".json"):
            assert row["people"] == ROWS or not exact.search(text), f"the exact count is in {name}"


@pytest.mark.slow
def test_the_log_of_the_sink_tells_of_released_rows_only(place: Place, planted: Path, cli: Callable[..., Outcome]) -> None:
    assert cli("run", planted_file(place, planted), "--release-id", "r1").code == 0
    rows = place.sink_rows()
    actions = [
        json.loads(line)
        for path in sorted((place.sink / "_delta_log").glob("*.json"))
        for line in path.read_text().splitlines()
    ]
    [commit] = [action["commitInfo"] for action in actions if "commitInfo" in action]
    assert commit["userMetadata"] == "r1"
    assert commit["operationMetrics"]["numOutputRows"] == str(len(rows))
    added = [action["add"] for action in actions if "add" in action]
    assert len(added) == 1, "one file: the number of files says nothing"
    statistics = json.loads(added[0]["stats"])
    assert statistics["numRecords"] == len(rows)
    for column in ("people", "total", "average"):
        values = [row[column] for row in rows]
        assert statistics["minValues"][column] == pytest.approx(min(values))
        assert statistics["maxValues"][column] == pytest.approx(max(values))


@pytest.mark.long
@pytest.mark.parametrize("level", ["OFF", "INFO"])
def test_a_whole_process_says_and_leaves_nothing(place: Place, planted: Path, level: str) -> None:
    """With the JVM's own output, which an in-process run does not catch: a good run, then one that fails to read.

    At INFO, Spark's own account of the good run; when the process has ended, Spark's local folders are empty.
    """
    source = place.folder / "source"
    write_delta(place.spark, source, pq.read_table(sorted(planted.glob("*.parquet"))))
    file = planted_file(place, source)
    code = (
        "import sys; from dp_spark.cli.app import main; from dp_spark.session import get_session; "
        f"spark = get_session(); spark.sparkContext.setLogLevel({level!r}); spark.conf.set('spark.sql.ansi.enabled', 'true'); "
        f"a = main(['run', {str(file)!r}, '--release-id', 'r1', '--json']); spark.sparkContext.setLogLevel('OFF'); "
        f"[p.write_bytes(b'{USER}' * 99) for p in __import__('pathlib').Path({str(source)!r}).glob('*.parquet')]; "
        f"b = main(['run', {str(file)!r}, '--release-id', 'r2', '--json']); "
        "sys.exit(0 if (a, b) == (0, 4) else 9)"
    )
    local, own = place.folder / "local", place.folder / "own"
    local.mkdir()
    own.mkdir()
    environment = {
        **os.environ,
        "SPARK_LOCAL_DIRS": str(local),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(PACKAGE.parent), os.environ.get("PYTHONPATH")))),
    }
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment, cwd=own)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == 2
    assert (len(done.stderr) > 10_000) == (level == "INFO")
    check_nothing_leaked([("stdout", done.stdout), *(("stderr", line) for line in done.stderr.splitlines())])
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    shutil.rmtree(source)
    check_nothing_leaked(texts_below(place.folder))
    _wait_until(lambda: not any(local.rglob("*")))  # the JVM ends a moment after its parent


def _wait_until(happened: Callable[[], bool]) -> None:
    for _ in range(150):
        if happened():
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen")


@pytest.mark.slow
def test_a_failure_that_quotes_a_value_is_not_passed_on(
    place: Place, planted: Path, cli: Callable[..., Outcome], heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ANSI forced on, the casts of the file fail, and Spark's message quotes the row's text."""
    monkeypatch.setitem(RELEASE_SETTINGS, "spark.sql.ansi.enabled", "true")
    monkeypatch.setattr("dp_spark.release.run.check_trial", lambda *_: None)  # it would find out before the charge
    for more in ([], ["--json"]):
        outcome = cli("run", planted_file(place, planted), "--release-id", "r1", *more)
        assert outcome.code == 4
        assert re.search(r"failed \([A-Z_.]+\)", outcome.out + outcome.err)
        check_nothing_leaked([("output", outcome.out + outcome.err)])
    check_nothing_leaked(heard.texts)
    assert place.kinds() == [("charge", "r1")]


@pytest.mark.slow
def test_errors_while_reading_name_no_value(place: Place, planted: Path, cli: Callable[..., Outcome], heard: Heard) -> None:
    source = place.folder / "source"
    write_delta(place.spark, source, pq.read_table(sorted(planted.glob("*.parquet"))))
    put_garbage(source)
    for path in source.glob("*.parquet"):
        path.write_bytes(f"{USER} {NOTE} 123456789".encode() * 50)
    for more in ([], ["--json"]):
        outcome = cli("run", planted_file(place, source), "--release-id", "r1", *more)
        assert outcome.code == 4
        assert re.search(r"failed \([A-Za-z_.]+\)", outcome.out + outcome.err), "the condition and no more"
        check_nothing_leaked([("output", outcome.out + outcome.err)])
    check_nothing_leaked(heard.texts)
    check_nothing_leaked(texts_below(place.ledger))


@pytest.mark.slow
def test_errors_while_writing_name_no_value(place: Place, planted: Path, cli: Callable[..., Outcome]) -> None:
    """A CHECK constraint's message quotes the whole row."""
    place.outbox().create()
    place.spark.sql(f"ALTER TABLE delta.`{place.outbox_path}` ADD CONSTRAINT narrow CHECK (dataset = 'nothing')")
    outcome = cli("run", planted_file(place, planted), "--release-id", "r1", "--json")
    assert outcome.code == 6
    assert outcome.error["where"] == str(place.outbox_path)
    assert "dp_spark.manifest" not in outcome.out + outcome.err
    check_nothing_leaked([("output", outcome.out + outcome.err)])
    place.spark.sql(f"ALTER TABLE delta.`{place.ledger}` ADD CONSTRAINT narrow CHECK (sequence < 6)")
    refused = cli("run", planted_file(place, planted), "--release-id", "r2", "--json")
    assert refused.code == 6
    assert "sha256-2:" not in refused.out + refused.err, "no value of the row"
    assert str(planted) not in refused.out + refused.err


def test_exact_aggregates_and_salts_have_no_repr() -> None:
    exact = aggregation.ExactAggregates(pa.table({"k0": [KEY]}), {})
    assert KEY not in repr(exact) + str(exact)
    salt = Salt.fresh()
    assert repr(salt) == "Salt(...)"
    assert str(salt.high) not in f"{salt} {salt!r} {bounding.PreparedRows}"
    assert Salt.fresh() != salt


# --- invariant 11: no data-dependent abort ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.books_in_memory
def test_values_at_the_edges_do_not_abort(place: Place, spark: SparkSession) -> None:
    edges = [float("nan"), float("inf"), float("-inf"), -0.0, 1e308, -1e308, 5e-324, None]
    longs = [2**63 - 1, -(2**63), 0, 1, -1, None, 2**53 + 1, 7]
    rows = [
        {"patient": f"p{index}", "ward": "er", "cost": cost, "n": n, "text": f"{n}"}
        for index, (cost, n) in enumerate(zip(edges, longs, strict=True))
    ]
    source = write_delta(spark, place.folder / "source", rows)
    aggregates: list[dict[str, Any]] = []
    for name in ("cost", "n", "wrapped", "ratio", "parsed", "narrow"):
        common = {"column": name, "min_value": -10, "max_value": 10}
        aggregates += [
            {"function": "sum", "name": f"sum_{name}", **common},
            {"function": "mean", "name": f"mean_{name}", **common},
        ]
    derive = {
        "wrapped": "n * n + abs(n)",
        "ratio": "n % (n - n)",
        "parsed": "cast(text as double)",
        "narrow": "cast(cost as int)",
    }
    result = place.release(
        "r1",
        source={"format": "delta", "path": str(source)},
        preprocess=[{"derive": derive}],
        dataset="rich",
        aggregates=aggregates,
        budget={"epsilon": 10_000_000},
    )
    assert result.rows is not None
    row = next(row for row in result.rows.to_pylist() if row["ward"] == "er")
    # inf and 1e308 are clipped to 10, their negatives to -10; null and NaN count for nothing.
    assert row["sum_cost"] == pytest.approx(0, abs=0.01)
    assert row["sum_n"] == pytest.approx(10 - 10 + 0 + 1 - 1 + 10 + 7, abs=0.01)
    assert row["sum_ratio"] == pytest.approx(0, abs=0.01)
    assert row["mean_n"] == pytest.approx(17 / 7, abs=0.01)


# --- what can be seen from the code ----------------------------------------------------------------------------------


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield str(path.relative_to(PACKAGE)), ast.parse(path.read_text(encoding="utf-8"))


def names_used(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.alias):
            yield from node.name.split(".")


#: What only classic Spark has, what hands rows to Python functions, and what keeps copies or shows plans and traces.
FORBIDDEN = {
    "rdd",
    "sparkContext",
    "SparkContext",
    "SparkConf",
    "SQLContext",
    "parallelize",
    "emptyRDD",
    "toJSON",
    "DeltaTable",
}
FORBIDDEN |= {"_jvm", "_jdf", "_jsc", "_jsparkSession", "_sc", "_jc", "_jreader", "_jwrite", "_jconf", "_gateway", "_client"}
FORBIDDEN |= {"udf", "pandas_udf", "arrow_udf", "udtf", "arrow_udtf", "registerJavaFunction", "mapPartitions"}
FORBIDDEN |= {"mapInPandas", "mapInArrow", "applyInPandas", "applyInArrow", "foreach", "foreachPartition", "toLocalIterator"}
FORBIDDEN |= {"persist", "checkpoint", "localCheckpoint", "cacheTable", "saveAsTable", "toPandas", "pandas_api", "explain"}
FORBIDDEN |= {"createGlobalTempView", "createOrReplaceTempView", "createTempView", "print_exc", "format_exc"}
#: Words of other libraries, too: forbidden after a dot only.
FORBIDDEN_METHODS = {"cache"}
#: Modules that exist on one kind of session only; and Delta's own Python package, whose class needs the JVM.
FORBIDDEN_MODULES = ("delta", "py4j", "pyspark.sql.classic", "pyspark.sql.connect", "pyspark.core", "pyspark.rdd")
#: The exception that a classic session can raise; where no JVM is, it is only a name.
ALLOWED_MODULES = {"py4j.protocol", "py4j.protocol.Py4JError"}


def code_for_spark() -> Iterator[tuple[str, ast.Module]]:
    """The package, and what else runs where Spark runs: jobs, scripts and notebooks."""
    for folder in ("dp_spark", "jobs", "scripts", "notebooks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def modules_imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (item.name for item in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{item.name}" for item in node.names)


def forbidden_in(tree: ast.Module) -> set[str]:
    """What a module uses that Connect, serverless or an accelerator would not run (invariant 8)."""
    imported = set(modules_imported(tree))
    names = {name for name in names_used(tree) if name in FORBIDDEN}
    called = {(node.attr, ast.unparse(node.value)) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {name for name, owner in called if name in FORBIDDEN_METHODS and owner != "functools"}
    if "deltalake.DeltaTable" in imported:  # delta-rs reads without Spark
        names.discard("DeltaTable")
    below = {
        name
        for name in imported - ALLOWED_MODULES
        for module in FORBIDDEN_MODULES
        if name == module or name.startswith(f"{module}.")
    }
    return names | below


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("frame.rdd.map(f)", "rdd"),
        ("spark._jvm.x()", "_jvm"),
        ("from pyspark import SparkContext", "SparkContext"),
        ("from delta.tables import DeltaTable", "DeltaTable"),
        ("import delta", "delta"),
        ("from pyspark.sql.functions import udf as plain", "udf"),
        ("frame.toLocalIterator()", "toLocalIterator"),
        ("frame.cache()", "cache"),
        ("from pyspark.sql.classic.dataframe import DataFrame", "pyspark.sql.classic.dataframe"),
        ("from pyspark.sql import connect", "pyspark.sql.connect"),
        ("from py4j.java_gateway import JavaGateway", "py4j.java_gateway"),
    ],
)
def test_the_check_finds_what_it_looks_for(code: str, found: str) -> None:
    assert found in forbidden_in(ast.parse(code))
    allowed = (
        "import functools\nfrom deltalake import DeltaTable\nfrom py4j.protocol import Py4JError\nfunctools.cache(DeltaTable)"
    )
    assert forbidden_in(ast.parse(allowed)) == set()


def test_only_the_dataframe_api_and_no_print() -> None:
    seen = {name: forbidden_in(tree) for name, tree in code_for_spark()}
    assert {name: found for name, found in seen.items() if found} == {}
    assert {"dp_spark/release/run.py", "jobs/release.py", "scripts/fetch_jars.py"} <= set(seen)
    prints = {
        module
        for module, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id in ("print", "pprint", "breakpoint")
    }
    assert prints == set()


def test_noise_comes_from_opendp_and_no_other_source() -> None:
    """``random`` appears once, as jitter between two attempts; numpy's generators never do."""
    found = {
        (module, name)
        for module, tree in trees()
        for name in names_used(tree)
        if name in ("random", "RandomState", "default_rng")
    }
    assert found == {("ledger/chain.py", "random")}


@pytest.mark.parametrize(
    ("library", "importer"),
    [("dp_accounting", "privacy/accountants/conversion.py"), ("opendp", "privacy/mechanisms/measurements.py")],
)
def test_a_library_of_privacy_has_one_importer(library: str, importer: str) -> None:
    importers = {module for module, tree in trees() if any(name.startswith(library) for name in modules_imported(tree))}
    assert importers == {importer}


def test_only_the_command_line_makes_a_session() -> None:
    makers = {module for module, tree in trees() if "dp_spark.session.get_session" in set(modules_imported(tree))}
    assert makers == {"cli/terminal.py"}


def oversized(tree: ast.Module, lines: int = 45, parameters: int = 6) -> list[str]:
    """The functions of a module that do not fit on a screen, or take more than a reader keeps in mind."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            own = [item for index, item in enumerate(given) if index or item.arg not in ("self", "cls")]
            if len(own) > parameters or node.end_lineno - node.lineno >= lines:
                found.append(node.name)
    return found


def test_modules_hold_one_concept_and_functions_fit_on_a_screen() -> None:
    sample = ast.parse(
        "class A:\n    def f(self, a, b, c): pass\n    def g(self, a, b, *, c, d): pass\n    def h(a):\n        a\n        a\n"
    )
    assert oversized(sample, lines=2, parameters=3) == ["g", "h"]
    functions = {(module, name) for module, tree in trees() for name in oversized(tree)}
    modules = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if len(path.read_text().splitlines()) > 320}
    assert functions | modules == set()


def _modules_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint('\\n'.join(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return set(done.stdout.split())


def test_import_dp_spark_is_light() -> None:
    loaded = _modules_after("import dp_spark")
    assert not loaded & {"pyspark", "py4j", "pandas", "pyarrow", "numpy", "opendp", "pydantic", "dp_accounting", "delta"}


def test_pure_rooms_load_no_pyspark() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    pure = next(item["source_modules"] for item in contracts if item["name"].startswith("Pure packages"))
    assert set(pure) >= {f"dp_spark.{name}" for name in ("aggregates", "spec", "plan", "privacy", "published", "manifest")}
    modules = {name for name in MODULES for above in pure if name == above or name.startswith(f"{above}.")}
    loaded = _modules_after("; ".join(f"import {name}" for name in sorted(modules)))
    assert modules <= loaded
    assert not loaded & {"pyspark", "py4j", "delta"}


def test_the_tails_of_the_noise_need_no_sampler() -> None:
    loaded = _modules_after("from dp_spark.privacy.mechanisms.tails import quantile; quantile('gaussian', 5.0, 0.025)")
    assert not loaded & {"opendp", "dp_accounting", "pyspark"}


#: Packages and modules in which some modules start a JVM; what else is in the layers is pure.
MIXED = {"cli", "combine", "engine", "ledger", "release", "session", "share", "spark", "tables"}


def test_what_is_not_mixed_is_pure() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = {name.strip() for item in contracts for layer in item.get("layers", []) for name in layer.split("|")}
    [pure] = [item["source_modules"] for item in contracts if item["name"].startswith("Pure packages")]
    assert layers - MIXED == {name.removeprefix("dp_spark.") for name in pure if name.count(".") == 1}


def test_the_command_line_loads_no_pyspark_for_help() -> None:
    loaded = _modules_after("import dp_spark.cli.app")
    assert not loaded & {"pyspark", "py4j", "delta", "opendp"}


def test_every_name_of_the_python_door_is_there() -> None:
    for name in dp_spark.__all__:
        assert getattr(dp_spark, name) is not None
    with pytest.raises(AttributeError):
        _ = dp_spark.release_all  # type: ignore[attr-defined]


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_is(module: str) -> None:
    assert importlib.import_module(module).__doc__
