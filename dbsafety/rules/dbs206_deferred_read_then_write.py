"""A transaction begins without the write lock, reads, and then writes.

## What it finds
An explicit `BEGIN` (or `BEGIN DEFERRED`, a `SAVEPOINT` outside a transaction, or Python 3.12's `autocommit=False`),
then a SELECT, then a write in the same transaction, also when the statements stand in called methods or in a context
manager. And a write inside `for row in conn.execute("SELECT ...")`, which holds a read transaction until the last row.

It is quiet after `BEGIN IMMEDIATE` and `BEGIN EXCLUSIVE`, when the transaction writes first or only reads, when all
rows are fetched before the loop, for `:memory:`, temporary and read-only databases, under a lock of the program, and
where the error of the write leads back to the `BEGIN`.

## Why it matters
A deferred transaction takes no lock until it reads, and then only a shared one: a snapshot. When another connection
commits in between, or is about to write, the first write fails *at once* with `sqlite3.OperationalError: database is
locked` (SQLITE_BUSY_SNAPSHOT, SQLITE_BUSY), after 0.00 s whether the timeout is 0, 5 or 30 seconds: the snapshot is
old, or about to be. Repeating the statement fails again, unless the other one rolled back; what helps is to roll back
and begin again. With threads and a WAL 75 to 97 % of such transactions, short ones, failed; with `BEGIN IMMEDIATE`,
which waits for its turn, none did.

## Example
```python
import sqlite3


def take(conn: sqlite3.Connection) -> int | None:
    conn.execute("BEGIN")
    row = conn.execute("SELECT id FROM task WHERE state = 'new' ORDER BY id LIMIT 1").fetchone()
    if row is not None:
        conn.execute("UPDATE task SET state = 'taken' WHERE id = ?", row)
    conn.execute("COMMIT")
    return None if row is None else row[0]
```

## Use instead
```python
import sqlite3


def take(conn: sqlite3.Connection) -> int | None:
    conn.execute("BEGIN IMMEDIATE")
    row = conn.execute("SELECT id FROM task WHERE state = 'new' ORDER BY id LIMIT 1").fetchone()
    if row is not None:
        conn.execute("UPDATE task SET state = 'taken' WHERE id = ?", row)
    conn.execute("COMMIT")
    return None if row is None else row[0]
```

## Fix
Unsafe: `BEGIN IMMEDIATE` in the place of the `BEGIN`, where its text stands in the call. It takes the lock before the
first read, so transactions that only read then wait for writers too. A `ROLLBACK` as text in a handler around it would
fail when the lock was not to be had, so it gets the condition `if conn.in_transaction`. No fix for a loop over rows
(fetch them first), for a SAVEPOINT (begin a transaction around it), nor for `autocommit=False`, which refuses an
explicit BEGIN.

## Limits
Whether anybody else writes to the file is not seen: where the module runs no threads and serves nobody the confidence
is medium, and for a loop over rows in a script that runs and ends it is low. A called function that both reads and
writes is not looked into, nor a SELECT that is fetched in part without a loop.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dbsafety.model.finding import Confidence, Finding, Severity, Step
from dbsafety.model.rewrite import Applicability
from dbsafety.model.span import Span
from dbsafety.rules.rule import Rule
from dbsafety.rules.wording import call_text, span_of
from dbsafety.typestate.values import Handle, Key
from dbsafety.views.databases import Place, is_concurrent, places_of
from dbsafety.views.immediate import plan_immediate
from dbsafety.views.iterating import Iteration, iterations
from dbsafety.views.locks import locks_around
from dbsafety.views.upgrades import Kind, Upgrade, upgrades
from dbsafety.views.view import FunctionView, ModuleView

RULE = Rule(
    code="DBS206",
    slug="deferred-read-then-write",
    summary="a transaction begins without the write lock, reads, and then writes",
    severity=Severity.ERROR,
    drivers=("sqlite3",),
    pylint_id="E5726",
    since="0.1",
    fix=Applicability.UNSAFE,
)

_ALONE = {Place.MEMORY, Place.IMMUTABLE, Place.READ_ONLY, Place.TEMPORARY}
_HARM = (
    "when another connection has committed in between, or is writing, the write fails at once with '{error}', whatever "
    "the timeout"
)


def check(view: ModuleView) -> Iterator[Finding]:
    """A finding at each beginning of such a transaction, and at each SELECT whose loop writes."""
    seen: set[int] = set()
    for function in view.functions:
        for found in upgrades(function):
            node = _where(function, found)
            if id(node) not in seen and _is_shared(function, found.begin.key, node):
                seen.add(id(node))
                yield _upgraded(function, found, node)
        for loop in iterations(function):
            if _is_shared(function, loop.op.key, loop.read):
                yield _iterated(function, loop)


def _where(view: FunctionView, found: Upgrade) -> ast.Call | ast.withitem:
    """The statement that begins, or what runs it here when it stands in another file."""
    begin = found.begin
    return begin.statement if begin.function.module is view.info.module or begin.place is None else begin.place


def _is_shared(view: FunctionView, key: Key, node: ast.AST) -> bool:
    """Whether somebody else may write to the file meanwhile."""
    places = places_of(view.module, key)
    return not (places and places <= _ALONE) and not locks_around(view, node)


def _upgraded(view: FunctionView, found: Upgrade, node: ast.Call | ast.withitem) -> Finding:
    begin = found.begin
    text = "`autocommit=False`" if begin.kind is Kind.ALWAYS else call_text(view, node)
    cure = "open with isolation_level=None and begin" if begin.kind is Kind.ALWAYS else "begin"
    plan, refusal = plan_immediate(view, begin, node)
    return RULE.at(
        view.path,
        span_of(node),
        f"{text} begins a transaction that takes no lock, reads on line {found.read.lineno} and writes with "
        f"{call_text(view, found.write)} on line {found.write.lineno}",
        consequence=_HARM.format(error=view.spec(begin.handle).locked_error),
        remedy=f"{cure} with BEGIN IMMEDIATE",
        confidence=_confidence(view, begin.handle),
        trace=(
            Step(view.path, span_of(node), "begins without the write lock"),
            Step(view.path, Span.of(found.read), "reads: from here on the snapshot is held"),
            Step(view.path, Span.of(found.write), "writes, and needs the lock now"),
        ),
        fix=plan,
        fix_refusal=refusal,
        scope=begin.function.qualname if node is begin.statement else view.name,
    )


def _iterated(view: FunctionView, loop: Iteration) -> Finding:
    confidence = Confidence.LOW if view.module.is_script else _confidence(view, loop.op.handle)
    return RULE.at(
        view.path,
        Span.of(loop.read),
        f"{call_text(view, loop.write)} on line {loop.write.lineno} writes on the connection of "
        f"{call_text(view, loop.read)} while its rows are still coming",
        consequence=_HARM.format(error=loop.op.spec.locked_error),
        remedy="fetch the rows first",
        confidence=confidence,
        trace=(
            Step(view.path, Span.of(loop.read), "reads as long as rows are coming"),
            Step(view.path, Span.of(loop.write), "writes, and needs the lock now"),
        ),
        fix_refusal="fetch the rows first, if they fit into memory: `.fetchall()`",
        scope=view.name,
    )


def _confidence(view: FunctionView, handle: Handle) -> Confidence:
    return handle.confidence if is_concurrent(view.module) else handle.confidence.at_most(Confidence.MEDIUM)
