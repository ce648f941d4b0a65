"""A function writes on a connection of its own, and no path commits.

## What it finds
A connection that is opened in the function, an INSERT, UPDATE or DELETE on it (or an object added to a session), and no
commit on any path before the connection is closed or dropped.

It is quiet when the connection commits by itself, when leaving a `with` block commits, when the connection is returned,
kept or given to code that may commit, when the function rolls back on purpose, when text that is not known is sent, and
for databases in memory.

## Why it matters
The work vanishes without a word: closing a connection, leaving the function and ending the process roll
back. psycopg2, psycopg 3, asyncpg, sqlite3, aiosqlite and SQLAlchemy store 0 rows and raise nothing. A connection that
was closed says nothing at all. One that was never closed gives a `ResourceWarning`, which Python hides by default:
psycopg 3, asyncpg, aiosqlite, and sqlite3 from Python 3.13 on. `with closing(...)` closes and does not commit; neither
does a cursor's block, nor aiosqlite's `async with connect(...)`.

## Example
```python
import sqlite3
from contextlib import closing


def add(path: str, name: str) -> None:
    with closing(sqlite3.connect(path, timeout=30.0)) as conn:
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
None: where the unit of work ends is a decision.

## Limits
Off by default. A commit on some of the paths is enough to keep it quiet. A dry run that lets its work vanish on purpose
is reported unless it rolls back. A session bound to something that is not known to be an engine (a parameter without
annotation) is left alone: it may be part of another transaction.
"""

from __future__ import annotations

from collections.abc import Iterator

from dbsafety.model.finding import Confidence, Finding, Severity, Step
from dbsafety.model.span import Span
from dbsafety.rules.rule import Rule
from dbsafety.rules.wording import call_text, connection_name
from dbsafety.views.uncommitted import uncommitted_writes
from dbsafety.views.view import FunctionView

RULE = Rule(
    code="DBS109",
    slug="uncommitted-write",
    summary="a function writes on a connection of its own, and no path commits",
    severity=Severity.WARNING,
    drivers=("psycopg2", "psycopg", "sqlite3", "aiosqlite", "asyncpg", "sqlalchemy"),
    pylint_id="W5709",
    since="0.1",
    default=False,
)


def check(view: FunctionView) -> Iterator[Finding]:
    """A finding at the first write of each connection that is opened here and never committed."""
    for lost in uncommitted_writes(view):
        name = connection_name(view, lost.key, lost.handle)
        write = call_text(view, lost.write)
        confidence = lost.handle.confidence
        if view.spec(lost.handle).family:
            confidence = confidence.at_most(Confidence.MEDIUM)
        yield RULE.at(
            view.path,
            Span.of(lost.write),
            f"{write} is never committed",
            consequence=f"{name} is opened on line {lost.opening.lineno} and gone after line {lost.gone}, and no path "
            "between commits, so what it wrote is rolled back without a word",
            remedy="commit, or use a block that does",
            confidence=confidence,
            trace=(
                Step(view.path, Span.of(lost.opening), "opened here"),
                Step(view.path, Span.of(lost.write), "waits for a commit that never comes"),
            ),
            scope=view.name,
        )
