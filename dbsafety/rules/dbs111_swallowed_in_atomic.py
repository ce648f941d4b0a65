"""A handler inside Django's `atomic()` ends a database error that the block then silently rolls back.

## What it finds
An `except` clause that names a database error of Django (`IntegrityError`, `DatabaseError` ...) and ends it, directly
inside `with transaction.atomic():` or in a function decorated with it, around a call that sends statements: `save()`,
`create()`, `delete()`, `bulk_create()`, `cursor.execute()`. A clause for `Exception` counts as well where the `try`
holds nothing but such writes.

It is quiet when the risky part stands in an inner `atomic()`, when the `try` is outside the block, when the handler
raises, and when the code works with `set_rollback()` or with savepoints of its own.

## Why it matters
A database error inside `atomic()` breaks the whole block. The next query raises `TransactionManagementError: An error
occurred in the current transaction. You can't execute queries until the end of the 'atomic' block.` If no query
follows, nothing is raised at all: the block ends normally, and everything that was written in it is gone.

## Example
```python
from django.db import IntegrityError, transaction


def register(user, profile):
    with transaction.atomic():
        user.save()
        try:
            profile.save()
        except IntegrityError:
            print("has one already")
```

## Use instead
```python
from django.db import IntegrityError, transaction


def register(user, profile):
    with transaction.atomic():
        user.save()
        try:
            with transaction.atomic():
                profile.save()
        except IntegrityError:
            print("has one already")
```

## Fix
Unsafe: puts the body of the `try` into an inner `atomic()` of the same database, which is a savepoint, so that only
what was written in the `try` is undone. Whether the error should leave the outer block instead is for you to judge.
None where the block is kept in a variable or made by a function of your own.

## Limits
A handler for `Exception` around anything else is not reported, since what it is meant for cannot be told. What a
called function sends is not looked at, nor are transactions that the framework opens by itself (`ATOMIC_REQUESTS`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dbsafety.drivers.spec import DriverSpec
from dbsafety.model.finding import Confidence, Finding, Severity, Step
from dbsafety.model.rewrite import Applicability, FixPlan, WrapBody
from dbsafety.model.span import Span
from dbsafety.rules.rule import Rule
from dbsafety.rules.wording import call_text, handler_text, span_of
from dbsafety.views.atomic import block_around, caught, inner_block, leaves_otherwise, sent
from dbsafety.views.atomic_writes import only_writes
from dbsafety.views.handlers import is_broad, reraises
from dbsafety.views.view import FunctionView

RULE = Rule(
    code="DBS111",
    slug="swallowed-in-atomic",
    summary="a handler inside `atomic()` ends a database error that the block then silently rolls back",
    severity=Severity.ERROR,
    drivers=("django",),
    pylint_id="E5711",
    since="0.1",
    fix=Applicability.UNSAFE,
)


def check(view: FunctionView) -> Iterator[Finding]:
    """A finding for each such handler."""
    for attempt in view.info.tries:
        for handler in attempt.handlers:
            spec = caught(view, handler, RULE.code) or _caught_by_all(view, attempt, handler)
            if spec is None or reraises(handler) or leaves_otherwise(view, attempt, handler):
                continue
            block = block_around(view, attempt, spec)
            failing = sent(view, attempt, spec)
            if block is None or failing is None:
                continue
            name = call_text(view, failing)
            plan, refusal = _plan(view, attempt, block, spec)
            yield RULE.at(
                view.path,
                span_of(handler),
                f"{handler_text(handler)} ends a database error of {name} on line {failing.lineno} inside the `atomic` "
                f"block of line {block.lineno}",
                consequence=f"every later query in the block fails with '{spec.aborted_error}', and if none follows, "
                "the block ends normally and stores nothing",
                remedy="put the risky part into an inner `atomic()`, or the `try` around the block",
                confidence=Confidence.MEDIUM,
                trace=(
                    Step(view.path, Span.of(block), "the block begins"),
                    Step(view.path, Span.of(failing), f"{name} fails"),
                    Step(view.path, span_of(handler), f"caught by {handler_text(handler)}, inside the block"),
                ),
                fix=plan,
                fix_refusal=refusal,
                scope=view.name,
            )


def _caught_by_all(view: FunctionView, attempt: ast.Try, handler: ast.ExceptHandler) -> DriverSpec | None:
    """The table whose errors a clause for everything gets: of a body that does nothing but write, no clause before."""
    if not (is_broad(handler, view) or (handler.type is not None and view.is_external(handler.type, "Exception"))):
        return None
    before = attempt.handlers[: attempt.handlers.index(handler)]
    if any(caught(view, other, RULE.code) is not None for other in before):
        return None
    kin = (spec for spec in view.resolver.table.drivers if spec.family == RULE.code)
    return next((spec for spec in kin if only_writes(view, attempt, spec)), None)


def _plan(view: FunctionView, attempt: ast.Try, block: ast.expr, spec: DriverSpec) -> tuple[FixPlan | None, str]:
    """The plan that gives the body of the `try` a savepoint, or None and the reason for the refusal."""
    inner = inner_block(view, block, spec)
    if not inner:
        return None, "how to open an inner block on the same database is not certain"
    rewrites = (WrapBody(Span.of(attempt), inner),)
    return FixPlan("put the risky part into an inner `atomic()`", Applicability.UNSAFE, rewrites, view.name), ""
