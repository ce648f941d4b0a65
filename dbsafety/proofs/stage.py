"""What the driving code of a proof works with: the code under demonstration, its database, and a look from outside.

This also runs under interpreters that have no third-party package: a driver is loaded by name, the one the proof names.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

OUTSIDE_WAIT = 0.2
"""Seconds for which the look from outside waits for a lock: nobody is at work meanwhile, so a longer wait is no use."""
ENDING_WAIT = 10.0
"""Seconds for which a closed session may go on on the server."""
SESSIONS = """SELECT state, application_name FROM pg_stat_activity WHERE datname = current_database()
    AND pid <> pg_backend_pid() AND backend_type = 'client backend' ORDER BY 1"""


class Stage:
    """A fresh database, and what is needed to drive code on it.

    `address` is what the code is given to connect with: a path or a DSN. `seen` are the observations so far, in order.
    """

    def __init__(self, driver: str, address: str, source: str) -> None:
        """`driver` is a name, `source` the text of the code under demonstration."""
        self.driver_name = driver
        self.address = address
        self.source = source
        self.seen: dict[str, str] = {}
        self._example: ModuleType | None = None

    @property
    def driver(self) -> ModuleType:
        """The driver's module, as `import` gives it."""
        return importlib.import_module(self.driver_name)

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is SQLite; if not it is PostgreSQL."""
        return self.driver_name == "sqlite3"

    @property
    def example(self) -> ModuleType:
        """The code under demonstration, imported when first asked for. Raises what its import raises."""
        if self._example is None:
            self._example = imported("example", self.source)
        return self._example

    def see(self, label: str, value: object) -> None:
        """Write down an observation: text as it is, None as `nothing`, everything else as Python writes it."""
        if label in self.seen:
            raise ValueError(f"seen twice: {label}")
        self.seen[label] = value if isinstance(value, str) else "nothing" if value is None else repr(value)

    def attempt(self, call: Callable[[], object]) -> object:
        """What a call returns, or its exception in words: class, SQLSTATE if there is one, the message's first line."""
        try:
            return call()
        except BaseException as error:  # noqa: BLE001 - whatever the code raises, Ctrl-C too, is what is to be seen
            return raised(error)

    def connect(self) -> Any:
        """A connection as the code's caller would have made it, to hand in: the driver's defaults."""
        return self.driver.connect(self.address)

    def execute(self, *statements: str) -> None:
        """Run statements as somebody else, each final at once. Raises the driver's errors."""
        with self._outside() as conn:
            for statement in statements:
                send(conn, statement)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """What a query gives somebody else: what is committed. Raises the driver's errors."""
        with self._outside() as conn:
            return send(conn, query)

    def values(self, query: str) -> list[object]:
        """The first column of `rows`."""
        return [row[0] for row in self.rows(query)]

    def sessions(self, but: str = "") -> list[object]:
        """The states of PostgreSQL's sessions, those of an application named `but` left out.

        The server ends a session some time after the client's `close()` has returned, so this waits until there are no
        more sessions than open connections to the database in this process.
        """
        database = self.values("SELECT current_database()")[0]
        end = time.monotonic() + ENDING_WAIT
        while len(found := self.rows(SESSIONS)) > self._connected(database) and time.monotonic() < end:
            time.sleep(0.01)
        return [state for state, application in found if application != but]

    def _connected(self, database: object) -> int:
        extensions = getattr(self.driver, "extensions", None)
        kind = extensions.connection if extensions is not None else self.driver.Connection
        return sum(isinstance(one, kind) and not one.closed and one.info.dbname == database for one in gc.get_objects())

    @contextlib.contextmanager
    def _outside(self) -> Iterator[Any]:
        if self.is_sqlite:
            conn = self.driver.connect(self.address, timeout=OUTSIDE_WAIT, isolation_level=None)
        else:
            conn = self.driver.connect(self.address, connect_timeout=10)
            conn.autocommit = True
            send(conn, f"SET lock_timeout = '{OUTSIDE_WAIT}s'")
        with contextlib.closing(conn):
            yield conn


def send(conn: Any, statement: str) -> list[tuple[object, ...]]:
    """Run a statement on a connection of any driver here; its rows, if it gives any. Raises the driver's errors."""
    with contextlib.closing(conn.cursor()) as cur:
        cur.execute(statement)
        return [tuple(row) for row in cur.fetchall()] if cur.description else []


def raised(error: BaseException) -> str:
    """An exception in one line."""
    state = getattr(error, "pgcode", None) or getattr(error, "sqlstate", None)
    lines = str(error).strip().splitlines()
    return type(error).__name__ + (f" {state}" if state else "") + (f": {lines[0]}" if lines else "")


class _Text(importlib.abc.InspectLoader):
    """Loads a module from its text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def get_source(self, _fullname: str) -> str:
        """The text, whatever the name."""
        return self._text

    def is_package(self, _fullname: str) -> bool:
        """It is none."""
        return False


def imported(name: str, source: str) -> ModuleType:
    """A module made of a text, registered under a name. Raises what its code raises, SyntaxError too."""
    loader = _Text(source)
    module = importlib.util.module_from_spec(importlib.machinery.ModuleSpec(name, loader))
    sys.modules[name] = module
    loader.exec_module(module)
    return module
