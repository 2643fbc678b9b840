"""The configuration of the open-source Delta Sharing server: what is shared, and the token that opens it.

The file is the only state. What stands in it and is not about shared tables (host, port, TLS, time limits) is kept as it is.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal, TypeVar

import yaml
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from dp_spark.errors import ConflictError, SpecError, said_together
from dp_spark.places.paths import is_local
from dp_spark.places.stores import canonical
from dp_spark.schema.messages import to_spec_error
from dp_spark.schema.reading import parse_yaml
from dp_spark.share.private_files import not_writable, write_private

_TOKEN_BYTES = 32
_LOCK_SECONDS = 30.0
#: The stores whose files the reference server can hand out.
_STORES = ("s3a", "abfss", "wasbs", "gs")


@dataclass(frozen=True)
class SharedName:
    """The name of a table as recipients see it."""

    share: str
    schema: str
    table: str

    @staticmethod
    def parse(text: str) -> SharedName:
        """Reads ``SHARE.SCHEMA.TABLE``.

        Raises:
            SpecError: If it is not three plain names.

        >>> SharedName.parse("hospital.releases.visits").schema
        'releases'
        """
        parts = text.split(".")
        if len(parts) != 3 or not all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,127}", part) for part in parts):
            raise SpecError(
                "is not a name SHARE.SCHEMA.TABLE", where=text, mend="three names of letters, digits, hyphens, underscores"
            )
        return SharedName(*parts)

    def __str__(self) -> str:
        return f"{self.share}.{self.schema}.{self.table}"


# --- the server's configuration: what we do not know of it is kept as it is ----------------------------------------------


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", alias_generator=to_camel, populate_by_name=True, hide_input_in_errors=True)


class SharedTable(_Part):
    """A table of a schema; ``cdf_enabled`` is what old servers call ``history_shared``."""

    name: str
    location: str
    history_shared: bool = False
    cdf_enabled: bool = False


class _Schema(_Part):
    name: str
    tables: list[SharedTable] = []


class _Share(_Part):
    name: str
    schemas: list[_Schema] = []


class _Authorization(_Part):
    bearer_token: str
    # The reference server does not read it: it is kept for `share list`, and for a proxy that enforces it.
    expiration_time: str | None = None


class ServerConfig(_Part):
    """The reference server's configuration."""

    version: Literal[1]
    shares: list[_Share] = []
    authorization: _Authorization | None = None

    @property
    def tables(self) -> list[tuple[SharedName, SharedTable]]:
        """All shared tables with their names, in the file's order."""
        return [
            (SharedName(share.name, schema.name, table.name), table)
            for share in self.shares
            for schema in share.schemas
            for table in schema.tables
        ]

    def add(self, name: SharedName, location: str) -> None:
        """Shares a table: its newest version only, and never without a token.

        Raises:
            SpecError: If there is a table of this name.
        """
        if self._find(name) is not None:
            raise SpecError("a table is shared under this name already", where=str(name), mend="remove it first")
        share, known = _named(self.shares, name.share), {"history_shared": False, "cdf_enabled": False}
        if share is None:
            share = _Share(name=name.share)
            self.shares = [*self.shares, share]  # assigned, not appended to: only what is set is written
        schema = _named(share.schemas, name.schema)
        if schema is None:
            schema = _Schema(name=name.schema)
            share.schemas = [*share.schemas, schema]
        table = SharedTable(name=name.table, location=location, id=str(uuid.uuid4()), **known)
        schema.tables = [*schema.tables, table]
        if self.authorization is None:  # without one the server answers everybody
            self.new_token(None)

    def remove(self, name: SharedName) -> None:
        """Shares a table no more; a schema or share that it leaves empty goes with it.

        Raises:
            SpecError: If there is no table of this name.
        """
        found = self._find(name)
        if found is None:
            raise SpecError("no table is shared under this name", where=str(name), mend="see `dp-spark share list`")
        share, schema, table = found
        schema.tables.remove(table)
        if not schema.tables:
            share.schemas.remove(schema)
        if not share.schemas:
            self.shares.remove(share)

    def new_token(self, expires: str | None) -> str:
        """Makes a token from the operating system's randomness: the only one that the server accepts from its next start."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        kept = {} if self.authorization is None else self.authorization.model_dump(by_alias=True, exclude_unset=True)
        kept |= {"bearerToken": token} | ({} if expires is None else {"expirationTime": expires})
        self.authorization = _Authorization.model_validate(kept)
        return token

    def _find(self, name: SharedName) -> tuple[_Share, _Schema, SharedTable] | None:
        share = _named(self.shares, name.share)
        schema = _named(share.schemas, name.schema) if share is not None else None
        table = _named(schema.tables, name.table) if schema is not None else None
        return (share, schema, table) if share is not None and schema is not None and table is not None else None


_Item = TypeVar("_Item", _Share, _Schema, SharedTable)


def _named(items: Sequence[_Item], name: str) -> _Item | None:
    """The item of a name; servers do not tell capital from small letters."""
    return next((item for item in items if item.name.lower() == name.lower()), None)


def server_location(path: str) -> str:
    """A resolved path as the configuration names it.

    Raises:
        SpecError: If it is on a store that no sharing server serves.

    >>> server_location("/data/visits"), server_location("s3://bucket/visits")
    ('file:///data/visits', 's3a://bucket/visits')
    """
    if is_local(path):
        return f"file://{path}"
    location = canonical(path)
    if location.partition(":")[0] not in _STORES:
        raise SpecError(
            "a sharing server cannot hand out files of this store",
            where=path,
            mend="publish to S3, Azure or Google storage, or share a table of Unity Catalog with --sql",
        )
    return location


def read_config(path: Path) -> ServerConfig:
    """Reads a configuration.

    Raises:
        SpecError: If there is none, it is not one of the reference server, or it shares the history of a table.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError("there is no such file", where=str(path), mend="`dp-spark share add` makes it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot be read ({type(error).__name__})", where=str(path), mend="check the file") from None
    try:
        config = ServerConfig.model_validate(parse_yaml(text, where=str(path)))
    except ValidationError as error:
        wrong = to_spec_error(error, ServerConfig)
        raise said_together(wrong.problems or [wrong], file=str(path)) from None
    for name, table in config.tables:
        if table.history_shared or table.cdf_enabled:
            raise SpecError(
                f"the history of {name} is shared", where=str(path), mend="set historyShared and cdfEnabled to false"
            )
    return config


