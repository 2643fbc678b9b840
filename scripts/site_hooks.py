"""Hooks of the site (mkdocs.yml): files have their paths in the repository, and the command line tells its own reference."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
#: Where what lies outside of docs/ goes in the site.
OUTSIDE = "repository"
PROGRAM = "dp-spark"
_DOCTEST = re.compile(r"^>>> .*\n?(?:.+\n?)*", re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]+)")


class Doctests(griffe.Extension):
    """Shows the doctests of a docstring as code: in plain Markdown, >>> is a quotation."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Puts a fence around each."""
        if obj.docstring is not None:
            text = re.sub(r" +# doctest: .*", "", obj.docstring.value)
            obj.docstring.value = _DOCTEST.sub(lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", text)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Gives each document its path in the repository, and adds what they link to outside of docs/."""
    documents = [file for file in files if file.src_dir == config.docs_dir and file.is_documentation_page()]
    for file in documents:
        files.remove(file)
        files.append(_file(f"docs/{file.src_uri}", file.dest_uri, config))
    reference = File.generated(config, "docs/reference/command-line.md", content=command_line())
    reference.dest_uri = "reference/command-line.html"
    files.append(reference)
    to_read = [*ROOT.glob("*.md"), *(ROOT / "docs" / file.src_uri for file in documents)]
    while to_read:
        path = to_read.pop()
        name = path.relative_to(ROOT).as_posix()
        if files.get_file_from_path(name) is None:
            files.append(_file(name, f"{OUTSIDE}/{name.removesuffix('.md')}{'.html' * name.endswith('.md')}", config))
        if path.suffix == ".md":
            linked = (Path(os.path.normpath(path.parent / link)) for link in _LINK.findall(path.read_text(encoding="utf-8")))
            to_read += [file for file in linked if file.is_file() and file.is_relative_to(ROOT) and not _known(file, files)]
    return files


def _file(name: str, destination: str, config: MkDocsConfig) -> File:
    return File(name, str(ROOT), config.site_dir, use_directory_urls=False, dest_uri=destination)


def _known(file: Path, files: Files) -> bool:
    return files.get_file_from_path(file.relative_to(ROOT).as_posix()) is not None


def command_line() -> str:
    """Every command and option, as typer writes them, with the first line of a command's help where typer cuts it off."""
    words = [sys.executable, "-m", "typer", "dp_spark.cli.app", "utils", "docs", "--name", PROGRAM, "--title", "Command line"]
    text = html.unescape(subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    helps = dict(re.findall(r"^#+ `(.+)`\n\n(.+)", text, re.MULTILINE))
    group, lines = PROGRAM, []
    for line in text.splitlines():
        heading, listed = re.match(r"#+ `(.+)`", line), re.match(r"\* `([\w-]+)`: ", line)
        group = heading[1] if heading else group
        command = f"{group} {listed[1]}" if listed else ""
        lines.append(f"* [`{command}`](#{command.replace(' ', '-')}): {helps[command]}" if command in helps else line)
    return "\n".join(lines)
