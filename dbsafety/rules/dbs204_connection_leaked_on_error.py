"""A connection is closed only when everything goes well.

## What it finds
A connection that a function opens and closes itself, where the error of a statement in between skips the close: the
error leaves the function, or a handler ends it without closing.

It is quiet when the connection is closed in `finally`, by `with` or by every handler, when it is returned, stored or
given to a pool, for `:memory:` and `mode=ro`, in module-level code, and in scripts that only run and end. Migrations
have low confidence. So has a SQLite connection that holds no lock, since it only sends VACUUM, PRAGMA or CREATE or is
in autocommit, and one that only reads, whose error leaves the function, in a module that never writes.

## Why it matters
The error keeps the connection alive: exception → traceback → frame → connection, for as long as somebody holds the
exception (a Future, a log record, a retry loop). From Python 3.11 on a dropped sqlite3 connection stays open even
without that until the cyclic garbage collector runs. After a failed write it holds the write lock all the time, and the
others fail with `sqlite3.OperationalError: database is locked`. On PostgreSQL it occupies a slot of the server.

## Example
```python
import sqlite3


def add(path: str, name: str) -> None:
    conn = sqlite3.connect(path, timeout=30.0)
    conn.execute("INSERT INTO item (name) VALUES (?)", (name,))
    conn.commit()
    conn.close()
```

## Use instead
```python
import sqlite3
from contextlib import closing


def add(path: str, name: str) -> None:
    with closing(sqlite3.connect(path, timeout=30.0)) as conn, conn:
        conn.execute("INSERT INTO item (name) VALUES (?)", (name,))
```

## Fix
Unsafe: opens the connection in `with closing(...) as conn, conn:`, which ends the transaction and then closes on every
way out, and drops the `close()` calls that became idle. Never `closing` alone, which would not commit, nor a close
without a rollback, which on Python 3.11 can leave the file locked. Refused where the function writes without a commit,
since the block would commit.

## Limits
Connections that are never closed at all, and those that functions hand on, are not reported. For drivers other than
sqlite3 the confidence is medium, since reference counting often frees them soon.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dbsafety.drivers.spec import Effect, HandleKind
from dbsafety.facts.sql import Verb
from dbsafety.model.finding import Confidence, Finding, Severity, Step
from dbsafety.model.rewrite import Applicability
from dbsafety.model.span import Span
from dbsafety.plans.wrapping import plan_closing
from dbsafety.rules.rule import Rule
from dbsafety.rules.wording import call_text, handler_text, span_of
from dbsafety.typestate.ops import Op
from dbsafety.typestate.values import Mode
from dbsafety.views.databases import Place, is_upgrade, only_sends, place_of, writes_somewhere
from dbsafety.views.leaks import Leak, is_kept, leak_of
from dbsafety.views.view import FunctionView

RULE = Rule(
    code="DBS204",
    slug="connection-leaked-on-error",
    summary="a connection is closed only when everything goes well",
    severity=Severity.WARNING,
    drivers=("sqlite3", "psycopg2", "psycopg"),
    pylint_id="W5724",
    since="0.1",
    fix=Applicability.UNSAFE,
)

_LOCK_FREE = (Verb.DDL, Verb.OTHER)
"""Statements that leave no transaction of SQLite's open and no rows to fetch (facts C3b, C8b)."""

_COMPLETE = (*_LOCK_FREE, Verb.READ, Verb.WRITE)
"""Statements that a connection in autocommit ends by itself."""


def check(view: FunctionView) -> Iterator[Finding]:
    """A finding at each opening whose close an error skips."""
    if isinstance(view.info.node, ast.Module):
        return
    for call, op in view.ops():
        if not op.opens or op.handle.kind is not HandleKind.CONNECTION or op.handle.pooled or op.spec.family:
            continue
        closes = [node for node, other in view.ops(op.key) if other.effect is Effect.CLOSE]
        if not closes or op.key.kind not in ("local", "site") or view.outlives(op.handle, op.key):
            continue
        leak = leak_of(view, call, op.handle, op.key)
        if (
            leak is None
            or place_of(view, call) in (Place.MEMORY, Place.IMMUTABLE, Place.READ_ONLY)
            or is_kept(view, op.key)
            or (view.module.is_script and view.name in ("main", ""))
            or (leak.handler is None and view.module.dies_of_errors_in(view.info, op.spec))
        ):
            continue
        confidence = op.handle.confidence if op.spec.keeps_lock else op.handle.confidence.at_most(Confidence.MEDIUM)
        reads = only_sends(view, op.key, (Verb.READ,))
        if reads:
            confidence = confidence.at_most(Confidence.MEDIUM)
        if is_upgrade(view.path) or (op.spec.keeps_lock and _is_harmless(view, op, leak)):
            confidence = Confidence.LOW
        name = ast.unparse(closes[0].func)
        failing = call_text(view, leak.failing.node)
        way = f"{handler_text(leak.handler.node)} ends the error" if leak.handler else "the error leaves the function"
        plan, refusal = plan_closing(view, call, op)
        yield RULE.at(
            view.path,
            Span.of(call),
            f"the connection opened here is not closed when an error of {failing} on line {leak.failing.line} skips "
            f"`{name}()` on line {closes[-1].lineno}",
            consequence=f"{way}; {_harm(op, reads=reads)}",
            remedy="close it in a `with` block or in `finally`",
            confidence=confidence,
            trace=(
                Step(view.path, Span.of(call), "opened"),
                Step(view.path, span_of(leak.failing.node, leak.failing.line), f"{failing} fails"),
                Step(view.path, Span.of(closes[-1]), f"`{name}()` is skipped"),
            ),
            fix=plan,
            fix_refusal=refusal,
            scope=view.name,
        )


def _is_harmless(view: FunctionView, op: Op, leak: Leak) -> bool:
    """Whether nobody waits for what the leaked SQLite connection holds: it has no transaction, or it only read, its
    error leaves the function, so that no rows are fetched any more, and the module has no writer that would wait. A
    connection with a thread of its own is never harmless.
    """
    if only_sends(view, op.key, _LOCK_FREE):
        return True
    if op.spec.is_async:
        return False
    if op.handle.mode is Mode.AUTOCOMMIT and only_sends(view, op.key, _COMPLETE, commits=True):
        return True
    reads = only_sends(view, op.key, (Verb.READ,))
    return reads and leak.handler is None and not writes_somewhere(view.module)


def _harm(op: Op, *, reads: bool) -> str:
    """What the leaked connection does to others (facts C3b, C10)."""
    if not op.spec.locked_error:
        return f"the connection stays open, a slot of {op.spec.server} with it"
    if reads:
        return "the connection stays open until collected; a SELECT not fetched to its end then blocks others' commits"
    return f"a failed write then holds the lock until the connection is collected ('{op.spec.locked_error}' elsewhere)"
