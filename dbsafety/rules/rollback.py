"""Plans a good rollback in a handler, or says why there is none (facts B6, B8, B14, B15; W6 shows six ways to fail)."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from dbsafety.drivers.spec import DriverSpec, Effect, HandleKind
from dbsafety.model.rewrite import Applicability, FixPlan, InsertBefore, InsertFirst, Rewrite
from dbsafety.model.span import Span
from dbsafety.rules.view import FunctionView
from dbsafety.typestate.blocks import BlockKind
from dbsafety.typestate.report import End, Swallow

_LOOPS = (ast.For, ast.AsyncFor, ast.While)


@dataclass(frozen=True, slots=True)
class Reach:
    """How the connection is named in the handler; `prebind` is the variable to set to None before the `try`."""

    text: str
    prebind: str = ""
    guarded: bool = False
    is_cursor: bool = False


def plan_rollback(view: FunctionView, swallow: Swallow) -> tuple[FixPlan | None, str]:
    """The plan that rolls back first in the handler, or None and the reason for the refusal."""
    handler = swallow.handler
    if not isinstance(handler, ast.ExceptHandler):
        return None, "the error is not caught by an `except` clause; roll back where it is suppressed"
    attempt = view.parents.get(id(handler))
    if not isinstance(attempt, ast.Try):
        return None, "the handler belongs to an `except*`"
    refusal = _refusal(view, swallow, attempt)
    if refusal:
        return None, refusal
    reach = _reach(view, swallow, attempt)
    if reach is None:
        return None, "no name in scope of the handler is sure to be the connection that failed"
    rewrites: list[Rewrite] = []
    if reach.prebind:
        rewrites.append(InsertBefore(Span.of(attempt), f"{reach.prebind} = None\n"))
    rewrites.append(InsertFirst(Span.of(handler), rollback_code(view, swallow.spec, reach)))
    title = f"roll back `{reach.text.removesuffix('.connection')}` first in the handler"
    if reach.is_cursor:
        title = f"roll back `{reach.text}` first in the handler"
    return FixPlan(title, Applicability.UNSAFE, tuple(rewrites), view.name), ""


def _refusal(view: FunctionView, swallow: Swallow, attempt: ast.Try) -> str:
    spec = swallow.spec
    if spec.is_async or view.cfg.is_async:
        return "in asynchronous code the rollback belongs into an `async with` block"
    if spec.default_autocommit:
        return f"{spec.name} connections have no rollback(): use a transaction block"
    if _commits_outside_loop(view, swallow, attempt):
        return (
            "the handler is in a loop whose commit is outside: a bare rollback there would throw away the earlier "
            "rows; use a savepoint or commit each row"
        )
    if _called_per_row(view, swallow):
        return (
            "the connection belongs to a caller that goes on with it in a loop: a bare rollback here would throw away "
            "its earlier rows; use a savepoint or let the error reach the caller"
        )
    for outer in view.around(attempt):
        if isinstance(outer, (ast.With, ast.AsyncWith)):
            for item in outer.items:
                for block in view.frame.blocks(item):
                    mine = block.kind is BlockKind.HANDLE and swallow.subject.key in block.keys
                    if mine and block.with_spec is not None and block.with_spec.success is Effect.COMMIT:
                        return "the `with` block around it commits at its end: let the error leave the block instead"
    return ""


def _commits_outside_loop(view: FunctionView, swallow: Swallow, attempt: ast.Try) -> bool:
    loop = next((outer for outer in view.around(attempt) if isinstance(outer, _LOOPS)), None)
    if loop is None:
        return False
    inside = {id(node) for node in ast.walk(loop)}
    writes = commits = False
    for node, op in view.ops(swallow.subject.key):
        if id(node) in inside:
            commits = commits or op.effect is Effect.COMMIT
            reads = op.statement.verb.value == "read"
            writes = writes or (op.effect in (Effect.EXECUTE, Effect.SCRIPT) and not reads)
    return writes and not commits


def _called_per_row(view: FunctionView, swallow: Swallow) -> bool:
    """Whether a caller in this module passes the connection in from a loop, while this function commits nothing."""
    key = swallow.subject.key
    node = view.info.node
    if key.kind != "param" or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return False
    ops = [op for _, op in view.ops(key)]
    sends = [op for op in ops if op.effect in (Effect.EXECUTE, Effect.SCRIPT)]
    if any(op.effect is Effect.COMMIT for op in ops) or all(op.statement.verb.value == "read" for op in sends):
        return False
    callers = {id(caller): call for call, caller in view.module.index.callers.get(node.name, ())}
    for caller in view.module.functions:
        call = callers.get(id(caller.info))
        if call is not None and any(isinstance(outer, _LOOPS) for outer in caller.around(call)):
            return True
    return False


def _reach(view: FunctionView, swallow: Swallow, attempt: ast.Try) -> Reach | None:
    key = swallow.subject.key
    found = [_reach_of(view, node, attempt) for node in view.spellings(key)]
    known = [reach for reach in found if reach is not None]
    if known:
        return min(known, key=lambda reach: (bool(reach.prebind), "." not in reach.text, reach.text))
    cursor = swallow.spec.handles.get(HandleKind.CURSOR)
    if cursor is None or "connection" not in cursor.attributes:
        return None
    for node in view.spellings(key, HandleKind.CURSOR):
        reach = _reach_of(view, node, attempt)
        if reach is not None and not reach.prebind and not reach.guarded:
            return Reach(f"{reach.text}.connection", is_cursor=True)
    return None


def _reach_of(view: FunctionView, node: ast.expr, attempt: ast.Try) -> Reach | None:
    text = ast.unparse(node)
    root = node
    while isinstance(root, ast.Attribute):
        root = root.value
    if not isinstance(root, ast.Name):
        return None
    owner = view.scope.find(root.id)
    if owner is None:
        return None
    guarded = view.may_be_none(node)
    if owner is not view.scope or root.id in [argument.arg for argument in view.info.parameters]:
        return Reach(text, guarded=guarded)
    if bound_before(view, root.id, attempt):
        return Reach(text, guarded=guarded)
    return Reach(text, prebind=root.id, guarded=True) if root is node else None


def bound_before(view: FunctionView, name: str, attempt: ast.Try) -> bool:
    """Whether every way into the `try` has bound the variable: by a statement of a suite around it that comes first."""
    suites = [attempt, *(outer for outer in view.around(attempt) if isinstance(outer, ast.stmt))]
    for binding in view.scope.bindings.get(name, ()):
        node = binding.node
        if not isinstance(node, ast.stmt):
            continue
        if isinstance(node, (ast.With, ast.AsyncWith)) and node in suites:
            return True
        for outer in suites:
            suite = view.suite_of(outer)
            if node in suite and outer in suite and suite.index(node) < suite.index(outer):
                return True
    return False


def rollback_code(view: FunctionView, spec: DriverSpec, reach: Reach) -> str:
    """The statements of a rollback that is guarded by the driver's error class."""
    error = view.module.name_for(spec.base_error, view.scope) or "Exception"
    suppress = view.module.name_for("contextlib.suppress", view.scope)
    if suppress is not None:
        lines = [f"with {suppress}({error}):", f"    {reach.text}.rollback()"]
    else:
        lines = ["try:", f"    {reach.text}.rollback()", f"except {error}:", "    pass"]
    if reach.guarded:
        lines = [f"if {reach.text} is not None:", *(f"    {line}" for line in lines)]
    return "\n".join(lines) + "\n"


def first_end(swallow: Swallow, *ends: End) -> End | None:
    """The first of `ends` that the swallowed error reaches."""
    return next((end for end in ends if end in swallow.paths), None)
