"""Plans that make a unit of work whole: in a block of the connection, which commits or rolls back (facts B4a, C3a)."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from dbsafety.drivers.spec import Effect, HandleKind
from dbsafety.facts.sql import Verb
from dbsafety.model.rewrite import Applicability, FixPlan, WrapBody
from dbsafety.model.span import Span
from dbsafety.plans.reach import Reach
from dbsafety.plans.savepoints import ops_in
from dbsafety.typestate.report import Swallow
from dbsafety.typestate.values import Key, handles
from dbsafety.views.view import FunctionView

_ALLOWED = frozenset({Effect.EXECUTE, Effect.ASK, Effect.FETCH, Effect.NEUTRAL, Effect.MAKE})
_TEXT = frozenset({Verb.COMMIT, Verb.ROLLBACK, Verb.BEGIN, Verb.SAVEPOINT, Verb.ROLLBACK_TO, Verb.RELEASE})
_LEAVES = (ast.Return, ast.Break, ast.Continue, ast.Yield, ast.YieldFrom)


def plan_unit(view: FunctionView, swallow: Swallow, attempt: ast.Try, reach: Reach) -> FixPlan | None:
    """`with conn:` around a body whose last statement commits all it does; None where that might mean something else.

    The block must commit and roll back without closing, nothing may leave the body early, and no other block of the
    connection may be entered: psycopg2 refuses to enter one twice (fact B4c).
    """
    key = swallow.subject.key
    connection = swallow.spec.handles.get(HandleKind.CONNECTION)
    block = connection.with_block if connection is not None else None
    if block is None or block.closes or (block.success, block.error) != (Effect.COMMIT, Effect.ROLLBACK):
        return None
    if reach.prebind or reach.guarded or reach.is_cursor or key.kind == "param" or view.cfg.is_async:
        return None
    commit = _commit_at_end(view, key, attempt)
    if commit is None or len(attempt.body) < 2 or _is_left_early(attempt.body):
        return None
    ops = [op for call, op in ops_in(view, key, attempt.body) if call is not commit.value]
    if any(op.effect not in _ALLOWED or op.weak or op.opens or op.statement.verb in _TEXT for op in ops):
        return None
    if any(op.effect is Effect.COMMIT for one in attempt.handlers for _, op in ops_in(view, key, one.body)):
        return None
    if _calls_others(view, key, attempt.body) or _is_entered(view, key):
        return None
    rewrite = WrapBody(Span.of(attempt), reach.text, drop=(Span.of(commit),))
    title = f"do the work in `with {reach.text}:`, which rolls back on an error"
    return FixPlan(title, Applicability.UNSAFE, (rewrite,), view.name)


def _commit_at_end(view: FunctionView, key: Key, attempt: ast.Try) -> ast.Expr | None:
    last = attempt.body[-1]
    if not isinstance(last, ast.Expr) or not isinstance(last.value, ast.Call):
        return None
    ops = view.frame.call(last.value).ops
    whole = [op for op in ops if op.key == key and op.effect is Effect.COMMIT and not op.weak]
    return last if len(ops) == 1 and whole and whole[0].handle.kind is HandleKind.CONNECTION else None


def _is_left_early(body: Sequence[ast.stmt]) -> bool:
    return any(isinstance(node, _LEAVES) for part in body for node in ast.walk(part))


def _calls_others(view: FunctionView, key: Key, body: Sequence[ast.stmt]) -> bool:
    """Whether a function of the project that may use the connection is called."""
    inside = {id(node) for part in body for node in ast.walk(part)}
    for call, facts in view.calls():
        if id(call) in inside and facts.targets and (key in facts.passed or key.persistent):
            return True
    return False


def _is_entered(view: FunctionView, key: Key) -> bool:
    """Whether some function of the module enters a block of the connection."""
    for other in view.module.functions:
        for item in other.frame.items():
            entered = handles(other.resolver.evaluate(item.context_expr, other.scope))
            if any(h.key == key and h.kind in (HandleKind.CONNECTION, HandleKind.TRANSACTION) for h in entered):
                return True
    return False
