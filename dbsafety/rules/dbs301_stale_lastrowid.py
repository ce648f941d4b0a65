"""`lastrowid` is read after an insert that may have inserted nothing.

## What it finds
`lastrowid` of a cursor whose last statement was `INSERT OR IGNORE` or an INSERT with `ON CONFLICT`.

It is quiet after a plain INSERT, and for `OR IGNORE` and `DO NOTHING` where `rowcount == 1` was tested first. After `DO
UPDATE` rowcount is 1 while lastrowid is stale: there only RETURNING or a SELECT is right.

## Why it matters
When nothing was inserted, `lastrowid` keeps the id of the last row that the *connection* inserted before, by any
cursor, into any table; on a new cursor it is None, on a fresh connection 0. `if cur.lastrowid > 0` is then true, and
the id belongs to another row. With None it fails with `TypeError: '>' not supported between instances of 'NoneType'
and 'int'`.

## Example
```python
import sqlite3


def remember(conn: sqlite3.Connection, name: str) -> int | None:
    cur = conn.cursor()
    cur.execute("INSERT INTO item (name) VALUES (?) ON CONFLICT (name) DO NOTHING", (name,))
    if cur.lastrowid > 0:
        return cur.lastrowid
    return None
```

## Use instead
```python
import sqlite3


def remember(conn: sqlite3.Connection, name: str) -> int | None:
    cur = conn.cursor()
    cur.execute("INSERT INTO item (name) VALUES (?) ON CONFLICT (name) DO NOTHING", (name,))
    if cur.rowcount == 1:
        return cur.lastrowid
    return None
```

## Fix
Unsafe: replaces a test of `lastrowid` by `rowcount == 1` after OR IGNORE and DO NOTHING. None for DO UPDATE, nor where
the id is read without a test.

## Limits
SQL whose text is not known is taken for a plain statement.
"""

from __future__ import annotations

from collections.abc import Iterator

from dbsafety.facts.sql import Conflict
from dbsafety.model.finding import Finding, Severity, Step
from dbsafety.model.rewrite import Applicability, FixPlan, ReplaceExpression
from dbsafety.model.span import Span
from dbsafety.rules.rule import Rule
from dbsafety.rules.wording import call_text
from dbsafety.views.lastrowid import Read, asks_for_insert, stale_reads
from dbsafety.views.view import FunctionView

RULE = Rule(
    code="DBS301",
    slug="stale-lastrowid",
    summary="`lastrowid` is read after an insert that may have inserted nothing",
    severity=Severity.ERROR,
    drivers=("sqlite3", "aiosqlite"),
    pylint_id="E5731",
    since="0.1",
    fix=Applicability.UNSAFE,
)


def check(view: FunctionView) -> Iterator[Finding]:
    """A finding at each read of a `lastrowid` that may be stale."""
    for read in stale_reads(view):
        updates = read.conflict is Conflict.UPDATE
        plan, refusal = _plan(view, read)
        cure = "use RETURNING or SELECT the id" if updates else f"test `{read.cursor}.rowcount == 1` first"
        yield RULE.at(
            view.path,
            Span.of(read.node),
            f"`{read.cursor}.lastrowid` is stale when {call_text(view, read.insert)} on line {read.insert.lineno} "
            f"inserts nothing ({read.conflict.value})",
            consequence="`lastrowid` is then the id of an earlier insert on the connection, of any table, or 0 or None",
            remedy=cure,
            confidence=read.handle.confidence,
            trace=(
                Step(view.path, Span.of(read.insert), f"may insert nothing ({read.conflict.value})"),
                Step(view.path, Span.of(read.node), "reads the id all the same"),
            ),
            fix=plan,
            fix_refusal=refusal,
            scope=view.name,
        )


def _plan(view: FunctionView, read: Read) -> tuple[FixPlan | None, str]:
    """The plan that makes the condition around the read ask for an insert, or None and the reason for the refusal."""
    if read.conflict is Conflict.UPDATE:
        return None, "after DO UPDATE only RETURNING or a SELECT gives the id"
    if not read.cursor.isidentifier():
        return None, "the cursor has no name to ask for its `rowcount`"
    if read.test is None or not asks_for_insert(read.test):
        return None, "no condition around the read asks for the id, and what to do without an insert is a decision"
    text = f"{read.cursor}.rowcount == 1"
    rewrites = (ReplaceExpression(Span.of(read.test), text),)
    return FixPlan(f"test `{text}`", Applicability.UNSAFE, rewrites, view.name), ""
