"""A slow call runs while a transaction holds what it has written.

## What it finds
A call that waits for something outside the program (the network, another process, a language model, a clock, a person)
between a write and its commit or rollback, directly or in a function that is called. The list of such calls holds
`time.sleep`, `subprocess.run`, `requests`, `httpx`, `smtplib`, `boto3` and the like; the setting `slow-calls` adds
yours.

It is quiet when the transaction has only read, when each statement commits by itself, when the call comes before the
first write or after the commit, and for sleeps below 0.1 seconds.

## Why it matters
SQLite has one writer: until the commit everybody else waits, and after the timeout fails with `database is locked`.
With 0.15 seconds inside the lock and 16 threads 10 % of the writers gave up after the default five seconds. On
PostgreSQL the rows stay locked, and the session is `idle in transaction`. When the call itself fails, a handler for its
error easily forgets the transaction.

## Example
```python
import sqlite3
import time


def ship(conn: sqlite3.Connection, order: int) -> None:
    conn.execute("UPDATE purchase SET state = 'shipped' WHERE id = ?", (order,))
    time.sleep(1.0)
    conn.commit()
```

## Use instead
```python
import sqlite3
import time


def ship(conn: sqlite3.Connection, order: int) -> None:
    conn.execute("UPDATE purchase SET state = 'shipped' WHERE id = ?", (order,))
    conn.commit()
    time.sleep(1.0)
```

## Fix
None: whether the call belongs before the transaction or after it is a decision; with an outbox table it is made once.

## Limits
Off by default: too few were found in the code it was tried on to know its precision (22 repositories: 2 transactions,
both rightly). What a session writes without `flush()` is not seen, nor slow methods of objects whose origin is not
known. Inside Django's `atomic()` the writes of models are told by the names of their methods (`save()`,
`objects.filter(...).update(...)`). Some transactions are held open on purpose, as a lock.
"""

from __future__ import annotations

from collections.abc import Iterator

from dbsafety.model.finding import Confidence, Finding, Severity, Step
from dbsafety.model.span import Span
from dbsafety.rules.rule import Rule
from dbsafety.rules.wording import call_text
from dbsafety.views.view import ModuleView
from dbsafety.views.waiting import Wait, Waits

RULE = Rule(
    code="DBS208",
    slug="slow-call-in-transaction",
    summary="a slow call runs while a transaction holds what it has written",
    severity=Severity.WARNING,
    drivers=("psycopg2", "psycopg", "asyncpg", "sqlite3", "aiosqlite", "sqlalchemy", "django"),
    pylint_id="W5728",
    since="0.1",
    default=False,
)


def check(view: ModuleView) -> Iterator[Finding]:
    """A finding at the first slow call behind a write that still waits for its commit; the others are named in it."""
    for wait, *more in Waits(view).all():
        write = call_text(wait.view, wait.write)
        confidence = wait.handle.confidence
        if not wait.spec.keeps_lock:
            confidence = confidence.at_most(Confidence.MEDIUM)
        steps = [
            Step(view.path, Span.of(wait.write), "opens the transaction"),
            Step(view.path, Span.of(wait.call), "waits while it is open"),
        ]
        if wait.inside is not None:
            steps.append(Step(wait.path, Span.line_start(wait.line), f"`{wait.slow}` waits here"))
        yield RULE.at(
            view.path,
            Span.of(wait.call),
            f"{_what(wait)} while what {write} on line {wait.write.lineno} wrote still waits for its commit",
            consequence=_harm(wait),
            remedy="call it before the first write or after the commit",
            confidence=confidence,
            trace=tuple(steps),
            scope=wait.view.name,
            related=tuple(
                Step(view.path, Span.of(one.call), f"{RULE.code}: {call_text(one.view, one.call)} waits in it, too")
                for one in more
            ),
        )


def _what(wait: Wait) -> str:
    call = call_text(wait.view, wait.call)
    return f"{call} comes to `{wait.slow}`" if wait.inside is not None else f"{call} runs"


def _harm(wait: Wait) -> str:
    if wait.spec.locked_error:
        return f"every other writer waits as long, or fails with '{wait.spec.locked_error}'"
    return "the rows stay locked for all others as long"
