"""A cancelled task commits half of its work, or leaves its transaction open.

## What it finds
In a coroutine:

- a bare `except:` or `except BaseException:` that ends whatever happens at an `await` inside a transaction that has
  written something, and a commit, or the normal end of `async with conn.transaction()`, behind it;
- a rollback in `except Exception` (or in the driver's error class) around an `await`, while the transaction is open, on
  a connection that the module keeps: a cancellation passes it by.

It is quiet when an asynchronous block ends the transaction, when the handler raises, when the connection ends with the
coroutine or goes back to a pool, and when a database error ends in the same handler: then DBS103 or DBS104 speaks.

## Why it matters
A cancellation is an `asyncio.CancelledError` at the `await`, and a `BaseException`. Ended by a bare `except:`, the
cancelled task goes on and commits what it had written so far. `except Exception: rollback` never sees it: the
connection stays in its transaction, the next task's statement fails with `InFailedSqlTransaction: current transaction
is aborted` or becomes part of it, and SQLite's lock stays: `database is locked`.

## Example
```python
import asyncio

import aiosqlite


class Orders:
    def __init__(self, conn: aiosqlite.Connection, paid: asyncio.Event) -> None:
        self.conn = conn
        self.paid = paid

    async def add(self, order: int) -> None:
        await self.conn.execute("INSERT INTO orders (id) VALUES (?)", (order,))
        try:
            await self.paid.wait()
        except:
            print("not paid")
        await self.conn.commit()
```

## Use instead
```python
import asyncio

import aiosqlite


class Orders:
    def __init__(self, conn: aiosqlite.Connection, paid: asyncio.Event) -> None:
        self.conn = conn
        self.paid = paid

    async def add(self, order: int) -> None:
        try:
            await self.conn.execute("INSERT INTO orders (id) VALUES (?)", (order,))
            await self.paid.wait()
            await self.conn.commit()
        except BaseException:
            await self.conn.rollback()
            raise
```

## Fix
None: what must still happen when the task is cancelled is a decision.

## Limits
`except asyncio.CancelledError` is taken for intended. A connection that is handed in may be closed by whoever lent it,
so the second pattern is not looked for there.
"""

from __future__ import annotations

from collections.abc import Iterator

from dbsafety.model.finding import Finding, Severity, Step
from dbsafety.rules.rule import Rule
from dbsafety.rules.wording import call_text, connection_name, handler_text, place, span_of
from dbsafety.views.cancelled import Cancelled, cancelled_commits, cancelled_rollbacks
from dbsafety.views.view import FunctionView

RULE = Rule(
    code="DBS114",
    slug="cancelled-task-commits",
    summary="a cancelled task commits half of its work, or leaves its transaction open",
    severity=Severity.ERROR,
    drivers=("psycopg", "asyncpg", "aiosqlite", "sqlalchemy"),
    pylint_id="E5714",
    since="0.1",
)


def check(view: FunctionView) -> Iterator[Finding]:
    """A finding for each handler that ends a cancellation before a commit, or whose rollback never sees one."""
    if not view.info.tries or not view.cfg.is_async:
        return
    for cancelled in cancelled_commits(view):
        yield _finding(view, cancelled)
    for cancelled in cancelled_rollbacks(view):
        yield _finding(view, cancelled)


def _finding(view: FunctionView, cancelled: Cancelled) -> Finding:
    handler = handler_text(cancelled.handler)
    name = connection_name(view, cancelled.key, cancelled.handle)
    where = f"{call_text(view, cancelled.at.node)} {place(cancelled.at)}"
    trace = [Step(view.path, span_of(cancelled.at.node, cancelled.at.line), "the task is cancelled here")]
    commit = cancelled.commit
    if commit is not None:
        what = (
            f"{handler} also ends the cancellation of the task at {where}, then {call_text(view, commit.node)} "
            f"{place(commit)} commits {name}"
        )
        consequence = "the cancelled task stores what it had written so far"
        remedy = "catch `Exception`, or raise again"
        trace.append(Step(view.path, span_of(cancelled.handler), f"ended by {handler}"))
        trace.append(Step(view.path, span_of(commit.node, commit.line), "commits what was written so far"))
    else:
        what = f"{handler} does not see the cancellation of the task at {where}"
        consequence = f"the rollback is skipped and {name} stays in its transaction"
        remedy = "roll back in `except BaseException`, or let an `async with` block end it"
        trace.append(Step(view.path, span_of(cancelled.handler), "a cancellation is no `Exception`"))
    return RULE.at(
        view.path,
        span_of(cancelled.handler),
        what,
        consequence=consequence,
        remedy=remedy,
        confidence=cancelled.handle.confidence,
        trace=tuple(trace),
        scope=view.name,
    )
