"""A small local server that speaks the part of GitHub's REST API we use; for the demo and the tests."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from typing_extensions import Self

Fault = Callable[["_Handler"], bool]


class LocalHub:
    """Issues in memory. `faults` are asked in turn, one per request; one that returns True has answered instead."""

    def __init__(self) -> None:
        self.issues: list[dict[str, Any]] = []
        self.comments: list[tuple[int, str]] = []
        self.requests: list[str] = []
        self.faults: list[Fault] = []
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.hub = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def handle(self, method: str, path: str, data: dict[str, Any]) -> tuple[int, object]:
        """Return status and answer of a request."""
        parts = urlsplit(path)
        words = parts.path.strip("/").split("/")
        if words[0] != "repos" or words[3:4] != ["issues"]:
            return 404, {"message": "Not Found"}
        if method == "GET":
            query = parse_qs(parts.query)
            size, page = int(query.get("per_page", ["30"])[0]), int(query.get("page", ["1"])[0])
            newest_first = self.issues[::-1]
            return 200, newest_first[(page - 1) * size : page * size]
        if method == "POST" and len(words) == 4:
            issue = {"number": len(self.issues) + 1, "state": "open", **data}
            self.issues.append(issue)
            return 201, issue
        number = int(words[4])
        if method == "PATCH":
            self.issues[number - 1].update(data)
            return 200, self.issues[number - 1]
        self.comments.append((number, data["body"]))
        return 201, {"id": len(self.comments)}


class _Server(ThreadingHTTPServer):
    hub: LocalHub


class _Handler(BaseHTTPRequestHandler):
    def answer(self, status: int, body: bytes, **headers: str) -> None:
        """Send a whole answer."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def serve(self) -> None:
        """Answer a request, or let a planned fault do so."""
        hub = cast("_Server", self.server).hub
        data = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        with hub.lock:
            hub.requests.append(f"{self.command} {self.path}")
            fault = hub.faults.pop(0) if hub.faults else None
        if fault is not None and fault(self):
            return
        with hub.lock:
            status, answer = hub.handle(self.command, self.path, data)
        self.answer(status, json.dumps(answer).encode(), Content_Type="application/json")

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Keep quiet."""


for _method in ("GET", "POST", "PATCH"):
    setattr(_Handler, f"do_{_method}", _Handler.serve)
