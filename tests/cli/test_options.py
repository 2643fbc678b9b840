"""Options that are one parameter of a command are options of their own on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from dp_spark.cli.options import together


@dataclass(frozen=True)
class Size:
    high: Annotated[int, typer.Option("--high")]
    wide: Annotated[int, typer.Option("--wide")] = 7


app = typer.Typer()


@app.command()
@together
def measure(
    name: Annotated[str, typer.Argument()], size: Size, shout: Annotated[bool, typer.Option("--shout")] = False
) -> None:
    """Say how large it is."""
    typer.echo(f"{name}: {size} {shout}")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["box", "--high", "2"], "box: Size(high=2, wide=7) False"),
        (["--shout", "--wide", "3", "--high", "2", "box"], "box: Size(high=2, wide=3) True"),
    ],
)
def test_options_of_a_dataclass_reach_it(given: list[str], said: str) -> None:
    done = CliRunner().invoke(app, given)
    assert (done.exit_code, done.output.strip()) == (0, said)


def test_help_shows_each_option_in_its_place_and_a_required_one_is_required() -> None:
    shown = CliRunner().invoke(app, ["--help"]).output
    assert "Say how large it is." in shown
    assert shown.index("--high") < shown.index("--wide") < shown.index("--shout")
    assert CliRunner().invoke(app, ["box"]).exit_code == 2