@contextlib.contextmanager
def editing(path: Path, *, create: bool = False) -> Iterator[ServerConfig]:
    """Holds a configuration for a block that changes it, and writes what it has become in one step.

    Args:
        path: The file.
        create: Whether to begin one where there is none.

    Raises:
        SpecError: If the file cannot be read or written. ConflictError: if another process keeps it.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise SpecError("the server reads only .yaml and .yml files", where=str(path), mend="rename it")
    path = path.resolve()
    if not create:
        read_config(path)  # taking the lock would make the folder of a mistyped path
    try:
        lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=_LOCK_SECONDS, mode=0o600)
        lock.acquire()
    except Timeout:
        raise ConflictError("another process is changing it", where=str(path), mend="run the same command again") from None
    except OSError as error:
        raise not_writable(path, error) from None
    try:
        fresh = create and not path.exists()
        config = _new_config() if fresh else read_config(path)
        yield config
        write_private({path: _to_yaml(config)}, replace=True)
    finally:
        lock.release()


def _new_config() -> ServerConfig:
    # A server of its own machine only: TLS is the business of the proxy in front.
    return ServerConfig.model_validate({"version": 1, "host": "localhost", "port": 8080, "endpoint": "/delta-sharing"})


class _Dumper(yaml.SafeDumper):
    """SafeDumper whose texts mean the same in YAML 1.1 and 1.2."""


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plain = re.fullmatch(r"[A-Za-z][A-Za-z_-]*", text) is not None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _quoted)
_Dumper.add_representer(Decimal, lambda dumper, value: dumper.represent_float(float(value)))  # a setting of the provider's


def _to_yaml(config: ServerConfig) -> str:
    document = config.model_dump(by_alias=True, exclude_unset=True)
    head = "# Written by `dp-spark share`. It holds the bearer token: keep it to yourself. Restart the server after a change.\n"
    return head + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1000)
