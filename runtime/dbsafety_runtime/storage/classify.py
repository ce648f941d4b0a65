"""Classify driver failures by SQLSTATE or SQLite result code, never by text."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Final

from dbsafety_runtime.storage.errors import Fault, StorageFault

CLASSES: Final[Mapping[Fault, type[StorageFault]]] = {kind.fault: kind for kind in StorageFault.__subclasses__()}

# PostgreSQL, appendix "Error Codes": exact codes first, then two-letter classes.
SQLSTATES: Final[Mapping[str, Fault]] = {
    "40001": Fault.RETRY,  # serialization_failure
    "40P01": Fault.RETRY,  # deadlock_detected
    "40003": Fault.COMMIT_UNKNOWN,  # statement_completion_unknown
    "55P03": Fault.RETRY,  # lock_not_available
    "57014": Fault.RETRY,  # query_canceled: statement_timeout or an operator
    "08007": Fault.COMMIT_UNKNOWN,  # transaction_resolution_unknown
    "25006": Fault.RESOURCE,  # read_only_sql_transaction: a standby, or a server in recovery
    "25P02": Fault.BUG,  # in_failed_sql_transaction
    "25P03": Fault.RECONNECT,  # idle_in_transaction_session_timeout
    "P0001": Fault.REJECTED,  # raise_exception
}
SQLSTATE_CLASSES: Final[Mapping[str, Fault]] = {
    "08": Fault.RECONNECT,
    "22": Fault.REJECTED,
    "23": Fault.REJECTED,
    "44": Fault.REJECTED,
    "53": Fault.RESOURCE,
    "54": Fault.REJECTED,
    "57": Fault.RECONNECT,
    "58": Fault.RESOURCE,
}

# SQLite primary result codes (sqlite.org/rescode.html); the extended code's low byte.
SQLITE_CODES: Final[Mapping[int, Fault]] = {
    5: Fault.RETRY,  # BUSY
    6: Fault.RETRY,  # LOCKED
    7: Fault.RESOURCE,  # NOMEM
    8: Fault.RESOURCE,  # READONLY
    9: Fault.RETRY,  # INTERRUPT
    10: Fault.RESOURCE,  # IOERR
    13: Fault.RESOURCE,  # FULL
    14: Fault.RESOURCE,  # CANTOPEN
    18: Fault.REJECTED,  # TOOBIG
    19: Fault.REJECTED,  # CONSTRAINT
    20: Fault.REJECTED,  # MISMATCH
}


def classify_sqlstate(sqlstate: str | None, *, closed: bool) -> Fault:
    """Return the class of a PostgreSQL failure.

    `closed` says whether the session is gone after it: psycopg2 reports a lost session with no SQLSTATE at all (fact
    B1e), so the state of the connection decides first. Without both, the driver itself refused the call: our bug.
    """
    code = sqlstate or ""
    return SQLSTATES.get(code) or SQLSTATE_CLASSES.get(code[:2]) or (Fault.RECONNECT if closed else Fault.BUG)


def classify_sqlite(error: sqlite3.Error) -> Fault:
    """Return the class of a SQLite failure; Python 3.10 gives no result code, there the exception class decides."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return SQLITE_CODES.get(code & 0xFF, Fault.BUG)
    if isinstance(error, sqlite3.IntegrityError | sqlite3.DataError):
        return Fault.REJECTED
    return Fault.RETRY if isinstance(error, sqlite3.OperationalError) else Fault.BUG


def fault_of(fault: Fault, message: str, code: str | None = None) -> StorageFault:
    """Return the exception that stands for `fault`, with the first line of the driver's message."""
    lines = message.strip().splitlines()
    return CLASSES[fault](lines[0] if lines else fault.value, code)
