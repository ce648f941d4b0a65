"""A second connection writes to a SQLite file while the first one holds uncommitted work on it.

## What it finds
Two connections to the same file in one function, the path told by the same expression: one has written and not yet
committed, and the other, opened here or in a function that is called, writes.

It is quiet when the first has committed, when the other only reads, for databases in memory, and when the two paths are
not sure to be the same.

## Why it matters
SQLite has one writer. The second connection waits for a lock that the same thread holds, and that it therefore cannot
release: the write fails after exactly the timeout, whatever it is, with `database is locked`. A longer timeout only
makes the program hang longer.

## Example
```python
import sqlite3
from contextlib import closing


def log(path: str, text: str) -> None:
    with closing(sqlite3.connect(path, timeout=1.0)) as conn, conn:
        conn.execute("INSERT INTO log (text) VALUES (?)", (text,))


def ship(path: str, order: int) -> None:
    with closing(sqlite3.connect(path, timeout=1.0)) as conn, conn:
        conn.execute("UPDATE purchase SET state = 'shipped' WHERE id = ?", (order,))
        log(path, "shipped")
```

## Use instead
```python
import sqlite3
from contextlib import closing


def log(conn: sqlite3.Connection, text: str) -> None:
    conn.execute("INSERT INTO log (text) VALUES (?)", (text,))


def ship(path: str, order: int) -> None:
    with closing(sqlite3.connect(path, timeout=1.0)) as conn, conn:
        conn.execute("UPDATE purchase SET state = 'shipped' WHERE id = ?", (order,))
        log(conn, "shipped")
```

## Fix
None: hand the connection on, or commit before the other one writes; which one depends on what belongs together.

## Limits
Off by default: too rare in the code it was tried on to measure. Connections of other objects (`store.add()`) are not
brought together with those of the function, nor is a function that calls another one which opens.
"""

from __future__ import annotations

from collections.abc import Iterator

from dbsafety.model.finding import Finding, Severity, Step
from dbsafety.model.span import Span
from dbsafety.rules.rule import Rule
from dbsafety.rules.wording import call_text, connection_name
from dbsafety.views.second import second_writes
from dbsafety.views.view import ModuleView

RULE = Rule(
    code="DBS209",
    slug="second-connection-while-dirty",
    summary="a second connection writes to a SQLite file while the first one holds uncommitted work on it",
    severity=Severity.WARNING,
    drivers=("sqlite3",),
    pylint_id="W5729",
    since="0.1",
    default=False,
)


def check(view: ModuleView) -> Iterator[Finding]:
    """A finding at the write, or the call that comes to it, for each function and first connection."""
    for second in second_writes(view, RULE.drivers):
        name = connection_name(second.view, second.first, second.handle)
        spec = second.view.spec(second.handle)
        what = "opens a second connection to the same file and writes" if second.inside else "writes to the same file"
        yield RULE.at(
            view.path,
            Span.of(second.call),
            f"{call_text(second.view, second.call)} {what} while {name} holds what "
            f"{call_text(second.view, second.write)} on line {second.write.lineno} wrote",
            consequence=f"the second connection waits for this very function, and fails after the timeout with "
            f"'{spec.locked_error}'",
            remedy="commit first, or use one connection",
            confidence=second.handle.confidence,
            trace=(
                Step(view.path, Span.of(second.write), f"takes the write lock for {name}"),
                Step(view.path, Span.of(second.call), "waits for it"),
            ),
            scope=second.view.name,
        )
