"""A handler ends the error of a failed write and leaves SQLite's transaction open.

## What it finds
A handler that ends the error of an INSERT, UPDATE, DELETE or REPLACE, while neither a rollback nor a close lies on that
path and the connection lives on.

It is quiet for connections that commit by themselves (`isolation_level=None`, `autocommit=True`) without a BEGIN, for
bodies that only read (a failed SELECT, a column probe before ALTER TABLE), and when every path closes the connection.

## Why it matters
A failed write has already begun a transaction. It stays open and holds the write lock: every other connection that
writes waits for its whole timeout and then fails with `sqlite3.OperationalError: database is locked`, however long the
timeout is. A later commit on the connection stores the half that succeeded.

## Example
```python
import sqlite3


class Store:
    def __init__(self, path: str) -> None:
        self.conn = sqlite3.connect(path, timeout=30.0)

    def add(self, name: str) -> bool:
        try:
            self.conn.execute("INSERT INTO item (name) VALUES (?)", (name,))
            self.conn.commit()
        except sqlite3.IntegrityError:
            return False
        return True
```

## Use instead
```python
import sqlite3


class Store:
    def __init__(self, path: str) -> None:
        self.conn = sqlite3.connect(path, timeout=30.0)

    def add(self, name: str) -> bool:
        try:
            with self.conn:
                self.conn.execute("INSERT INTO item (name) VALUES (?)", (name,))
        except sqlite3.IntegrityError:
            return False
        return True
```

## Fix
Unsafe: a body that does its work and commits it with its last statement goes into `with conn:`. Otherwise a rollback
goes first in the handler, guarded by the driver's error class. There is no fix in a loop whose commit is outside, nor
where rows of a caller or of another method wait for the same commit: they would be lost.

## Limits
SQL whose text is not known is not taken for a write. Where a function never commits or rolls back itself, its
transaction is the caller's, who ends it as after a success: such findings have low confidence, hence are not shown by
default, when nothing was written before the statement that fails, when another function sends it, and in a loop that
skips what fails. So have those on a connection that a class opens in `__enter__` alone and closes in `__exit__`, when
nothing was written before.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dbsafety.model.finding import Confidence, Finding, Severity
from dbsafety.model.rewrite import Applicability
from dbsafety.plans.rollback import plan_rollback
from dbsafety.rules.also import others
from dbsafety.rules.rule import Rule
from dbsafety.rules.wording import call_text, connection_name, handler_text, place, span_of, undoing, witness
from dbsafety.typestate.automaton import Tx
from dbsafety.typestate.report import End, Swallow
from dbsafety.views.databases import is_private
from dbsafety.views.handlers import Verdict, enclosing_loop, verdict
from dbsafety.views.lifetimes import ends_with_its_block
from dbsafety.views.view import FunctionView

RULE = Rule(
    code="DBS108",
    slug="swallowed-error-keeps-lock",
    summary="a handler ends the error of a failed write and leaves SQLite's transaction open",
    severity=Severity.ERROR,
    drivers=("sqlite3",),
    pylint_id="E5708",
    since="0.1",
    fix=Applicability.UNSAFE,
)


def check(view: FunctionView) -> Iterator[Finding]:
    """A finding for each handler that leaves the lock of a failed write behind."""
    for swallow in view.swallows:
        if verdict(view, swallow) is not Verdict.KEEPS_LOCK or is_private(view.module, swallow.subject.key):
            continue
        failing = swallow.fails.get(End.FUNCTION)
        name = connection_name(view, swallow.subject.key, swallow.subject.handle)
        plan, refusal = plan_rollback(view, swallow)
        yield RULE.at(
            view.path,
            span_of(swallow.handler, swallow.handler_step.line if swallow.handler_step else 1),
            f"{handler_text(swallow.handler)} ends an error of {call_text(view, failing.node if failing else None)} "
            f"{place(failing)} but leaves the transaction of {name} open",
            consequence=f"the open transaction keeps the write lock, so others that write fail with "
            f"'{swallow.spec.locked_error}', and a later commit stores the half that succeeded",
            remedy=undoing(plan, refusal, "roll back first in the handler"),
            confidence=_confidence(view, swallow),
            trace=witness(view, swallow, End.FUNCTION),
            fix=plan,
            fix_refusal=refusal,
            scope=view.name,
            related=tuple(others(view, swallow, End.FUNCTION)),
        )


def _confidence(view: FunctionView, swallow: Swallow) -> Confidence:
    """Low where the transaction belongs to a caller, since the function leaves it open after a success as well, and
    nothing is known to have lost its other half: nothing was written before, another function wrote, or it is a loop
    that skips what fails; and where the block that opened the connection closes it.
    """
    key = swallow.subject.key
    if not swallow.dirty and ends_with_its_block(view, key):
        return Confidence.LOW
    search = view.follow(swallow.subject.handle, key)
    ended = any(
        node.state.tx is Tx.OPEN
        and any(after.state.tx in (Tx.IDLE, Tx.CLOSED) and after.flight is None for after in search.successors(node))
        for node in tuple(search.parents)
    )
    handler, failing = swallow.handler, swallow.fails.get(End.FUNCTION)
    skips = handler is not None and enclosing_loop(view, handler) is not None
    own = failing is not None and isinstance(failing.node, ast.Call) and bool(view.frame.call(failing.node).ops)
    return view.confidence(swallow) if ended or (swallow.dirty and own and not skips) else Confidence.LOW
