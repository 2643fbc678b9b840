"""``${NAME}`` in paths, table names and option values."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from dp_spark.errors import SpecError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def expand_variables(text: str, *, where: str, environment: Mapping[str, str] | None = None) -> str:
    """Replaces every ``${NAME}`` in a path, table name or option value by the environment variable NAME.

    Raises:
        SpecError: If a variable is not set. The error names the variable, never a value.

    >>> expand_variables("/data/${REGION}/x", where="source.path", environment={"REGION": "eu"})
    '/data/eu/x'
    """
    environment = os.environ if environment is None else environment

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in environment:
            raise SpecError(f"the environment variable {name} is not set", where=where, mend=f"export {name}=...")
        return environment[name]

    return _VARIABLE.sub(replace, text)
