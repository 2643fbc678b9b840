"""Which tables of a catalog may be read: their provider says what they are, their type does not."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dp_spark.errors import SourceError
from dp_spark.spec.source_options import option_problems

_PROVIDERS = ("delta", "parquet", "orc")
#: What a catalog notes beside the options of a table's reader.
_NOT_OPTIONS = ("path", "serialization.format")
_INSTEAD = {
    "csv": "format: csv with its path and a schema",
    "json": "format: json with its path and a schema",
    "jdbc": "format: jdbc with the options url and dbtable, a plain table",
}
_OTHERS = "format: and path where it has files, format: jdbc where it is a database's, or a Delta table made of it"


def provider_of(name: str, about: Mapping[str, str], *, where: str) -> str:
    """The provider of a table, if its rows are those of its files, read row by row.

    A catalog calls a query, a command or a remote server's answer a table, too.

    Args:
        name: The table's name.
        about: What the catalog says about it.
        where: Its key in the release file, for errors.

    Raises:
        SourceError: If it has another provider or none, a row filter, or options that its format may not have.

    >>> provider_of("a.b", {"Provider": "parquet", "Storage Properties": "[mergeSchema=true]"}, where="source")
    'parquet'
    """
    provider = about.get("Provider", "").lower()
    if provider not in _PROVIDERS:
        raise SourceError(
            f"{name} is a table of {f'the provider {provider}' if provider else 'an unknown provider'}, "
            f"not of {', '.join(_PROVIDERS)}",
            where=where,
            mend=f"read it by {_INSTEAD.get(provider, _OTHERS)}",
        )
    if any(re.match(r"#? ?(row filter|column mask)", item, re.IGNORECASE) for item in about):
        raise SourceError(f"{name} has a row filter or a column mask", where=where, mend="name a table without one")
    if provider != "delta":  # Delta takes no reader's option from the catalog
        for problem in option_problems(provider, _options(about.get("Storage Properties", ""))):
            raise SourceError(
                f"{name} is read with options: {problem}", where=where, mend=f"read it by format: {provider} and path"
            )
    return provider


def _options(shown: str) -> dict[str, str]:
    """Options as a catalog shows them; a value may make up more of them, none can hide one."""
    pairs = (item.split("=", 1) for item in shown.strip().removeprefix("[").removesuffix("]").split(", ") if "=" in item)
    return {key: value for key, value in pairs if key.lower() not in _NOT_OPTIONS}
