"""Where the command line speaks: results on stdout, all else on stderr, and no private value on either."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from dp_spark.errors import DpSparkError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

AsJson = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document on stdout.")]


def home(value: Any) -> Any:
    """A path or several as a command line gave them, with ``~`` where the shell left it (``--out=~/x``)."""
    from pathlib import Path

    from dp_spark.places.paths import at_home

    if isinstance(value, list | tuple):
        return [home(item) for item in value]
    return None if value is None else Path(at_home(str(value)))


def out() -> Console:
    """Stdout: as wide as the terminal, or 120 columns where there is none."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=120)


def log() -> Console:
    """Stderr."""
    return Console(stderr=True, highlight=False)


def emit(document: Any) -> None:
    """Prints one JSON document on stdout."""
    sys.stdout.write(json.dumps(document) + "\n")


def session() -> SparkSession:
    """The session, with Spark's progress bar where a person is watching."""
    from dp_spark.session import get_session

    return get_session(console_progress=sys.stderr.isatty())


def settings_warning(spark: SparkSession) -> list[str]:
    """One warning that names each advised setting that a platform does not have; nothing of our own sessions."""
    from dp_spark.session import is_of_platform
    from dp_spark.spark.advised_settings import not_in_force

    missing = not_in_force(spark) if is_of_platform() else []
    if not missing:
        return []
    return [
        f"this platform does not have {', '.join(missing)}: what Spark keeps of private rows is for operators only, or set "
        "these (docs/privacy.md); --quiet leaves this warning out"
    ]


def warn(text: str) -> None:
    """Prints a warning on stderr."""
    log().print(f"[yellow]warning:[/yellow] {escape(text)}", soft_wrap=True)


def stages() -> Callable[[str], None]:
    """Names each stage on stderr where a person is watching; says nothing otherwise."""
    console = log()
    if not console.is_terminal:
        return lambda stage: None
    return lambda stage: console.print(f"[dim]▸[/dim] {stage}")


def report(error: DpSparkError, as_json: bool) -> int:
    """Says what is wrong, one line for each problem; returns the exit code."""
    if as_json:
        emit({"error": error.to_dict()})
    else:
        lines = error.lines
        log().print("[red]dp-spark:[/red] ", end="")
        if len(lines) > 1:
            sys.stderr.write(f"{len(lines)} problems\n")
        for line in lines:
            text = " ".join(line.split())
            sys.stderr.write("".join(letter for letter in text if letter.isprintable()) + "\n")  # it can quote others' texts
    return error.exit_code
