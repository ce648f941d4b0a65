"""A write that begins with WITH is stored at once: sqlite3 opens no transaction for it, so a rollback comes too late.

## What it finds
`WITH ... INSERT`, `UPDATE` or `DELETE` as the first statement of a unit of work that may be rolled back: `rollback()`,
or leaving `with conn:` by the error of a later write.

It is quiet after BEGIN, or after another write that has opened the transaction, when the write stands alone, when the
connection commits by itself, and for connections opened with the `autocommit` of Python 3.12.

## Why it matters
Python's module looks at the first word of a statement to see whether it has to begin a transaction, and WITH is none of
INSERT, UPDATE, DELETE and REPLACE. After `WITH ... INSERT` the connection's `in_transaction` is False, and after
`rollback()` the row is still there, on every Python from 3.8 to 3.13. So half of a unit of work stays. A statement that
begins with INSERT and has its WITH inside (`INSERT INTO item WITH ... SELECT ...`) opens one.

## Example
```python
import sqlite3


def move(conn: sqlite3.Connection) -> None:
    with conn:
        conn.execute("WITH old AS (SELECT * FROM item WHERE seen) INSERT INTO archive SELECT name FROM old")
        conn.execute("DELETE FROM item WHERE seen")
```

## Use instead
```python
import sqlite3


def move(conn: sqlite3.Connection) -> None:
    with conn:
        conn.execute("BEGIN IMMEDIATE")
        conn.execute("WITH old AS (SELECT * FROM item WHERE seen) INSERT INTO archive SELECT name FROM old")
        conn.execute("DELETE FROM item WHERE seen")
```

## Fix
None: where the transaction begins is a decision.

## Limits
Off by default. A rollback in the caller is not seen.
"""

from __future__ import annotations

from collections.abc import Iterator

from dbsafety.model.finding import Finding, Severity, Step
from dbsafety.model.span import Span
from dbsafety.rules.rule import Rule
from dbsafety.rules.wording import call_text, connection_name, span_of
from dbsafety.views.untransacted import untransacted
from dbsafety.views.view import FunctionView

RULE = Rule(
    code="DBS304",
    slug="cte-write-not-in-transaction",
    summary="a write that begins with WITH opens no transaction, so a rollback comes too late",
    severity=Severity.WARNING,
    drivers=("sqlite3", "aiosqlite"),
    pylint_id="W5734",
    since="0.1",
    default=False,
)


def check(view: FunctionView) -> Iterator[Finding]:
    """A finding at each such write."""
    for found in untransacted(view):
        name = connection_name(view, found.op.key, found.op.handle)
        line = span_of(found.rollback).line
        yield RULE.at(
            view.path,
            Span.of(found.call),
            f"{call_text(view, found.call)} begins with WITH, for which no transaction is begun on {name}",
            consequence=f"the write is stored at once, and {call_text(view, found.rollback)} on line {line} does not "
            "take it back",
            remedy="send BEGIN first",
            confidence=found.op.handle.confidence,
            trace=(
                Step(view.path, Span.of(found.call), "is stored at once"),
                Step(view.path, span_of(found.rollback), "rolls back what came after it"),
            ),
            scope=view.name,
        )
