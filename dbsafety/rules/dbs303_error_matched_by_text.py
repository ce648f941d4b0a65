"""The kind of a database error is told by its text.

## What it finds
A test of `str(error)`, `error.args[0]` or `error.pgerror`, by `in`, `==`, `startswith`, `find` or a regular
expression, where the error is sure to be a driver's (by the class of the `except` clause, by `isinstance`, or by the
annotation of a parameter) and the text is part of a message that has a code of its own. So is the name of a constraint,
where the clause catches nothing but violated constraints of PostgreSQL.

It is quiet where the code is asked for too, and where there is nothing better than the text: SQLite's "no such table",
its names of columns behind "UNIQUE constraint failed", errors of opening a connection, and SQLite's errors on Python
3.10 and older. The setting `target-python`, or `requires-python` of pyproject.toml, says which Python the code runs on;
where neither does, a finding about SQLite has low confidence.

## Why it matters
The text quotes names and values. A row that breaks a CHECK constraint fails with `DETAIL: Failing row contains
(duplicate key)`, and a test for "duplicate key" takes it for one that is there already: the row is lost without a word.
In SQLite `no such table: locked_doors` holds the word "locked", and is tried again for ever. The code names the kind
and nothing else: `pgcode` of psycopg2, `sqlstate` of psycopg and asyncpg, a class for each of them, and from Python
3.11 on `sqlite_errorname`.

## Example
```python
import psycopg2
from psycopg2.extensions import connection


def add(conn: connection, name: str) -> bool:
    try:
        with conn.cursor() as cur:
            cur.execute("INSERT INTO item (name) VALUES (%s)", (name,))
    except psycopg2.Error as error:
        conn.rollback()
        if "duplicate key" in str(error):
            return False
        raise
    return True
```

## Use instead
```python
import psycopg2
from psycopg2.extensions import connection


def add(conn: connection, name: str) -> bool:
    try:
        with conn.cursor() as cur:
            cur.execute("INSERT INTO item (name) VALUES (%s)", (name,))
    except psycopg2.Error as error:
        conn.rollback()
        if error.pgcode == "23505":
            return False
        raise
    return True
```

## Fix
None: which code is meant is told by the message, but not how the rest of the handler should change. A lost connection
has no code with psycopg2 2.9; ask `conn.closed` there.

## Limits
Off by default: in the code it was tried on (22 repositories, 5 findings) it was too rare to measure. Helper functions
whose parameter has no annotation, and `except Exception` without `isinstance`, are not seen. The errors that Python's
sqlite3 raises itself, of a closed connection say, have no `sqlite_errorname`. That name is the extended one, and a text
may have several: "database is locked" is SQLITE_BUSY or SQLITE_BUSY_SNAPSHOT, "UNIQUE constraint failed" is
SQLITE_CONSTRAINT_UNIQUE or, for the primary key, SQLITE_CONSTRAINT_PRIMARYKEY. `error.sqlite_errorcode & 0xFF` is
`sqlite3.SQLITE_BUSY` for both of the first, and that of every constraint for the others.
"""

from __future__ import annotations

from collections.abc import Iterator

from dbsafety.model.finding import Confidence, Finding, Severity, Step
from dbsafety.model.span import Span
from dbsafety.rules.rule import Rule
from dbsafety.rules.wording import call_text, handler_text, span_of
from dbsafety.views.texts import TextTest, text_tests
from dbsafety.views.view import FunctionView

RULE = Rule(
    code="DBS303",
    slug="error-matched-by-text",
    summary="the kind of a database error is told by its text",
    severity=Severity.WARNING,
    drivers=("psycopg2", "psycopg", "asyncpg", "sqlite3", "aiosqlite", "sqlalchemy", "django"),
    pylint_id="W5733",
    since="0.1",
    default=False,
)
_CODES = 4
"""So many codes are named at most: each of those that SQLite has for a text with "locked"."""


def check(view: FunctionView) -> Iterator[Finding]:
    """A finding at the first test of the text in each handler."""
    for test in text_tests(view):
        confidence = Confidence.MEDIUM if test.spec.family else Confidence.HIGH
        trace = [Step(view.path, Span.of(test.node), "tells the kind of the error by its text")]
        if test.handler is not None:
            trace.insert(0, Step(view.path, span_of(test.handler), f"caught by {handler_text(test.handler)}"))
        yield RULE.at(
            view.path,
            Span.of(test.node),
            f"{call_text(view, test.node)} tells the kind of the error by its text",
            consequence="names and values stand in that text as well",
            remedy=_cure(test),
            confidence=confidence if test.sure else Confidence.LOW,
            trace=tuple(trace),
            scope=view.name,
        )


def _cure(test: TextTest) -> str:
    if test.constraint:
        return f"ask `{test.name}.{test.spec.constraint_attribute}` for the constraint that is violated"
    asked = f"{test.name}.{test.spec.code_attributes[0]}"
    codes = ", ".join(dict.fromkeys(one.code for one in test.known[:_CODES]))
    if test.spec.family:
        return f"ask `{asked}`, the driver's own error, for its class or its code ({codes})"
    classes = (f"{test.spec.name}.errors.{one.name}" for one in test.known)
    named = next((name for name in classes if name in test.spec.errors), None) if len(test.known) == 1 else None
    since = test.known[0].since
    version = f", from Python {since[0]}.{since[1]} on" if since is not None else ""
    return f"ask `{asked}` ({codes}{version})" + (f" or catch `{named}`" if named is not None else "")
