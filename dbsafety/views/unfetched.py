"""Commits that are reached while a cursor still has rows of a RETURNING to give (fact C4c)."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from dbsafety.drivers.spec import Effect, HandleKind
from dbsafety.facts.sql import Verb
from dbsafety.flow.graph import Step, StepKind, Why
from dbsafety.typestate.automaton import Tx
from dbsafety.typestate.ops import Op
from dbsafety.typestate.search import Search
from dbsafety.typestate.values import Key, handles
from dbsafety.views.awaits import awaited
from dbsafety.views.lastrowid import cursor_names
from dbsafety.views.view import FunctionView

_WHOLE = (StepKind.CALL, StepKind.BIND, StepKind.UNBIND, StepKind.FOR, StepKind.RETURN, StepKind.YIELD, StepKind.TEST)
_STORES = (ast.Name, ast.Attribute)


@dataclass(frozen=True, slots=True)
class Unfetched:
    """The call that sends the statement, and the call or `with` item that commits before its rows are fetched."""

    call: ast.Call
    op: Op
    commit: ast.Call | ast.withitem
    cursor: str


def unfetched(view: FunctionView) -> Iterator[Unfetched]:
    """Such statements of the function, each with the first commit, in source order."""
    for call, op in view.ops():
        if not op.statement.returning or op.effect is not Effect.EXECUTE or not op.spec.keeps_lock or op.weak:
            continue
        names = cursor_names(view, call)
        start = view.step_of(call)
        if not names or start is None or isinstance(view.parents.get(id(call)), ast.Attribute):
            continue
        if not any(h.kind is HandleKind.CURSOR for h in handles(view.resolver.evaluate(call, view.scope))):
            continue  # the call gives the rows themselves
        search = view.follow(op.handle, op.key)
        commit = _commit_after(view, search, start, names) if not search.over_budget else None
        if commit is not None:
            yield Unfetched(call, op, commit, min(names, key=len))


def _commit_after(
    view: FunctionView, search: Search, start: Step, names: frozenset[str]
) -> ast.Call | ast.withitem | None:
    """The first commit on a way on which nobody touches the cursor."""
    key = search.subject.key
    open_at = {node.step for node in search.parents if node.state.tx is Tx.OPEN and node.flight is None}
    queue = deque(edge.target for edge in start.succ)
    seen = {start.index, *queue}
    while queue:
        step = view.cfg.steps[queue.popleft()]
        if step.index in open_at and (commit := _commits(view, step, key)) is not None:
            return commit
        if _touches(step, start, names) or _ends(view, step, key):
            continue
        following = [edge.target for edge in step.succ if edge.target not in seen]
        seen.update(following)
        queue.extend(following)
    return None


def _commits(view: FunctionView, step: Step, key: Key) -> ast.Call | ast.withitem | None:
    """The commit at the step, by a method, by text, or by leaving a block."""
    node = step.node
    if step.kind is StepKind.CALL and isinstance(node, ast.Call):
        return node if any(op.key == key and _is_commit(op) for op in view.frame.call(node).ops) else None
    if step.kind is StepKind.WITH_EXIT and step.why is not Why.RAISE and isinstance(node, ast.withitem):
        blocks = [block for block in view.frame.blocks(node) if key in block.keys and block.with_spec is not None]
        return node if any(b.with_spec is not None and b.with_spec.success is Effect.COMMIT for b in blocks) else None
    return None


def _is_commit(op: Op) -> bool:
    """Whether the method or the text commits; `executescript`, which does too, is another rule's business."""
    return op.effect is Effect.COMMIT or (op.effect is Effect.EXECUTE and op.statement.verb is Verb.COMMIT)


def _ends(view: FunctionView, step: Step, key: Key) -> bool:
    """Whether the transaction ends here otherwise; a rollback resets the statement."""
    if step.kind is not StepKind.CALL or not isinstance(step.node, ast.Call):
        return False
    ops = view.frame.call(step.node).ops
    ending = (Effect.ROLLBACK, Effect.CLOSE, Effect.SCRIPT, Effect.UNKNOWN)
    return any(op.key == key and (op.effect in ending or op.statement.verb is Verb.ROLLBACK) for op in ops)


def _touches(step: Step, start: Step, names: frozenset[str]) -> bool:
    """Whether the step fetches, closes, uses anew, rebinds or hands on the cursor, or calls what might."""
    node = step.node
    if node is None or (step.kind not in _WHOLE and not isinstance(node, ast.withitem)):
        return False
    if step.kind is StepKind.BIND and isinstance(node, ast.Assign) and awaited(node.value) is start.node:
        return False
    parts: list[ast.AST] = [node]
    if isinstance(node, ast.For | ast.AsyncFor):
        parts = [node.iter, node.target]
    elif isinstance(node, ast.withitem):
        parts = [node.context_expr, *([node.optional_vars] if node.optional_vars else [])]
    found = (part for whole in parts for part in ast.walk(whole) if isinstance(part, _STORES))
    return any(ast.unparse(part) in names for part in found) or (_is_kept(names) and _is_own_method(step))


def _is_kept(names: frozenset[str]) -> bool:
    return any("." in name for name in names)


def _is_own_method(step: Step) -> bool:
    """Whether an object's method is called, which may use a cursor that the object keeps."""
    func = step.node.func if isinstance(step.node, ast.Call) else None
    return isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name) and func.value.id == "self"
