"""A SELECT looks whether a row is there, and an INSERT adds it when it is not: another writer may come in between.

## What it finds
A SELECT with a WHERE whose empty result leads to an INSERT into the same table, also when the SQL is kept in variables
or attributes, sent by a function of the project that is handed the text, or by one that tells whether there is a row.

It is quiet when the INSERT has a conflict clause or asks again itself (`INSERT ... SELECT ... WHERE NOT EXISTS`), when
an error for a duplicate is handled here or by the callers in this file, after `BEGIN IMMEDIATE`, `FOR UPDATE`, `LOCK`
or an advisory lock, under a lock of the program, when an earlier write of the transaction holds SQLite's lock, when the
table says `UNIQUE ... ON CONFLICT`, where the module names SERIALIZABLE or DBS206 speaks, in code that sets up a
database (`__init__`, `seed_users`, or with a CREATE TABLE), for databases in memory and temporary ones.

## Why it matters
Between the two statements another connection may insert the same row. Of four threads that did so on one SQLite file,
75 % of the calls failed with `sqlite3.IntegrityError: UNIQUE constraint failed`; without a UNIQUE constraint 180 of 240
rows were duplicates, and nothing said so. On PostgreSQL, with a millisecond between, 72 % failed with `duplicate key
value violates unique constraint`, or 60 names became 237 rows. A deferred transaction around both does not help: on
SQLite 75 % then failed with `database is locked`. With `ON CONFLICT`, or `BEGIN IMMEDIATE`, none did.

## Example
```python
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing


def remember(conn: sqlite3.Connection, name: str) -> None:
    row = conn.execute("SELECT id FROM item WHERE name = ?", (name,)).fetchone()
    if row is None:
        conn.execute("INSERT INTO item (name) VALUES (?)", (name,))
    conn.commit()


def remember_all(path: str, names: list[str]) -> None:
    def work(name: str) -> None:
        with closing(sqlite3.connect(path, timeout=30.0)) as conn:
            remember(conn, name)

    with ThreadPoolExecutor() as pool:
        list(pool.map(work, names))
```

## Use instead
```python
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing


def remember(conn: sqlite3.Connection, name: str) -> None:
    conn.execute("INSERT INTO item (name) VALUES (?) ON CONFLICT (name) DO NOTHING", (name,))
    conn.commit()


def remember_all(path: str, names: list[str]) -> None:
    def work(name: str) -> None:
        with closing(sqlite3.connect(path, timeout=30.0)) as conn:
            remember(conn, name)

    with ThreadPoolExecutor() as pool:
        list(pool.map(work, names))
```

## Fix
None: `ON CONFLICT` needs a UNIQUE constraint, and without one the cure is a lock.

## Limits
Whether somebody else writes is not seen: test files, scripts that run and end, and SQLite files where the module runs
no threads and serves nobody have low confidence, hence are not shown by default. Not seen are helpers that insert the
row, INSERT behind an UPDATE that changed no row, ORM objects, and that FOR UPDATE locks no missing row.
"""

from __future__ import annotations

from collections.abc import Iterator

from dbsafety.facts.sql import Statement
from dbsafety.model.finding import Confidence, Finding, Severity, Step
from dbsafety.model.span import Span
from dbsafety.rules.rule import Rule
from dbsafety.rules.wording import call_text
from dbsafety.views.absence import Absence, absences, looked_up_by
from dbsafety.views.databases import has_threads
from dbsafety.views.rivals import absorbs, has_one_actor, is_guarded, is_serializable
from dbsafety.views.sending import Sent, sent_by
from dbsafety.views.view import FunctionView

RULE = Rule(
    code="DBS302",
    slug="check-then-insert",
    summary="a row is inserted because a SELECT did not find it, and another writer may have come in between",
    severity=Severity.WARNING,
    drivers=("psycopg2", "psycopg", "sqlite3", "aiosqlite", "asyncpg", "sqlalchemy", "django"),
    pylint_id="W5732",
    since="0.1",
)


def check(view: FunctionView) -> Iterator[Finding]:
    """A finding at each INSERT that rests on a SELECT."""
    told = list(view.calls())
    sent = [found for call, facts in told if (found := sent_by(view, call, facts)) is not None]
    inserts = [(one, table) for one in sent if (table := _inserted(one)) is not None]
    if not inserts:
        return
    seen: set[int] = set()
    sent += [found for call, facts in told if (found := looked_up_by(view, call, facts)) is not None]
    for select in sent:
        wanted = [one for one, table in inserts if _looks_for(select, table)]
        steps = {step.index: one for one in wanted if (step := view.step_of(one.call)) is not None}
        for absence in absences(view, select, steps) if steps else ():
            if id(absence.insert.call) not in seen and _is_open(view, absence):
                seen.add(id(absence.insert.call))
                yield _finding(view, absence)


def _inserted(sent: Sent) -> str | None:
    """The table into which the text inserts, if it may fail for a row that is there already."""
    inserts = [one for one in sent.statements if one.word in ("INSERT", "COPY", "MERGE", "REPLACE")]
    if len(inserts) != 1 or not inserts[0].targets:
        return None
    insert = inserts[0]
    table = _short(insert.targets[0])
    asks = table in map(_short, insert.reads)
    return None if insert.word != "INSERT" or insert.conflict or insert.partial or asks else table


def _looks_for(select: Sent, table: str) -> bool:
    """Whether the text asks for rows of the table that fulfil a condition."""
    return len(select.statements) == 1 and _reads(select.statements[0], table)


def _reads(statement: Statement, table: str) -> bool:
    return statement.word == "SELECT" and statement.where and table in map(_short, statement.reads)


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _is_open(view: FunctionView, found: Absence) -> bool:
    """Whether somebody else may come in between unheeded."""
    table = _inserted(found.insert) or ""
    return not (
        is_guarded(view, found)
        or has_one_actor(view, found)
        or absorbs(view.module, table)
        or is_serializable(view.module)
    )


def _finding(view: FunctionView, found: Absence) -> Finding:
    select, insert = found.select, found.insert
    table = _inserted(insert) or ""
    lock = insert.op is not None and insert.op.spec.keeps_lock
    return RULE.at(
        view.path,
        Span.of(insert.call),
        f"{call_text(view, insert.call)} adds a row to `{table}` because the SELECT on line {select.call.lineno} did "
        "not find it",
        consequence="when another connection inserts the row in between, this fails as a duplicate, or without a "
        "UNIQUE constraint the row is there twice",
        remedy=f"use INSERT ... ON CONFLICT{', or begin with BEGIN IMMEDIATE before the SELECT' if lock else ''}",
        confidence=_confidence(view, found),
        trace=(
            Step(view.path, Span.of(select.call), "looks whether the row is there"),
            Step(view.path, Span.of(found.test), "it is not, as far as this connection sees"),
            Step(view.path, Span.of(insert.call), "inserts it; another connection may have done so since"),
        ),
        scope=view.name,
    )


def _confidence(view: FunctionView, found: Absence) -> Confidence:
    confidence = found.select.confidence.at_most(found.insert.confidence)
    if view.module.is_script or not view.name:
        return Confidence.LOW
    op = found.insert.op
    alone = op is not None and op.spec.keeps_lock and not op.spec.is_async and not has_threads(view.module)
    return Confidence.LOW if alone else confidence
