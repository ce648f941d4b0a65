"""What servers say when a statement fails, and the code that tells the same without a text.

The texts are fixed parts of messages, in lower case. `tests/drivers` provokes the errors and compares text and code.
"""

from __future__ import annotations

from dbsafety.drivers.spec import ErrorText

SINCE_SQLITE_CODES = (3, 11)
"""The Python whose sqlite3 got `sqlite_errorcode` and `sqlite_errorname`."""


def _postgres(table: str) -> tuple[ErrorText, ...]:
    lines = (line.split(maxsplit=2) for line in table.strip().splitlines())
    return tuple(ErrorText(text, code, name) for code, name, text in lines)


POSTGRES_TEXTS = (
    *_postgres(
        """
        22001 StringDataRightTruncation value too long for type
        22003 NumericValueOutOfRange out of range
        22012 DivisionByZero division by zero
        22P02 InvalidTextRepresentation invalid input syntax for type
        23502 NotNullViolation violates not-null constraint
        23503 ForeignKeyViolation violates foreign key constraint
        23505 UniqueViolation duplicate key value violates unique constraint
        23514 CheckViolation violates check constraint
        25P02 InFailedSqlTransaction current transaction is aborted, commands ignored until end of transaction block
        40001 SerializationFailure could not serialize access due to
        40P01 DeadlockDetected deadlock detected
        42501 InsufficientPrivilege permission denied for
        42601 SyntaxError syntax error at or near
        42701 DuplicateColumn column of relation already exists
        42P07 DuplicateTable relation already exists
        42703 UndefinedColumn column does not exist
        42P01 UndefinedTable relation does not exist
        55P03 LockNotAvailable could not obtain lock on
        55P03 LockNotAvailable canceling statement due to lock timeout
        57014 QueryCanceled canceling statement due to statement timeout
        57014 QueryCanceled canceling statement due to user request
        """
    ),
    # A connection that fails, or is lost, gives no code with every version (fact B1e).
    *map(
        ErrorText,
        (
            "connection already closed",
            "connection refused",
            "connection timed out",
            "could not connect to server",
            "database does not exist",
            "eof detected",
            "no results to fetch",
            "password authentication failed",
            "role does not exist",
            "server closed the connection unexpectedly",
            "ssl connection has been closed unexpectedly",
            "terminating connection due to administrator command",
            "the connection is closed",
            "timeout expired",
            "too many clients already",
        ),
    ),
)
"""PostgreSQL: SQLSTATE, and the class that psycopg2 and psycopg make of it. Names of tables and columns are left out of
the texts; the last ones have no code that can be relied on."""


def _sqlite(text: str, name: str = "") -> ErrorText:
    return ErrorText(text, name, since=SINCE_SQLITE_CODES if name else None)


SQLITE_TEXTS = (
    _sqlite("database is locked", "SQLITE_BUSY"),
    _sqlite("database is locked", "SQLITE_BUSY_SNAPSHOT"),
    _sqlite("database table is locked", "SQLITE_LOCKED"),
    _sqlite("database table is locked", "SQLITE_LOCKED_SHAREDCACHE"),
    _sqlite("unique constraint failed", "SQLITE_CONSTRAINT_UNIQUE"),
    _sqlite("unique constraint failed", "SQLITE_CONSTRAINT_PRIMARYKEY"),
    _sqlite("not null constraint failed", "SQLITE_CONSTRAINT_NOTNULL"),
    _sqlite("check constraint failed", "SQLITE_CONSTRAINT_CHECK"),
    _sqlite("foreign key constraint failed", "SQLITE_CONSTRAINT_FOREIGNKEY"),
    _sqlite("attempt to write a readonly database", "SQLITE_READONLY"),
    _sqlite("unable to open database file", "SQLITE_CANTOPEN"),
    _sqlite("file is not a database", "SQLITE_NOTADB"),
    _sqlite("database disk image is malformed", "SQLITE_CORRUPT"),
    _sqlite("database or disk is full", "SQLITE_FULL"),
    # One code for all of them, SQLITE_ERROR: there the text is all there is.
    *map(
        _sqlite,
        (
            "already exists",
            "cannot commit - no transaction is active",
            "cannot rollback - no transaction is active",
            "cannot start a transaction within a transaction",
            "duplicate column name",
            "has no column named",
            "near syntax error",
            "no such column",
            "no such function",
            "no such index",
            "no such module",
            "no such savepoint",
            "no such table",
            "no such view",
        ),
    ),
)
"""SQLite: the name of the extended code, which is what `sqlite_errorname` holds; one text may have several."""
