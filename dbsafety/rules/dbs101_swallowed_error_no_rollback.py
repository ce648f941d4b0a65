"""A handler ends a database error and leaves the transaction aborted.

## What it finds
An `except` clause, a `contextlib.suppress` or a `return` in `finally` that ends the error of a failed statement, while
no rollback lies on that path and the connection lives on: in an attribute, a parameter, a global, a closure, a pool,
or because it is used again.

It is quiet when the transaction ends on every such path (directly, in a called function, in `finally`, by leaving a
`with` block), when the connection commits by itself, when the handler cannot catch a driver's error, when it raises,
and when the connection dies with the function. A rollback at the next checkout does not silence it, since code further
up still holds the aborted connection; it lowers the confidence to medium. A commit instead of a rollback is DBS103.

## Why it matters
PostgreSQL aborts the transaction of a failed statement. Every later statement on that connection fails with
`psycopg2.errors.InFailedSqlTransaction: current transaction is aborted, commands ignored until end of transaction
block` until somebody rolls back, and a `commit()` returns normally and silently throws the work away.

## Example
```python
import psycopg2


class Tasks:
    def __init__(self, dsn: str) -> None:
        self.conn = psycopg2.connect(dsn, connect_timeout=10)

    def start(self, task_id: int) -> bool:
        try:
            with self.conn.cursor() as cur:
                cur.execute("UPDATE task SET status = 'running' WHERE id = %s", (task_id,))
            self.conn.commit()
        except Exception as error:
            print(f"start failed: {error}")
            return False
        return True
```

## Use instead
```python
import psycopg2


class Tasks:
    def __init__(self, dsn: str) -> None:
        self.conn = psycopg2.connect(dsn, connect_timeout=10)

    def start(self, task_id: int) -> bool:
        try:
            with self.conn, self.conn.cursor() as cur:
                cur.execute("UPDATE task SET status = 'running' WHERE id = %s", (task_id,))
        except psycopg2.Error as error:
            print(f"start failed: {error}")
            return False
        return True
```

## Fix
Unsafe. A body that does its work and commits it with its last statement goes into `with conn:`, which rolls back on
every error (psycopg2 refuses to enter such a block twice: look for callers in other modules that do). Otherwise a
rollback goes first in the handler, on the connection that failed, guarded by the driver's own error class, so that a
dead connection does not hide the first error. A variable that may be unbound there is set to None before the `try`. In
a loop whose commit is outside and inside a block that commits at its end, where a rollback would throw earlier rows
away, the body gets a savepoint. There is no fix where no name in scope is sure to be the connection, and where the body
divides the transaction itself.

## Limits
An error that the client itself raises (a wrong number of parameters, a value that cannot be adapted) does not abort the
transaction but leaves it open, for a later commit to store in part; whether it is that or an error of the server cannot
be told, and the rollback is right for both. A connection the engine loses track of (passed to code it cannot see, kept
in a container it does not understand) is never reported. A rollback made by a framework after the request is not seen.
"""

from __future__ import annotations

from collections.abc import Iterator

from dbsafety.model.finding import Confidence, Finding, Severity
from dbsafety.model.rewrite import Applicability
from dbsafety.plans.rollback import first_end, plan_rollback
from dbsafety.rules.also import others
from dbsafety.rules.rule import Rule
from dbsafety.rules.wording import call_text, connection_name, handler_text, place, span_of, undoing, witness
from dbsafety.typestate.report import End
from dbsafety.views.handlers import Verdict, verdict
from dbsafety.views.view import FunctionView

RULE = Rule(
    code="DBS101",
    slug="swallowed-error-no-rollback",
    summary="a handler ends a database error and leaves the transaction aborted",
    severity=Severity.ERROR,
    drivers=("psycopg2", "psycopg"),
    pylint_id="E5701",
    since="0.1",
    fix=Applicability.UNSAFE,
)


def check(view: FunctionView) -> Iterator[Finding]:
    """A finding for each handler that leaves an aborted transaction behind."""
    for swallow in view.swallows:
        if verdict(view, swallow) is not Verdict.LEFT_ABORTED:
            continue
        end = first_end(swallow, End.STATEMENT, End.FUNCTION)
        if end is None:
            continue
        name = connection_name(view, swallow.subject.key, swallow.subject.handle)
        failing = swallow.fails.get(end)
        confidence = view.confidence(swallow)
        if view.heals_at_checkout(swallow):
            confidence = confidence.at_most(Confidence.MEDIUM)
        plan, refusal = plan_rollback(view, swallow)
        yield RULE.at(
            view.path,
            span_of(swallow.handler, swallow.handler_step.line if swallow.handler_step else 1),
            f"{handler_text(swallow.handler)} ends an error of {call_text(view, failing.node if failing else None)} "
            f"{place(failing)} but leaves {name} in an aborted transaction",
            consequence=f"later statements fail with '{swallow.spec.aborted_error}' and a commit silently discards the "
            "work",
            remedy=undoing(plan, refusal, "roll back first in the handler"),
            confidence=confidence,
            trace=witness(view, swallow, end),
            fix=plan,
            fix_refusal=refusal,
            scope=view.name,
            related=tuple(others(view, swallow, end)),
        )
