"""A small local server that speaks the part of GitHub's REST API we use; for the demo and the tests."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

Fault = Callable[["Handler"], bool]


class LocalHub(ThreadingHTTPServer):
    """Issues in memory. `faults` are asked in turn, one per request; one that returns True has answered instead."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.issues: list[dict[str, Any]] = []
        self.comments: list[tuple[int, str]] = []
        self.requests: list[str] = []
        self.faults: list[Fault] = []
        self.lock = threading.Lock()

    def __enter__(self) -> LocalHub:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.shutdown()
        self.server_close()

    def handle(self, method: str, path: str, data: dict[str, Any]) -> tuple[int, object]:
        """Return status and answer of a request."""
        parts = urlsplit(path)
        words = parts.path.strip("/").split("/")
        if words[0] != "repos" or words[3:4] != ["issues"]:
            return 404, {"message": "Not Found"}
        if method == "GET":
            query = {name: int(values[0]) for name, values in parse_qs(parts.query).items() if values[0].isdigit()}
            size, page = query.get("per_page", 30), query.get("page", 1)
            return 200, self.issues[::-1][(page - 1) * size : page * size]
        if len(words) == 4:
            self.issues.append({"number": len(self.issues) + 1, "state": "open", **data})
            return 201, self.issues[-1]
        number = int(words[4])
        if method == "PATCH":
            self.issues[number - 1].update(data)
            return 200, self.issues[number - 1]
        self.comments.append((number, data["body"]))
        return 201, {"id": len(self.comments)}


class Handler(BaseHTTPRequestHandler):
    """One request."""

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        """Send a whole answer."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def serve(self) -> None:
        """Answer a request, or let a planned fault do so."""
        hub = cast("LocalHub", self.server)
        data = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        with hub.lock:
            hub.requests.append(f"{self.command} {self.path}")
            fault = hub.faults.pop(0) if hub.faults else None
        if fault is None or not fault(self):
            with hub.lock:
                status, answer = hub.handle(self.command, self.path, data)
            self.answer(status, json.dumps(answer).encode(), Content_Type="application/json")

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Keep quiet."""


for _method in ("GET", "POST", "PATCH"):
    setattr(Handler, f"do_{_method}", Handler.serve)
