"""A private PostgreSQL for a demonstration: the bundled runtime starts it, in a process of its own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from dbsafety.model.faults import DbsafetyError

_SERVE = (sys.executable, "-m", "dbsafety_runtime.ops.serve")


class NoServer(DbsafetyError):
    """There is no PostgreSQL server to be had."""


@contextlib.contextmanager
def private_server() -> Iterator[str]:
    """The DSN of a throw-away server, which ends with the block or with this process. Raises NoServer."""
    pipe = subprocess.PIPE
    with subprocess.Popen(_SERVE, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8") as process:
        # What ends the server is the end of its standard input, which also comes when this process is killed.
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise NoServer
        dsn = process.stdout.readline().strip()
        if not dsn:
            said = process.stderr.read().strip().splitlines()
            raise NoServer(said[-1] if said else "")
        try:
            yield dsn
        finally:
            process.stdin.close()
