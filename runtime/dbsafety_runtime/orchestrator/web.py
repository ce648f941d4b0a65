"""JSON over HTTP with servers nobody vouches for: one time limit for the whole exchange, a bounded answer."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import httpx

from dbsafety_runtime.storage.lite import forbid_open_transaction

LONGEST_REPLY: Final = 8_388_608
certificates: Final = cache(httpx.create_ssl_context)  # takes a tenth of a second


class ApiError(Exception):
    """A server did not do what was asked; `wait` is how long it wants to be left alone, in seconds, if it said so."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Api:
    """A server that speaks JSON; an exchange takes at most about twice `seconds`."""

    base_url: str
    token: str
    seconds: float

    def call(self, method: str, path: str, data: object = None, query: Mapping[str, str] | None = None) -> Any:
        """Return the answer's JSON; raises ApiError for everything else, StorageBug inside a transaction."""
        forbid_open_transaction("a call over the network")
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        context, limit, body = certificates(), time.monotonic() + self.seconds, bytearray()
        try:
            with httpx.stream(
                method, f"{self.base_url}{path}", params=query, json=data, headers=headers, timeout=self.seconds,
                verify=context,
            ) as reply:  # fmt: skip
                if not reply.is_success:
                    wait = reply.headers.get("retry-after", "")
                    why = f"{method} {path} answered {reply.status_code}"
                    raise ApiError(why, float(wait) if wait.isdecimal() else None)
                for part in reply.iter_bytes():
                    body += part
                    if time.monotonic() > limit or len(body) > LONGEST_REPLY:
                        raise ApiError(f"{method} {path} answers too slowly or too much ({len(body)} bytes so far)")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ApiError(f"{type(error).__name__}: {error}") from error
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise ApiError(f"{method} {path} did not answer with JSON") from error
