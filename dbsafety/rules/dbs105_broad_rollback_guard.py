"""A rollback or close is guarded by a clause that also swallows Ctrl-C.

## What it finds
`except:` or `except BaseException:` around a rollback or close of a connection or cursor, whose handler ends the
exception.

It is quiet about `except Exception`, the driver's own error class, `contextlib.suppress` of them, and about handlers
that raise, and about `__del__`, out of which nothing is raised.

## Why it matters
A bare clause catches KeyboardInterrupt and SystemExit: Ctrl-C is lost, and the function carries on after it or during
shutdown. A guard around a rollback is only there for errors of the driver, such as `psycopg2.InterfaceError: connection
already closed`.

## Example
```python
import psycopg2


def undo(conn: psycopg2.extensions.connection) -> None:
    try:
        conn.rollback()
    except:
        pass
```

## Use instead
```python
import psycopg2


def undo(conn: psycopg2.extensions.connection) -> None:
    try:
        conn.rollback()
    except psycopg2.Error:
        pass
```

## Fix
Safe: narrows the clause to `Exception`. The driver's error class says more and is better where it is at hand.

## Limits
A body that also sends statements or commits is not a guard, and is left to the other rules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dbsafety.drivers.spec import Effect
from dbsafety.model.finding import Finding, Severity
from dbsafety.model.rewrite import Applicability, FixPlan, SetHandlerType
from dbsafety.model.span import Span
from dbsafety.rules.rule import Rule
from dbsafety.rules.wording import call_text, handler_text, span_of
from dbsafety.typestate.ops import Op
from dbsafety.views.handlers import is_broad, reraises
from dbsafety.views.view import FunctionView

RULE = Rule(
    code="DBS105",
    slug="broad-rollback-guard",
    summary="a rollback or close is guarded by a clause that also swallows Ctrl-C",
    severity=Severity.WARNING,
    drivers=("psycopg2", "psycopg", "sqlite3"),
    pylint_id="W5705",
    since="0.1",
    fix=Applicability.SAFE,
)

_ENDING = (Effect.ROLLBACK, Effect.CLOSE, Effect.RELEASE)
_WORKING = (Effect.EXECUTE, Effect.SCRIPT, Effect.COMMIT)


def check(view: FunctionView) -> Iterator[Finding]:
    """A finding for each clause that guards a rollback or close too broadly."""
    if not view.info.has_handlers or view.name.rpartition(".")[2] == "__del__":
        return
    guarded: dict[int, tuple[ast.Try, list[tuple[ast.Call, Op]]]] = {}
    for call, op in view.ops():
        if op.spec.family:
            continue
        attempt = _attempt_around(view, call)
        if attempt is not None:
            guarded.setdefault(id(attempt), (attempt, []))[1].append((call, op))
    for attempt, found in guarded.values():
        ending = [(call, op) for call, op in found if op.effect in _ENDING or _closes_cursor(call, op)]
        if not ending or any(op.effect in _WORKING for _, op in found):
            continue
        call, op = ending[0]
        for handler in attempt.handlers:
            if is_broad(handler, view) and not (reraises(handler) or _exits(view, handler)):
                yield RULE.at(
                    view.path,
                    span_of(handler),
                    f"{handler_text(handler)} around {call_text(view, call)} also swallows KeyboardInterrupt and "
                    "SystemExit",
                    consequence="a Ctrl-C or an exit that comes in there is lost",
                    remedy=f"catch `{_narrow(view, op)}`, which is all that the guard is for",
                    confidence=op.handle.confidence,
                    fix=FixPlan(
                        "catch `Exception` instead",
                        Applicability.SAFE,
                        (SetHandlerType(Span.of(handler), "Exception"),),
                        view.name,
                    ),
                    scope=view.name,
                )


def _attempt_around(view: FunctionView, call: ast.Call) -> ast.Try | None:
    """The innermost `try` whose body holds the call."""
    inner: ast.AST = call
    for outer in view.around(call):
        if isinstance(outer, ast.Try) and inner in outer.body:
            return outer
        inner = outer
    return None


def _exits(view: FunctionView, handler: ast.ExceptHandler) -> bool:
    """Whether the handler calls something that ends the process."""
    calls = (node for part in handler.body for node in ast.walk(part) if isinstance(node, ast.Call))
    return any(facts.exits or facts.aborts for facts in map(view.frame.call, calls))


def _closes_cursor(call: ast.Call, op: Op) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr == "close" and op.effect is Effect.NEUTRAL


def _narrow(view: FunctionView, op: Op) -> str:
    return view.module.name_for(op.spec.base_error, view.scope) or "Exception"
