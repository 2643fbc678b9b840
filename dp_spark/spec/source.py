"""Where rows are read from, and where a Delta table of ours is."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from dp_spark.schema.messages import ContradictionsError
from dp_spark.schema.model import Model
from dp_spark.spec.source_options import option_problems
from dp_spark.spec.table_names import RULE, is_table_name

#: A name that a database is told as it is written.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_$]+(\.[A-Za-z0-9_$]+){0,2}")


def _option_text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | Decimal | float) else value


def whole_types(value: Any) -> Any:
    """In ``{x: decimal(10,2)}`` without quotes YAML reads two keys: x with ``decimal(10``, and ``2)`` with nothing."""
    items = list(value.items()) if isinstance(value, Mapping) else []
    for (name, text), (rest, nothing) in itertools.pairwise(items):
        if nothing is None and isinstance(text, str) and text.count("(") + text.count("<") > text.count(")") + text.count(">"):
            raise ValueError(f'the type of {name} has a comma and needs quotes; write {name}: "{text},{rest}"')
    return value


OptionValue = Annotated[str, BeforeValidator(_option_text)]


class Source(Model):
    """Where rows are read from: a path with a format, or a table by name."""

    example = "{format: delta, path: FOLDER}, or {table: NAME}"

    format: Literal["delta", "parquet", "orc", "csv", "json", "jdbc"] | None = None
    path: Annotated[str, Field(min_length=1)] | None = None
    table: Annotated[str, Field(min_length=1)] | None = None
    options: dict[str, OptionValue] = Field(default_factory=dict)
    columns: Annotated[dict[str, str] | None, BeforeValidator(whole_types)] = Field(
        default=None, alias="schema", description="column: Spark SQL type"
    )

    @property
    def by_position(self) -> bool:
        """Whether only their position tells the columns apart: a CSV file without a header."""
        options = {key.lower(): value for key, value in self.options.items()}
        return self.format == "csv" and options.get("header", "true").lower() != "true"

    @model_validator(mode="after")
    def _check(self) -> Source:
        if self.table is not None:
            self._check_table()
        elif self.format is None:
            raise ValueError("needs a table, or a format with a path; add format: and path:, or table:")
        elif self.format == "jdbc":
            self._check_jdbc()
        elif self.path is None:
            raise ValueError(f"a {self.format} source needs a path; add path:")
        if self.columns is not None and self.format not in ("csv", "json"):
            raise ValueError("schema is for csv and json, other formats have their own; remove schema")
        self._check_options()
        return self

    def _check_table(self) -> None:
        if self.format is not None or self.path is not None or self.options:
            raise ValueError(
                "a source has either a table, or a format with a path; next to table remove format, path and options"
            )
        if not is_table_name(str(self.table)):
            raise ValueError(RULE)

    def _check_jdbc(self) -> None:
        if self.path is not None:
            raise ValueError("a jdbc source has options, no path; remove path")
        options = {key.lower(): value for key, value in self.options.items()}
        if "url" not in options or "dbtable" not in options:
            raise ValueError("a jdbc source needs the options url and dbtable; add them under options")
        if _PLAIN_NAME.fullmatch(re.sub(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}", "x", options["dbtable"])) is None:
            raise ValueError("dbtable must be a plain table name, not a query; write schema.table")

    def _check_options(self) -> None:
        if self.format is not None:
            problems = list(option_problems(self.format, self.options))
            if problems:
                told = [problem if "; " in problem else f"{problem}; remove it" for problem in problems]
                raise ContradictionsError(told, key="options")


class Location(Model):
    """A Delta table of ours: by path or by name."""

    example = "{path: FOLDER}, or {table: NAME}"

    path: Annotated[str, Field(min_length=1)] | None = None
    table: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Location:
        if (self.path is None) == (self.table is None):
            raise ValueError("needs either a path or a table; write one of {path: ...} and {table: ...}")
        if self.table is not None and not is_table_name(self.table):
            raise ValueError(RULE)
        if "`" in (self.path or ""):
            raise ValueError("a path must not contain a backtick; choose another name")
        if re.search(r"@(v[0-9]+|[0-9]{17})/*$", self.path or "", re.IGNORECASE):
            raise ValueError("a path must not end like a version of a Delta table (@v3); choose another name")
        return self
