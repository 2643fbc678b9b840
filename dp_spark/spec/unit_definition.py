"""A privacy unit that is defined by expressions: ``privacy_unit: {customer: "cast(CustomerID as bigint)"}``.

A definition is a fixed, row-wise function of the source's own columns: no parameter, nothing that depends on a time or a
time zone, so that neither ``--set`` nor another setting makes another unit of it. It is computed before the first step.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.tokenizer_core import TokenType

from dp_spark.errors import SourceError, SpecError
from dp_spark.spec.expressions import Expression, check_expression
from dp_spark.spec.release_spec import ReleaseSpec
from dp_spark.spec.sql_parser import is_plain_name, tree_of

_TIME_FUNCTION = re.compile(
    r"date|time|day|month|year|week|quarter|hour|minute|second|unix|utc|interval|^(extract|trunc)$", re.I
)
_TIME_TYPE = re.compile(r"^(date|time|interval)", re.I)
#: The mend where somebody wrote it in other words.
ROW_UNIT = "where each row is a privacy unit, write privacy_unit: {row: true}"
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Definition:
    """A checked expression of a privacy unit.

    Attributes:
        expression: What Spark computes.
        reads: What it reads: each a column, or the way from a column to a field of its struct.
    """

    expression: Expression
    reads: frozenset[tuple[str, ...]]


def check_definition(name: str, text: str) -> Definition:
    """Checks the expression of one part of a privacy unit.

    Raises:
        SpecError: If it is refused, takes a parameter, or depends on a time.

    >>> sorted(check_definition("customer", "lower(trim(person.id))").reads)
    [('person', 'id')]
    """
    where = f"privacy_unit.{name}"
    expression = check_expression(_without_parameters(text, where), {}, where=where)
    tree, tokens = tree_of(text, where), sqlglot.tokenize(text, read="spark")
    called = [one.text for one, other in itertools.pairwise(tokens) if other.token_type == TokenType.L_PAREN]
    kinds = [kind.sql(dialect="spark") for kind in tree.find_all(exp.DataType)]
    timed = [word.lower() for word in called if _TIME_FUNCTION.search(word)]
    timed += [kind.lower() for kind in kinds if _TIME_TYPE.match(kind)]
    if timed or tree.find(exp.AtTimeZone, exp.FromTimeZone, exp.Interval, exp.Extract):
        raise SpecError(
            f"a privacy unit must not depend on a time or a time zone{f' ({timed[0]})' if timed else ''}",
            where=where,
            mend="define it by texts and numbers of the row",
        )
    reads = {tuple(part.name for part in column.parts) for column in tree.find_all(exp.Column)}
    reads |= {(name,) for name in expression.columns if name not in {parts[0] for parts in reads}}
    return Definition(expression, frozenset(reads))


def _without_parameters(text: str, where: str) -> str:
    try:
        tokens = sqlglot.tokenize(text, read="spark")
    except (sqlglot.errors.SqlglotError, ValueError):
        return text  # check_expression says so
    for colon, name in itertools.pairwise(tokens):
        if colon.token_type == TokenType.COLON and name.start == colon.end + 1:
            raise SpecError(
                f"a privacy unit takes no parameters (:{name.text}): --set would make another unit of it",
                where=where,
                mend="write the constant itself",
            )
    return text


def check_unit(spec: ReleaseSpec) -> None:
    """Checks a defined privacy unit as far as the release file tells.

    Raises:
        SpecError: If an expression is refused, or a name is that of a column of the file's own schema.
        SourceError: If an expression reads a column that the file's own schema does not have.
    """
    for name, text in spec.unit_definition.items():
        reads = {(name,)} if name == text else check_definition(name, text).reads
        if spec.source.columns is not None:
            columns = list(spec.source.columns)
            exact = name != text or name.lower() in {column.lower() for column in columns}
            roots = {parts[0] if exact else parts[0].partition(".")[0] for parts in reads}
            check_names(spec, name, roots, columns)


def check_names(spec: ReleaseSpec, name: str, reads: Iterable[str], columns: Iterable[str]) -> None:
    """Checks one part of a defined unit against the source's columns.

    Raises:
        SpecError: If its name is a column's. SourceError: If it reads a column that is not there.
    """
    known = {column.lower(): column for column in columns}
    for column in sorted(reads):
        if column.lower() not in known:
            shown = ", ".join(sorted(known.values())[:20])
            meant = name.lower() == "row" and spec.unit_definition[name].lower() in ("yes", "y", "on")
            remedy = ROW_UNIT if meant else f"use one of: {shown}"
            raise SourceError(f"there is no column {column}", where=f"privacy_unit.{name}", mend=remedy)
    text = spec.unit_definition[name]
    if name != text and name.lower() in known:
        raise SpecError(
            f"the name {name} is a column of the source already",
            where=f"privacy_unit.{name}",
            mend=mend(spec.unit_definition, name, text, known.values()),
        )


def read_by_unit(spec: ReleaseSpec) -> frozenset[str]:
    """The columns that the privacy unit reads, in lower case; of a field of a struct, the column that holds it."""
    found: set[str] = set()
    for name in spec.unit_columns:
        text = spec.unit_definition.get(name, name)
        if name == text:
            found |= {name.lower(), name.partition(".")[0].lower()}
        else:
            found |= {parts[0].lower() for parts in check_definition(name, text).reads}
    return frozenset(found)


def mend(unit: Mapping[str, str], name: str, expression: str, taken: Iterable[str]) -> str:
    """The ``privacy_unit`` to write, in which one part of the unit is another expression, under a name that is free.

    Args:
        unit: Name -> expression of the whole unit; a plain column is its own.
        name: The part that changes.
        expression: What it should be.
        taken: The source's columns.

    >>> mend({"id": "id", "site": "site"}, "id", "cast(id as bigint)", ["id", "site"])
    'write privacy_unit: {id_unit: "cast(id as bigint)", site: site}'
    >>> mend({"place": "place"}, "place", "place.zip", ["place"])
    'write privacy_unit: {place_unit: "place.zip"}'
    """
    names = {column.lower() for column in (*taken, *(other for other in unit if other != name))}
    free = re.sub(r"[^A-Za-z0-9_]+", "_", name)[:180]
    free = free if _WORD.fullmatch(free) else f"_{free}"
    while free.lower() in names or (free == name and unit[name] == name):
        free += "_unit"
    parts = [(free, expression) if part == name else (part, text) for part, text in unit.items()]
    return f"write privacy_unit: {{{', '.join(f'{_yaml(part)}: {_yaml(text)}' for part, text in parts)}}}"


def quoted_text(name: str) -> str:
    """A column's name as an expression reads it."""
    return name if is_plain_name(name) else "`" + name.replace("`", "``") + "`"


def _yaml(text: str) -> str:
    plain = _WORD.fullmatch(text) and text.lower() not in ("true", "false", "null")
    return text if plain else json.dumps(text, ensure_ascii=False)
