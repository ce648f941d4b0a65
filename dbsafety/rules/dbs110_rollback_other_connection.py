"""A handler rolls back another connection than the one that failed.

## What it finds
A `rollback()` in a handler, on a connection that the `try` does not use, while the connection whose statement failed is
neither rolled back nor closed and lives on, also when the error is raised again. DBS101 and DBS108 keep quiet then.

It is quiet when the two may be one connection (a parameter and an attribute, a cursor of unknown origin, a cached
factory), when the `try` may use both, and when the failed connection ends with the function.

## Why it matters
The rollback succeeds, on the wrong connection: a helper had returned a new one, or a name had a twin. The one that
failed stays in its transaction, and everything sent on it fails with `current transaction is aborted, commands ignored
until end of transaction block`, or keeps SQLite's lock: `database is locked`. What the other one had not committed is
lost.

## Example
```python
import psycopg2


class Copy:
    def __init__(self, source: str, target: str) -> None:
        self.source = psycopg2.connect(source, connect_timeout=10)
        self.target = psycopg2.connect(target, connect_timeout=10)

    def store(self, name: str) -> bool:
        try:
            with self.target.cursor() as cur:
                cur.execute("INSERT INTO item (name) VALUES (%s)", (name,))
            self.target.commit()
        except psycopg2.Error:
            self.source.rollback()
            return False
        return True
```

## Use instead
```python
import psycopg2


class Copy:
    def __init__(self, source: str, target: str) -> None:
        self.source = psycopg2.connect(source, connect_timeout=10)
        self.target = psycopg2.connect(target, connect_timeout=10)

    def store(self, name: str) -> bool:
        try:
            with self.target.cursor() as cur:
                cur.execute("INSERT INTO item (name) VALUES (%s)", (name,))
            self.target.commit()
        except psycopg2.Error:
            self.target.rollback()
            return False
        return True
```

## Fix
None: the rollback of the other connection may be meant as well.

## Limits
Two connections are told apart when the module opens both, or when both are parameters.
"""

from __future__ import annotations

from collections.abc import Iterator

from dbsafety.model.finding import Confidence, Finding, Severity, Step
from dbsafety.model.span import Span
from dbsafety.rules.rule import Rule
from dbsafety.rules.wording import call_text, connection_name, handler_text, span_of
from dbsafety.views.mistaken import Mistaken, mistaken_rollbacks
from dbsafety.views.view import FunctionView

RULE = Rule(
    code="DBS110",
    slug="rollback-other-connection",
    summary="a handler rolls back another connection than the one that failed",
    severity=Severity.ERROR,
    drivers=("psycopg2", "psycopg", "sqlite3", "aiosqlite"),
    pylint_id="E5710",
    since="0.1",
)


def check(view: FunctionView) -> Iterator[Finding]:
    """A finding for each rollback in a handler that misses the connection that failed."""
    for mistaken in mistaken_rollbacks(view):
        if not mistaken.op.spec.family:
            yield _finding(view, mistaken)


def _finding(view: FunctionView, mistaken: Mistaken) -> Finding:
    spec = mistaken.op.spec
    name = connection_name(view, mistaken.key, mistaken.handle)
    other = connection_name(view, mistaken.op.key, mistaken.op.handle)
    failing = call_text(view, mistaken.failing)
    left = (
        f"{name} stays in an aborted transaction, where statements fail with '{spec.aborted_error}'"
        if spec.aborts
        else f"{name} keeps its transaction and the write lock, so others that write fail with '{spec.locked_error}'"
    )
    confidence = min((mistaken.handle.confidence, mistaken.op.handle.confidence), key=lambda known: known.rank)
    if mistaken.key.kind == "param":
        confidence = confidence.at_most(Confidence.MEDIUM)
    return RULE.at(
        view.path,
        Span.of(mistaken.rollback),
        f"{call_text(view, mistaken.rollback)} rolls back {other}, but {failing} on line {mistaken.failing.lineno} "
        f"fails on {name}",
        consequence=left,
        remedy=f"roll back {name}",
        confidence=confidence,
        trace=(
            Step(view.path, Span.of(mistaken.failing), f"{failing} fails on {name}"),
            Step(view.path, span_of(mistaken.handler), f"caught by {handler_text(mistaken.handler)}"),
            Step(view.path, Span.of(mistaken.rollback), f"rolls back {other}"),
        ),
        scope=view.name,
    )
