"""What documents name: links, files, modules and what is in them, commands with their options, make targets.

Each function takes a document and tells what of it is not there.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import json
import re
import shlex
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import typer
from checkout import ROOT
from markdown_it import MarkdownIt
from markdown_it.token import Token

from dp_spark import ReleaseSpec
from dp_spark.cli.app import app
from dp_spark.spec.release_spec import json_schema

PACKAGE = ROOT / "dp_spark"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
#: First words of dotted names that belong to somebody else, or to an example.
FOREIGN_NAMES = {"a", "database", "dbutils", "decimal", "df", "main", "org", "os", "spark"}
#: Options of spark-submit, of Databricks' bundles and of pytest.
FOREIGN_OPTIONS = {"--conf", "--import-mode", "--jars", "--master", "--packages", "--properties-file", "--py-files", "--var"}
_SCRIPTS = {"jobs/release.py": "run", "jobs/combine.py": "combine"}
_MARKDOWN = MarkdownIt("commonmark").enable("table")
_DOTTED = re.compile(r"([A-Za-z_]\w*(?:\.\w+)+)(?:\(.*\))?")


class Document(NamedTuple):
    """A document, and where links from it begin."""

    folder: Path
    text: str

    @classmethod
    def of(cls, path: Path) -> Document:
        """The document at a path."""
        return cls(path.parent, path.read_text(encoding="utf-8"))

    def tokens(self) -> list[Token]:
        """Its blocks, and what is in them."""
        return [inner for token in _MARKDOWN.parse(self.text) for inner in (token, *(token.children or ()))]

    def spans(self) -> list[str]:
        """What stands in backticks."""
        return [" ".join(token.content.split()) for token in self.tokens() if token.type == "code_inline"]

    def lines(self) -> Iterator[str]:
        """The lines of its blocks of code."""
        for token in self.tokens():
            if token.type in ("fence", "code_block"):
                yield from re.sub(r"\\\n\s*", " ", token.content).splitlines()

    def anchors(self) -> set[str]:
        """The anchors of its headings that are the same on a repository's page and in the site."""
        tokens = self.tokens()
        titles = [_plain(inner) for outer, inner in pairwise(tokens) if outer.type == "heading_open"]
        return {_repository_anchor(title) for title in titles} & {_site_anchor(title) for title in titles}


def _plain(heading: Token) -> str:
    return "".join(token.content for token in heading.children or ())


