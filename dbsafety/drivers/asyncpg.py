"""The table of asyncpg: no transaction unless one is opened (facts B2, B9, B11, B14)."""

from __future__ import annotations

from dbsafety.drivers.asyncpg_errors import ASYNCPG as ERROR_CLASSES
from dbsafety.drivers.dbapi import CLOSE, COMMIT, EXECUTE, NEUTRAL, RELEASE, ROLLBACK, makes, methods, moved, statement
from dbsafety.drivers.error_texts import POSTGRES_TEXTS
from dbsafety.drivers.spec import (
    ConstructorSpec,
    DriverSpec,
    Effect,
    ErrorSpec,
    HandleKind,
    HandleSpec,
    MethodSpec,
    WithSpec,
)

_BASE = "asyncpg.exceptions._base"
_CLIENT_SIDE = frozenset({"InterfaceError", "InternalClientError"})
_LOST = frozenset({"PostgresConnectionError"})
_QUERIES = {
    **dict.fromkeys(("execute", "fetch", "fetchrow", "fetchval"), statement("query")),
    "executemany": MethodSpec(Effect.EXECUTE, sql=0, sql_keyword="command", many=True),
    "fetchmany": statement("query", many=True),
    "copy_from_query": statement("query"),
    **methods(EXECUTE, "copy_from_table copy_records_to_table copy_to_table"),
}

CONNECTION = HandleSpec(
    kind=HandleKind.CONNECTION,
    classes=(),
    async_classes=("asyncpg.Connection", "asyncpg.pool.PoolConnectionProxy"),
    methods={
        **_QUERIES,
        "prepare": MethodSpec(Effect.EXECUTE, returns=HandleKind.CURSOR, sql=0, sql_keyword="query"),
        "cursor": MethodSpec(Effect.EXECUTE, returns=HandleKind.CURSOR, sql=0, sql_keyword="query"),
        "transaction": makes(HandleKind.TRANSACTION),
        "reset": ROLLBACK,
        "close": CLOSE,
        "terminate": CLOSE,
        # These ask the catalogue, so they can fail like any statement.
        **methods(EXECUTE, "reset_type_codec set_builtin_type_codec set_type_codec add_listener remove_listener"),
        **methods(
            NEUTRAL,
            """add_log_listener add_query_logger add_termination_listener get_reset_query get_server_pid
            get_server_version get_settings is_closed is_in_transaction query_logger reload_schema_state
            remove_log_listener remove_query_logger remove_termination_listener""",
        ),
    },
    # Only what `pool.acquire()` returns can be entered.
    with_block=WithSpec(success=Effect.RELEASE, error=Effect.RELEASE, closes=True, is_async=True),
)

CURSOR = HandleSpec(
    kind=HandleKind.CURSOR,
    classes=(),
    async_classes=("asyncpg.cursor.Cursor", "asyncpg.prepared_stmt.PreparedStatement"),
    methods={
        **methods(EXECUTE, "executemany explain fetch fetchmany fetchrow fetchval forward"),
        "cursor": MethodSpec(Effect.EXECUTE, returns=HandleKind.CURSOR),
        **methods(NEUTRAL, "get_attributes get_name get_parameters get_query get_statusmsg"),
    },
)

TRANSACTION = HandleSpec(
    kind=HandleKind.TRANSACTION,
    classes=(),
    async_classes=("asyncpg.transaction.Transaction",),
    methods={"start": MethodSpec(Effect.BEGIN), "commit": COMMIT, "rollback": ROLLBACK},
    with_block=WithSpec(success=Effect.COMMIT, error=Effect.ROLLBACK, begins=True, is_async=True),
)

POOL = HandleSpec(
    kind=HandleKind.POOL,
    classes=(),
    async_classes=("asyncpg.Pool",),
    methods={
        **_QUERIES,
        "acquire": makes(HandleKind.CONNECTION),
        "release": RELEASE,
        "close": CLOSE,
        "terminate": CLOSE,
        **methods(
            NEUTRAL,
            """expire_connections get_idle_size get_init_size get_max_size get_min_size get_size is_closing
            set_connect_args""",
        ),
    },
    with_block=WithSpec(success=Effect.NEUTRAL, error=Effect.NEUTRAL, closes=True, is_async=True),
)


def _errors() -> dict[str, ErrorSpec]:
    rows = {
        "asyncpg.PostgresError": ErrorSpec((f"{_BASE}.PostgresMessage", "Exception"), covers=True),
        "asyncpg.InterfaceError": ErrorSpec((f"{_BASE}.InterfaceMessage", "Exception"), aborts=False),
        "asyncpg.ClientConfigurationError": ErrorSpec(("asyncpg.InterfaceError", "ValueError"), aborts=False),
    }
    for parent, names in ERROR_CLASSES.items():
        base = parent if parent == "Exception" else f"asyncpg.{parent}"
        for name in names.split():
            sent = not ({name, parent} & (_CLIENT_SIDE | _LOST))
            rows[f"asyncpg.{name}"] = ErrorSpec((base,), aborts=sent)
    return rows


_ERRORS = _errors()

ASYNCPG = DriverSpec(
    name="asyncpg",
    roots=("asyncpg",),
    constructors={
        "asyncpg.connect": ConstructorSpec(
            HandleKind.CONNECTION, {0: "dsn"}, keywords=frozenset({"timeout"}), is_async=True
        ),
        "asyncpg.create_pool": ConstructorSpec(
            HandleKind.POOL, {0: "dsn"}, keywords=frozenset({"timeout"}), is_async=True
        ),
    },
    handles={
        HandleKind.CONNECTION: CONNECTION,
        HandleKind.CURSOR: CURSOR,
        HandleKind.TRANSACTION: TRANSACTION,
        HandleKind.POOL: POOL,
    },
    errors=_ERRORS,
    base_error="asyncpg.PostgresError",
    aborts=True,
    keeps_lock=False,
    begins_on_read=True,
    server="PostgreSQL",
    default_autocommit=True,
    is_async=True,
    told_by_name=False,
    aliases={
        **moved((name.partition(".")[2] for name in _ERRORS), "asyncpg", "asyncpg.exceptions"),
        "asyncpg.connection.Connection": "asyncpg.Connection",
        "asyncpg.connection.connect": "asyncpg.connect",
        "asyncpg.pool.Pool": "asyncpg.Pool",
        "asyncpg.pool.create_pool": "asyncpg.create_pool",
    },
    aborted_error="current transaction is aborted, commands ignored until end of transaction block",
    connect_keyword="timeout",
    connect_limit=62,
    closed_attributes=("is_closed",),
    status_attributes=("is_in_transaction",),
    error_texts=POSTGRES_TEXTS,
    code_attributes=("sqlstate",),
    constraint_attribute="constraint_name",
)
"""asyncpg 0.30 and later. It has no `rollback()` of a connection; only `transaction()` opens a transaction."""
