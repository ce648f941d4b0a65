"""Plans for a commit behind a swallowed error: into `else` with a rollback in the handler, or a savepoint (fact B2)."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace

from dbsafety.drivers.spec import Effect
from dbsafety.facts.sql import Verb
from dbsafety.model.rewrite import Applicability, FixPlan, InsertFirst, JoinElse, Rewrite
from dbsafety.model.span import Span
from dbsafety.plans.belonging import Before, before, is_handed_on, is_shared, writes_in_turns
from dbsafety.plans.reach import is_awaited, reach
from dbsafety.plans.rollback import clause_of, plan_rollback, rollback_code
from dbsafety.plans.savepoints import DIVIDED, divides, plan_by_text, plan_savepoint
from dbsafety.typestate.automaton import Raised
from dbsafety.typestate.catch import Match, clause_matches
from dbsafety.typestate.report import End, Swallow, last_statement
from dbsafety.typestate.values import Key
from dbsafety.views.awaits import awaited
from dbsafety.views.view import FunctionView

_COMMITTED = frozenset({End.COMMIT, End.DROPPED})
_CHANGES = frozenset({Verb.WRITE, Verb.DDL, Verb.UNKNOWN})
_LEAVES = (ast.Return, ast.Continue, ast.Break, ast.Raise)


def plan_recommit(view: FunctionView, swallow: Swallow) -> tuple[FixPlan | None, str]:
    """The plan for a commit that follows a swallowed error, or None and the reason for the refusal.

    What came before in the transaction is kept by a savepoint. Where nothing did, the commit moves to `else`:
    PostgreSQL stores the same rows as before, SQLite all or none.
    """
    clause = clause_of(view, swallow)
    if isinstance(clause, str):
        return None, clause
    _, attempt = clause
    if not swallow.spec.aborts and writes_in_turns(view, swallow.subject.key, attempt.body):
        return None, "turns of the loop that went well would go with the one that failed: give each turn a savepoint"
    if not swallow.spec.aborts and before(view, swallow.subject.handle, swallow.subject.key, attempt) is not (
        Before.NOTHING
    ):
        return _kept_half(view, swallow, attempt)
    kept, refusal = plan_savepoint(view, swallow, attempt) if swallow.spec.aborts else (None, "")
    if kept is not None and _may_keep(view, swallow, attempt):
        return kept, ""
    if kept is None and refusal and _loses_more(view, swallow, attempt):
        return None, refusal
    moved, reason = _into_else(view, swallow, attempt)
    plan = moved or kept
    return (plan, "") if plan is not None else (None, refusal or reason)


def _loses_more(view: FunctionView, swallow: Swallow, attempt: ast.Try) -> bool:
    """Whether a rollback in the handlers takes rows that the database itself keeps: after an error of Python."""
    if before(view, swallow.subject.handle, swallow.subject.key, attempt) is Before.NOTHING:
        return False
    kinds = (clause_matches(view.resolver, h.type, view.scope, swallow.spec, Raised.OTHER) for h in attempt.handlers)
    return any(kind is not Match.NO for kind in kinds)


def _kept_half(view: FunctionView, swallow: Swallow, attempt: ast.Try) -> tuple[FixPlan | None, str]:
    """The savepoint where SQLite holds rows from before the `try`, or the reason for the refusal.

    A transaction must be sure to be open: SAVEPOINT would begin one otherwise, and RELEASE commit it. A statement that
    fails is undone without a savepoint, so there must be more to undo; and a RELEASE is refused while a RETURNING has
    rows to give, as the commit is.
    """
    key, server = swallow.subject.key, swallow.spec.server
    decision = f"whether {server} should keep what came before the error is a decision"
    if before(view, swallow.subject.handle, key, attempt) is Before.MAYBE:
        return None, f"rows may wait for the commit before the `try` already, and {decision}"
    if divides(view, key, attempt.body):
        return None, DIVIDED
    if not _is_divisible(view, key, attempt):
        return None, f"{server} undoes the statement that fails by itself, and {decision}"
    whole = [op for call, op in view.ops(key) if not isinstance(view.parents.get(id(call)), ast.Attribute)]
    if any(op.statement.returning for op in whole):
        return None, f"{server} refuses to release a savepoint while a RETURNING has rows to give"
    if any("OR ROLLBACK" in (op.sql or "").upper() for _, op in view.ops(key)):
        return None, "a statement rolls back the whole transaction when it fails"
    mine = {id(one.handler) for one in view.swallows if one.subject.key == key and set(one.paths) <= _COMMITTED}
    back = [handler for handler in attempt.handlers if id(handler) in mine]
    awaited = is_awaited(view, swallow)
    if awaited is None:
        return None, "whether statements must be awaited is not certain"
    return plan_by_text(view, swallow, attempt, back, awaited=awaited)


def _is_divisible(view: FunctionView, key: Key, attempt: ast.Try) -> bool:
    """Whether the body of the `try` may change rows before a statement of it fails: in several statements or rows."""
    inside = _inside(attempt.body)
    count = 0
    for call, facts in view.calls():
        if id(call) not in inside:
            continue
        if is_handed_on(view, key, facts):
            return True
        sends = any(op.key == key and op.effect is Effect.EXECUTE and op.statement.verb in _CHANGES for op in facts.ops)
        many = isinstance(call.func, ast.Attribute) and call.func.attr == "executemany"
        count += (2 if many else 1) if sends else 0
    return count > 1


def plan_rows(view: FunctionView, swallow: Swallow) -> tuple[FixPlan | None, str]:
    """The plan for a loop that swallows the error of a row: a savepoint for each, or None and the reason.

    Where each row that succeeds is committed already, the handler rolls back.
    """
    clause = clause_of(view, swallow)
    if isinstance(clause, str):
        return None, clause
    _, attempt = clause
    inside = {id(node) for part in attempt.body for node in ast.walk(part)}
    if any(op.effect is Effect.COMMIT and id(call) in inside for call, op in view.ops(swallow.subject.key)):
        return plan_rollback(view, swallow)
    return plan_savepoint(view, swallow, attempt)


def _may_keep(view: FunctionView, swallow: Swallow, attempt: ast.Try) -> bool:
    """Whether something else may wait in the transaction: an earlier statement's work, or that of the caller."""
    key = swallow.subject.key
    if swallow.dirty or key.kind in ("param", "borrowed") or swallow.spec.default_autocommit:
        return True
    sends = [
        call
        for call, op in view.ops(key)
        if op.effect in (Effect.EXECUTE, Effect.SCRIPT) and op.statement.verb is not Verb.READ
    ]
    return any((call.lineno, call.col_offset) < (attempt.lineno, attempt.col_offset) for call in sends)


