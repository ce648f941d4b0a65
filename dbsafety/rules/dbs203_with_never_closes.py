"""A `with` block is taken to close a connection, and does not.

## What it finds
`with connect(...) as conn:` of sqlite3 and psycopg2 where nothing closes the connection: their block ends the
transaction and leaves the connection open. Also `with conn:` on a connection that the function has opened itself.

It is quiet for psycopg 3 and aiosqlite, whose blocks close; when the connection is closed on some way through the
function (one that an error skips is DBS204), returned, or kept in an attribute, a container or an exit handler; for
pools, `:memory:`, `mode=ro` and a custom `factory`; in module-level code and in the `main` of a script.

## Why it matters
The block looks like that of a file, but `conn.closed` is 0 behind it. On PostgreSQL the connection occupies a slot of
the server until the last reference is gone: a loop that reconnects, a kept exception or a thread that goes on holds it,
and five such connections are five backends. A sqlite3 connection that is dropped stays open from Python 3.11 on until
the cyclic garbage collector runs: a file descriptor each, a `-wal` file that is not removed, a `PRAGMA
journal_mode` that fails with `database is locked`; Python 3.13 adds `ResourceWarning: unclosed database`.

## Example
```python
import sqlite3


def add(path: str, name: str) -> None:
    with sqlite3.connect(path, timeout=30.0) as conn:
        conn.execute("INSERT INTO item (name) VALUES (?)", (name,))
```

## Use instead
```python
import sqlite3
from contextlib import closing


def add(path: str, name: str) -> None:
    with closing(sqlite3.connect(path, timeout=30.0)) as conn, conn:
        conn.execute("INSERT INTO item (name) VALUES (?)", (name,))
```

## Fix
Unsafe: `with closing(connect(...)) as conn, conn:`, which ends the transaction and then closes. Never `closing` alone,
which would not commit. Refused where the connection or a cursor of it is used after the block, where an iterator that
still reads from it is returned, where a loop enters one connection again and again, and where it has no name.

## Limits
Connections kept in attributes are not reported, nor those that no block enters. For psycopg2 the confidence is medium,
since reference counting frees most of them when the function returns.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dbsafety.model.finding import Confidence, Finding, Severity, Step
from dbsafety.model.rewrite import Applicability
from dbsafety.model.span import Span
from dbsafety.rules.rule import Rule
from dbsafety.views.databases import Place, place_of
from dbsafety.views.entered import Entered, entered, is_handed_on, is_kept_by_maker, plan_item, stays_open
from dbsafety.views.handlers import enclosing_loop
from dbsafety.views.view import FunctionView

RULE = Rule(
    code="DBS203",
    slug="with-never-closes",
    summary="a `with` block is taken to close a connection, and does not",
    severity=Severity.WARNING,
    drivers=("sqlite3", "psycopg2"),
    pylint_id="W5723",
    since="0.1",
    fix=Applicability.UNSAFE,
)

_FACTORIES = ("factory", "connection_factory")


def check(view: FunctionView) -> Iterator[Finding]:
    """A finding at each `with` item that enters a connection which nothing closes."""
    if isinstance(view.info.node, ast.Module):
        return
    for found in entered(view):
        if not _is_leak(view, found):
            continue
        op, item = found.op, found.item
        sure = found.direct and op.spec.keeps_lock
        text = f"with {ast.unparse(item.context_expr.func)}(…)" if isinstance(item.context_expr, ast.Call) else ""
        plan, refusal = plan_item(view, found)
        where = Span.of(item.context_expr)
        opened = () if found.direct else (Step(view.path, Span.of(found.opening), "opened"),)
        yield RULE.at(
            view.path,
            where,
            f"`{text or f'with {ast.unparse(item.context_expr)}'}` ends the transaction and leaves the connection "
            "open, and nothing closes it",
            consequence=_harm(found),
            remedy="use `with closing(…) as conn, conn:`, which commits and then closes",
            confidence=op.handle.confidence if sure else op.handle.confidence.at_most(Confidence.MEDIUM),
            trace=(*opened, Step(view.path, where, "entered, and left open at the end of the block")),
            fix=plan,
            fix_refusal=refusal,
            scope=view.name,
        )


def _is_leak(view: FunctionView, found: Entered) -> bool:
    op, call = found.op, found.opening
    return not (
        op.handle.pooled
        or any(keyword.arg in _FACTORIES for keyword in call.keywords)
        or (view.module.is_script and view.name == "main" and enclosing_loop(view, found.item.context_expr) is None)
        or is_handed_on(view, op.key)
        or place_of(view, call) in (Place.MEMORY, Place.IMMUTABLE, Place.READ_ONLY)
        or is_kept_by_maker(view, call)
        or not stays_open(view, call, op.handle, op.key)
    )


def _harm(found: Entered) -> str:
    """What the connection does to others as long as it stays (facts B4a, B7c, C10)."""
    if found.op.spec.locked_error:
        return "from Python 3.11 on the garbage collector alone closes it, and its file and `-wal` stay open until then"
    return f"a slot of {found.op.spec.server} stays taken for as long as a variable, a thread or an exception holds it"
