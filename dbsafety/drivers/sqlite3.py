"""The table of sqlite3: connections, cursors and errors (facts C1 to C8, C10, C12)."""

from __future__ import annotations

from dbsafety.drivers.dbapi import (
    CLOSE,
    COMMIT,
    FETCH,
    NEUTRAL,
    ROLLBACK,
    last_part,
    methods,
    moved,
    standard_errors,
    statement,
)
from dbsafety.drivers.error_texts import SQLITE_TEXTS
from dbsafety.drivers.spec import (
    AutocommitSwitch,
    ConstructorSpec,
    DriverSpec,
    Effect,
    FunctionSpec,
    HandleKind,
    HandleSpec,
    MethodSpec,
    Switch,
    WithSpec,
)

ERRORS = standard_errors("sqlite3")
_SCRIPT = MethodSpec(Effect.SCRIPT, returns=HandleKind.CURSOR, sql=0)

CONNECTION = HandleSpec(
    kind=HandleKind.CONNECTION,
    classes=("sqlite3.Connection",),
    methods={
        "cursor": MethodSpec(Effect.MAKE, returns=HandleKind.CURSOR, local=True),
        "execute": MethodSpec(Effect.EXECUTE, returns=HandleKind.CURSOR, sql=0),
        "executemany": MethodSpec(Effect.EXECUTE, returns=HandleKind.CURSOR, sql=0, many=True),
        "executescript": _SCRIPT,
        "commit": COMMIT,
        "rollback": ROLLBACK,
        "close": CLOSE,
        # Copies of the database, and blobs: what fails there is no statement of this transaction.
        **methods(FETCH, "backup blobopen deserialize iterdump serialize"),
        **methods(
            NEUTRAL,
            """create_aggregate create_collation create_function create_window_function enable_load_extension getconfig
            getlimit interrupt load_extension set_authorizer set_progress_handler set_trace_callback setconfig
            setlimit""",
        ),
    },
    with_block=WithSpec(success=Effect.COMMIT, error=Effect.ROLLBACK),
)

CURSOR = HandleSpec(
    kind=HandleKind.CURSOR,
    classes=("sqlite3.Cursor",),
    methods={
        "execute": statement(None, returns_self=True),
        "executemany": statement(None, many=True, returns_self=True),
        "executescript": MethodSpec(Effect.SCRIPT, returns_self=True, sql=0),
        **methods(FETCH, "fetchall fetchmany fetchone"),
        **methods(NEUTRAL, "close setinputsizes setoutputsize"),
    },
    attributes={"connection": HandleKind.CONNECTION},
)

_CONNECT = ConstructorSpec(
    HandleKind.CONNECTION,
    dict(
        enumerate(
            (
                "database",
                "timeout",
                "detect_types",
                "isolation_level",
                "check_same_thread",
                "factory",
                "cached_statements",
                "uri",
            )
        )
    ),
)
_LEVELS = ("", "DEFERRED", "IMMEDIATE", "EXCLUSIVE", "deferred", "immediate", "exclusive")
_MODES = {"on": (True,), "off": (False, -1, "sqlite3.LEGACY_TRANSACTION_CONTROL")}
_CONSTANTS = {"sqlite3.LEGACY_TRANSACTION_CONTROL": -1}

SWITCHES = (
    AutocommitSwitch(Switch.KEYWORD, "isolation_level", on=(None,), off=_LEVELS),
    AutocommitSwitch(Switch.ATTRIBUTE, "isolation_level", on=(None,), off=_LEVELS),
    AutocommitSwitch(Switch.KEYWORD, "autocommit", on=_MODES["on"], off=_MODES["off"]),
    AutocommitSwitch(Switch.ATTRIBUTE, "autocommit", on=_MODES["on"], off=_MODES["off"]),
)
"""`isolation_level=None` (fact C6b) and, from Python 3.12, `autocommit=True` (fact C6c)."""

_NAMES = (*map(last_part, ERRORS), "Connection", "Cursor", "connect")

SQLITE3 = DriverSpec(
    name="sqlite3",
    roots=("sqlite3",),
    constructors={"sqlite3.connect": _CONNECT, "sqlite3.Connection": _CONNECT},
    handles={HandleKind.CONNECTION: CONNECTION, HandleKind.CURSOR: CURSOR},
    errors=ERRORS,
    base_error="sqlite3.Error",
    aborts=False,
    keeps_lock=True,
    begins_on_read=False,
    server="SQLite",
    functions=dict.fromkeys(
        (
            "sqlite3.complete_statement",
            "sqlite3.enable_callback_tracebacks",
            "sqlite3.register_adapter",
            "sqlite3.register_converter",
        ),
        FunctionSpec(Effect.NEUTRAL, handle=None),
    ),
    autocommit=SWITCHES,
    rollback_in_autocommit=False,
    constants=_CONSTANTS,
    aliases={**moved(_NAMES, "sqlite3", "sqlite3.dbapi2", "_sqlite3")},
    locked_error="database is locked",
    deferred_begin=True,
    thread_check="check_same_thread",
    status_attributes=("in_transaction",),
    error_texts=SQLITE_TEXTS,
    code_attributes=("sqlite_errorname", "sqlite_errorcode"),
)
"""sqlite3 of Python 3.10 to 3.13; `autocommit` came with 3.12, `blobopen` and `serialize` with 3.11."""
