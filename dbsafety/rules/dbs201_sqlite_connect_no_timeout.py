"""A SQLite connection is opened with the default wait of five seconds.

## What it finds
`sqlite3.connect()` (and `sqlite3.Connection()`, `aiosqlite.connect()`) without `timeout`.

It is quiet when a timeout is given by keyword, by position or perhaps inside `**kwargs`; when `PRAGMA busy_timeout` is
sent on that connection; for `:memory:` and `mode=memory`; for `immutable=1`; for temporary files; and with a custom
`factory`. It has low confidence, hence is not shown by default, in test files, in migrations, where the first
statement creates a table without IF NOT EXISTS, hence a new file, and, in a module that writes to no SQLite database,
with `mode=ro` and for a connection that only reads and ends with its function.

## Why it matters
A connection that meets another writer waits for its timeout and then fails with `sqlite3.OperationalError: database is
locked`. The default is 5 seconds, which is enough while transactions are short and writers few; with many writers, or
slow work inside transactions, the last in the queue fails. `timeout=` sets how long a connection waits for a *busy*
database. It is no cure for a lock that is never released (see DBS108, DBS204): there it only makes every failure
slower. Nor does it help a transaction that has read before it writes: that fails at once, whatever the timeout.

## Example
```python
import sqlite3


def open_store(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path)
```

## Use instead
```python
import sqlite3


def open_store(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=30.0)
```

## Fix
Safe: adds `timeout=30.0` (setting `sqlite-timeout`). It can only make a connection wait longer for a busy database.

## Limits
Whether another process or thread writes to the file cannot be seen: then the confidence is medium.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from dbsafety.drivers.spec import ConstructorSpec, Effect, HandleKind
from dbsafety.model.finding import Confidence, Finding, Severity
from dbsafety.model.rewrite import Applicability, FixPlan, SetKeyword
from dbsafety.model.span import Span
from dbsafety.rules.rule import Rule
from dbsafety.typestate.ops import Op
from dbsafety.views.databases import Place, is_upgrade, only_reads, place_of, writes_somewhere
from dbsafety.views.keywords import may_pass
from dbsafety.views.view import FunctionView

RULE = Rule(
    code="DBS201",
    slug="sqlite-connect-no-timeout",
    summary="a SQLite connection is opened with the default wait of five seconds",
    severity=Severity.WARNING,
    drivers=("sqlite3", "aiosqlite"),
    pylint_id="W5721",
    since="0.1",
    fix=Applicability.SAFE,
)

_NEW_TABLE = re.compile(r"\s*CREATE\s+TABLE\s+(?!IF\b)", re.IGNORECASE)


def check(view: FunctionView) -> Iterator[Finding]:
    """A finding at each call that opens a SQLite database without saying how long to wait."""
    for call, op in view.ops():
        if not op.opens or not op.spec.locked_error or op.handle.kind is not HandleKind.CONNECTION:
            continue
        constructor = view.constructor(call)
        if constructor is None or _says_how_long(view, call, op, constructor):
            continue
        place = place_of(view, call)
        if place in (Place.MEMORY, Place.IMMUTABLE, Place.TEMPORARY):
            continue
        confidence = op.handle.confidence if place is Place.SHARED else op.handle.confidence.at_most(Confidence.MEDIUM)
        reads = place is Place.READ_ONLY or only_reads(view, op)
        if is_upgrade(view.path) or _is_new(view, call, op) or (reads and not writes_somewhere(view.module)):
            confidence = Confidence.LOW
        name = ast.unparse(call.func)
        seconds = view.module.options.sqlite_timeout
        yield RULE.at(
            view.path,
            Span.of(call),
            f"`{name}(…)` without `timeout` waits the default 5 s for a busy database",
            consequence=f"whoever waits longer fails with '{op.spec.locked_error}'; a longer wait does not release a "
            "lock that another connection has leaked",
            remedy=f"say how long to wait, for example `timeout={seconds}`",
            confidence=confidence,
            fix=FixPlan(
                f"add `timeout={seconds}`",
                Applicability.SAFE,
                (SetKeyword(Span.of(call), "timeout", str(seconds)),),
                view.name,
            ),
            scope=view.name,
        )


def _is_new(view: FunctionView, call: ast.Call, op: Op) -> bool:
    """Whether the first statement creates a table that must not be there yet: nobody else knows the file."""
    after = [(node, o) for node, o in view.ops(op.key) if node.lineno >= call.lineno and node is not call]
    told = [(node, o) for node, o in after if o.opens or o.effect is Effect.EXECUTE]
    first = min(told, key=lambda pair: (pair[0].lineno, pair[0].col_offset), default=None)
    return first is not None and not first[1].opens and bool(_NEW_TABLE.match(first[1].sql or ""))


def _says_how_long(view: FunctionView, call: ast.Call, op: Op, constructor: ConstructorSpec) -> bool:
    positions = constructor.positions
    if "timeout" not in constructor.keywords and "timeout" not in positions.values():
        return True
    if any(name == "timeout" and position < len(call.args) for position, name in positions.items()):
        return True
    if may_pass(view, call, "timeout", "factory"):
        return True
    return view.module.sends(op.key, "busy_timeout")
