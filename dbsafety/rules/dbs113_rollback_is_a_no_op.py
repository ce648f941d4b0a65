"""A recovery relies on the rollback of a connection that commits by itself, and undoes nothing.

## What it finds
On a connection that is sure to be in autocommit mode:

- `rollback()` in a handler, or the `with conn:` of sqlite3, around several writes when no BEGIN was sent: each of them
  is final the moment it is done;
- psycopg2's `conn.rollback()` after an explicit `BEGIN`: the driver sends nothing, and the connection is used on, or
  lives on, in the transaction that is still open.

It is quiet when the mode is not certain, when a BEGIN or SAVEPOINT may be sent by other code or by text that is not
known, when there is at most one write to undo, and in the second case when the connection is closed next.

## Why it matters
With `isolation_level=None` (or `autocommit=True`, from Python 3.12) sqlite3 opens no transaction of its own:
`rollback()` and leaving `with conn:` by an exception do nothing and say nothing, and the half that was written stays.
psycopg2 sends no bytes for a `rollback()` in autocommit mode: after `BEGIN` and an error the connection stays aborted,
and the next statement fails with `current transaction is aborted, commands ignored until end of transaction block`.

## Example
```python
import sqlite3


class Bank:
    def __init__(self, path: str) -> None:
        self.conn = sqlite3.connect(path, timeout=30.0, isolation_level=None)

    def transfer(self, source: int, target: int, amount: int) -> None:
        try:
            self.conn.execute("UPDATE account SET amount = amount - ? WHERE id = ?", (amount, source))
            self.conn.execute("UPDATE account SET amount = amount + ? WHERE id = ?", (amount, target))
        except sqlite3.Error:
            self.conn.rollback()
            raise
```

## Use instead
```python
import sqlite3


class Bank:
    def __init__(self, path: str) -> None:
        self.conn = sqlite3.connect(path, timeout=30.0, isolation_level=None)

    def transfer(self, source: int, target: int, amount: int) -> None:
        with self.conn:
            self.conn.execute("BEGIN IMMEDIATE")
            self.conn.execute("UPDATE account SET amount = amount - ? WHERE id = ?", (amount, source))
            self.conn.execute("UPDATE account SET amount = amount + ? WHERE id = ?", (amount, target))
```

## Fix
None: whether the connection should leave autocommit mode or the work should get a BEGIN is a decision.

## Limits
`autocommit=True` of sqlite3 with an explicit BEGIN, where `rollback()` does nothing either, is not told from
`isolation_level=None`, where it works. That another function than the one with the rollback sends BEGIN is seen for the
first kind only.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dbsafety.model.finding import Finding, Severity, Step
from dbsafety.model.span import Span
from dbsafety.rules.rule import Rule
from dbsafety.rules.wording import call_text, connection_name
from dbsafety.views.autocommitted import Final, Ignored, idle_rollbacks, ignored_rollbacks, self_committing
from dbsafety.views.view import FunctionView

RULE = Rule(
    code="DBS113",
    slug="rollback-is-a-no-op",
    summary="a recovery relies on the rollback of a connection that commits by itself",
    severity=Severity.WARNING,
    drivers=("psycopg2", "sqlite3", "aiosqlite"),
    pylint_id="W5713",
    since="0.1",
)


def check(view: FunctionView) -> Iterator[Finding]:
    """A finding for each rollback, or block, that is meant to undo something and cannot."""
    for key, handle, spec in self_committing(view):
        for final in idle_rollbacks(view, key, handle):
            yield _final(view, final)
        if not spec.rollback_after_begin:
            for ignored in ignored_rollbacks(view, key, handle):
                yield _ignored(view, ignored)


def _final(view: FunctionView, final: Final) -> Finding:
    name = connection_name(view, final.key, final.handle)
    recovery = _text(view, final.recovery)
    first, second = call_text(view, final.first), call_text(view, final.second)
    if final.first is final.second:
        stays = f"the rows that {first} on line {final.first.lineno} wrote before the error stay"
    else:
        stays = f"if {second} on line {final.second.lineno} fails, what {first} on line {final.first.lineno} "
        stays += "wrote stays"
    return RULE.at(
        view.path,
        Span.of(final.recovery),
        f"{recovery} undoes nothing, since {name} commits each statement by itself and no BEGIN was sent",
        consequence=stays,
        remedy="send BEGIN first, or leave autocommit mode",
        confidence=final.handle.confidence,
        trace=(
            Step(view.path, Span.of(final.first), "is final at once"),
            Step(view.path, Span.of(final.second), "may fail after it"),
            Step(view.path, Span.of(final.recovery), "has nothing to undo"),
        ),
        scope=view.name,
    )


def _ignored(view: FunctionView, ignored: Ignored) -> Finding:
    spec = view.spec(ignored.handle)
    name = connection_name(view, ignored.key, ignored.handle)
    return RULE.at(
        view.path,
        Span.of(ignored.recovery),
        f"{_text(view, ignored.recovery)} does nothing, since {name} is in autocommit mode, where {spec.name} sends no "
        "ROLLBACK",
        consequence=f"the transaction begun on line {ignored.begin.lineno} stays open, after an error aborted "
        f"('{spec.aborted_error}')",
        remedy="leave autocommit mode instead of sending BEGIN as text",
        confidence=ignored.handle.confidence,
        trace=(
            Step(view.path, Span.of(ignored.begin), "opens a transaction of which the driver knows nothing"),
            Step(view.path, Span.of(ignored.recovery), "sends nothing"),
        ),
        scope=view.name,
    )


def _text(view: FunctionView, node: ast.expr) -> str:
    return call_text(view, node) if isinstance(node, ast.Call) else f"`with {ast.unparse(node)}`"
