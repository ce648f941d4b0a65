"""A handler ends an error of a SQLAlchemy session or connection and leaves it waiting for a rollback.

## What it finds
An `except` clause or a `contextlib.suppress` that ends the error of a failed `flush()`, `commit()` or `execute()`
without `rollback()`, while the session lives on: in an attribute, a parameter, a global, or because it is used again
in the same function: by the next attempt of a retry loop, by a later statement, or by a commit.

It is quiet when the session is rolled back, closed or removed on every such path, when the failing part has a
`begin_nested()` of its own, when `with Session(...)` around it ends, when the session dies with the function, and for a
session that the framework hands in and takes back (`Depends`, for FastAPI), or that it removes when the request ends
(`db.session` of Flask-SQLAlchemy), unless the function, or for Flask a caller in the module, uses it again.

## Why it matters
A session whose flush failed refuses everything until somebody rolls back: `PendingRollbackError: This Session's
transaction has been rolled back due to a previous exception during flush`. A retry on the same session can therefore
never succeed. After a failed `execute()` on PostgreSQL the next statement fails with `InFailedSqlTransaction`, and a
commit returns normally and stores nothing; so does the end of a `with session.begin():` block.

## Example
```python
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session


def save(session: Session, item: object) -> None:
    for _ in range(3):
        try:
            session.add(item)
            session.commit()
            break
        except OperationalError as error:
            print(f"once more: {error}")
```

## Use instead
```python
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session


def save(session: Session, item: object) -> None:
    for _ in range(3):
        try:
            session.add(item)
            session.commit()
            break
        except OperationalError as error:
            session.rollback()
            print(f"once more: {error}")
```

## Fix
Unsafe: puts a rollback first in the handler. In a loop whose commit is outside and inside a block that commits at its
end, where a rollback would throw earlier rows away, the body goes into `with session.begin_nested():`. There is no fix
where no name in scope is sure to be the session.

## Limits
A failed `execute()` or query leaves the transaction unusable on PostgreSQL, not on
every database: such findings have medium confidence; low, when the session also belongs to a caller who is not known or
the module names no PostgreSQL; and there is none in a module that speaks only of other databases. A rollback made
by a framework after the request is seen for `Depends` and Flask-SQLAlchemy alone.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dbsafety.drivers.spec import Effect, HandleKind
from dbsafety.flow.graph import StepKind
from dbsafety.model.finding import Confidence, Finding, Severity
from dbsafety.model.rewrite import Applicability
from dbsafety.rules.handlers import Verdict, verdict
from dbsafety.rules.rollback import plan_rollback
from dbsafety.rules.rule import Rule
from dbsafety.rules.sessions import (
    goes_on_after_errors,
    handed_in,
    has_callers,
    met_by_callers,
    of_request,
    speaks_of_postgresql,
    used_by_callers,
)
from dbsafety.rules.view import FunctionView
from dbsafety.rules.wording import call_text, connection_name, handler_text, place, span_of, witness
from dbsafety.typestate.ops import Op
from dbsafety.typestate.report import End, Swallow, last_statement

RULE = Rule(
    code="DBS112",
    slug="swallowed-in-session",
    summary="a handler ends an error of a session and leaves it waiting for a rollback",
    severity=Severity.ERROR,
    drivers=("sqlalchemy",),
    pylint_id="E5712",
    since="0.1",
    fix=Applicability.UNSAFE,
)


_WORST_FIRST = (End.INSIDE, End.RETRY, End.STATEMENT, End.COMMIT, End.FUNCTION)


def check(view: FunctionView) -> Iterator[Finding]:
    """A finding for each handler that leaves a session in need of a rollback, on the worst thing that follows."""
    found: dict[int, tuple[int, Swallow, End]] = {}
    for swallow in view.swallows:
        if swallow.spec.family != RULE.code or swallow.handler_step is None:
            continue
        end = next((end for end in _WORST_FIRST if end in swallow.paths and _matters(view, swallow, end)), None)
        if end is None or verdict(view, swallow) is not Verdict.FAMILY:
            continue
        rank = _WORST_FIRST.index(end)
        known = found.get(id(swallow.handler))
        if known is None or rank < known[0]:
            found[id(swallow.handler)] = (rank, swallow, end)
    for _, swallow, end in found.values():
        yield _finding(view, swallow, end)


def _matters(view: FunctionView, swallow: Swallow, end: End) -> bool:
    """Whether what follows does harm: somebody can still use the session, or the commit loses something."""
    key = swallow.subject.key
    if _by_statement(view, swallow, end) and goes_on_after_errors(view.module):
        return False
    if end is End.FUNCTION:
        if key.kind == "param":
            return not handed_in(view, key.name) and used_by_callers(view, key.name)
        if of_request(view, key):
            return met_by_callers(view, swallow.subject.handle)
        return key.kind != "attr" or bool(view.spellings(key))
    if end is End.COMMIT:
        last = last_statement(swallow.paths[end])
        return swallow.dirty or last.kind is not StepKind.WITH_EXIT or not _by_statement(view, swallow, end)
    return True


def _finding(view: FunctionView, swallow: Swallow, end: End) -> Finding:
    failing = swallow.fails.get(end)
    plan, refusal = plan_rollback(view, swallow)
    confidence = view.confidence(swallow)
    lent = end is End.FUNCTION and swallow.subject.key.kind == "param"
    stated = _by_statement(view, swallow, end)
    if lent and stated and not (speaks_of_postgresql(view.module) and has_callers(view)):
        confidence = Confidence.LOW
    elif lent or stated:
        confidence = confidence.at_most(Confidence.MEDIUM)
    return RULE.at(
        view.path,
        span_of(swallow.handler, swallow.handler_step.line if swallow.handler_step else 1),
        f"{handler_text(swallow.handler)} ends an error of {call_text(view, failing.node if failing else None)} "
        f"{place(failing)} but leaves {connection_name(view, swallow.subject.key, swallow.subject.handle)} waiting "
        f"for a rollback{_then(view, swallow, end)}: {_harm(stated=stated)}; roll back first in the handler",
        confidence=confidence,
        trace=witness(view, swallow, end),
        fix=plan,
        fix_refusal=refusal,
        scope=view.name,
    )


def _harm(*, stated: bool) -> str:
    """What comes of it after a flush or commit (fact B10a), or after a plain statement (B10b)."""
    if stated:
        return "on PostgreSQL every statement until `rollback()` fails, and a commit ends normally and stores nothing"
    return "until `rollback()` every use fails, and the end of a `begin()` block stores nothing and says nothing"


def _then(view: FunctionView, swallow: Swallow, end: End) -> str:
    if end is End.FUNCTION:
        return ""
    last = last_statement(swallow.paths[end])
    return f", and {call_text(view, last.node)} {place(last)} uses it"


def _by_statement(view: FunctionView, swallow: Swallow, end: End) -> bool:
    """Whether a plain statement failed, not a flush or a commit: other databases than PostgreSQL go on after it."""
    failing = swallow.fails.get(end)
    node = failing.node if failing is not None else None
    ops = view.frame.call(node).ops if isinstance(node, ast.Call) else ()
    return any(op.key == swallow.subject.key and op.effect is Effect.EXECUTE and _takes_text(op, node) for op in ops)


def _takes_text(op: Op, node: ast.AST | None) -> bool:
    if op.handle.kind is HandleKind.CURSOR:
        return True
    method = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
    row = op.spec.handles[op.handle.kind].methods.get(method)
    return row is not None and row.sql is not None
