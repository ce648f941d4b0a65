"""The rows of a RETURNING are not fetched before the commit, which then fails.

## What it finds
An INSERT, UPDATE or DELETE with RETURNING on a cursor that is still there, and a commit that is reached before anybody
has fetched its rows: `commit()`, `COMMIT` as text, the end of `with conn:`.

It is quiet when the cursor was used in any way in between, was closed or bound anew, when no name holds it (it is then
dropped at once), after a rollback, and when the connection commits by itself.

## Why it matters
SQLite counts a statement that has rows left as running, and refuses to commit: `sqlite3.OperationalError: cannot commit
transaction - SQL statements in progress`. The transaction stays open, with its lock; at the end of `with conn:` it is
rolled back, and the rows are lost. The error comes from the commit, not from the statement that is the cause, and it
comes only when there was a row to return.

## Example
```python
import sqlite3


def add(conn: sqlite3.Connection, name: str) -> None:
    cur = conn.execute("INSERT INTO item (name) VALUES (?) RETURNING id", (name,))
    conn.commit()
    print("added", cur.fetchone())
```

## Use instead
```python
import sqlite3


def add(conn: sqlite3.Connection, name: str) -> None:
    cur = conn.execute("INSERT INTO item (name) VALUES (?) RETURNING id", (name,))
    row = cur.fetchone()
    conn.commit()
    print("added", row)
```

## Fix
None: what is to be done with the rows is not known.

## Limits
Off by default. One `fetchone()` is taken for enough, though with more than one row it is not. With aiosqlite a cursor
that no name holds stays there until the next call of the connection, so that a commit right after it fails too; that is
not seen. Nor is it that on a connection which commits by itself the row is stored, and the lock given back, only when
the rows are fetched or the cursor is gone.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dbsafety.model.finding import Finding, Severity, Step
from dbsafety.model.span import Span
from dbsafety.rules.rule import Rule
from dbsafety.rules.wording import call_text, span_of
from dbsafety.views.unfetched import unfetched
from dbsafety.views.view import FunctionView

RULE = Rule(
    code="DBS306",
    slug="unfetched-returning",
    summary="the rows of a RETURNING are not fetched before the commit, which then fails",
    severity=Severity.WARNING,
    drivers=("sqlite3", "aiosqlite"),
    pylint_id="W5736",
    since="0.1",
    default=False,
)


def check(view: FunctionView) -> Iterator[Finding]:
    """A finding at each such statement."""
    for found in unfetched(view):
        is_block = isinstance(found.commit, ast.withitem)
        where = "the end of " if is_block else ""
        harm = "is rolled back and the rows are lost" if is_block else "stays open with its lock"
        line = span_of(found.commit).line
        yield RULE.at(
            view.path,
            Span.of(found.call),
            f"the rows of {call_text(view, found.call)} are not fetched from `{found.cursor}` before {where}"
            f"{call_text(view, found.commit)} on line {line}",
            consequence="if there is a row, the commit fails with 'cannot commit transaction - SQL statements in "
            f"progress', and the transaction {harm}",
            remedy="fetch the rows first",
            confidence=found.op.handle.confidence,
            trace=(
                Step(view.path, Span.of(found.call), "its rows wait in the cursor"),
                Step(view.path, span_of(found.commit), "commits while the statement is in progress"),
            ),
            scope=view.name,
        )
