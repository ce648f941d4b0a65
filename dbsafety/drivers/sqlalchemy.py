"""The table of SQLAlchemy 2: engines, connections, sessions (fact B10); failures do what they do on PostgreSQL."""

from __future__ import annotations

from dbsafety.drivers.dbapi import CLOSE, COMMIT, EXECUTE, NEUTRAL, ROLLBACK, UNKNOWN, makes, methods, moved, statement
from dbsafety.drivers.error_texts import POSTGRES_TEXTS, SQLITE_TEXTS
from dbsafety.drivers.spec import (
    AutocommitSwitch,
    ConstructorSpec,
    DriverSpec,
    Effect,
    ErrorSpec,
    HandleKind,
    HandleSpec,
    MethodSpec,
    RequestSpec,
    Switch,
    WithSpec,
)

_ASYNC = "sqlalchemy.ext.asyncio"
_EXC = "sqlalchemy.exc"
_FLASK = "flask_sqlalchemy.SQLAlchemy"
_BEGIN = MethodSpec(Effect.BEGIN, returns=HandleKind.TRANSACTION)
_SAVEPOINT = MethodSpec(Effect.BEGIN, returns=HandleKind.TRANSACTION, savepoint=True)
_OPTIONS = MethodSpec(Effect.AUTOCOMMIT, returns_self=True)
_RAW = MethodSpec(Effect.MAKE, returns=HandleKind.CONNECTION, lends="close", raw=True)
_POOLS = ("AssertionPool", "NullPool", "QueuePool", "SingletonThreadPool", "StaticPool")

FACTORY = HandleSpec(
    kind=HandleKind.FACTORY,
    classes=("sqlalchemy.engine.Engine", "sqlalchemy.orm.sessionmaker"),
    async_classes=(f"{_ASYNC}.AsyncEngine", f"{_ASYNC}.async_sessionmaker"),
    methods={
        "__call__": makes(HandleKind.CONNECTION),
        "connect": makes(HandleKind.CONNECTION),
        "begin": MethodSpec(Effect.MAKE, returns=HandleKind.TRANSACTION, enters=HandleKind.CONNECTION),
        "execution_options": _OPTIONS,
        "raw_connection": _RAW,
        **methods(
            NEUTRAL,
            """clear_compiled_cache configure dispose get_execution_options identity_key object_session
            update_execution_options""",
        ),
    },
)

CONNECTION = HandleSpec(
    kind=HandleKind.CONNECTION,
    classes=("sqlalchemy.engine.Connection", "sqlalchemy.orm.Session", "sqlalchemy.orm.scoped_session"),
    async_classes=(f"{_ASYNC}.AsyncConnection", f"{_ASYNC}.AsyncSession", f"{_ASYNC}.async_scoped_session"),
    methods={
        "__call__": MethodSpec(Effect.NEUTRAL, returns_self=True),
        # `exec` is sqlmodel's.
        **dict.fromkeys(("execute", "exec", "scalar", "scalars", "exec_driver_sql"), statement("statement")),
        **methods(statement("statement"), "stream stream_scalars"),
        # The unit of work: what these send is not in the text.
        **methods(
            MethodSpec(Effect.EXECUTE, writes=True),
            "bulk_insert_mappings bulk_save_objects bulk_update_mappings delete delete_all merge merge_all",
        ),
        **methods(EXECUTE, "flush get get_one refresh"),
        **methods(MethodSpec(Effect.NEUTRAL, writes=True), "add add_all"),
        "begin": _BEGIN,
        "begin_nested": _SAVEPOINT,
        "begin_twophase": _BEGIN,
        "commit": COMMIT,
        "rollback": ROLLBACK,
        # A closed session may be used again and then begins anew.
        **methods(CLOSE, "aclose close invalidate remove reset"),
        "connection": makes(HandleKind.CONNECTION),
        "execution_options": _OPTIONS,
        **methods(
            UNKNOWN,
            """close_all commit_prepared detach get_raw_connection prepare recover_twophase rollback_prepared
            run_sync""",
        ),
        "query": makes(HandleKind.CURSOR),
        **methods(
            NEUTRAL,
            """bind_mapper bind_table configure enable_relationship_loading expire expire_all expunge
            expunge_all get_async_bind get_bind get_execution_options get_isolation_level get_nested_transaction
            get_transaction identity_key in_nested_transaction in_transaction is_modified object_session
            query_property schema_for_object start""",
        ),
    },
    with_block=WithSpec(success=Effect.ROLLBACK, error=Effect.ROLLBACK, closes=True),
)

