"""The table of psycopg 3 and psycopg_pool, synchronous and asynchronous (facts B1 to B4, B7, B9, B14)."""

from __future__ import annotations

from dbsafety.drivers.dbapi import (
    AUTOCOMMIT,
    CLOSE,
    COMMIT,
    FETCH,
    NEUTRAL,
    RELEASE,
    ROLLBACK,
    UNKNOWN,
    last_part,
    makes,
    methods,
    moved,
    standard_errors,
    statement,
)
from dbsafety.drivers.error_texts import POSTGRES_TEXTS
from dbsafety.drivers.spec import (
    AutocommitSwitch,
    ConstructorSpec,
    DriverSpec,
    Effect,
    ErrorSpec,
    FunctionSpec,
    HandleKind,
    HandleSpec,
    MethodSpec,
    Switch,
    WithSpec,
)
from dbsafety.drivers.sqlstates import PSYCOPG as SQLSTATE_CLASSES
from dbsafety.drivers.sqlstates import sqlstate_errors

_STANDARD = standard_errors("psycopg")
_CURSORS = ("ClientCursor", "Cursor", "RawCursor", "RawServerCursor", "ServerCursor")
_POOLS = ("ConnectionPool", "NullConnectionPool")


def _async(names: tuple[str, ...], module: str) -> tuple[str, ...]:
    return tuple(f"{module}.Async{name}" for name in names)


CONNECTION = HandleSpec(
    kind=HandleKind.CONNECTION,
    classes=("psycopg.Connection",),
    async_classes=("psycopg.AsyncConnection",),
    methods={
        "cursor": makes(HandleKind.CURSOR, server_side="name"),
        "execute": MethodSpec(Effect.EXECUTE, returns=HandleKind.CURSOR, sql=0, sql_keyword="query"),
        "transaction": makes(HandleKind.TRANSACTION),
        "commit": COMMIT,
        "rollback": ROLLBACK,
        "close": CLOSE,
        "set_autocommit": AUTOCOMMIT,
        "tpc_begin": MethodSpec(Effect.BEGIN),
        "tpc_commit": COMMIT,
        "tpc_rollback": ROLLBACK,
        # Batches statements whose errors come later, detaches the transaction, or waits for what others send.
        **methods(UNKNOWN, "notifies pipeline tpc_prepare tpc_recover wait"),
        **methods(
            NEUTRAL,
            """add_notice_handler add_notify_handler cancel cancel_safe fileno remove_notice_handler
            remove_notify_handler set_deferrable set_isolation_level set_read_only xid""",
        ),
    },
    with_block=WithSpec(success=Effect.COMMIT, error=Effect.ROLLBACK, closes=True),
)

CURSOR = HandleSpec(
    kind=HandleKind.CURSOR,
    classes=tuple(f"psycopg.{name}" for name in _CURSORS),
    async_classes=_async(_CURSORS, "psycopg"),
    methods={
        "execute": statement("query", returns_self=True),
        "executemany": statement("query", many=True),
        "stream": statement("query"),
        "copy": MethodSpec(Effect.EXECUTE, sql=0, sql_keyword="statement"),
        **methods(FETCH, "fetchall fetchmany fetchone nextset results scroll set_result"),
        **methods(NEUTRAL, "close mogrify setinputsizes setoutputsize"),
    },
    attributes={"connection": HandleKind.CONNECTION},
    with_block=WithSpec(success=Effect.NEUTRAL, error=Effect.NEUTRAL, closes=True),
)

TRANSACTION = HandleSpec(
    kind=HandleKind.TRANSACTION,
    classes=("psycopg.Transaction",),
    async_classes=("psycopg.AsyncTransaction",),
    methods={},
    attributes={"connection": HandleKind.CONNECTION},
    with_block=WithSpec(
        success=Effect.COMMIT, error=Effect.ROLLBACK, begins=True, swallows=frozenset({"psycopg.Rollback"})
    ),
)

POOL = HandleSpec(
    kind=HandleKind.POOL,
    classes=tuple(f"psycopg_pool.{name}" for name in _POOLS),
    async_classes=_async(_POOLS, "psycopg_pool"),
    methods={
        "connection": makes(HandleKind.CONNECTION),
        "getconn": makes(HandleKind.CONNECTION, lends="putconn"),
        "putconn": RELEASE,
        "close": CLOSE,
        **methods(NEUTRAL, "check check_connection drain get_stats open pop_stats reconnect_failed resize wait"),
    },
    with_block=WithSpec(success=Effect.NEUTRAL, error=Effect.NEUTRAL, closes=True),
)

