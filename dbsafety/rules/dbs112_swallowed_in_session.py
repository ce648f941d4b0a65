"""A handler ends an error of a SQLAlchemy session or connection and leaves it waiting for a rollback.

## What it finds
An `except` clause or a `contextlib.suppress` that ends the error of a failed `flush()`, `commit()` or `execute()`
without `rollback()`, while the session lives on: in an attribute, a parameter, a global, or because it is used again
in the same function: by the next attempt of a retry loop, by a later statement, or by a commit.

Also a clause that names nothing but the driver's own class, `psycopg2.errors.UniqueViolation` around
`session.commit()`: SQLAlchemy raises its own class in place of it, so the clause never runs.

It is quiet when the session is rolled back, closed or removed on every such path, when the failing part has a
`begin_nested()` of its own, when `with Session(...)` around it ends, when the session dies with the function, and for a
session that the framework, or a decorator of the project, hands in and takes back (`Depends`, for FastAPI), or that the
framework removes when the request ends (`db.session` of Flask-SQLAlchemy), unless the function, or for Flask a caller
in the module, uses it again. It is less sure where a transaction manager ends the session, at the end of the request or
of its block (`zope.sqlalchemy`).

## Why it matters
A session whose flush failed refuses everything until somebody rolls back: `PendingRollbackError: This Session's
transaction has been rolled back due to a previous exception during flush`. A retry on the same session can therefore
never succeed. After a failed `execute()` on PostgreSQL the next statement fails with `InFailedSqlTransaction`, and a
commit returns normally and stores nothing; so does the end of a `with session.begin():` block.

A clause for the driver's class is not met by what the session raises: that is `sqlalchemy.exc.IntegrityError`, and the
driver's error is its `orig` (with asyncpg `orig.__cause__`). The retry or the default value that the clause stands for
never happens, and the error goes on.

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
Unsafe: puts a rollback first in the handler, in a `try` of its own whose error is passed over. In a loop whose commit
is outside, and in a block that commits at its end, a rollback would throw earlier rows away; there the body goes into
`with session.begin_nested():`. There is no fix where no name in scope is sure to be the session, none for
`contextlib.suppress`, and none for the wrong class: which one is meant is for you to say. On SQLite a savepoint that no
write came before would begin the transaction, and its release commit: no fix in a module that speaks of SQLite.

## Limits
A failed `execute()` or query leaves the transaction unusable on PostgreSQL, not on every database: such findings have
medium confidence; low, when the session also belongs to whoever passed it in and the module names no PostgreSQL; and
there is none in a module that speaks only of other databases. A rollback made by a framework after the request is seen
for `Depends` and Flask-SQLAlchemy alone. The wrong class is not looked for in a module that works with the driver
itself, nor where another clause of the `try` may catch the right one; it is not found for classes of asyncpg, nor
where the session is used by a called function only.
"""

from __future__ import annotations

from collections.abc import Iterator

from dbsafety.model.finding import Confidence, Finding, Severity, Step
from dbsafety.model.rewrite import Applicability
from dbsafety.plans.rollback import plan_rollback
from dbsafety.rules.rule import Rule
from dbsafety.rules.wording import call_text, connection_name, handler_text, place, span_of, undoing, witness
from dbsafety.typestate.report import End, Swallow, last_statement
from dbsafety.views.foreign import Passed, passed_by
from dbsafety.views.handlers import Verdict, verdict
from dbsafety.views.sessions import by_statement, matters, sureness
from dbsafety.views.view import FunctionView

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
        end = next((end for end in _WORST_FIRST if end in swallow.paths and matters(view, swallow, end)), None)
        if end is None or verdict(view, swallow) is not Verdict.FAMILY:
            continue
        rank = _WORST_FIRST.index(end)
        known = found.get(id(swallow.handler))
        if known is None or rank < known[0]:
            found[id(swallow.handler)] = (rank, swallow, end)
    for _, swallow, end in found.values():
        yield _finding(view, swallow, end)
    for passed in passed_by(view, RULE.code):
        yield _wrong_class(view, passed)


def _wrong_class(view: FunctionView, passed: Passed) -> Finding:
    clause, call = handler_text(passed.handler), call_text(view, passed.failing)
    return RULE.at(
        view.path,
        span_of(passed.handler),
        f"{clause} never meets an error of {call} on line {passed.failing.lineno}",
        consequence=f"the session raises `{passed.raised}` in place of the driver's own, so the error goes on and this "
        "clause does not run",
        remedy=f"catch `{passed.raised}` and roll back first in the handler",
        confidence=Confidence.MEDIUM,
        trace=(
            Step(view.path, span_of(passed.failing), f"{call} fails with `{passed.raised}`"),
            Step(view.path, span_of(passed.handler), f"not caught by {clause}"),
        ),
        fix_refusal="whether the class that is named or the one that is raised is meant cannot be told",
        scope=view.name,
    )


def _finding(view: FunctionView, swallow: Swallow, end: End) -> Finding:
    failing = swallow.fails.get(end)
    plan, refusal = plan_rollback(view, swallow)
    stated = by_statement(view, swallow, end)
    return RULE.at(
        view.path,
        span_of(swallow.handler, swallow.handler_step.line if swallow.handler_step else 1),
        f"{handler_text(swallow.handler)} ends an error of {call_text(view, failing.node if failing else None)} "
        f"{place(failing)} but leaves {connection_name(view, swallow.subject.key, swallow.subject.handle)} waiting "
        "for a rollback",
        consequence=f"{_then(view, swallow, end)}{_harm(stated=stated)}",
        remedy=undoing(plan, refusal, "roll back first in the handler"),
        confidence=sureness(view, swallow, end, stated=stated),
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
    return f"{call_text(view, last.node)} {place(last)} uses it, and "