QUERY = HandleSpec(
    kind=HandleKind.CURSOR,
    classes=("sqlalchemy.orm.Query",),
    methods={
        **methods(MethodSpec(Effect.ASK), "all count first get one one_or_none scalar value values"),
        **methods(MethodSpec(Effect.EXECUTE, writes=True), "delete update"),
        **methods(
            MethodSpec(Effect.NEUTRAL, returns_self=True),
            """add_column add_columns add_entity apply_labels autoflush correlate distinct enable_assertions
            enable_eagerloads except_ except_all execution_options filter filter_by from_statement group_by having
            intersect intersect_all join limit offset only_return_tuples options order_by outerjoin params
            populate_existing prefix_with reset_joinpoint select_from set_label_style slice suffix_with tuples union
            union_all where with_entities with_for_update with_hint with_labels with_parent with_session
            with_statement_hint with_transformation yield_per""",
        ),
        **methods(
            NEUTRAL,
            """as_scalar cte exists ext get_children get_execution_options instances label memoized_instancemethod
            merge_result scalar_subquery subquery""",
        ),
    },
)

TRANSACTION = HandleSpec(
    kind=HandleKind.TRANSACTION,
    classes=(
        "sqlalchemy.engine.Transaction",
        "sqlalchemy.engine.RootTransaction",
        "sqlalchemy.engine.NestedTransaction",
        "sqlalchemy.orm.SessionTransaction",
    ),
    async_classes=(f"{_ASYNC}.AsyncTransaction", f"{_ASYNC}.AsyncSessionTransaction"),
    methods={
        "commit": COMMIT,
        "rollback": ROLLBACK,
        "close": ROLLBACK,
        **methods(NEUTRAL, "bound_connection connection declare_states prepare start"),
    },
    with_block=WithSpec(success=Effect.COMMIT, error=Effect.ROLLBACK, begins=True),
)

POOL = HandleSpec(
    kind=HandleKind.POOL,
    classes=("sqlalchemy.pool.Pool",),
    methods={"connect": _RAW, "dispose": CLOSE, **methods(NEUTRAL, "recreate status")},
)

_CHILDREN = {
    "SQLAlchemyError": """ArgumentError CircularDependencyError CompileError DisconnectionError IdentifierError
        InvalidRequestError StatementError TimeoutError""",
    "ArgumentError": """AmbiguousForeignKeysError ConstraintColumnNotFoundError DuplicateColumnError
        NoForeignKeysError NoSuchModuleError ObjectNotExecutableError""",
    "CompileError": "UnsupportedCompilationError",
    "DisconnectionError": "InvalidatePoolError",
    "InvalidRequestError": """AmbiguousColumnError AwaitRequired IllegalStateChangeError MissingGreenlet
        MultipleResultsFound NoDBAPILoaded NoInspectionAvailable NoReferenceError NoResultFound NoSuchTableError
        PendingRollbackError ResourceClosedError UnboundExecutionError UnreflectableTableError""",
    "NoReferenceError": "NoReferencedColumnError NoReferencedTableError",
    "StatementError": "DBAPIError",
    "DBAPIError": "DatabaseError InterfaceError",
    "DatabaseError": """DataError IntegrityError InternalError NotSupportedError OperationalError
        ProgrammingError""",
}
_COVERING = frozenset({"StatementError", "DBAPIError", "DatabaseError"})
_ERRORS = {
    f"{_EXC}.SQLAlchemyError": ErrorSpec((f"{_EXC}.HasDescriptionCode", "Exception"), covers=True),
    f"{_EXC}.EmulatedDBAPIException": ErrorSpec(("Exception",), aborts=False),
    f"{_EXC}.NoSuchColumnError": ErrorSpec((f"{_EXC}.InvalidRequestError", "KeyError"), aborts=False),
    **{
        f"{_EXC}.{name}": ErrorSpec(
            (f"{_EXC}.{parent}",), aborts=name in _COVERING or parent == "DatabaseError", covers=name in _COVERING
        )
        for parent, names in _CHILDREN.items()
        for name in names.split()
    },
}
_TRANSLATES = {"Error": f"{_EXC}.DBAPIError"} | {
    name: f"{_EXC}.{name}" for parent in ("DBAPIError", "DatabaseError") for name in _CHILDREN[parent].split()
}
_LEVELS = ("READ COMMITTED", "READ UNCOMMITTED", "REPEATABLE READ", "SERIALIZABLE", "SNAPSHOT")

