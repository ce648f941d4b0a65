"""Plans that take a commit off the way of an error: into `else`, or a rollback in its place (facts B7b, C8d)."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from dbsafety.drivers.spec import Effect
from dbsafety.model.rewrite import Applicability, FixPlan, InsertFirst, MoveToElse, ReplaceExpression, Rewrite
from dbsafety.model.span import Span
from dbsafety.plans.belonging import Before, before, is_shared, writes_in_turns
from dbsafety.plans.leaving import leaving
from dbsafety.plans.reach import LOOPS, Reach
from dbsafety.plans.recommit import works_on
from dbsafety.plans.rollback import rollback_code
from dbsafety.typestate.automaton import Raised
from dbsafety.typestate.catch import Match, clause_matches
from dbsafety.typestate.ops import Op
from dbsafety.typestate.values import Key
from dbsafety.views.view import FunctionView

_TURNS = (
    "the turns of the loop that went well would go with the one that failed, and whether to keep them is a decision"
)
_EARLIER = "what was written before the `try` would go with the rest, and whether to keep it is a decision"


def plan_elsewhere(view: FunctionView, commit: ast.AST, owner: ast.AST | None, key: Key) -> tuple[FixPlan | None, str]:
    """The plan for the commit that stands in `owner`, a `try` or a handler, or None and the reason for the refusal."""
    op = _commit_of(view, commit, key)
    if op is None or not isinstance(commit, ast.Call) or not isinstance(commit.func, ast.Attribute):
        return None, "the commit is sent as text, or by another function"
    if op.spec.is_async or view.cfg.is_async:
        return None, "in asynchronous code the commit belongs to an `async with` block"
    statement = view.statement_of(commit)
    if not isinstance(statement, ast.Expr) or statement.value is not commit:
        return None, "the commit is part of a larger statement"
    if is_shared(view, key):
        return None, "the commit stores the work of others as well, which a rollback would throw away"
    reach = Reach(ast.unparse(commit.func.value))
    if isinstance(owner, ast.ExceptHandler):
        return _in_handler(view, commit, statement, owner, op)
    if isinstance(owner, ast.Try):
        return _in_finally(view, statement, owner, reach, op)
    return None, "a commit that asks for the exception is a decision"


def _commit_of(view: FunctionView, commit: ast.AST, key: Key) -> Op | None:
    ops = view.frame.call(commit).ops if isinstance(commit, ast.Call) else ()
    return next((op for op in ops if op.key == key and op.effect is Effect.COMMIT), None)


def _in_handler(
    view: FunctionView, commit: ast.Call, statement: ast.stmt, handler: ast.ExceptHandler, op: Op
) -> tuple[FixPlan | None, str]:
    key = op.key
    attempt = view.parents.get(id(handler))
    if statement not in handler.body or not isinstance(attempt, ast.Try) or not isinstance(commit.func, ast.Attribute):
        return None, "the commit stands under a condition of the handler"
    first = handler.body[: handler.body.index(statement)]
    ahead = {id(n) for other in first for n in ast.walk(other)}
    if any(id(call) in ahead for call, _ in view.ops(key)) or works_on(view, key, first):
        return None, "the handler uses the connection before it commits"
    if any(isinstance(outer, LOOPS) for outer in view.around(attempt)) and not _commits_in(view, attempt.body, key):
        return None, "the handler is in a loop whose commit is outside: a rollback would throw the earlier rows away"
    if before(view, op.handle, key, attempt) is not Before.NOTHING:
        return None, _EARLIER
    if writes_in_turns(view, key, attempt.body):
        return None, _TURNS
    function = ReplaceExpression(Span.of(commit.func), f"{ast.unparse(commit.func.value)}.rollback")
    return FixPlan("roll back instead", Applicability.UNSAFE, (function,), view.name), ""


def _commits_in(view: FunctionView, body: Sequence[ast.stmt], key: Key) -> bool:
    inside = {id(node) for statement in body for node in ast.walk(statement)}
    return any(op.effect is Effect.COMMIT and id(call) in inside for call, op in view.ops(key))


def _in_finally(
    view: FunctionView, statement: ast.stmt, attempt: ast.Try, reach: Reach, op: Op
) -> tuple[FixPlan | None, str]:
    if statement not in attempt.finalbody:
        return None, "the commit stands under a condition of the `finally`"
    if attempt.orelse:
        return None, "the `try` has an `else` already"
    if any(True for part in attempt.body for _ in leaving(part)):
        return None, "the `try` is left by `return`, `break` or `continue`, behind which `else` does not run"
    if works_on(view, op.key, attempt.finalbody[: attempt.finalbody.index(statement)]):
        return None, "the `finally` works on the connection itself, and needs the commit"
    if any(works_on(view, op.key, handler.body) for handler in attempt.handlers):
        return None, "a handler works on the connection itself, and needs the commit"
    if before(view, op.handle, op.key, attempt) is not Before.NOTHING:
        return None, _EARLIER
    if writes_in_turns(view, op.key, attempt.body):
        return None, _TURNS
    code = rollback_code(view, op.spec, reach)
    silent = [handler for handler in attempt.handlers if not _rolls_back(view, handler, op.key)]
    rewrites: list[Rewrite] = [InsertFirst(Span.of(handler), code) for handler in silent]
    added = ""
    if not any(_catches_all(view, handler, op) for handler in attempt.handlers):
        lines = "".join(f"    {line}\n" for line in code.splitlines())
        added = f"except BaseException:\n{lines}    raise\n"
    rewrites.append(MoveToElse(Span.of(attempt), Span.of(statement), added))
    title = f"commit `{reach.text}` in `else`, and roll back on an error"
    return FixPlan(title, Applicability.UNSAFE, tuple(rewrites), view.name), ""


def _rolls_back(view: FunctionView, handler: ast.ExceptHandler, key: Key) -> bool:
    inside = {id(node) for statement in handler.body for node in ast.walk(statement)}
    return any(op.effect is Effect.ROLLBACK and id(call) in inside for call, op in view.ops(key))


def _catches_all(view: FunctionView, handler: ast.ExceptHandler, op: Op) -> bool:
    """Whether the clause ends every ordinary exception, so that a further one would be of little use."""
    return clause_matches(view.resolver, handler.type, view.scope, op.spec, Raised.OTHER) is Match.SURE
