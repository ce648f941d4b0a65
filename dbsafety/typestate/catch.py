"""Which exceptions a handler catches: never, perhaps or surely, by kind of what is in flight."""

from __future__ import annotations

import ast
import builtins
from enum import Enum

from dbsafety.drivers.spec import DriverSpec
from dbsafety.facts.scopes import Scope
from dbsafety.typestate.automaton import Raised
from dbsafety.typestate.values import Class, Evaluator, External, Items, Value


class Match(Enum):
    """How sure it is that a clause catches."""

    NO = 0
    MAYBE = 1
    SURE = 2


_DBAPI_NAMES = frozenset(
    {"Error", "DatabaseError", "OperationalError", "IntegrityError", "ProgrammingError", "DataError", "InternalError"}
)
_BASE_ONLY = frozenset({"KeyboardInterrupt", "SystemExit", "GeneratorExit", "asyncio.CancelledError"})
_MYSQL = frozenset({"MySQLdb", "pymysql", "aiomysql", "asyncmy", "mysql", "mariadb"})
_OTHER_SQL = frozenset({"oracledb", "cx_Oracle", "pyodbc", "aioodbc", "pymssql", "ibm_db_dbi", "duckdb"})
_OTHERS = frozenset(
    {"duckdb", "snowflake", "clickhouse_driver", "trino", "redshift_connector", "pg8000", "apsw", "fdb", "hdbcli"}
)
_OTHER_DATABASES = _MYSQL | _OTHER_SQL | _OTHERS
"""Modules with error classes of their own, which no error of a driver that a table knows is an instance of."""


def clause_matches(resolver: Evaluator, node: ast.expr | None, scope: Scope, spec: DriverSpec, raised: Raised) -> Match:
    """How an `except` clause with the type expression `node` (None: bare) meets an exception of kind `raised`."""
    if node is None:
        return Match.SURE
    if isinstance(node, ast.Tuple):
        return _best([clause_matches(resolver, element, scope, spec, raised) for element in node.elts])
    values = resolver.evaluate(node, scope)
    if not values:
        return _by_spelling(node, raised)
    return _best([_value_matches(resolver, value, node, spec, raised) for value in values])


def _best(matches: list[Match]) -> Match:
    return max(matches, key=lambda match: match.value, default=Match.NO)


def _value_matches(resolver: Evaluator, value: Value, node: ast.expr, spec: DriverSpec, raised: Raised) -> Match:
    match value:
        case Items(items=items):
            inner = [_value_matches(resolver, v, node, spec, raised) for element in items for v in element]
            return _best(inner)
        case External(dotted=dotted):
            return _external_matches(resolver, dotted, spec, raised)
        case Class():
            return Match.MAYBE if raised is Raised.OTHER else Match.NO
    return Match.NO


def _external_matches(resolver: Evaluator, dotted: str, spec: DriverSpec, raised: Raised) -> Match:
    if dotted == "BaseException":
        return Match.SURE
    if dotted == "Exception":
        return Match.NO if raised is Raised.BASE else Match.SURE
    if dotted in _BASE_ONLY:
        return Match.MAYBE if raised is Raised.BASE else Match.NO
    own = spec.errors.get(dotted)
    if own is not None and raised is Raised.DB:
        if own.covers:
            return Match.SURE
        return Match.MAYBE if own.aborts else Match.NO
    if resolver.table.error(dotted) is not None:
        return Match.MAYBE if raised is Raised.OTHER else Match.NO
    if raised is Raised.BASE:
        return Match.MAYBE if dotted.endswith("CancelledError") else Match.NO
    if raised is Raised.DB:
        foreign = hasattr(builtins, dotted) or dotted.partition(".")[0] in _OTHER_DATABASES
        return Match.NO if foreign else _dbapi_name(dotted.rpartition(".")[2])
    return Match.MAYBE


def _by_spelling(node: ast.expr, raised: Raised) -> Match:
    if raised is Raised.DB:
        return _dbapi_name(node.attr) if isinstance(node, ast.Attribute) else Match.NO
    return Match.MAYBE if raised is Raised.OTHER else Match.NO


def _dbapi_name(name: str) -> Match:
    """An error class of unknown origin with a name of the DB-API (PEP 249) may be the driver's."""
    return Match.MAYBE if name in _DBAPI_NAMES else Match.NO
