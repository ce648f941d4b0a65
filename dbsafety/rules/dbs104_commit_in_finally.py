"""A commit runs on the way of an error and makes half of the work final, or stores nothing and says nothing.

## What it finds
A `commit()` in `finally`, or in a handler, that is reached while the work is incomplete: a statement of the `try` has
failed and its error is swallowed; or one write waits for the commit, another one follows in the `try`, and what stands
between may fail. Also the commit of a context manager that runs however its block ends: in `finally` around the
`yield`, or in an `__exit__` that never looks at the exception.

It is quiet when a rollback lies before the commit on every such path, when nothing had been written, when nothing more
was to be written, on connections that commit by themselves, and in a handler for a case that the code foresees
(`except KeyError`) or that writes down what has happened. When the commit stands behind the `try`, DBS103 speaks.

## Why it matters
`finally` runs after errors too. With SQLite, half a unit of work is committed, also when the error goes on to the
caller. PostgreSQL does the same when the error is Python's own; after an error of a statement it answers the COMMIT
with a ROLLBACK, `commit()` returns normally, and nothing is stored.

## Example
```python
import sqlite3


def transfer(conn: sqlite3.Connection, source: int, target: int, amount: int) -> None:
    try:
        conn.execute("UPDATE account SET amount = amount - ? WHERE id = ?", (amount, source))
        conn.execute("UPDATE account SET amount = amount + ? WHERE id = ?", (amount, target))
    finally:
        conn.commit()
```

## Use instead
```python
import sqlite3


def transfer(conn: sqlite3.Connection, source: int, target: int, amount: int) -> None:
    with conn:
        conn.execute("UPDATE account SET amount = amount - ? WHERE id = ?", (amount, source))
        conn.execute("UPDATE account SET amount = amount + ? WHERE id = ?", (amount, target))
```

## Fix
Unsafe: moves the commit from `finally` to `else` and rolls back on the way of an error; a commit in a handler becomes a
rollback. There is none when `return`, `break` or `continue` leaves the `try`, since `else` does not run then, in
asynchronous code, for `__exit__`, when the commit is sent as text or by another function, and when it also stores what
this function wrote before the `try` or in earlier turns of a loop in it, what a caller wrote, or another method: the
rollback would take that.

## Limits
SQL whose text is not known is not taken for a write. What a session adds to its unit of work is no write either, so of
SQLAlchemy only statements as text and context managers are judged.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dbsafety.flow.graph import Step as FlowStep
from dbsafety.flow.graph import StepKind
from dbsafety.model.finding import Confidence, Finding, Severity, Step
from dbsafety.model.rewrite import Applicability
from dbsafety.plans.elsewhere import plan_elsewhere
from dbsafety.rules.rule import Rule
from dbsafety.rules.wording import call_text, connection_name, handler_text, place, span_of, witness
from dbsafety.typestate.report import End, Swallow, last_statement
from dbsafety.views.databases import is_private
from dbsafety.views.early import EarlyCommit, early_commits, owner_of
from dbsafety.views.handlers import Verdict, verdict
from dbsafety.views.view import FunctionView

RULE = Rule(
    code="DBS104",
    slug="commit-in-finally",
    summary="a commit runs on the way of an error, while the work is incomplete",
    severity=Severity.ERROR,
    drivers=("psycopg2", "psycopg", "asyncpg", "sqlite3", "aiosqlite", "sqlalchemy"),
    pylint_id="E5704",
    since="0.1",
    fix=Applicability.UNSAFE,
)


def check(view: FunctionView) -> Iterator[Finding]:
    """A finding for each commit that an error leads to."""
    seen: set[int] = set()
    for swallow in view.swallows:
        if verdict(view, swallow) is Verdict.COMMITTED_EARLY:
            commit = last_statement(swallow.paths[End.COMMIT]).node
            if commit is not None and id(commit) not in seen:
                seen.add(id(commit))
                yield _swallowed(view, swallow, commit)
    for early in early_commits(view):
        if id(early.commit) not in seen and view.spec(early.handle).family != "DBS111":
            yield _reached(view, early)


def _swallowed(view: FunctionView, swallow: Swallow, commit: ast.AST) -> Finding:
    """The error of a statement ends in a handler, which commits, or whose `finally` does."""
    failing = swallow.fails.get(End.COMMIT)
    name = connection_name(view, swallow.subject.key, swallow.subject.handle)
    owner = owner_of(view, commit, swallow.handler)
    where = "`finally`" if isinstance(owner, ast.Try) else handler_text(swallow.handler)
    lost = "silently rolls back and stores nothing"
    half = "stores what came before the error without what should have followed it"
    plan, refusal = plan_elsewhere(view, commit, owner, swallow.subject.key)
    return RULE.at(
        view.path,
        span_of(commit),
        f"{call_text(view, commit)} in {where} commits {name} after an error of "
        f"{call_text(view, failing.node if failing else None)} {place(failing)}",
        consequence=f"{swallow.spec.server} {lost if swallow.spec.aborts else half}",
        remedy=_cure(owner),
        confidence=Confidence.LOW if is_private(view.module, swallow.subject.key) else view.confidence(swallow),
        trace=witness(view, swallow, End.COMMIT),
        fix=plan,
        fix_refusal=refusal,
        scope=view.name,
    )


def _reached(view: FunctionView, early: EarlyCommit) -> Finding:
    """An error that goes on leads through the commit."""
    confidence = early.handle.confidence
    if early.is_repeated or early.is_refused:
        confidence = confidence.at_most(Confidence.MEDIUM)
    if is_private(view.module, early.key):
        confidence = Confidence.LOW
    trace = [Step(view.path, span_of(s.node, s.line), note) for s, note in _stations(view, early)]
    plan, refusal = plan_elsewhere(view, early.commit, early.owner, early.key)
    what, consequence = _said(view, early)
    return RULE.at(
        view.path,
        span_of(early.commit),
        what,
        consequence=consequence,
        remedy=_cure(early.owner),
        confidence=confidence,
        trace=(*trace, Step(view.path, span_of(early.commit), "is committed all the same")),
        fix=plan,
        fix_refusal=refusal,
        scope=view.name,
    )


def _said(view: FunctionView, early: EarlyCommit) -> tuple[str, str]:
    commit, server = call_text(view, early.commit), view.spec(early.handle).server
    failing, missing, name = early.failing, early.missing, view.name.rpartition(".")[2]
    if failing is None:
        what = f"{commit} runs however the block ends, since `{name}` never looks at its exception"
        return what, "after an error it stores half of the block's work"
    where = handler_text(early.owner) if isinstance(early.owner, ast.ExceptHandler) else "`finally`"
    if failing.kind is StepKind.YIELD:
        what = f"{commit} in {where} also runs when the block that `{name}` serves has failed"
        return what, f"{server} stores half of its work"
    how = "is refused by the driver before it is sent" if early.is_refused else "fails"
    fails = f"{commit} in {where} also runs when {call_text(view, failing.node)} {place(failing)} {how}"
    stored = call_text(view, early.written.node) if early.written is not None else "what was written before"
    if early.is_repeated:
        return fails, f"{server} then stores only some of the rows that {stored} writes"
    if missing is None or missing is failing:
        return fails, f"{server} then stores {stored} without what failed"
    return fails, f"{server} then stores {stored} without {call_text(view, missing.node)} {place(missing)}"


def _stations(view: FunctionView, early: EarlyCommit) -> Iterator[tuple[FlowStep, str]]:
    if early.written is not None and early.written.kind is not StepKind.YIELD:
        yield early.written, f"{call_text(view, early.written.node)} waits for the commit"
    if early.failing is not None:
        what = "the block" if early.failing.kind is StepKind.YIELD else call_text(view, early.failing.node)
        yield early.failing, f"{what} fails"


def _cure(owner: ast.AST | None) -> str:
    match owner:
        case ast.ExceptHandler():
            return "roll back there"
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return "commit only if there was none, else roll back"
    return "commit in `else`, and roll back on an error"