def _into_else(view: FunctionView, swallow: Swallow, attempt: ast.Try) -> tuple[FixPlan | None, str]:
    """The commit right behind the `try` moves to its `else`, and every clause that goes on rolls back first."""
    key, spec = swallow.subject.key, swallow.spec
    decision = f"whether {spec.server} should keep what came before the error is a decision"
    if spec.default_autocommit:
        return None, f"{spec.name} connections have no rollback(): use a transaction block"
    if not spec.aborts and is_shared(view, key):
        return None, f"the commit stores the work of others as well, and {decision}"
    statement = _next_commit(view, swallow, attempt)
    if statement is None:
        return None, f"the commit does not come right behind the `try`, and {decision}"
    handlers = [handler for handler in attempt.handlers if not isinstance(handler.body[-1], _LEAVES)]
    mine = {id(one.handler) for one in view.swallows if one.subject.key == key and set(one.paths) <= _COMMITTED}
    if any(id(handler) not in mine for handler in handlers):
        return None, "another handler of the `try` goes on to the commit"
    if any(works_on(view, key, handler.body) for handler in handlers):
        return None, "the handler works on the connection itself, and needs the commit"
    if any(id(call) in _inside(attempt.finalbody) for call, _ in view.ops(key)):
        return None, "the `finally` of the `try` uses the connection before the commit"
    found = reach(view, swallow, attempt)
    awaited = is_awaited(view, swallow)
    if found is None or found.prebind or awaited is None:
        return None, "no name in scope of the handler is sure to be the connection that failed"
    code = rollback_code(view, spec, replace(found, awaited=awaited))
    rewrites: list[Rewrite] = [InsertFirst(Span.of(handler), code) for handler in handlers]
    rewrites.append(JoinElse(Span.of(attempt), Span.of(statement)))
    title = "commit in `else`, and roll back in the handler"
    return FixPlan(title, Applicability.UNSAFE, tuple(rewrites), view.name), ""


def _next_commit(view: FunctionView, swallow: Swallow, attempt: ast.Try) -> ast.Expr | None:
    """The statement behind the `try` if it is the commit that the error leads to, and nothing else."""
    suite = view.suite_of(attempt)
    following = suite[suite.index(attempt) + 1 :] if attempt in suite else []
    statement = following[0] if following else None
    if not isinstance(statement, ast.Expr):
        return None
    call = awaited(statement.value)
    commit = last_statement(swallow.paths[End.COMMIT]).node
    if not isinstance(call, ast.Call) or commit is not call:
        return None
    ops = view.frame.call(call).ops
    whole = len(ops) == 1 and ops[0].key == swallow.subject.key and ops[0].effect is Effect.COMMIT
    return statement if whole else None


def works_on(view: FunctionView, key: Key, body: Sequence[ast.stmt]) -> bool:
    """Whether the statements may send something on the connection, themselves or by what they call."""
    inside = _inside(body)
    for call, facts in view.calls():
        sends = any(op.key == key and op.effect in (Effect.EXECUTE, Effect.SCRIPT, Effect.COMMIT) for op in facts.ops)
        if id(call) in inside and (sends or key in facts.passed or is_handed_on(view, key, facts)):
            return True
    return False


def _inside(body: Sequence[ast.stmt]) -> set[int]:
    return {id(node) for part in body for node in ast.walk(part)}