_KEYWORDS = frozenset({"autocommit", "connect_timeout"})
_CONNECT = ConstructorSpec(HandleKind.CONNECTION, {0: "conninfo"}, keywords=_KEYWORDS)
_ASYNC_CONNECT = ConstructorSpec(HandleKind.CONNECTION, {0: "conninfo"}, keywords=_KEYWORDS, is_async=True)
_POOL = ConstructorSpec(HandleKind.POOL, {0: "conninfo"})

_WITHOUT_STATE = ("CancellationTimeout", "ConnectionTimeout")
_POOL_ERRORS = ("PoolClosed", "PoolTimeout", "TooManyRequests")
_LEVELS = ("READ_UNCOMMITTED", "READ_COMMITTED", "REPEATABLE_READ", "SERIALIZABLE")
_STATUSES = ("IDLE", "ACTIVE", "INTRANS", "INERROR", "UNKNOWN")

PSYCOPG = DriverSpec(
    name="psycopg",
    roots=("psycopg", "psycopg_pool"),
    constructors={
        "psycopg.connect": _CONNECT,
        "psycopg.Connection.connect": _CONNECT,
        "psycopg.AsyncConnection.connect": _ASYNC_CONNECT,
        **dict.fromkeys((*POOL.classes, *POOL.async_classes), _POOL),
    },
    handles={
        HandleKind.CONNECTION: CONNECTION,
        HandleKind.CURSOR: CURSOR,
        HandleKind.TRANSACTION: TRANSACTION,
        HandleKind.POOL: POOL,
    },
    errors={
        **_STANDARD,
        **sqlstate_errors("psycopg.errors", SQLSTATE_CLASSES),
        **{f"psycopg.errors.{name}": ErrorSpec(("psycopg.OperationalError",), aborts=False) for name in _WITHOUT_STATE},
        "psycopg.errors.PipelineAborted": ErrorSpec(("psycopg.OperationalError",)),
        **{f"psycopg_pool.{name}": ErrorSpec(("psycopg.OperationalError",), aborts=False) for name in _POOL_ERRORS},
        "psycopg.Rollback": ErrorSpec(("Exception",), aborts=False),
    },
    base_error="psycopg.Error",
    aborts=True,
    keeps_lock=False,
    begins_on_read=True,
    server="PostgreSQL",
    functions={"psycopg.sql.quote": FunctionSpec(Effect.NEUTRAL, handle=1)},
    autocommit=(
        AutocommitSwitch(Switch.KEYWORD, "autocommit", on=(True, 1), off=(False, 0)),
        AutocommitSwitch(Switch.ATTRIBUTE, "autocommit", on=(True, 1), off=(False, 0)),
        AutocommitSwitch(Switch.METHOD, "set_autocommit", on=(True, 1), off=(False, 0), keyword="value", position=0),
    ),
    with_begins_in_autocommit=False,
    constants={
        **{f"psycopg.IsolationLevel.{name}": value for value, name in enumerate(_LEVELS, start=1)},
        **{f"psycopg.pq.TransactionStatus.{name}": value for value, name in enumerate(_STATUSES)},
    },
    aliases={
        **moved(map(last_part, _STANDARD), "psycopg", "psycopg.errors"),
        **moved(_POOL_ERRORS, "psycopg_pool", "psycopg_pool.errors"),
        "psycopg.connection.Connection": "psycopg.Connection",
        "psycopg.connection_async.AsyncConnection": "psycopg.AsyncConnection",
        "psycopg.cursor.Cursor": "psycopg.Cursor",
        "psycopg.cursor_async.AsyncCursor": "psycopg.AsyncCursor",
        "psycopg.client_cursor.ClientCursor": "psycopg.ClientCursor",
        "psycopg.transaction.Transaction": "psycopg.Transaction",
        "psycopg.transaction.AsyncTransaction": "psycopg.AsyncTransaction",
        "psycopg.transaction.Rollback": "psycopg.Rollback",
        "psycopg_pool.pool.ConnectionPool": "psycopg_pool.ConnectionPool",
        "psycopg_pool.pool_async.AsyncConnectionPool": "psycopg_pool.AsyncConnectionPool",
        "psycopg_pool.null_pool.NullConnectionPool": "psycopg_pool.NullConnectionPool",
        "psycopg_pool.null_pool_async.AsyncNullConnectionPool": "psycopg_pool.AsyncNullConnectionPool",
    },
    aborted_error="current transaction is aborted, commands ignored until end of transaction block",
    connect_keyword="connect_timeout",
    connect_limit=132,
    exhausted_error="couldn't get a connection after",
    closed_attributes=("broken", "closed"),
    status_attributes=("info.transaction_status", "pgconn.transaction_status"),
    sql_wrappers=("psycopg.sql.SQL",),
    error_texts=POSTGRES_TEXTS,
    code_attributes=("sqlstate", "diag"),
    constraint_attribute="diag.constraint_name",
)
"""psycopg 3.2 and later with psycopg_pool 3.2 and later."""
