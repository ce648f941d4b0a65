"""`executescript` commits what is pending before it runs, and a rollback takes nothing of its own text back.

## What it finds
A call of `executescript` while earlier writes of the connection wait for their commit, or after an explicit BEGIN; and
one inside `with conn:` with a text of several statements, some of which change rows, that the block is thought to make
one.

It is quiet when nothing is pending, or only because the commit has failed; when the text is a VACUUM or PRAGMA, which
must not be in a transaction; inside a block when the text begins a transaction of its own, only creates tables, or
inserts nothing but what is not there yet (`OR IGNORE`); when the connection commits by itself; for connections opened
with the `autocommit` of Python 3.12, where it commits nothing; and for databases in memory.

## Why it matters
The module sends a COMMIT first, whatever is pending: after `INSERT; executescript(...); rollback()` the row is stored.
The text then runs statement by statement, each final at once: when the second failed (`sqlite3.IntegrityError`) the
first stayed, and leaving `with conn:` by that error rolled nothing back. An explicit `BEGIN` before it ends there too.
aiosqlite passes the call on to the same method.

## Example
```python
import sqlite3


def move(conn: sqlite3.Connection, name: str) -> None:
    try:
        conn.execute("INSERT INTO archive (name) VALUES (?)", (name,))
        conn.executescript("DELETE FROM item; UPDATE counter SET n = 0;")
        conn.commit()
    except sqlite3.Error:
        conn.rollback()
        raise
```

## Use instead
```python
import sqlite3


def move(conn: sqlite3.Connection, name: str) -> None:
    try:
        conn.execute("INSERT INTO archive (name) VALUES (?)", (name,))
        conn.execute("DELETE FROM item")
        conn.execute("UPDATE counter SET n = 0")
        conn.commit()
    except sqlite3.Error:
        conn.rollback()
        raise
```

## Fix
None: the statements have to be sent one by one, or the transaction written into the text.

## Limits
Writes that are pending when the function is called are not seen. In a loop, a write that stands behind the call, in an
earlier turn, gives low confidence, hence is not shown by default.
"""

from __future__ import annotations

from collections.abc import Iterator

from dbsafety.model.finding import Confidence, Finding, Severity, Step
from dbsafety.model.span import Span
from dbsafety.rules.rule import Rule
from dbsafety.rules.wording import call_text, connection_name, span_of
from dbsafety.views.scripts import Script, scripts
from dbsafety.views.view import FunctionView

RULE = Rule(
    code="DBS305",
    slug="executescript-commits-pending",
    summary="`executescript` commits what is pending, and its text is outside of the transaction",
    severity=Severity.WARNING,
    drivers=("sqlite3", "aiosqlite"),
    pylint_id="W5735",
    since="0.1",
)


def check(view: FunctionView) -> Iterator[Finding]:
    """A finding at each such call."""
    for found in scripts(view):
        pending = found.pending is not None
        what, consequence, remedy = _pending(view, found) if pending else _in_block(view, found)
        trace = [Step(view.path, span_of(found.pending), "waits for its commit")] if pending else []
        trace.append(Step(view.path, Span.of(found.call), "commits first, then makes each statement final at once"))
        yield RULE.at(
            view.path,
            Span.of(found.call),
            what,
            consequence=consequence,
            remedy=remedy,
            confidence=found.op.handle.confidence.at_most(_confidence(found)),
            trace=trace,
            scope=view.name,
        )


def _confidence(found: Script) -> Confidence:
    """Low where the write is an earlier turn's, which is complete; medium for what is thought to be one unit."""
    if found.pending is None:
        return Confidence.MEDIUM
    return Confidence.LOW if span_of(found.pending).line > found.call.lineno else Confidence.HIGH


def _pending(view: FunctionView, found: Script) -> tuple[str, str, str]:
    line = getattr(found.pending, "lineno", None) or span_of(found.pending).line
    name = connection_name(view, found.op.key, found.op.handle)
    what = "what" if found.wrote else "the transaction that"
    did = "wrote" if found.wrote else "began"
    commits = f"{call_text(view, found.call)} first commits {what} {call_text(view, found.pending)} on line {line}"
    return (
        f"{commits} {did} on {name}, and its own statements are final one by one",
        "a rollback afterwards takes nothing back",
        "send the statements one by one with `execute`",
    )


def _in_block(view: FunctionView, found: Script) -> tuple[str, str, str]:
    block = call_text(view, found.block)
    return (
        f"{call_text(view, found.call)} runs outside of the transaction of {block}",
        "each of its statements is final at once, and when one fails the block does not roll back those before it",
        "send them one by one with `execute`, or write BEGIN and COMMIT into the text",
    )
