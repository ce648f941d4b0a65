"""A handler or `finally` uses a connection that may never have been bound.

## What it finds
A connection or cursor variable that is bound only inside a `try` and used in its handler or `finally`, reachable when
the opening itself has failed. Also `conn = None` before the `try` followed by an unguarded use, which fails with
AttributeError instead.

It is quiet when the variable is bound before the `try`, when it is set to None there and every use is guarded
(`if conn:`, `if conn is not None:`), when the handler cannot catch what the opening raises, and when nothing that can
fail stands before a cursor of an open SQLite connection: making one does not touch the database.

## Why it matters
When `connect()` fails, the handler itself fails: `UnboundLocalError: cannot access local variable 'conn' where it is
not associated with a value`. That error hides the real one, and a bare `except:` around the rollback hides both.

## Example
```python
import psycopg2


def count(dsn: str) -> int:
    try:
        conn = psycopg2.connect(dsn, connect_timeout=10)
        cur = conn.cursor()
        cur.execute("SELECT count(*) FROM task")
        return int(cur.fetchone()[0])
    finally:
        conn.close()
```

## Use instead
```python
import psycopg2


def count(dsn: str) -> int:
    conn = psycopg2.connect(dsn, connect_timeout=10)
    try:
        cur = conn.cursor()
        cur.execute("SELECT count(*) FROM task")
        return int(cur.fetchone()[0])
    finally:
        conn.close()
```

## Fix
Safe: binds the variable to None before the `try` and puts the use under `if ... is not None:`.

## Limits
A variable that several `try` statements bind is not followed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dbsafety.model.finding import Finding, Severity, Step
from dbsafety.model.rewrite import Applicability, FixPlan, Guard, InsertBefore, Rewrite
from dbsafety.model.span import Span
from dbsafety.plans.reach import may_prebind
from dbsafety.rules.rule import Rule
from dbsafety.views.boundness import Bound, Use, is_local, is_tested, unsafe_uses
from dbsafety.views.view import FunctionView

RULE = Rule(
    code="DBS106",
    slug="rollback-on-unbound-connection",
    summary="a handler or `finally` uses a connection that may never have been bound",
    severity=Severity.WARNING,
    drivers=("psycopg2", "psycopg", "sqlite3"),
    pylint_id="W5706",
    since="0.1",
    fix=Applicability.SAFE,
)


def check(view: FunctionView) -> Iterator[Finding]:
    """A finding at the first use of each such variable in each handler or `finally`."""
    if not view.info.has_handlers:
        return
    for use in unsafe_uses(view):
        if view.spec(use.handle).family or is_tested(view, use):
            continue
        opening = use.opening
        value = opening.value if isinstance(opening, (ast.Assign, ast.AnnAssign)) else None
        made = f"`{ast.unparse(value)[:60]}`" if value is not None else "the statement that binds it"
        if is_local(view, value):
            made = f"what stands before {made}"
        plan, refusal = _plan(view, use)
        state, error, remedy = "None", "AttributeError", "test it here"
        if use.state is Bound.UNBOUND:
            state, error = "not bound", "UnboundLocalError"
            remedy = "bind it before the `try`, or to None there and test it here"
        yield RULE.at(
            view.path,
            Span.of(use.node),
            f"`{use.name}` is {state} here when {made} on line {opening.lineno} has failed",
            consequence=f"this raises {error} and hides the real error",
            remedy=remedy,
            confidence=use.handle.confidence,
            trace=(
                Step(view.path, Span.of(opening), f"may fail before `{use.name}` is bound"),
                Step(view.path, Span.of(use.node), f"uses `{use.name}`"),
            ),
            fix=plan,
            fix_refusal=refusal,
            scope=view.name,
        )


def _plan(view: FunctionView, use: Use) -> tuple[FixPlan | None, str]:
    rewrites: list[Rewrite] = []
    if use.state is Bound.UNBOUND:
        if not may_prebind(view, use.name, use.attempt):
            return None, f"`{use.name}` may hold a connection from before, which setting it to None would lose"
        rewrites.append(InsertBefore(Span.of(use.attempt), f"{use.name} = None\n"))
    statement = view.statement_of(use.node)
    tested = isinstance(statement, (ast.If, ast.While)) and _tests_first(statement.test, use.node)
    if not tested:
        if not isinstance(statement, ast.Expr):
            return None, "the use is part of a statement that cannot stand under an `if` by itself"
        rewrites.append(Guard(Span.of(statement), f"{use.name} is not None"))
    return FixPlan(f"bind `{use.name}` to None first and test it", Applicability.SAFE, tuple(rewrites), view.name), ""


def _tests_first(test: ast.expr, node: ast.Name) -> bool:
    """Whether the test asks for the variable itself before anything else."""
    first = test
    while isinstance(first, ast.BoolOp):
        first = first.values[0]
    match first:
        case ast.Name():
            return first.id == node.id
        case ast.Compare(left=ast.Name(id=name), comparators=[ast.Constant(value=None)]):
            return name == node.id
    return False