SQLALCHEMY = DriverSpec(
    name="sqlalchemy",
    roots=("sqlalchemy", "sqlmodel"),
    constructors={
        "sqlalchemy.create_engine": ConstructorSpec(HandleKind.FACTORY, {0: "url"}),
        "sqlalchemy.orm.sessionmaker": ConstructorSpec(HandleKind.FACTORY, {0: "bind"}),
        "sqlalchemy.orm.Session": ConstructorSpec(HandleKind.CONNECTION, {0: "bind"}),
        "sqlalchemy.orm.scoped_session": ConstructorSpec(HandleKind.CONNECTION, {0: "session_factory"}),
        f"{_ASYNC}.create_async_engine": ConstructorSpec(HandleKind.FACTORY, {0: "url"}),
        f"{_ASYNC}.async_sessionmaker": ConstructorSpec(HandleKind.FACTORY, {0: "bind"}),
        f"{_ASYNC}.AsyncSession": ConstructorSpec(HandleKind.CONNECTION, {0: "bind"}),
        f"{_ASYNC}.async_scoped_session": ConstructorSpec(HandleKind.CONNECTION, {0: "session_factory"}),
        **{f"sqlalchemy.pool.{name}": ConstructorSpec(HandleKind.POOL, {0: "creator"}) for name in _POOLS},
    },
    handles={
        HandleKind.FACTORY: FACTORY,
        HandleKind.CONNECTION: CONNECTION,
        HandleKind.CURSOR: QUERY,
        HandleKind.TRANSACTION: TRANSACTION,
        HandleKind.POOL: POOL,
    },
    errors=_ERRORS,
    base_error=f"{_EXC}.SQLAlchemyError",
    aborts=True,
    keeps_lock=False,
    begins_on_read=True,
    server="the database",
    autocommit=(
        AutocommitSwitch(Switch.KEYWORD, "isolation_level", on=("AUTOCOMMIT",), off=_LEVELS),
        AutocommitSwitch(
            Switch.METHOD, "execution_options", on=("AUTOCOMMIT",), off=_LEVELS, keyword="isolation_level"
        ),
    ),
    aliases={
        **moved(("Engine", "Connection", "Transaction"), "sqlalchemy.engine", "sqlalchemy", "sqlalchemy.engine.base"),
        **moved(("Session", "sessionmaker"), "sqlalchemy.orm", "sqlalchemy.orm.session"),
        **moved(("Query",), "sqlalchemy.orm", "sqlalchemy.orm.query"),
        **moved(("scoped_session",), "sqlalchemy.orm", "sqlalchemy.orm.scoping"),
        **moved(("NoResultFound", "MultipleResultsFound"), _EXC, "sqlalchemy.orm.exc"),
        **moved(("Pool", *_POOLS), "sqlalchemy.pool", "sqlalchemy", "sqlalchemy.pool.impl"),
        **moved(("Pool",), "sqlalchemy.pool", "sqlalchemy.pool.base"),
        "sqlalchemy.engine.create_engine": "sqlalchemy.create_engine",
    },
    aborted_error="Can't reconnect until invalid transaction is rolled back",
    exhausted_error="QueuePool limit of size",
    closed_attributes=("closed",),
    status_attributes=("is_active",),
    error_texts=POSTGRES_TEXTS + SQLITE_TEXTS,
    code_attributes=("orig",),
    commit_fails_open=True,
    family="DBS112",
    told_by_name=False,
    kin={
        "sqlmodel.Session": "sqlalchemy.orm.Session",
        "sqlmodel.orm.session.Session": "sqlalchemy.orm.Session",
        "sqlmodel.ext.asyncio.session.AsyncSession": f"{_ASYNC}.AsyncSession",
        "sqlmodel.create_engine": "sqlalchemy.create_engine",
        **dict.fromkeys(
            ("flask_sqlalchemy.extension.SQLAlchemy", "flask.ext.sqlalchemy.SQLAlchemy", "flask_appbuilder.SQLA"),
            _FLASK,
        ),
    },
    request_objects={
        f"{_FLASK}.session": RequestSpec(HandleKind.CONNECTION, f"{_FLASK}.session"),
        f"{_FLASK}.Model.query": RequestSpec(HandleKind.CURSOR, f"{_FLASK}.session"),
    },
    translates=_TRANSLATES,
    sql_wrappers=("sqlalchemy.text", "sqlalchemy.sql.text", "sqlalchemy.sql.expression.text"),
)
"""SQLAlchemy 2.1, with the names of 2.0."""
