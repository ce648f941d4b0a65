"""`INSERT OR IGNORE` drops a row for more reasons than the one that is meant.

## What it finds
`INSERT OR IGNORE`. What is meant is nearly always "unless it is there already", which `ON CONFLICT (column) DO NOTHING`
says.

It is quiet where the module itself creates the table, without NOT NULL and CHECK: there OR IGNORE hides nothing.

## Why it matters
OR IGNORE passes over every UNIQUE, PRIMARY KEY, NOT NULL and CHECK constraint. A row with a NULL where none may be is
not stored, no error is raised, and `rowcount` is 0 as for a row that is known. With `ON CONFLICT (name) DO NOTHING`
the same row fails with `NOT NULL constraint failed`. Violated foreign keys are errors with both.

## Example
```python
import sqlite3


def remember(conn: sqlite3.Connection, name: str, size: int | None) -> bool:
    cur = conn.execute("INSERT OR IGNORE INTO item (name, size) VALUES (?, ?)", (name, size))
    return cur.rowcount == 1
```

## Use instead
```python
import sqlite3


def remember(conn: sqlite3.Connection, name: str, size: int | None) -> bool:
    cur = conn.execute(
        "INSERT INTO item (name, size) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", (name, size)
    )
    return cur.rowcount == 1
```

## Fix
None: which uniqueness is meant is told by the schema, which may have several.

## Limits
An opinion, off by default. SQLite before 3.24 has no ON CONFLICT clause. A table that another file creates is taken to
have such constraints, with medium confidence. Behind `INSERT ... SELECT` SQLite wants a `WHERE true` before ON
CONFLICT.
"""

from __future__ import annotations

from collections.abc import Iterator

from dbsafety.facts.sql import Conflict
from dbsafety.model.finding import Confidence, Finding, Severity, Step
from dbsafety.model.span import Span
from dbsafety.rules.rule import Rule
from dbsafety.rules.wording import call_text
from dbsafety.views.schemas import tables_of
from dbsafety.views.view import ModuleView

RULE = Rule(
    code="DBS901",
    slug="or-ignore-hides-constraints",
    summary="`INSERT OR IGNORE` drops a row for more reasons than the one that is meant",
    severity=Severity.INFO,
    drivers=("sqlite3", "aiosqlite"),
    pylint_id="I5741",
    since="0.1",
    default=False,
)


def check(view: ModuleView) -> Iterator[Finding]:
    """A finding at each statement with OR IGNORE."""
    ignoring = [
        (function, call, op)
        for function in view.functions
        for call, op in function.ops()
        if op.statement.conflict is Conflict.IGNORE and op.statement.word == "INSERT" and op.spec.keeps_lock
    ]
    tables = tables_of(view) if ignoring else {}
    for function, call, op in ignoring:
        table = tables.get(op.statement.table)
        if table is not None and not table.checks:
            continue
        known = f"NOT NULL or CHECK of `{op.statement.table}`" if table is not None else "NOT NULL or CHECK"
        created = Step(view.path, Span.line_start(table.line), "creates the table") if table is not None else None
        at = Step(view.path, Span.of(call), "passes over every constraint but foreign keys")
        yield RULE.at(
            view.path,
            Span.of(call),
            f"{call_text(function, call)} drops a row that breaks {known} as silently as one that is there already",
            remedy="use `ON CONFLICT (column) DO NOTHING`: it says which uniqueness is meant and lets the others raise",
            confidence=op.handle.confidence.at_most(Confidence.HIGH if table is not None else Confidence.MEDIUM),
            trace=(at,) if created is None else (created, at),
            scope=function.name,
        )
