"""What the documents name is there, and their links lead somewhere, on a repository's page and in the site."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
from checkout import ROOT
from documents import (
    DOCUMENTS,
    Document,
    command_line,
    dead_links,
    missing_files,
    options_of,
    unknown_commands,
    unknown_names,
    unknown_targets,
)

Check = Callable[[Document], list[str]]
CHECKS: list[Check] = [dead_links, missing_files, unknown_names, unknown_commands, unknown_targets]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_names_is_there(path: Path) -> None:
    document = Document.of(path)
    assert {check.__name__: check(document) for check in CHECKS} == {check.__name__: [] for check in CHECKS}


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        (dead_links, "[a](docs/privacy.md)", "[a](docs/privacy.txt)"),
        (dead_links, "[a](docs/privacy.md#the-guarantee)", "[a](docs/privacy.md#the-promise)"),
        (dead_links, "# Told & twice\n## Once\n[a](#once)", "# Told & twice\n## Once\n[a](#told-twice)"),
        (dead_links, "# Told & twice\n## Once\n[a](#once)", "# Told & twice\n## Once\n[a](#told--twice)"),
        (dead_links, "![a](benchmarks/results.svg)", "![a](benchmarks)"),
        (missing_files, "`dp_spark/session.py`, `tests/contracts/`", "`dp_spark/sessions.py`"),
        (missing_files, "`engine/bounding`, `bounding.py`, `warehouse/ledger`", "`engine/bounds`"),
        (missing_files, "`tests/<package>/test_<module>.py`", "`tests/<package>/tested_<module>.py`"),
        (missing_files, "`pyproject.toml`", "`setup.toml`"),
        (unknown_names, "`bounding.bound_contributions(frame, spec)`", "`bounding.bound_rows(frame, spec)`"),
        (unknown_names, "`ledger.outbox.Outbox.commit`, `dp_spark.cli`", "`ledger.outbox.Outbox.roll_back`"),
        (unknown_names, "`privacy.bounds.Sensitivity.l1`, `budget.epsilon`", "`budget.epsilons`"),
        (unknown_names, "`total.rho`, `spark.ui.enabled`", "`total.sigma`"),
        (unknown_names, "`ReleaseSpec.from_yaml`", "`ReleaseSpec.from_toml`"),
        (unknown_commands, "`dp-spark run FILE --json`", "`dp-spark run FILE --ledger L`"),
        (unknown_commands, "`dp-spark share add|list`", "`dp-spark share add|show`"),
        (unknown_commands, "`dp-spark COMMAND --help`, `--set a=b`, `--py-files`", "`--sets a=b`"),
        (unknown_commands, "`budget verify --json`, `budget`", "`budget audit`"),
        (unknown_commands, "    dp-spark \\\n      plan x.yaml", "    dp-spark \\\n      planned x.yaml"),
        (
            unknown_commands,
            "    spark-submit --master x jobs/release.py f --json",
            "    spark-submit jobs/release.py f --quick",
        ),
        (unknown_targets, "`make bench-quick`\n\n    make demo # it", "`make bench-quickly`"),
    ],
)
def test_the_checks_find_what_is_not_there(check: Check, right: str, wrong: str) -> None:
    assert check(Document(ROOT, right)) == []
    assert len(check(Document(ROOT, wrong))) == 1


def test_the_reference_of_the_command_line_has_every_command_and_option() -> None:
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "scripts" / "site_hooks.py")
    assert spec is not None
    assert spec.loader is not None
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    heading, *sections = hooks.command_line().split("\n## `")
    told = {"dp-spark": heading}
    for section in sections:
        for part in section.split("\n### `"):
            told[part.partition("`")[0]] = part
    left = [("dp-spark", command_line())]
    while left:
        name, command = left.pop()
        assert command.help.splitlines()[0] in told[name]
        assert all(f"`{option}" in told[name] for option in options_of(command) if option.startswith("-"))
        left += [(f"{name} {child}", below) for child, below in getattr(command, "commands", {}).items()]
        assert "..." not in told[name].partition("**Commands**")[2]
