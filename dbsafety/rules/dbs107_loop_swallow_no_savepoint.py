"""A loop swallows the error of one row, and all rows share one transaction.

## What it finds
A loop whose `try` ends the error of a write and goes on with the next row, with no savepoint around the row and no
commit or rollback on the failing path. Also a handler in such a loop that rolls back while the commit comes after the
loop.

It is quiet with a savepoint per row, a commit per row on the failing path too, a `with conn:` or nested transaction per
row. A loop that only reads is DBS102.

## Why it matters
Of the rows 1, 2, duplicate, 4, 5 nothing is stored: the duplicate aborts the transaction, 4 and 5 fail with `current
transaction is aborted, commands ignored until end of transaction block`, and the final commit silently rolls back. With
a bare `rollback()` in the handler exactly [4, 5] are stored: everything before the bad row is lost.

## Example
```python
import psycopg2


def load(conn: psycopg2.extensions.connection, names: list[str]) -> None:
    cur = conn.cursor()
    for name in names:
        try:
            cur.execute("INSERT INTO item (name) VALUES (%s)", (name,))
        except psycopg2.IntegrityError:
            print(f"skipped {name}")
    conn.commit()
```

## Use instead
```python
import psycopg2


def load(conn: psycopg2.extensions.connection, names: list[str]) -> None:
    cur = conn.cursor()
    for name in names:
        cur.execute("INSERT INTO item (name) VALUES (%s) ON CONFLICT DO NOTHING", (name,))
    conn.commit()
```

## Fix
Unsafe: each row gets a savepoint, to which the handler goes back first: a nested `transaction()` where the driver has
one, else `SAVEPOINT`, `ROLLBACK TO SAVEPOINT` and, in `else`, `RELEASE`. A rollback in the handler becomes `ROLLBACK TO
SAVEPOINT`; one is put there only where each row that succeeds is committed already. ON CONFLICT is often better, but
says something about the table.

## Limits
A statement whose text is not known is not taken for a write, and one that does not use the loop variable is a retry:
then DBS102 speaks.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dbsafety.drivers.spec import Effect
from dbsafety.facts.sql import Verb
from dbsafety.model.finding import Finding, Severity, Step
from dbsafety.model.rewrite import Applicability
from dbsafety.plans.recommit import plan_rows
from dbsafety.plans.savepoints import plan_instead
from dbsafety.rules.also import others
from dbsafety.rules.rule import Rule
from dbsafety.rules.wording import call_text, connection_name, handler_text, place, span_of, witness
from dbsafety.typestate.ops import Op
from dbsafety.typestate.relation import Subject
from dbsafety.typestate.report import End, Swallow
from dbsafety.views.handlers import Verdict, enclosing_loop, verdict
from dbsafety.views.view import FunctionView

RULE = Rule(
    code="DBS107",
    slug="loop-swallow-no-savepoint",
    summary="a loop swallows the error of one row, and all rows share one transaction",
    severity=Severity.ERROR,
    drivers=("psycopg2", "psycopg", "asyncpg"),
    pylint_id="E5707",
    since="0.1",
    fix=Applicability.UNSAFE,
)

_REMEDY = "give each row a savepoint, a commit of its own, or ON CONFLICT"


def check(view: FunctionView) -> Iterator[Finding]:
    """A finding at each handler that lets a loop go on in a lost transaction, or that throws earlier rows away."""
    for swallow in view.swallows:
        if verdict(view, swallow) is not Verdict.LOST_ROWS:
            continue
        failing = swallow.fails.get(End.RETRY)
        plan, refusal = plan_rows(view, swallow)
        name = connection_name(view, swallow.subject.key, swallow.subject.handle)
        yield RULE.at(
            view.path,
            span_of(swallow.handler, swallow.handler_step.line if swallow.handler_step else 1),
            f"{handler_text(swallow.handler)} ends an error of {call_text(view, failing.node if failing else None)} "
            f"{place(failing)} and the loop goes on in the aborted transaction of {name}",
            consequence=f"every later row fails with '{swallow.spec.aborted_error}' and the commit stores nothing",
            remedy=_REMEDY,
            confidence=view.confidence(swallow),
            trace=witness(view, swallow, End.RETRY),
            fix=plan,
            fix_refusal=refusal,
            scope=view.name,
            related=tuple(others(view, swallow, End.RETRY)),
        )
    yield from _bare_rollbacks(view)


def _bare_rollbacks(view: FunctionView) -> Iterator[Finding]:
    for attempt in view.info.tries:
        loop = enclosing_loop(view, attempt)
        if loop is None:
            continue
        for handler in attempt.handlers:
            found = next(iter(_rollbacks(view, handler)), None)
            if found is None:
                continue
            call, op = found
            write = _write_in(view, attempt, op)
            commit = _commit_after(view, loop, op)
            if write is None or commit is None or not op.spec.aborts:
                continue
            subject = Swallow(view.info, Subject(op.key, op.handle), op.spec, handler, None)
            every = [one for other in attempt.handlers for one, _ in _rollbacks(view, other)]
            plan, refusal = plan_instead(view, subject, attempt, every)
            yield RULE.at(
                view.path,
                span_of(handler),
                f"{call_text(view, call)} in a loop throws away the rows before the failing one, and "
                f"{call_text(view, commit)} on line {commit.lineno} stores only those after it",
                remedy=_REMEDY,
                confidence=op.handle.confidence,
                trace=(
                    Step(view.path, span_of(write), f"{call_text(view, write)} fails for one row"),
                    Step(view.path, span_of(call), "rolls back every row so far"),
                    Step(view.path, span_of(commit), "commits the rest"),
                ),
                fix=plan,
                fix_refusal=refusal,
                scope=view.name,
            )


def _rollbacks(view: FunctionView, handler: ast.ExceptHandler) -> list[tuple[ast.Call, Op]]:
    inside = {id(node) for statement in handler.body for node in ast.walk(statement)}
    leaves = any(isinstance(s, (ast.Raise, ast.Return, ast.Break)) for s in handler.body)
    return [] if leaves else [(c, op) for c, op in view.ops() if op.effect is Effect.ROLLBACK and id(c) in inside]


def _write_in(view: FunctionView, attempt: ast.Try, op: Op) -> ast.Call | None:
    inside = {id(node) for statement in attempt.body for node in ast.walk(statement)}
    writes = (c for c, other in view.ops(op.key) if id(c) in inside and other.statement.writes)
    return next(writes, None)


def _commit_after(view: FunctionView, loop: ast.For | ast.AsyncFor | ast.While, op: Op) -> ast.Call | None:
    """The commit behind the loop, unless something inside the loop ends or divides the transaction per row."""
    inside = {id(node) for node in ast.walk(loop)}
    after: ast.Call | None = None
    for call, other in view.ops(op.key):
        divides = other.effect is Effect.COMMIT or other.statement.verb in (Verb.COMMIT, Verb.SAVEPOINT, Verb.BEGIN)
        if divides and id(call) in inside:
            return None
        if other.effect is Effect.COMMIT and call.lineno > (loop.end_lineno or loop.lineno) and after is None:
            after = call
    return after
