"""The table of aiosqlite: sqlite3 behind coroutines; its blocks close without committing (facts C1b, C3a)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dbsafety.drivers import sqlite3
from dbsafety.drivers.dbapi import NEUTRAL
from dbsafety.drivers.error_texts import SQLITE_TEXTS
from dbsafety.drivers.spec import (
    ConstructorSpec,
    DriverSpec,
    Effect,
    HandleKind,
    HandleSpec,
    MethodSpec,
    Switch,
    WithSpec,
)

_LEAVE = WithSpec(success=Effect.CLOSE, error=Effect.CLOSE, closes=True, is_async=True)
_KEYWORDS = {"execute": "sql", "executemany": "sql", "executescript": "sql_script"}


def _awaited(rows: Mapping[str, MethodSpec], *names: str) -> dict[str, MethodSpec]:
    return {name: replace(rows[name], is_async=True, sql_keyword=_KEYWORDS.get(name)) for name in names}


_PASSED_ON = (
    *("backup", "close", "commit", "create_function", "cursor", "enable_load_extension", "execute", "executemany"),
    *("executescript", "interrupt", "iterdump", "load_extension", "rollback", "set_authorizer"),
    *("set_progress_handler", "set_trace_callback"),
)

CONNECTION = HandleSpec(
    kind=HandleKind.CONNECTION,
    classes=(),
    async_classes=("aiosqlite.Connection",),
    methods={
        **_awaited(sqlite3.CONNECTION.methods, *_PASSED_ON),
        "execute_fetchall": MethodSpec(Effect.EXECUTE, sql=0, sql_keyword="sql", is_async=True),
        "execute_insert": MethodSpec(Effect.EXECUTE, sql=0, sql_keyword="sql", is_async=True),
        "stop": NEUTRAL,
    },
    with_block=_LEAVE,
)

CURSOR = HandleSpec(
    kind=HandleKind.CURSOR,
    classes=(),
    async_classes=("aiosqlite.Cursor",),
    methods=_awaited(sqlite3.CURSOR.methods, *(name for name in sqlite3.CURSOR.methods if not name.startswith("set"))),
    # Holds the connection of sqlite3, which belongs to another thread.
    attributes={"connection": None},
    with_block=WithSpec(success=Effect.NEUTRAL, error=Effect.NEUTRAL, closes=True, is_async=True),
)

_ERRORS = (
    *("DatabaseError", "Error", "IntegrityError", "NotSupportedError", "OperationalError", "ProgrammingError"),
    "Warning",
)
_ALIASES = {
    **{f"aiosqlite.{name}": f"sqlite3.{name}" for name in _ERRORS},
    **{f"aiosqlite.core.{name}": f"aiosqlite.{name}" for name in ("Connection", "Cursor", "connect")},
    "aiosqlite.cursor.Cursor": "aiosqlite.Cursor",
}

AIOSQLITE = DriverSpec(
    name="aiosqlite",
    roots=("aiosqlite",),
    constructors={
        "aiosqlite.connect": ConstructorSpec(
            HandleKind.CONNECTION, {0: "database"}, keywords=frozenset({"timeout"}), is_async=True
        )
    },
    handles={HandleKind.CONNECTION: CONNECTION, HandleKind.CURSOR: CURSOR},
    errors=sqlite3.ERRORS,
    base_error="sqlite3.Error",
    aborts=False,
    keeps_lock=True,
    begins_on_read=False,
    server="SQLite",
    # There is no attribute `autocommit`, and assigning it would do nothing.
    autocommit=tuple(
        switch for switch in sqlite3.SWITCHES if (switch.by, switch.name) != (Switch.ATTRIBUTE, "autocommit")
    ),
    rollback_in_autocommit=False,
    is_async=True,
    aliases=_ALIASES,
    locked_error="database is locked",
    status_attributes=("in_transaction",),
    error_texts=SQLITE_TEXTS,
    code_attributes=("sqlite_errorname", "sqlite_errorcode"),
)
"""aiosqlite 0.20 and later."""
