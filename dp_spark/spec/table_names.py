"""Names of tables: one to three parts joined by dots, each a plain word or anything in backticks."""

from __future__ import annotations

import re

_WORD = r"[\w$-]+"
#: No slash and no colon: a stored place that holds one is a path. No braces: Spark replaces ``${...}`` in SQL text.
_IN_BACKTICKS = r"`[^`/\\:{}\x00-\x1f]+`"
_PART = re.compile(rf"{_WORD}|{_IN_BACKTICKS}")
_NAME = re.compile(rf"({_PART.pattern})(\.({_PART.pattern})){{0,2}}")
_VARIABLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")
#: How names of folders end that hold a table: ``budget.delta`` is a path.
_OF_FOLDERS = ("delta", "parquet")

RULE = "a table is named by one to three plain words joined by dots; write a word with other signs in backticks"


def is_table_name(text: str) -> bool:
    """Whether a text names a table; a part may hold ``${NAME}``, whose value is checked when it is known.

    >>> [is_table_name(text) for text in ("main.gold.visits", "my-data.größe", "`my data`.`a.b`")]
    [True, True, True]
    >>> [is_table_name(text) for text in ("a b", "a.b.c.d", "delta.`/x`")]
    [False, False, False]
    """
    return _NAME.fullmatch(_VARIABLE.sub("x", text)) is not None


def reads_as_name(text: str) -> bool:
    """Whether an argument of the command line is a table's name rather than a path.

    >>> [reads_as_name(text) for text in ("gold.visits", "`visits`", "visits", "budget.delta", "./gold.visits")]
    [True, True, False, False, False]
    """
    if "`" in text:
        return is_table_name(text)
    return "." in text and is_table_name(text) and text.rpartition(".")[2].lower() not in _OF_FOLDERS


def parts(name: str) -> tuple[str, ...]:
    """The parts of a table's name, without their backticks.

    >>> parts("main.`a.b`.visits")
    ('main', 'a.b', 'visits')
    """
    return tuple(part.strip("`") for part in _PART.findall(name))


def joined(of_parts: tuple[str, ...]) -> str:
    """The name of these parts, with backticks where they are needed.

    >>> joined(("main", "a.b", "visits"))
    'main.`a.b`.visits'
    """
    return ".".join(part if re.fullmatch(_WORD, part) else f"`{part}`" for part in of_parts)
