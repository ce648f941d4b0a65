"""A connection taken out of a pool is not given back on some way.

## What it finds
`pool.getconn()` of psycopg2 and psycopg_pool, `engine.raw_connection()` and `pool.connect()` of SQLAlchemy, where an
error, a `return`, or every way through the function leaves the connection out of the pool: no `putconn()`, or for
SQLAlchemy no `close()`, lies on it. Also the generator of a context manager whose `yield` has no `finally` around it.

It is quiet when the connection is given back in `finally`, by a context manager, by every handler or by a called
function; when it is returned, kept in an attribute or a container, or used by a nested function.

## Why it matters
A pool counts what it has lent. The pools of psycopg2 and psycopg_pool do so even when the connection is long gone: with
each failed request one connection less is left, until every request fails. SQLAlchemy takes back what is collected, so
there it happens while something keeps the connection or the error, whose traceback holds it. Then others are told
`psycopg2.pool.PoolError: connection pool exhausted` at once, `psycopg_pool.PoolTimeout: couldn't get a connection after
30.00 sec`, `sqlalchemy.exc.TimeoutError: QueuePool limit of size 5 overflow 10 reached, connection timed out`. The
error that began it is long past by then. What is given back in a failed transaction is harmless: the pool rolls back.

## Example
```python
from psycopg2.pool import ThreadedConnectionPool


class Store:
    def __init__(self, dsn: str) -> None:
        self.pool = ThreadedConnectionPool(1, 2, dsn, connect_timeout=10)

    def add(self, name: str) -> None:
        conn = self.pool.getconn()
        with conn.cursor() as cur:
            cur.execute("INSERT INTO item (name) VALUES (%s)", (name,))
        conn.commit()
        self.pool.putconn(conn)
```

## Use instead
```python
from psycopg2.pool import ThreadedConnectionPool


class Store:
    def __init__(self, dsn: str) -> None:
        self.pool = ThreadedConnectionPool(1, 2, dsn, connect_timeout=10)

    def add(self, name: str) -> None:
        conn = self.pool.getconn()
        try:
            with conn, conn.cursor() as cur:
                cur.execute("INSERT INTO item (name) VALUES (%s)", (name,))
        finally:
            self.pool.putconn(conn)
```

psycopg_pool has a block for it: `with pool.connection() as conn:`.

## Fix
Unsafe: puts what follows the call under `try`, with `putconn()` (for SQLAlchemy `close()`) in `finally`, and drops the
calls that became idle. Refused where the connection is given back in another way as well (by a called function, say),
or its variable is assigned twice.

## Limits
A connection in an attribute is not followed from method to method. One that is closed and not put back is not reported,
though the pools of psycopg2 and psycopg_pool count it as taken. For SQLAlchemy, which takes back what is collected,
confidence is medium.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dbsafety.drivers.spec import DriverSpec
from dbsafety.model.finding import Confidence, Finding, Severity, Step
from dbsafety.model.rewrite import Applicability
from dbsafety.model.span import Span
from dbsafety.plans.giving_back import back_text, plan_giving_back
from dbsafety.rules.rule import Rule
from dbsafety.rules.wording import call_text, handler_text, span_of
from dbsafety.views.lending import Loan, Loss, loans, loss_of, returns_of
from dbsafety.views.view import FunctionView

RULE = Rule(
    code="DBS205",
    slug="pooled-connection-not-returned",
    summary="a connection taken out of a pool is not given back on some way",
    severity=Severity.WARNING,
    drivers=("psycopg2", "psycopg", "sqlalchemy"),
    pylint_id="W5725",
    since="0.1",
    fix=Applicability.UNSAFE,
)


def check(view: FunctionView) -> Iterator[Finding]:
    """A finding at each call whose connection does not come back on some way."""
    if isinstance(view.info.node, ast.Module):
        return
    reported: set[int] = set()
    for loan in sorted(loans(view), key=lambda loan: -loan.op.handle.confidence.rank):
        loss = loss_of(view, loan)
        if loss is None or id(loan.call) in reported or (view.module.is_script and view.name == "main"):
            continue
        reported.add(id(loan.call))
        spec, confidence = loan.op.spec, loan.op.handle.confidence
        plan, refusal = plan_giving_back(view, loan)
        yield RULE.at(
            view.path,
            Span.of(loan.call),
            f"`{ast.unparse(loan.call.func)}()` takes a connection out of the pool, and {_way(view, loan, loss)}",
            consequence=f"{_end(loss)}{_until(spec)} others are told '{spec.exhausted_error}'",
            remedy="give it back in `finally`",
            confidence=confidence.at_most(Confidence.MEDIUM) if spec.family else confidence,
            trace=tuple(_trace(view, loan, loss)),
            fix=plan,
            fix_refusal=refusal,
            scope=view.name,
        )


def _way(view: FunctionView, loan: Loan, loss: Loss) -> str:
    back = returns_of(view, loan)
    skipped = f"skips `{back_text(view, loan)}`" + (f" on line {back[-1].lineno}" if back else "")
    if loss.failing is not None:
        failing = f"an error of {call_text(view, loss.failing.node)} on line {loss.failing.line}"
        if isinstance(loss.failing.node, ast.Yield):
            failing = f"an error of the block at the `yield` on line {loss.failing.line}"
        return f"{failing} {skipped}"
    if loss.left is not None:
        what = "the `return`" if isinstance(loss.left.node, ast.Return) else "the end of the function"
        return f"{what} on line {loss.left.line} {skipped}"
    return "nothing gives it back"


def _end(loss: Loss) -> str:
    if loss.failing is None:
        return "the connection stays out"
    way = f"{handler_text(loss.handler.node)} ends the error" if loss.handler else "the error leaves the function"
    return f"{way}, the connection stays out"


def _until(spec: DriverSpec) -> str:
    """When the others are told: SQLAlchemy takes back what is collected, the pools of the drivers do not."""
    return " until it is collected, and meanwhile" if spec.family else ", and in the end"


def _trace(view: FunctionView, loan: Loan, loss: Loss) -> Iterator[Step]:
    yield Step(view.path, Span.of(loan.call), "taken out of the pool")
    if loss.failing is not None:
        node = loss.failing.node
        note = "the block raises" if isinstance(node, ast.Yield) else f"{call_text(view, node)} fails"
        yield Step(view.path, span_of(node, loss.failing.line), note)
    if loss.left is not None:
        yield Step(view.path, span_of(loss.left.node, loss.left.line), "the function ends, the connection still out")
    for call in returns_of(view, loan)[-1:]:
        yield Step(view.path, Span.of(call), f"`{ast.unparse(call)}` is skipped")
