"""The table of psycopg2: connections, cursors, pools and errors (facts B1 to B5, B7, B11, B13, B15)."""

from __future__ import annotations

from dbsafety.drivers.dbapi import (
    AUTOCOMMIT,
    CLOSE,
    COMMIT,
    EXECUTE,
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
from dbsafety.drivers.sqlstates import PSYCOPG2 as SQLSTATE_CLASSES
from dbsafety.drivers.sqlstates import sqlstate_errors

_EXTENSIONS = "psycopg2.extensions"
_EXTRAS = "psycopg2.extras"
_STANDARD = standard_errors("psycopg2")
_EXTENSION_ERRORS = ("QueryCanceledError", "TransactionRollbackError")

CONNECTION = HandleSpec(
    kind=HandleKind.CONNECTION,
    classes=(
        f"{_EXTENSIONS}.connection",
        f"{_EXTRAS}.DictConnection",
        f"{_EXTRAS}.LoggingConnection",
        f"{_EXTRAS}.MinTimeLoggingConnection",
        f"{_EXTRAS}.NamedTupleConnection",
        f"{_EXTRAS}.RealDictConnection",
    ),
    methods={
        "cursor": makes(HandleKind.CURSOR, server_side="name"),
        "commit": COMMIT,
        "rollback": ROLLBACK,
        "reset": ROLLBACK,
        "close": CLOSE,
        "set_session": AUTOCOMMIT,
        "set_isolation_level": MethodSpec(Effect.AUTOCOMMIT, rolls_back=True),
        "lobject": EXECUTE,
        "tpc_begin": MethodSpec(Effect.BEGIN),
        "tpc_commit": COMMIT,
        "tpc_rollback": ROLLBACK,
        # Leave no transaction of their own behind, or end the one there is only at times.
        **methods(UNKNOWN, "poll set_client_encoding tpc_prepare tpc_recover"),
        **methods(
            NEUTRAL,
            """cancel fileno get_backend_pid get_dsn_parameters get_native_connection get_parameter_status
            get_transaction_status isexecuting xid""",
        ),
    },
    with_block=WithSpec(success=Effect.COMMIT, error=Effect.ROLLBACK, begins=True),
)

CURSOR = HandleSpec(
    kind=HandleKind.CURSOR,
    classes=(
        f"{_EXTENSIONS}.cursor",
        f"{_EXTRAS}.DictCursor",
        f"{_EXTRAS}.DictCursorBase",
        f"{_EXTRAS}.LoggingCursor",
        f"{_EXTRAS}.MinTimeLoggingCursor",
        f"{_EXTRAS}.NamedTupleCursor",
        f"{_EXTRAS}.RealDictCursor",
    ),
    methods={
        "execute": statement("query"),
        "executemany": statement("query", many=True),
        "copy_expert": statement("sql"),
        **methods(EXECUTE, "callproc copy_from copy_to"),
        **methods(FETCH, "fetchall fetchmany fetchone nextset scroll"),
        **methods(NEUTRAL, "cast close mogrify setinputsizes setoutputsize"),
    },
    attributes={"connection": HandleKind.CONNECTION},
    with_block=WithSpec(success=Effect.NEUTRAL, error=Effect.NEUTRAL, closes=True),
)

POOL = HandleSpec(
    kind=HandleKind.POOL,
    classes=tuple(f"psycopg2.pool.{name}ConnectionPool" for name in ("Abstract", "Simple", "Threaded")),
    methods={"getconn": makes(HandleKind.CONNECTION, lends="putconn"), "putconn": RELEASE, "closeall": CLOSE},
)

_TIMEOUT = frozenset({"connect_timeout"})
_CONNECT = ConstructorSpec(
    HandleKind.CONNECTION, {0: "dsn", 1: "connection_factory", 2: "cursor_factory"}, keywords=_TIMEOUT
)
_CLASS = ConstructorSpec(HandleKind.CONNECTION, {0: "dsn"})
_POOL = ConstructorSpec(HandleKind.POOL, {0: "minconn", 1: "maxconn", 2: "dsn"}, keywords=_TIMEOUT)

_BATCH = FunctionSpec(Effect.EXECUTE, handle=0, sql=1)
# Ask the catalogue and put the transaction back as it was; what they fail with is raised by the client.
_LOOKUP = FunctionSpec(Effect.FETCH, handle=0)
_CONSTANTS = {
    **{
        f"{_EXTENSIONS}.ISOLATION_LEVEL_{name}": value
        for name, value in (
            ("AUTOCOMMIT", 0),
            ("READ_COMMITTED", 1),
            ("REPEATABLE_READ", 2),
            ("SERIALIZABLE", 3),
            ("READ_UNCOMMITTED", 4),
            ("DEFAULT", None),
        )
    },
    **{
        f"{_EXTENSIONS}.TRANSACTION_STATUS_{name}": value
        for value, name in enumerate(("IDLE", "ACTIVE", "INTRANS", "INERROR", "UNKNOWN"))
    },
    **{
        f"{_EXTENSIONS}.STATUS_{name}": value
        for name, value in (("SETUP", 0), ("READY", 1), ("BEGIN", 2), ("IN_TRANSACTION", 2), ("PREPARED", 5))
    },
}
_LEVELS_ON = (0, f"{_EXTENSIONS}.ISOLATION_LEVEL_AUTOCOMMIT")
_LEVELS_OFF = (
    *(1, 2, 3, 4, None),
    *(name for name in _CONSTANTS if ".ISOLATION_LEVEL_" in name and name not in _LEVELS_ON),
)

PSYCOPG2 = DriverSpec(
    name="psycopg2",
    roots=("psycopg2",),
    constructors={
        "psycopg2.connect": _CONNECT,
        **dict.fromkeys(CONNECTION.classes, _CLASS),
        "psycopg2.pool.SimpleConnectionPool": _POOL,
        "psycopg2.pool.ThreadedConnectionPool": _POOL,
    },
    handles={HandleKind.CONNECTION: CONNECTION, HandleKind.CURSOR: CURSOR, HandleKind.POOL: POOL},
    errors={
        **_STANDARD,
        **{f"{_EXTENSIONS}.{name}": ErrorSpec(("psycopg2.OperationalError",)) for name in _EXTENSION_ERRORS},
        **sqlstate_errors("psycopg2.errors", SQLSTATE_CLASSES),
        "psycopg2.pool.PoolError": ErrorSpec(("psycopg2.Error",), aborts=False),
    },
    base_error="psycopg2.Error",
    aborts=True,
    keeps_lock=False,
    begins_on_read=True,
    server="PostgreSQL",
    functions={
        f"{_EXTRAS}.execute_values": _BATCH,
        f"{_EXTRAS}.execute_batch": _BATCH,
        f"{_EXTRAS}.register_hstore": _LOOKUP,
        f"{_EXTRAS}.register_json": _LOOKUP,
        f"{_EXTRAS}.register_composite": FunctionSpec(Effect.FETCH, handle=1),
        f"{_EXTRAS}.register_range": FunctionSpec(Effect.FETCH, handle=2),
        f"{_EXTRAS}.register_default_json": FunctionSpec(Effect.NEUTRAL, handle=0),
        f"{_EXTRAS}.register_default_jsonb": FunctionSpec(Effect.NEUTRAL, handle=0),
        f"{_EXTRAS}.register_inet": FunctionSpec(Effect.NEUTRAL, handle=1),
        f"{_EXTRAS}.register_ipaddress": FunctionSpec(Effect.NEUTRAL, handle=0),
        f"{_EXTRAS}.register_uuid": FunctionSpec(Effect.NEUTRAL, handle=1),
        f"{_EXTRAS}.wait_select": FunctionSpec(Effect.NEUTRAL, handle=0),
        f"{_EXTENSIONS}.quote_ident": FunctionSpec(Effect.NEUTRAL, handle=1),
        f"{_EXTENSIONS}.register_type": FunctionSpec(Effect.NEUTRAL, handle=1),
        f"{_EXTENSIONS}.register_adapter": FunctionSpec(Effect.NEUTRAL, handle=None),
    },
    autocommit=(
        # An asynchronous connection commits by itself, always.
        AutocommitSwitch(Switch.KEYWORD, "async_", on=(True, 1), off=(False, 0)),
        AutocommitSwitch(Switch.KEYWORD, "async", on=(True, 1), off=(False, 0)),
        AutocommitSwitch(Switch.ATTRIBUTE, "autocommit", on=(True, 1), off=(False, 0)),
        AutocommitSwitch(Switch.METHOD, "set_session", on=(True, 1), off=(False, 0), keyword="autocommit", position=3),
        AutocommitSwitch(Switch.METHOD, "set_isolation_level", on=_LEVELS_ON, off=_LEVELS_OFF, position=0),
    ),
    with_begins_in_autocommit=True,
    rollback_in_autocommit=False,
    rollback_after_begin=False,
    constants=_CONSTANTS,
    aliases={
        **moved(map(last_part, _STANDARD), "psycopg2", "psycopg2._psycopg", "psycopg2.errors"),
        **moved(
            ("QueryCanceledError", "TransactionRollbackError"), _EXTENSIONS, "psycopg2._psycopg", "psycopg2.errors"
        ),
        **moved(("connection", "cursor"), _EXTENSIONS, "psycopg2._psycopg"),
        **moved(("quote_ident",), _EXTENSIONS, _EXTRAS, "psycopg2._psycopg"),
        f"{_EXTRAS}._connection": f"{_EXTENSIONS}.connection",
        f"{_EXTRAS}._cursor": f"{_EXTENSIONS}.cursor",
    },
    aborted_error="current transaction is aborted, commands ignored until end of transaction block",
    connect_keyword="connect_timeout",
    connect_unlimited=frozenset({"async", "async_"}),
    exhausted_error="connection pool exhausted",
    closed_attributes=("closed",),
    status_attributes=("info.transaction_status", "get_transaction_status"),
    sql_wrappers=("psycopg2.sql.SQL",),
    error_texts=POSTGRES_TEXTS,
    code_attributes=("pgcode", "diag"),
    constraint_attribute="diag.constraint_name",
)
"""psycopg2 2.9. Before 2.9, `with connection` opened no transaction in autocommit mode (fact B4d)."""