def _repository_anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _site_anchor(title: str) -> str:
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def dead_links(document: Document) -> list[str]:
    """Relative links that lead to no file, to a folder (a site has none), or to no heading."""
    found = []
    for token in document.tokens():
        link = str(token.attrGet("href") or token.attrGet("src") or "")
        if not link or re.match(r"\w+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = document.folder / name
        there = Document.of(target) if name and target.suffix == ".md" and target.is_file() else document
        if (name and not target.is_file()) or (anchor and anchor not in there.anchors()):
            found.append(link)
    return found


def missing_files(document: Document) -> list[str]:
    """Paths below folders of the repository or packages of dp_spark, and names of files, that are not there."""
    return [span for span in document.spans() if re.fullmatch(r"[\w.\-/<>*]+", span) and not _is_there(span)]


def _is_there(name: str) -> bool:
    """Whether a path is there, or is nothing that this repository would have."""
    first, slash, _ = name.partition("/")
    path = re.sub(r"<\w+>", "*", name.rstrip("/"))
    if first in _folders() if slash else name.endswith((".md", ".toml", ".yml")):
        return any(ROOT.glob(path))
    if name.endswith(".py"):
        return any(file for folder in _folders() for file in (ROOT / folder).glob(f"**/{path}"))
    if not slash or not (first.isidentifier() and (PACKAGE / first).is_dir()):
        return True
    return any(PACKAGE.glob(path)) or any(PACKAGE.glob(f"{path}.py"))


@functools.cache
def _folders() -> set[str]:
    """The folders of the repository, without those that are made."""
    made = {line.strip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").split()}
    return {path.name for path in ROOT.iterdir() if path.is_dir()} - made - {".git"}


@functools.cache
def _modules() -> dict[str, tuple[str, ...]]:
    """The modules of dp_spark, by each way to write the end of their names."""
    names: dict[str, tuple[str, ...]] = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        for begin in range(len(parts)):
            end = ".".join(parts[begin:])
            names[end] = (*names.get(end, ()), ".".join(parts))
    return names


@functools.cache
def _keys() -> set[str]:
    """Fields and constant texts of dp_spark: what the keys of its documents can be made of."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.add(node.target.id)
    return found


@functools.cache
def _file_keys() -> set[str]:
    return set(re.findall(r'"(\w+)":', json.dumps(json_schema())))


def _has(thing: Any, names: list[str]) -> bool:
    """Whether it has an attribute of the first name, which has one of the second, and so on; a field of a class is one."""
    for name in names:
        if isinstance(thing, type) and name in inspect.get_annotations(thing):
            return True
        if not hasattr(thing, name):
            return False
        thing = getattr(thing, name)
    return True


def _is_ours(parts: list[str]) -> bool:
    import dp_spark

    homes = [(module, parts[n:]) for n in range(1, len(parts) + 1) for module in _modules().get(".".join(parts[:n]), ())]
    return any(_has(importlib.import_module(module), rest) for module, rest in homes) or (
        parts[0] in dp_spark.__all__ and _has(dp_spark, parts)
    )


def unknown_names(document: Document) -> list[str]:
    """Dotted names that are neither a module of dp_spark or something in one, nor a key, nor somebody else's."""
    found = []
    for span in document.spans():
        dotted = _DOTTED.fullmatch(span)
        if dotted is None or re.search(r"\.(py|md|toml|txt|ya?ml|zip|html|csv|json|parquet)$", span):
            continue
        parts = dotted[1].split(".")
        if parts[0] in ReleaseSpec.model_fields and set(parts) <= _file_keys():
            continue
        is_key = parts[0] not in _modules() and set(parts) <= _keys()
        if not (parts[0] in FOREIGN_NAMES or is_key or _is_ours(parts)):
            found.append(span)
    return found


@functools.cache
def command_line() -> Any:
    """The tree of commands."""
    return typer.main.get_command(app)


def _children(command: Any) -> dict[str, Any]:
    return getattr(command, "commands", {})


def options_of(command: Any) -> set[str]:
    """The options of a command."""
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}


def all_options() -> set[str]:
    """The options of all commands."""
    left, found = [command_line()], set()
    while left:
        found |= options_of(left[-1])
        left += _children(left.pop()).values()
    return found


def _is_command(words: list[str]) -> bool:
    """Whether the words after ``dp-spark`` name a command and options that it has."""
    command: Any = command_line()
    while words and _children(command) and not words[0].startswith("-") and not words[0].isupper():
        names = words.pop(0).split("|")
        if not set(names) <= _children(command).keys():
            return False
        command = _children(command)[names[0]]
    options = {word.partition("=")[0] for word in words if word.startswith("-")}
    return options <= (options_of(command) if not (words and words[0].isupper() and _children(command)) else all_options())


def _said(words: list[str]) -> list[str] | None:
    """The words that follow ``dp-spark``, where it or one of its jobs is called."""
    for place, word in enumerate(words):
        if word == "dp-spark" and place == 0:
            return words[1:]
        if word in _SCRIPTS:
            return [_SCRIPTS[word], *words[place + 1 :]]
    return None


def unknown_commands(document: Document) -> list[str]:
    """Calls of dp-spark or its jobs, commands and options that do not exist."""
    found = []
    for text in [*document.spans(), *document.lines()]:
        try:
            words = [word.strip("[]") for word in shlex.split(text, comments=True)]
        except ValueError:  # no call: a quotation mark is open
            continue
        said = _said(words)
        if said is not None and not _is_command(said):
            found.append(text)
    for span in document.spans():
        words = span.split()
        if len(words) > 1 and words[0] in _children(command_line()) and re.fullmatch(r"-?-?[a-z-]+", words[1]):
            found += [] if _is_command(words) else [span]
        elif re.match(r"--[a-z]", span) and words[0].partition("=")[0] not in all_options() | FOREIGN_OPTIONS:
            found.append(span)
    return found


def unknown_targets(document: Document) -> list[str]:
    """Targets that the Makefile has not."""
    there = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    calls = [re.match(r"\s*make ([a-z][a-z-]*)", text) for text in [*document.spans(), *document.lines()]]
    return [call[1] for call in calls if call is not None and call[1] not in there]
