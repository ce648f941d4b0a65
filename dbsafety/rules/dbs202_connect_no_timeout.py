"""A connection to a server is opened without a limit to how long that may take.

## What it finds
`psycopg2.connect()`, `psycopg.connect()` and pools of psycopg2 without `connect_timeout`, and `asyncpg.connect()` and
`asyncpg.create_pool()` without `timeout`: neither among the keywords nor in the text of the DSN. Also an asynchronous
connection of psycopg2 (`async_=True`) that is polled in a loop which never looks at the clock.

It is quiet when the DSN or a `**` mapping is not known, when the module sets `PGCONNECT_TIMEOUT`, and for a server on
this very machine. A DSN from an environment variable may still hold a limit: medium confidence.

## Why it matters
A server that is switched off, hung or behind a firewall does not refuse, it keeps silent. Without a limit,
`psycopg2.connect()` then waits for ever when the server accepts and does not answer, and 136 s when it does not even
accept; psycopg 3 waits 132 s, asyncpg 62 s. A web request, a start-up or a health check hangs as long. With
`connect_timeout=3` it ends after 3.1 s: `psycopg2.OperationalError: connection to server ... failed: timeout expired`.
For an asynchronous connection libpq ignores the limit.

## Example
```python
import psycopg2


def open_store(host: str, port: str, name: str, user: str) -> psycopg2.extensions.connection:
    return psycopg2.connect(host=host, port=port, dbname=name, user=user)
```

## Use instead
```python
import psycopg2


def open_store(host: str, port: str, name: str, user: str) -> psycopg2.extensions.connection:
    return psycopg2.connect(host=host, port=port, dbname=name, user=user, connect_timeout=10)
```

## Fix
Unsafe: adds `connect_timeout=10`, or `timeout=10` for asyncpg; it overrides a limit in the DSN. None for asynchronous
connections of psycopg2.

## Limits
Off by default: a DSN that is put together elsewhere and handed in says nothing here, and whether a wait of two minutes
matters depends on the program.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from dbsafety.drivers.spec import ConstructorSpec, DriverSpec
from dbsafety.model.finding import Confidence, Finding, Severity
from dbsafety.model.rewrite import Applicability, FixPlan, SetKeyword
from dbsafety.model.span import Span
from dbsafety.rules.rule import Rule
from dbsafety.typestate.values import externals
from dbsafety.views.keywords import may_pass
from dbsafety.views.servers import server_of
from dbsafety.views.view import FunctionView

RULE = Rule(
    code="DBS202",
    slug="connect-no-timeout",
    summary="a connection to a server is opened without a limit to how long that may take",
    severity=Severity.WARNING,
    drivers=("psycopg2", "psycopg", "asyncpg"),
    pylint_id="W5722",
    since="0.1",
    fix=Applicability.UNSAFE,
    default=False,
)

_SECONDS = 10
_VARIABLE = "PGCONNECT_TIMEOUT"
_CLOCKS = frozenset({"monotonic", "perf_counter", "time", "wait_for", "alarm", "setitimer"})


def check(view: FunctionView) -> Iterator[Finding]:
    """A finding at each call that opens a connection to a server and may wait without a limit of its own."""
    for call, _ in view.calls():
        for value in externals(view.resolver.evaluate(call.func, view.scope)):
            row = view.resolver.table.constructor(value.dotted)
            if row is not None and row[0].connect_keyword in row[1].keywords:
                found = _judged(view, call, *row)
                if found is not None:
                    yield found
                break


def _judged(view: FunctionView, call: ast.Call, spec: DriverSpec, constructor: ConstructorSpec) -> Finding | None:
    server = server_of(view, call, constructor)
    if server.local:
        return None
    if _is_on(call, spec.connect_unlimited):
        return _unlimited(view, call, spec) if _is_polled(view) else None
    word = spec.connect_keyword
    if may_pass(view, call, word) or word in (server.dsn or "") or not (server.known or server.environment):
        return None
    if spec.connect_keyword == "connect_timeout" and _sets_variable(view):
        return None
    confidence = Confidence.HIGH if server.known else Confidence.MEDIUM
    name = ast.unparse(call.func)
    unless = "" if server.known else ", unless the environment's DSN says otherwise"
    told = f"{spec.connect_limit} s" if spec.connect_limit is not None else "for ever"
    finding = RULE.at(
        view.path,
        Span.of(call),
        f"`{name}(…)` without `{word}` waits {told} for a server that keeps silent{unless}",
        remedy=f"say how long opening may take, for example `{word}={_SECONDS}`",
        confidence=confidence,
        fix=FixPlan(
            f"add `{word}={_SECONDS}`",
            Applicability.UNSAFE,
            (SetKeyword(Span.of(call), word, str(_SECONDS)),),
            view.name,
        ),
        scope=view.name,
    )
    return finding if spec.connect_limit is None else replace(finding, severity=Severity.INFO)


def _unlimited(view: FunctionView, call: ast.Call, spec: DriverSpec) -> Finding:
    return RULE.at(
        view.path,
        Span.of(call),
        f"`{ast.unparse(call.func)}(…)` opens an asynchronous connection, for which `{spec.connect_keyword}` has no "
        "effect",
        consequence="the loop that polls the connection never looks at the clock: a silent server stops it for ever",
        remedy="give the loop a deadline",
        confidence=Confidence.MEDIUM,
        fix_refusal="the loop that polls an asynchronous connection needs a deadline",
        scope=view.name,
    )


def _is_on(call: ast.Call, names: frozenset[str]) -> bool:
    return any(
        keyword.arg in names and isinstance(keyword.value, ast.Constant) and bool(keyword.value.value)
        for keyword in call.keywords
    )


def _is_polled(view: FunctionView) -> bool:
    """Whether the module polls connections itself, in functions that never ask for the time."""
    polling = [f for f in view.module.functions if "poll" in _called(f)]
    return bool(polling) and not any(_called(function) & _CLOCKS for function in polling)


def _called(view: FunctionView) -> frozenset[str]:
    """The last parts of the names of what the function calls."""
    funcs = (call.func for call in view.info.calls)
    return frozenset(
        func.attr if isinstance(func, ast.Attribute) else func.id
        for func in funcs
        if isinstance(func, ast.Attribute | ast.Name)
    )


def _sets_variable(view: FunctionView) -> bool:
    """Whether the module speaks of the environment variable by which libpq takes a limit."""
    return any(isinstance(node, ast.Constant) and node.value == _VARIABLE for node in ast.walk(view.module.index.tree))
