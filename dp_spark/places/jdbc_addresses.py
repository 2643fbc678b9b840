"""What a table behind JDBC is known by: digests of server, port and each part of its full name.

One table has many addresses. Whatever two of them leave open (a default schema, the port behind an instance's name) is
taken for the same, so a doubt costs a refusal and never a second budget.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

#: Product in a URL -> (family of products that reach the same server, default port).
_PRODUCTS = {
    "mysql": ("mysql", "3306"), "mariadb": ("mysql", "3306"), "postgresql": ("postgresql", "5432"),
    "pgsql": ("postgresql", "5432"), "redshift": ("postgresql", "5439"), "sqlserver": ("sqlserver", "1433"),
    "oracle": ("oracle", "1521"), "db2": ("db2", "50000"), "edb": ("postgresql", "5444"),
    "clickhouse": ("clickhouse", ""), "ch": ("clickhouse", ""), "databricks": ("databricks", ""), "spark": ("databricks", ""),
}  # fmt: skip
_IN_FILES = ("sqlite", "derby", "h2", "hsqldb", "duckdb")
#: Settings of PostgreSQL's driver that lead to another place than the address says.
_ELSEWHERE = ("pghost", "pgport", "pgdbname", "service")
_HERE = ("", "localhost", "127.0.0.1", "[::1]", "::1", "(local)", ".")
#: The ports that the identities of earlier versions left out.
_PORTS = {"postgresql": "5432", "mysql": "3306", "mariadb": "3306", "sqlserver": "1433", "oracle": "1521", "db2": "50000"}
_EARLIER = {"mysql": ("mysql", "mariadb"), "postgresql": ("postgresql",), "sqlserver": ("sqlserver",)}


@dataclass(frozen=True)
class _Address:
    family: str
    servers: tuple[tuple[str, str], ...]
    database: str


def jdbc_identities(url: str, dbtable: str) -> tuple[str, ...]:
    """All identities of a table behind JDBC: those that earlier versions gave it, then one for each server.

    Args:
        url: The option ``url``; its user, password and settings reach no identity.
        dbtable: The option ``dbtable``, a plain name.

    >>> [text.split(":")[0] for text in jdbc_identities("jdbc:postgresql://h1,h2/ward", "visits")]
    ['jdbc', 'jdbc', 'jdbc', 'db', 'db']
    """
    words = tuple(reversed(dbtable.lower().split(".")))
    address = _read(url)
    full = _full_name(address, words)
    earlier = [(_earlier_address(url), words)]
    named = full if address.family == "mysql" else words
    database = full[-1] if len(full) > 1 and address.family != "oracle" else ""
    for product in _EARLIER.get(address.family, ()) if database else ():
        for server, port in address.servers:
            shown = server if port in ("", _PORTS[product]) else f"{server}:{port}"
            earlier.append((f"jdbc:{product}://{shown}/{database}", named))
    old = [f"jdbc:{_digest(text)}:{'.'.join(map(_digest, names))}" for text, names in earlier]
    new = [
        f"db:{_digest(f'{address.family} {server}')}:{_known(port)}:{'.'.join(map(_known, full))}"
        for server, port in address.servers
    ]
    return tuple(dict.fromkeys([*old, *new]))


def leads_elsewhere(url: str) -> bool:
    """Whether a setting in a URL can replace the server or database that its address names.

    >>> leads_elsewhere("jdbc:postgresql://h/ward?PGHOST=other"), leads_elsewhere("jdbc:postgresql://h/ward?ssl=true")
    (True, False)
    """
    text = url.strip().removeprefix("jdbc:")
    product = _product(text)
    return _PRODUCTS.get(product, ("",))[0] == "postgresql" and not _split_settings(text, product)[1].keys().isdisjoint(
        _ELSEWHERE
    )


def same_table(one: str, other: str) -> bool:
    """Whether two identities of tables behind JDBC can be of one table.

    A part that is not known, or that a shorter name does not have, is taken for the same.
    """
    kind, *ours = one.split(":")
    other_kind, *theirs = other.split(":")
    if kind != other_kind or len(ours) != len(theirs) or ours[0] != theirs[0]:
        return False
    pairs = [*zip(ours[1:-1], theirs[1:-1], strict=True), *zip(ours[-1].split("."), theirs[-1].split("."), strict=False)]
    return all(a == b or not a or not b for a, b in pairs)


def _full_name(address: _Address, words: Sequence[str]) -> tuple[str, ...]:
    """Table, schema and database, each "" where it is not known."""
    table, middle, first = (*words, "", "")[:3]
    if address.family == "mysql":  # a database is a schema there
        return table, middle or address.database
    if address.family == "oracle":  # a service or SID is one of many names of a database
        return table, middle
    if address.family in ("postgresql", "sqlserver", "db2"):
        return table, middle, first or address.database
    return table, middle, first or ("" if middle else address.database)


def _read(url: str) -> _Address:
    text = url.strip().removeprefix("jdbc:")
    product = _product(text)
    main, settings = _split_settings(text, product)
    family, port = _PRODUCTS.get(product, (product, ""))
    if family in _IN_FILES and "//" not in main:
        return _Address(family, ((_file(main.partition(":")[2]), ""),), "")
    if family == "oracle":
        return _Address(family, tuple(_oracle(text, port)), "")
    authority, path = _authority(main, product)
    servers = list(_servers(authority, port))
    if family == "sqlserver":
        servers = list(_sqlserver(authority, port, settings))
    if family == "clickhouse":  # a port for each protocol
        servers = [(server, "") for server, _ in servers]
    named = [unquote(re.split(r"[/:;]", path)[0]), *_values(settings, "databasename", "database", "db")]
    databases = {name.strip().lower() for name in named} - {""}
    # Of several, which one counts is up to the driver.
    return _Address(family, tuple(dict.fromkeys(servers)), databases.pop() if len(databases) == 1 else "")


def _product(text: str) -> str:
    """The product: of the words before the address, a server's or a user's name may be a product's, too."""
    words = [word for word in re.split(r"[:+]", re.split(r"//|[/?;@]", text.lower())[0]) if word]
    return next((word for word in words if word in _PRODUCTS or word in _IN_FILES), words[0] if words else "")


