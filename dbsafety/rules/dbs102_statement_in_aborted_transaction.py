"""A statement is sent in a transaction that an earlier error has aborted.

## What it finds
Another statement on the same connection that is reached while the transaction is aborted: inside the handler of the
error (a status update, a log row), by the next turn of a loop around the `try`, or by a retry.

It is quiet when a rollback, or a `ROLLBACK TO SAVEPOINT`, lies on every path between.

## Why it matters
PostgreSQL answers every statement of an aborted transaction with `InFailedSqlTransaction: current transaction is
aborted, commands ignored until end of transaction block`. The status update is lost, the retry can never succeed, and
the real error survives only in `__context__`.

## Example
```python
import psycopg2


def finish(conn: psycopg2.extensions.connection, task_id: int) -> None:
    cur = conn.cursor()
    try:
        cur.execute("INSERT INTO result (task_id) VALUES (%s)", (task_id,))
        conn.commit()
    except psycopg2.Error:
        cur.execute("UPDATE task SET status = 'failed' WHERE id = %s", (task_id,))
        conn.commit()
        raise
```

## Use instead
```python
import psycopg2


def finish(conn: psycopg2.extensions.connection, task_id: int) -> None:
    cur = conn.cursor()
    try:
        cur.execute("INSERT INTO result (task_id) VALUES (%s)", (task_id,))
        conn.commit()
    except psycopg2.Error:
        conn.rollback()
        cur.execute("UPDATE task SET status = 'failed' WHERE id = %s", (task_id,))
        conn.commit()
        raise
```

## Fix
Unsafe: puts a rollback first in the handler, as for DBS101, and is refused where that one is.

## Limits
A statement that another function sends is reported at the call.
"""

from __future__ import annotations

from collections.abc import Iterator

from dbsafety.model.finding import Finding, Severity
from dbsafety.model.rewrite import Applicability
from dbsafety.plans.rollback import first_end, plan_rollback
from dbsafety.rules.also import others
from dbsafety.rules.rule import Rule
from dbsafety.rules.wording import call_text, connection_name, handler_text, place, span_of, undoing, witness
from dbsafety.typestate.report import End, last_statement
from dbsafety.views.handlers import Verdict, verdict
from dbsafety.views.view import FunctionView

RULE = Rule(
    code="DBS102",
    slug="statement-in-aborted-transaction",
    summary="a statement is sent in a transaction that an earlier error has aborted",
    severity=Severity.ERROR,
    drivers=("psycopg2", "psycopg"),
    pylint_id="E5702",
    since="0.1",
    fix=Applicability.UNSAFE,
)


def check(view: FunctionView) -> Iterator[Finding]:
    """A finding at each statement that runs in an aborted transaction."""
    for swallow in view.swallows:
        if verdict(view, swallow) is not Verdict.USED_ABORTED:
            continue
        end = first_end(swallow, End.INSIDE, End.RETRY)
        if end is None:
            continue
        last = last_statement(swallow.paths[end])
        failing = swallow.fails.get(end)
        name = connection_name(view, swallow.subject.key, swallow.subject.handle)
        where = "before the handler has rolled back" if end is End.INSIDE else f"after {handler_text(swallow.handler)}"
        plan, refusal = plan_rollback(view, swallow)
        yield RULE.at(
            view.path,
            span_of(last.node, last.line),
            f"{call_text(view, last.node)} runs on {name} {where}, in the transaction aborted {place(failing)}",
            consequence=f"{call_text(view, failing.node if failing else None)} failed {place(failing)}, and this fails "
            f"with '{swallow.spec.aborted_error}'",
            remedy=undoing(plan, refusal, "roll back before it"),
            confidence=view.confidence(swallow),
            trace=witness(view, swallow, end),
            fix=plan,
            fix_refusal=refusal,
            scope=view.name,
            related=tuple(others(view, swallow, end)),
        )
