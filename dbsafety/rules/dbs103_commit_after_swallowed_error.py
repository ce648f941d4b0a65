"""A transaction is committed after an error of one of its statements was swallowed.

## What it finds
A handler that ends the error of a statement, with a `commit()`, or the normal end of a `with` block that commits, on
every path that follows. The finding stands at the handler, the commit is in the trace.

On SQLite it needs an earlier write in the same transaction. It is quiet when the failing part has a savepoint or a
nested transaction of its own, when the error is raised again, and on connections that commit by themselves.

## Why it matters
PostgreSQL answers the COMMIT of an aborted transaction with a ROLLBACK. No driver reports it: `commit()` returns
normally, `with conn:` ends normally, and nothing is stored; only a further statement before the commit would say
`current transaction is aborted, commands ignored until end of transaction block`. SQLite commits what came before the
failure: half a unit of work.

## Example
```python
import psycopg2.extensions


def load(conn: psycopg2.extensions.connection, rows: list[tuple[int, str]]) -> None:
    cur = conn.cursor()
    try:
        cur.executemany("INSERT INTO item VALUES (%s, %s)", rows)
    except psycopg2.Error as error:
        print(f"load failed: {error}")
    conn.commit()
```

## Use instead
```python
import psycopg2.extensions


def load(conn: psycopg2.extensions.connection, rows: list[tuple[int, str]]) -> None:
    with conn, conn.cursor() as cur:
        cur.executemany("INSERT INTO item VALUES (%s, %s)", rows)
```

## Fix
Unsafe: where rows from before the `try` wait for the same commit, its body gets a savepoint: a nested `transaction()`
where the driver has one, else `SAVEPOINT`, `ROLLBACK TO SAVEPOINT` first in the handler and `RELEASE SAVEPOINT` in
`else`. Where nothing else would be kept, the commit right behind the `try` moves to its `else`, and the handler rolls
back first. There is no fix where the body itself ends a transaction, or hands the connection to code that may.

On SQLite there is none either where such rows may wait or may not (without a transaction, `SAVEPOINT` would begin one
and `RELEASE SAVEPOINT` commit it), where a loop in the `try` writes, so that the turns that went well would go with the
one that failed, and where one statement is all the `try` does, which SQLite undoes by itself: what to keep then is
yours to say.

## Limits
If the function may also end without the commit, DBS101 or DBS108 speaks instead. Where a function also alters
the schema of an SQLite database, a step that fails is taken for one that was done before: low confidence, not shown.
"""

from __future__ import annotations

from collections.abc import Iterator

from dbsafety.model.finding import Confidence, Finding, Severity
from dbsafety.model.rewrite import Applicability
from dbsafety.plans.recommit import plan_recommit
from dbsafety.rules.rule import Rule
from dbsafety.rules.wording import call_text, connection_name, handler_text, place, span_of, witness
from dbsafety.typestate.report import End, Swallow, last_statement
from dbsafety.views.databases import is_private
from dbsafety.views.handlers import Verdict, verdict
from dbsafety.views.view import FunctionView

RULE = Rule(
    code="DBS103",
    slug="commit-after-swallowed-error",
    summary="a transaction is committed after an error of one of its statements was swallowed",
    severity=Severity.ERROR,
    drivers=("psycopg2", "psycopg", "asyncpg", "sqlite3"),
    pylint_id="E5703",
    since="0.1",
    fix=Applicability.UNSAFE,
)


def check(view: FunctionView) -> Iterator[Finding]:
    """A finding for each handler behind which the failed transaction is committed."""
    for swallow in view.swallows:
        if verdict(view, swallow) is not Verdict.COMMITTED:
            continue
        commit = last_statement(swallow.paths[End.COMMIT])
        failing = swallow.fails.get(End.COMMIT)
        name = connection_name(view, swallow.subject.key, swallow.subject.handle)
        effect = (
            f"{swallow.spec.server} silently rolls back and stores nothing"
            if swallow.spec.aborts
            else f"{swallow.spec.server} stores what came before the error without what should have followed it"
        )
        plan, refusal = plan_recommit(view, swallow)
        yield RULE.at(
            view.path,
            span_of(swallow.handler, swallow.handler_step.line if swallow.handler_step else 1),
            f"{handler_text(swallow.handler)} ends an error of {call_text(view, failing.node if failing else None)} "
            f"{place(failing)}, then {call_text(view, commit.node)} on line {commit.line} commits {name}",
            consequence=effect,
            remedy="let the error leave the transaction, or give the risky part a savepoint",
            confidence=_confidence(view, swallow),
            trace=witness(view, swallow, End.COMMIT),
            fix=plan,
            fix_refusal=refusal,
            scope=view.name,
        )


def _confidence(view: FunctionView, swallow: Swallow) -> Confidence:
    """Low for a database of its own, and where SQLite's schema is brought up to date: each step may fail by itself."""
    key = swallow.subject.key
    migrates = not swallow.spec.aborts and any(op.statement.word in ("ALTER", "DROP") for _, op in view.ops(key))
    return Confidence.LOW if migrates or is_private(view.module, key) else view.confidence(swallow)