def _sqlserver(authority: str, default: str, settings: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """Every server that the address or a setting names: which one counts is up to the driver."""
    ports = _values(settings, "portnumber", "port")
    instance = _values(settings, "instancename", "instance")
    for text in [item for item in (authority, *_values(settings, "servername", "server")) if item] or [""]:
        for server, port in _servers(text, ""):
            given = dict.fromkeys([*([port] if port else []), *ports])
            yield from ((server, item) for item in ([""] if instance or "\\" in text else [*given] or [default]))
    for text in _values(settings, "failoverpartner"):
        for server, port in _servers(text, default):
            yield from ((server, item) for item in ([""] if instance else [port, *(ports if port else [])]))


def _values(settings: Mapping[str, Sequence[str]], *keys: str) -> list[str]:
    return [value for key in keys for value in settings.get(key, ()) if value]


def _split_settings(text: str, product: str) -> tuple[str, dict[str, list[str]]]:
    head = re.match(r"[^/?]*//[^/?]*@", text)  # a password may hold a semicolon
    start = head.end() if head else 0
    end = re.search(r"[?;]", text[start:])
    if end is None:
        return text, {}
    main, rest = text[: start + end.start()], text[start + end.start() :]
    # Only SQL Server reads braces as quotes; what they hold is no setting.
    quoted = r"\{(?:[^}]|\}\})*\}|" if product == "sqlserver" else ""
    settings: dict[str, list[str]] = {}
    for key, value in re.findall(rf"[?;&]\s*(\w+)\s*=\s*({quoted}[^;&]*)", rest):
        settings.setdefault(key.lower(), []).append(value.strip("{} "))
    return main, settings


def _authority(main: str, product: str) -> tuple[str, str]:
    _, slashes, rest = main.partition("//")
    if not slashes:  # jdbc:postgresql:ward is on this machine
        return "", re.sub(rf"^.*?{re.escape(product)}:?/?", "", main, flags=re.IGNORECASE)
    authority, _, path = rest.rpartition("@")[2].partition("/")
    return authority, path


def _servers(authority: str, default: str) -> Iterator[tuple[str, str]]:
    text = unquote(authority).lower()
    if "host=" in text:  # address=(host=h)(port=1)(user=u),... or (host=h,port=1),...
        hosts, ports = re.findall(r"host\s*=\s*([^,)\s]*)", text), re.findall(r"port\s*=\s*(\d+)", text)
        paired = list(zip(hosts, ports, strict=True)) if len(hosts) == len(ports) else [(host, "") for host in hosts]
        yield from ((_host(host), port if ports else default) for host, port in paired)
        return
    if text.startswith("[") and ("," in text or not re.match(r"\[[0-9a-f:.%]*\]", text)):
        text = text.strip("[]")
    for item in text.split(","):
        found = re.match(r"(\[[^\]]*\]|[^:\\]*)(\\[^:]*)?(?::(\d+))?", item.strip().rpartition("@")[2])
        assert found is not None, "every part of it may be empty"
        yield _host(found.group(1)), "" if found.group(2) else found.group(3) or default


def _oracle(text: str, default: str) -> Iterator[tuple[str, str]]:
    place = text.rpartition("@")[2].lower()
    if "host" in place and "(" in place:
        compact = re.sub(r"\s", "", place)
        yield from _servers(compact[compact.index("(") :], default)
        return
    yield from _servers(re.split(r"[/?;]", re.sub(r"^([a-z]+:)?//", "", place))[0], default)


def _host(text: str) -> str:
    host = text.strip().rstrip(".")
    return "localhost" if host in _HERE else host


def _file(text: str) -> str:
    """The database's file or folder; one in memory is known by its name."""
    if re.match(r"(mem|memory):", text, re.IGNORECASE) or text in ("", ":memory:"):
        return text.lower()
    path = Path(re.sub(r"^(file|directory):(//)?", "", text))
    return os.path.realpath(path.expanduser() if path.parts[:1] == ("~",) else path)


def _earlier_address(url: str) -> str:
    """An address as earlier versions digested it: letters' case, default port, end and settings left out."""
    # Without the user and the password, which they did digest.
    text = re.sub(r"//[^/]*@", "//", re.sub(r"^(jdbc:oracle:\w+:)[^@]*@", r"\1@", url.lower()))
    database = re.search(r";\s*database(?:name)?\s*=\s*([^;]*)", text)
    text = re.sub(r"[?;].*$", "", text).rstrip("/")
    product = text.removeprefix("jdbc:").partition(":")[0]
    if product in _PORTS:
        text = re.sub(rf":{_PORTS[product]}(?=/|:|$)", "", text)
    return text + (f"/{database.group(1).strip()}" if database else "")


def _known(text: str) -> str:
    return _digest(text) if text else ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
