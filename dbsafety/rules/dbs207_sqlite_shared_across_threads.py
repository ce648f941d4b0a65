"""A SQLite connection is used by several threads without one lock around every use.

## What it finds
A connection opened with `check_same_thread=False` that two threads use without a common lock. It wants to see them: a
function that is started as a thread, submitted to an executor or registered with a web framework that serves each
request in a thread, and another use at the same time; or a class in which some uses are under its `threading` lock
and others are under none. Worst is a cursor that is shared.

It is quiet when one lock is around every use (in `with`, by `acquire()`, by a decorator, in a context manager, or in
whoever calls), when one thread does all the work (an executor with one worker, uses before the start or after the
join), for connections in a `threading.local`, and when nobody writes, unless it is a cursor that is shared.

## Why it matters
`check_same_thread=False` switches off the check, not the problem. SQLite itself survives, but the *transaction* belongs
to the connection: one thread's `commit()` stores the half-done work of another, its `rollback()` deletes it. Eight
threads on one connection lost 57 to 173 rows whose commit had returned, and 182 to 198 rows were stored although they
were rolled back, with errors such as `cannot start a transaction within a transaction` and `bad parameter or other API
misuse`. With a lock around each unit of work nothing was lost. A *cursor* used by several threads ended the process by
SIGSEGV in 4 to 10 of 10 runs.

## Example
```python
import sqlite3
import threading


class Log:
    def __init__(self, path: str) -> None:
        self.lock = threading.Lock()
        self.conn = sqlite3.connect(path, timeout=30.0, check_same_thread=False)

    def add(self, first: str, second: str) -> None:
        with self.lock, self.conn:
            self.conn.execute("INSERT INTO entry (text) VALUES (?)", (first,))
            self.conn.execute("INSERT INTO entry (text) VALUES (?)", (second,))

    def forget(self, text: str) -> None:
        with self.conn:
            self.conn.execute("DELETE FROM entry WHERE text = ?", (text,))
```

## Use instead
```python
import sqlite3
import threading


class Log:
    def __init__(self, path: str) -> None:
        self.lock = threading.Lock()
        self.conn = sqlite3.connect(path, timeout=30.0, check_same_thread=False)

    def add(self, first: str, second: str) -> None:
        with self.lock, self.conn:
            self.conn.execute("INSERT INTO entry (text) VALUES (?)", (first,))
            self.conn.execute("INSERT INTO entry (text) VALUES (?)", (second,))

    def forget(self, text: str) -> None:
        with self.lock, self.conn:
            self.conn.execute("DELETE FROM entry WHERE text = ?", (text,))
```

## Fix
None. Give each thread a connection of its own, or put one lock around each unit of work, its commit included.

## Limits
Threads that another module starts are not seen, nor connections handed to a thread as an argument. A lock is told by
its name, or by the call that made it (`threading.Condition()`). Where a web framework or `asyncio.to_thread` decides on
the threads the confidence is medium, as it is where only reads are outside the lock.
"""

from __future__ import annotations

from collections.abc import Iterator

from dbsafety.model.finding import Confidence, Finding, Severity, Step
from dbsafety.model.span import Span
from dbsafety.rules.rule import Rule
from dbsafety.rules.wording import call_text, connection_name, span_of
from dbsafety.views.sharing import CALLERS, Shared, shared
from dbsafety.views.view import ModuleView

RULE = Rule(
    code="DBS207",
    slug="sqlite-shared-across-threads",
    summary="a SQLite connection is used by several threads without one lock around every use",
    severity=Severity.ERROR,
    drivers=("sqlite3",),
    pylint_id="E5727",
    since="0.1",
)


def check(view: ModuleView) -> Iterator[Finding]:
    """A finding at each opening of a connection that threads share without a lock."""
    for found in shared(view):
        first, second = found.first, found.second
        name = connection_name(first.view, found.key, found.handle)
        check = found.view.resolver.table.driver(found.handle.driver).thread_check
        cursor = first.cursor and second.cursor
        harm = (
            "a cursor used by two threads at once can end the process (SIGSEGV)"
            if cursor
            else "a commit of one stores the half-done work of the other, and a rollback deletes it"
        )
        yield RULE.at(
            view.path,
            Span.of(found.opening),
            f"{name}, opened with `{check}=False`, is used by {_who(found)}",
            consequence=f"{_meeting(found)} at the same time: {harm}",
            remedy="put one lock around each unit of work, or open a connection for each thread",
            confidence=_confidence(found),
            trace=tuple(_trace(view, found)),
            scope=found.view.name,
        )


def _who(found: Shared) -> str:
    if found.start is None:
        return f"methods of which some hold `{found.lock}` and others do not"
    entry = f"`{found.start.entry.qualname}`"
    if found.first.thread == found.second.thread:
        return f"several threads that run {entry} without one lock"
    other = "the callers" if found.second.thread == CALLERS else f"`{found.second.thread}`"
    return f"the thread that runs {entry} and by {other} without one lock"


def _meeting(found: Shared) -> str:
    first, second = (f"{call_text(use.view, use.node)} on line {use.line}" for use in (found.first, found.second))
    return f"{first} may run twice" if first == second else f"{first} and {second} may run"


def _confidence(found: Shared) -> Confidence:
    sure = found.first.sure and found.second.sure and found.first.changes and found.second.changes
    return found.handle.confidence if sure else found.handle.confidence.at_most(Confidence.MEDIUM)


def _trace(view: ModuleView, found: Shared) -> Iterator[Step]:
    yield Step(view.path, Span.of(found.opening), "opened for all threads")
    if found.start is not None and found.start.site is not None:
        yield Step(view.path, Span.of(found.start.site), f"`{found.start.entry.qualname}` runs in another thread")
    yield Step(view.path, span_of(found.first.node), "used without the lock" if found.lock else "used by one thread")
    yield Step(view.path, span_of(found.second.node), "used under the lock" if found.lock else "used by another")
