"""Writes that belong together are sent on a connection that commits each of them by itself.

## What it finds
Two INSERT, UPDATE or DELETE statements in one function, on a connection that is sure to be in autocommit mode, of which
the second depends on the first: they have a parameter in common, change the same table, or the second uses what the
first returned.

It is quiet inside `with conn:` (psycopg2 opens a transaction there, in autocommit mode too), after a BEGIN, when both
statements are one text, and where DBS113 reports the rollback that undoes nothing.

## Why it matters
In autocommit mode each statement is final at once. When the second fails, or the process ends between them, the first
stays: an order without lines, an account that was charged and not credited. Even `executemany` of psycopg2 (and of
sqlite3) stops half-way: with a third row that fails, rows 1 and 2 are stored. psycopg 3 and asyncpg store none of them.

## Example
```python
import psycopg2


class Bank:
    def __init__(self, dsn: str) -> None:
        self.conn = psycopg2.connect(dsn, connect_timeout=10)
        self.conn.autocommit = True

    def transfer(self, amount: int) -> None:
        cur = self.conn.cursor()
        cur.execute("UPDATE account SET amount = amount - %s WHERE id = 1", (amount,))
        cur.execute("UPDATE account SET amount = amount + %s WHERE id = 2", (amount,))
```

## Use instead
```python
import psycopg2


class Bank:
    def __init__(self, dsn: str) -> None:
        self.conn = psycopg2.connect(dsn, connect_timeout=10)
        self.conn.autocommit = True

    def transfer(self, amount: int) -> None:
        with self.conn, self.conn.cursor() as cur:
            cur.execute("UPDATE account SET amount = amount - %s WHERE id = 1", (amount,))
            cur.execute("UPDATE account SET amount = amount + %s WHERE id = 2", (amount,))
```

## Fix
None: where the unit of work begins and ends is a decision.

## Limits
An opinion, off by default: work that may be repeated is often written so on purpose. Statements in different functions
are not brought together. psycopg2 before 2.9 opens no transaction for `with conn:` in autocommit mode.
"""

from __future__ import annotations

from collections.abc import Iterator

from dbsafety.model.finding import Finding, Severity, Step
from dbsafety.model.span import Span
from dbsafety.rules.rule import Rule
from dbsafety.rules.wording import call_text, connection_name
from dbsafety.views.dependent import dependent_writes
from dbsafety.views.view import FunctionView

RULE = Rule(
    code="DBS902",
    slug="autocommit-for-multi-statement",
    summary="writes that belong together are sent on a connection that commits each by itself",
    severity=Severity.INFO,
    drivers=("psycopg2",),
    pylint_id="I5742",
    since="0.1",
    default=False,
)


def check(view: FunctionView) -> Iterator[Finding]:
    """A finding at the second of the first two writes that depend on each other, for each connection."""
    for pair in dependent_writes(view):
        if pair.spec.name not in RULE.drivers:
            continue
        name = connection_name(view, pair.key, pair.handle)
        first = call_text(view, pair.first)
        yield RULE.at(
            view.path,
            Span.of(pair.second),
            f"{call_text(view, pair.second)} belongs to {first} on line {pair.first.lineno}, but {name} commits each "
            "statement by itself",
            consequence=f"if the second fails, what {first} wrote stays, and {pair.why}",
            remedy="put both in one transaction, with `with` on the connection or without autocommit",
            confidence=pair.handle.confidence,
            trace=(
                Step(view.path, Span.of(pair.first), "is final at once"),
                Step(view.path, Span.of(pair.second), "may fail after it"),
            ),
            scope=view.name,
        )
