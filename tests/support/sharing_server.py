"""A stand-in for the Delta Sharing reference server, which cannot be installed from the package registries.

It serves, on this machine only, what the tests need of the protocol: lists, version, metadata, the files of the newest
version, and the files themselves at addresses that cannot be guessed. What it answers is modelled on the reference server:
the configuration is read once, at the start; one bearer token; names without regard to case; 404 for what is not shared; 400
for history that is not shared; table properties in Delta's own response format only. Unlike the reference server it serves
local files; with ``enforces_expiry`` it stands for a server behind a proxy that turns expired tokens away.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import yaml
from deltalake import DeltaTable

_TABLE = re.compile(r"/shares/([^/]+)/schemas/([^/]+)/tables/([^/]+)/(version|metadata|query|changes)")


class RefusedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class SharingServer(ThreadingHTTPServer):
    """The server of one configuration file."""

    def __init__(self, config: Path, *, enforces_expiry: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.config = yaml.safe_load(config.read_text(encoding="utf-8"))
        self.enforces_expiry = enforces_expiry
        self.signed: dict[str, Path] = {}
        self.requests: list[str] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}{self.config['endpoint']}"

    def authorize(self, header: str | None) -> None:
        authorization = self.config.get("authorization")
        if authorization is None:
            return
        if not secrets.compare_digest(header or "", f"Bearer {authorization['bearerToken']}"):
            raise RefusedError(401, "wrong token")
        expires = authorization.get("expirationTime")
        if self.enforces_expiry and expires is not None and datetime.fromisoformat(expires) < datetime.now(UTC):
            raise RefusedError(401, "expired token")

    def sign(self, path: Path) -> str:
        key = secrets.token_hex(16)
        self.signed[key] = path
        return f"http://127.0.0.1:{self.server_port}/files/{key}"


def _named(items: list[dict[str, Any]], name: str) -> dict[str, Any]:
    for item in items:
        if item["name"].lower() == name.lower():
            return item
    raise RefusedError(404, f"{name} does not exist")


class _Handler(BaseHTTPRequestHandler):
    server: SharingServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer({})

    def do_HEAD(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}"))

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class's name
        self.server.requests.append(format % arguments)

    def _answer(self, body: dict[str, Any]) -> None:
        try:
            url = urlsplit(self.path)
            if url.path.startswith("/files/"):
                self._send_file(url.path.removeprefix("/files/"))
                return
            prefix = self.server.config["endpoint"]
            if not url.path.startswith(prefix + "/"):
                raise RefusedError(404, "no such address")
            self.server.authorize(self.headers.get("Authorization"))
            self._route(url.path.removeprefix(prefix), parse_qs(url.query), body)
        except RefusedError as error:
            self._send(error.status, json.dumps({"errorCode": str(error.status), "message": str(error)}).encode())

    def _route(self, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> None:
        shares, parts = self.server.config["shares"], path.strip("/").split("/")
        asked = _TABLE.fullmatch(path)
        if asked is not None:
            table = _named(_named(_named(shares, asked[1])["schemas"], asked[2])["tables"], asked[3])
            self._send_table(table, asked[4], query, body)
        elif parts == ["shares"]:
            self._send_items([{"name": share["name"]} for share in shares])
        elif len(parts) == 3 and parts[2] == "schemas":
            share = _named(shares, parts[1])
            self._send_items([{"name": schema["name"], "share": share["name"]} for schema in share["schemas"]])
        elif len(parts) == 3 and parts[2] == "all-tables":
            share = _named(shares, parts[1])
            self._send_items([row for schema in share["schemas"] for row in _rows(share, schema)])
        elif len(parts) == 5 and parts[4] == "tables":
            share = _named(shares, parts[1])
            self._send_items(_rows(share, _named(share["schemas"], parts[3])))
        else:
            raise RefusedError(404, "no such address")

    def _send_table(self, table: dict[str, Any], asked: str, query: dict[str, list[str]], body: dict[str, Any]) -> None:
        history = {"version", "timestamp", "startingVersion", "startingTimestamp"}
        if (asked == "changes" or history & {*query, *body}) and not table.get("historyShared"):
            raise RefusedError(400, "history sharing is not enabled")
        newest = DeltaTable(table["location"])
        # Where a client takes both, a table that needs no reader feature is answered as parquet.
        as_delta = "responseformat=delta;" in self.headers.get("delta-sharing-capabilities", "") + ";"
        lines = [] if asked == "version" else _describe(newest, as_delta)
        if asked == "query":
            for action in _files(newest):
                lines.append(self._file_line(Path(table["location"].removeprefix("file://")), action, as_delta))
        capabilities = {"delta-sharing-capabilities": f"responseformat={'delta' if as_delta else 'parquet'}"}
        content = "".join(json.dumps(line) + "\n" for line in lines).encode()
        self._send(200, content, {"delta-table-version": str(newest.version()), **capabilities})

    def _file_line(self, folder: Path, action: dict[str, Any], as_delta: bool) -> dict[str, Any]:
        url, size, key = self.server.sign(folder / action["path"]), action["size_bytes"], action["path"]
        if not as_delta:
            return {"file": {"url": url, "id": key, "partitionValues": {}, "size": size}}
        add = {"path": url, "partitionValues": {}, "size": size, "modificationTime": 0, "dataChange": True}
        return {"file": {"id": key, "size": size, "deltaSingleAction": {"add": add}}}

    def _send_items(self, items: list[dict[str, Any]]) -> None:
        self._send(200, json.dumps({"items": items}).encode())

    def _send_file(self, key: str) -> None:
        path = self.server.signed.get(key)
        if path is None:
            raise RefusedError(403, "not signed")
        content = path.read_bytes()
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            self._send(200, content, {"Accept-Ranges": "bytes"})
            return
        first = int(asked[1]) if asked[1] else max(0, len(content) - int(asked[2]))
        last = min(int(asked[2]) if asked[1] and asked[2] else len(content) - 1, len(content) - 1)
        self._send(206, content[first : last + 1], {"Content-Range": f"bytes {first}-{last}/{len(content)}"})

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _rows(share: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": table["name"], "schema": schema["name"], "share": share["name"]} for table in schema["tables"]]


def _describe(table: DeltaTable, as_delta: bool) -> list[dict[str, Any]]:
    protocol, metadata = table.protocol(), table.metadata()
    about = {"id": str(metadata.id), "format": {"provider": "parquet"}, "partitionColumns": metadata.partition_columns}
    about |= {"schemaString": table.schema().to_json()}
    if not as_delta:
        return [{"protocol": {"minReaderVersion": 1}}, {"metaData": about}]
    versions = {"minReaderVersion": protocol.min_reader_version, "minWriterVersion": protocol.min_writer_version}
    about |= {"configuration": dict(metadata.configuration), "format": {"provider": "parquet", "options": {}}}
    return [{"protocol": {"deltaProtocol": versions}}, {"metaData": {"deltaMetadata": about}}]


def _files(table: DeltaTable) -> list[dict[str, Any]]:
    return list(pa.table(table.get_add_actions(flatten=True)).select(["path", "size_bytes"]).to_pylist())


@contextmanager
def serving(config: Path, *, enforces_expiry: bool = False) -> Iterator[SharingServer]:
    """A server that runs for a block."""
    with SharingServer(config, enforces_expiry=enforces_expiry) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
