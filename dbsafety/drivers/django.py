"""The table of Django's database layer: `connection`, cursors, `atomic` (facts B2, B10c)."""

from __future__ import annotations

from dbsafety.drivers.dbapi import (
    AUTOCOMMIT,
    CLOSE,
    COMMIT,
    FETCH,
    NEUTRAL,
    ROLLBACK,
    UNKNOWN,
    last_part,
    makes,
    methods,
    moved,
    standard_errors,
    statement,
)
from dbsafety.drivers.error_texts import POSTGRES_TEXTS, SQLITE_TEXTS
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

_TRANSACTION = "django.db.transaction"
_STANDARD = {name: row for name, row in standard_errors("django.db").items() if not name.endswith(".Warning")}

CONNECTION = HandleSpec(
    kind=HandleKind.CONNECTION,
    classes=("django.db.backends.base.base.BaseDatabaseWrapper",),
    methods={
        "cursor": makes(HandleKind.CURSOR),
        "chunked_cursor": makes(HandleKind.CURSOR),
        "create_cursor": makes(HandleKind.CURSOR),
        "make_cursor": makes(HandleKind.CURSOR),
        "make_debug_cursor": makes(HandleKind.CURSOR),
        "commit": COMMIT,
        "rollback": ROLLBACK,
        "close": CLOSE,
        "set_autocommit": AUTOCOMMIT,
        # Savepoints, the mark for a rollback and what the framework does by itself between requests.
        **methods(
            UNKNOWN,
            """check_constraints clean_savepoints close_if_health_check_failed close_if_unusable_or_obsolete connect
            constraint_checks_disabled ensure_connection run_and_clear_commit_hooks savepoint savepoint_commit
            savepoint_rollback schema_editor set_rollback temporary_connection""",
        ),
        **methods(
            NEUTRAL,
            """check_database_version_supported check_settings copy dec_thread_sharing disable_constraint_checking
            enable_constraint_checking ensure_timezone execute_wrapper get_autocommit get_connection_params
            get_database_version get_new_connection get_rollback inc_thread_sharing init_connection_state is_usable
            on_commit prepare_database validate_no_atomic_block validate_no_broken_transaction
            validate_thread_sharing""",
        ),
    },
)

CURSOR = HandleSpec(
    kind=HandleKind.CURSOR,
    classes=("django.db.backends.utils.CursorWrapper", "django.db.backends.utils.CursorDebugWrapper"),
    methods={
        "execute": statement("sql"),
        "executemany": statement("sql", many=True),
        "callproc": MethodSpec(Effect.EXECUTE),
        # The driver's own cursor answers to these.
        **methods(FETCH, "fetchall fetchmany fetchone"),
        **methods(NEUTRAL, "close debug_sql"),
    },
    with_block=WithSpec(success=Effect.NEUTRAL, error=Effect.NEUTRAL, closes=True),
)

TRANSACTION = HandleSpec(
    kind=HandleKind.TRANSACTION,
    classes=(f"{_TRANSACTION}.Atomic",),
    methods={},
    with_block=WithSpec(success=Effect.COMMIT, error=Effect.ROLLBACK, begins=True),
)


def _function(effect: Effect) -> FunctionSpec:
    return FunctionSpec(effect, handle=None)


DJANGO = DriverSpec(
    name="django",
    roots=("django.db",),
    constructors={
        f"{_TRANSACTION}.atomic": ConstructorSpec(HandleKind.TRANSACTION, {0: "using", 1: "savepoint", 2: "durable"}),
        f"{_TRANSACTION}.get_connection": ConstructorSpec(HandleKind.CONNECTION, {0: "using"}),
    },
    handles={
        HandleKind.CONNECTION: CONNECTION,
        HandleKind.CURSOR: CURSOR,
        HandleKind.TRANSACTION: TRANSACTION,
    },
    errors={
        **_STANDARD,
        f"{_TRANSACTION}.TransactionManagementError": ErrorSpec(("django.db.ProgrammingError",)),
    },
    base_error="django.db.Error",
    aborts=True,
    keeps_lock=False,
    begins_on_read=True,
    server="the database",
    functions={
        f"{_TRANSACTION}.commit": _function(Effect.COMMIT),
        f"{_TRANSACTION}.rollback": _function(Effect.ROLLBACK),
        f"{_TRANSACTION}.set_autocommit": _function(Effect.AUTOCOMMIT),
        f"{_TRANSACTION}.on_commit": _function(Effect.NEUTRAL),
        f"{_TRANSACTION}.get_autocommit": _function(Effect.NEUTRAL),
        f"{_TRANSACTION}.get_rollback": _function(Effect.NEUTRAL),
        **dict.fromkeys(
            (
                f"{_TRANSACTION}.{name}"
                for name in (
                    "clean_savepoints",
                    "mark_for_rollback_on_error",
                    "savepoint",
                    "savepoint_commit",
                    "savepoint_rollback",
                    "set_rollback",
                )
            ),
            _function(Effect.UNKNOWN),
        ),
        "django.db.close_old_connections": _function(Effect.UNKNOWN),
        "django.db.reset_queries": _function(Effect.NEUTRAL),
    },
    autocommit=(
        AutocommitSwitch(Switch.METHOD, "set_autocommit", on=(True,), off=(False,), keyword="autocommit", position=0),
    ),
    default_autocommit=True,
    aliases={
        **moved(map(last_part, _STANDARD), "django.db", "django.db.utils"),
        **moved(("Error", "DatabaseError", "ProgrammingError"), "django.db", _TRANSACTION),
        f"{_TRANSACTION}.connections": "django.db.connections",
    },
    aborted_error=(
        "An error occurred in the current transaction. You can't execute queries until the end of the 'atomic' block."
    ),
    status_attributes=("get_rollback", "in_atomic_block", "needs_rollback"),
    error_texts=POSTGRES_TEXTS + SQLITE_TEXTS,
    code_attributes=("__cause__",),
    family="DBS111",
    told_by_name=False,
    # `get_or_create` and `update_or_create` protect themselves by a savepoint.
    sends=frozenset(
        {"abulk_create", "abulk_update", "acreate", "adelete", "asave", "bulk_create", "bulk_update", "callproc"}
        | {"create", "delete", "execute", "executemany", "save"}
    ),
    objects={"django.db.connection": HandleKind.CONNECTION},
    containers={"django.db.connections": HandleKind.CONNECTION},
)
"""Django 4.2 to 6.1. Outside `atomic` every statement commits by itself."""
