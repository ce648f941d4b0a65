"""Plans a good rollback in a handler, or says why there is none (facts B6, B8, B14, B15; W6 shows six ways to fail)."""

from __future__ import annotations

import ast
from dataclasses import replace

from dbsafety.drivers.spec import DriverSpec, Effect
from dbsafety.facts.sql import Verb
from dbsafety.model.rewrite import Applicability, FixPlan, InsertBefore, InsertFirst, Rewrite
from dbsafety.model.span import Span
from dbsafety.plans.belonging import waits, work_of_others
from dbsafety.plans.reach import CONDITIONS, LOOPS, Reach, is_awaited, reach
from dbsafety.plans.savepoints import plan_savepoint
from dbsafety.plans.units import plan_unit
from dbsafety.typestate.blocks import BlockKind
from dbsafety.typestate.report import End, Swallow
from dbsafety.views.sessions import speaks_of_sqlite
from dbsafety.views.view import FunctionView

_ENDS = (Effect.COMMIT, Effect.ROLLBACK)
_END_TEXTS = (Verb.COMMIT, Verb.ROLLBACK, Verb.RELEASE)
_COMMITS_EARLY = (
    "on SQLite a savepoint before the first write begins the transaction (observed with SQLAlchemy 2.1), so that its "
    "release would commit; and a rollback would throw earlier rows away"
)


def plan_rollback(view: FunctionView, swallow: Swallow) -> tuple[FixPlan | None, str]:
    """The plan that rolls back first in the handler, or None and the reason for the refusal.

    Where the shape allows it the better one: the unit of work in a block of the connection. Where a bare rollback would
    throw earlier work away: a savepoint.
    """
    clause = clause_of(view, swallow)
    if isinstance(clause, str):
        return None, clause
    handler, attempt = clause
    refusal = _refusal(view, swallow, attempt)
    if refusal:
        if swallow.spec.family and speaks_of_sqlite(view.module) and not waits(view, swallow.subject.key, attempt):
            return None, _COMMITS_EARLY
        plan, _ = plan_savepoint(view, swallow, attempt)
        return (plan, "") if plan is not None else (None, refusal)
    found = reach(view, swallow, attempt)
    if found is None:
        return None, "no name in scope of the handler is sure to be the connection that failed"
    plan = plan_unit(view, swallow, attempt, found)
    if plan is not None:
        return plan, ""
    rewrites: list[Rewrite] = []
    if found.prebind:
        rewrites.append(InsertBefore(Span.of(attempt), f"{found.prebind} = None\n"))
    code = rollback_code(view, swallow.spec, replace(found, awaited=bool(is_awaited(view, swallow))))
    rewrites.append(InsertFirst(Span.of(handler), code))
    title = f"roll back `{found.text}` first in the handler"
    return FixPlan(title, Applicability.UNSAFE, tuple(rewrites), view.name), ""


def clause_of(view: FunctionView, swallow: Swallow) -> tuple[ast.ExceptHandler, ast.Try] | str:
    """The clause that ends the error with its `try`, or why there is none."""
    handler = swallow.handler
    if not isinstance(handler, ast.ExceptHandler):
        return "the error is not caught by an `except` clause; roll back where it is suppressed"
    attempt = view.parents.get(id(handler))
    return (handler, attempt) if isinstance(attempt, ast.Try) else "the handler belongs to an `except*`"


def _refusal(view: FunctionView, swallow: Swallow, attempt: ast.Try) -> str:
    spec = swallow.spec
    if is_awaited(view, swallow) is None:
        return "whether the rollback must be awaited is not certain"
    if spec.default_autocommit:
        return f"{spec.name} connections have no rollback(): use a transaction block"
    if _commits_outside_loop(view, swallow, attempt):
        return (
            "the handler is in a loop whose commit is outside: a bare rollback there would throw away the earlier "
            "rows; use a savepoint or commit each row"
        )
    kept = work_of_others(view, swallow, attempt) or _own_savepoint(view, swallow, attempt)
    if kept:
        return kept
    for outer in view.around(attempt):
        if isinstance(outer, (ast.With, ast.AsyncWith)):
            for item in outer.items:
                for block in view.frame.blocks(item):
                    mine = block.kind is BlockKind.HANDLE and swallow.subject.key in block.keys
                    if mine and block.with_spec is not None and block.with_spec.success is Effect.COMMIT:
                        return "the `with` block around it commits at its end: let the error leave the block instead"
    return ""


def _own_savepoint(view: FunctionView, swallow: Swallow, attempt: ast.Try) -> str:
    """The refusal where the function has sent SAVEPOINT before the `try`, and not released it or ended the transaction
    since; or "".
    """
    is_set = False
    for call, op in view.ops(swallow.subject.key):
        if (call.lineno, call.col_offset) >= (attempt.lineno, attempt.col_offset):
            break
        if op.statement.verb is Verb.SAVEPOINT:
            is_set = True
        elif op.effect in _ENDS or op.statement.verb in _END_TEXTS:
            is_set = False
    gone = "the function has set a savepoint before the `try`: a bare rollback would throw it away; roll back to it"
    return gone if is_set else ""


def _commits_outside_loop(view: FunctionView, swallow: Swallow, attempt: ast.Try) -> bool:
    """Whether turns of the loop around the `try` write what only a commit behind the loop, or in some turns, stores."""
    loop = next((outer for outer in view.around(attempt) if isinstance(outer, LOOPS)), None)
    if loop is None:
        return False
    inside = {id(node) for statement in loop.body for node in ast.walk(statement)}
    writes = commits = False
    for node, op in view.ops(swallow.subject.key):
        if id(node) in inside:
            commits = commits or (op.effect is Effect.COMMIT and _in_every_turn(view, node, loop))
            reads = op.statement.verb.value == "read"
            writes = writes or (op.effect in (Effect.EXECUTE, Effect.SCRIPT) and not reads)
    return writes and not commits


def _in_every_turn(view: FunctionView, node: ast.AST, loop: ast.AST) -> bool:
    """Whether a turn that goes well comes by: a node under no condition, and in no inner loop and no handler."""
    for outer in view.around(node):
        if outer is loop:
            return True
        if isinstance(outer, CONDITIONS):
            return False
    return False


def rollback_code(view: FunctionView, spec: DriverSpec, name: Reach) -> str:
    """The statements of a rollback that is guarded by the driver's error class."""
    error = view.module.name_for(spec.base_error, view.scope) or "Exception"
    suppress = view.module.name_for("contextlib.suppress", view.scope)
    call = f"{'await ' if name.awaited else ''}{name.text}.rollback()"
    if suppress is not None:
        lines = [f"with {suppress}({error}):", f"    {call}"]
    else:
        lines = ["try:", f"    {call}", f"except {error}:", "    pass"]
    if name.guarded:
        lines = [f"if {name.text} is not None:", *(f"    {line}" for line in lines)]
    return "\n".join(lines) + "\n"


def first_end(swallow: Swallow, *ends: End) -> End | None:
    """The first of `ends` that the swallowed error reaches."""
    return next((end for end in ends if end in swallow.paths), None)
