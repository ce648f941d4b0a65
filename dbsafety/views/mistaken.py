"""Rollbacks that name another connection than the one whose statement failed (fact B8d)."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from dbsafety.drivers.spec import Effect, HandleKind
from dbsafety.facts.scopes import FunctionInfo
from dbsafety.typestate.automaton import Tx
from dbsafety.typestate.ops import Op
from dbsafety.typestate.search import Search
from dbsafety.typestate.values import External, Function, Handle, Key, handles
from dbsafety.views.view import FunctionView

_SENDING = (Effect.EXECUTE, Effect.SCRIPT, Effect.COMMIT)


@dataclass(frozen=True, slots=True)
class Mistaken:
    """A rollback in a handler: `op` is what it rolls back, `failing` the statement on the connection `key` whose error
    the handler catches.
    """

    handler: ast.ExceptHandler
    rollback: ast.Call
    op: Op
    failing: ast.Call
    key: Key
    handle: Handle


def mistaken_rollbacks(view: FunctionView, only: ast.AST | None = None) -> Iterator[Mistaken]:
    """The rollbacks of this function that miss the connection that failed, in one handler or in all."""
    for attempt in view.info.tries:
        for handler in attempt.handlers:
            if only is None or handler is only:
                yield from _in_handler(view, attempt, handler)


def _in_handler(view: FunctionView, attempt: ast.Try, handler: ast.ExceptHandler) -> Iterator[Mistaken]:
    found = list(_ops_in(view, handler.body, (Effect.ROLLBACK,)))
    if len({op.key for _, op in found}) != 1 or any(op.weak for _, op in found):
        return
    rollback, op = found[0]
    failing: dict[Key, tuple[ast.Call, Op]] = {}
    for call, other in _ops_in(view, attempt.body, _SENDING):
        if other.spec.name == op.spec.name and not other.weak:
            failing.setdefault(other.key, (call, other))
    if op.key in failing or not failing or _may_use(view, attempt.body, op.key):
        return
    for key, (call, other) in failing.items():
        if _are_distinct(view, key, op.key) and _stays_failed(view, other.handle, key, rollback):
            yield Mistaken(handler, rollback, op, call, key, other.handle)


def _ops_in(view: FunctionView, body: list[ast.stmt], effects: tuple[Effect, ...]) -> Iterator[tuple[ast.Call, Op]]:
    inside = {id(node) for statement in body for node in ast.walk(statement)}
    return ((call, op) for call, op in view.ops() if id(call) in inside and op.effect in effects)


def _may_use(view: FunctionView, body: list[ast.stmt], key: Key) -> bool:
    """Whether the statements may use the connection in a way that their own operations do not show."""
    inside = {id(node) for statement in body for node in ast.walk(statement)}
    for call, facts in view.calls():
        if id(call) not in inside:
            continue
        if key in facts.passed or any(key in view.module.summaries.touched(t.info) for t in facts.targets):
            return True
        if any(op.key == key and op.effect is not Effect.NEUTRAL for op in facts.ops):
            return True
    return False


def _stays_failed(view: FunctionView, handle: Handle, key: Key, rollback: ast.Call) -> bool:
    """Whether the connection leaves the function, behind that rollback, in its failed transaction, and lives on."""
    if not view.outlives(handle, key):
        return False
    search: Search = view.follow(handle, key)
    ends = (search.frame.cfg.return_end, search.frame.cfg.raise_end)
    start = [n for n in search.parents if search.steps[n.step].node is rollback and n.state.tx is Tx.FAILED]
    pending, seen = deque(start), set(start)
    while pending and not search.over_budget:
        node = pending.popleft()
        if node.step in ends and node.state.tx is Tx.FAILED:
            return True
        for target in search.successors(node):
            if target not in seen:
                seen.add(target)
                pending.append(target)
    return False


def _are_distinct(view: FunctionView, one: Key, other: Key) -> bool:
    """Whether the two are certain not to be one connection: each is opened by itself, or both are parameters."""
    if "borrowed" in (one.kind, other.kind):
        return False
    if one.kind == other.kind == "param":
        return all(_is_connection(view, key) for key in (one, other))
    return "param" not in (one.kind, other.kind) and all(_is_opened(view, key) for key in (one, other))


def _is_connection(view: FunctionView, key: Key) -> bool:
    """Whether the parameter itself is a connection, not a cursor that may belong to the other one."""
    spelled = view.spellings(key, HandleKind.CONNECTION)
    return any(isinstance(node, ast.Name) and node.id == key.name for node in spelled)


def _is_opened(view: FunctionView, key: Key) -> bool:
    """Whether some call in the module opens the connection and every such call opens a new one."""
    calls = [(other, call) for other in view.module.functions for call, op in other.ops(key) if op.opens]
    return bool(calls) and all(_opens_anew(other, call) for other, call in calls)


def _opens_anew(view: FunctionView, call: ast.Call, depth: int = 4) -> bool:
    func = call.func
    values = view.resolver.evaluate(func, view.scope)
    if any(isinstance(v, External) and view.resolver.table.constructor(v.dotted) is not None for v in values):
        return True
    base = view.resolver.evaluate(func.value, view.scope) if isinstance(func, ast.Attribute) else frozenset()
    if any(handle.kind in (HandleKind.POOL, HandleKind.FACTORY) for handle in handles((*values, *base))):
        return True
    targets = [value.info for value in values if isinstance(value, Function)]
    return bool(targets) and depth > 0 and all(_only_opens(view, target, depth) for target in targets)


def _only_opens(view: FunctionView, info: FunctionInfo, depth: int) -> bool:
    """Whether all that the function returns is opened in it and kept nowhere."""
    inner = next((other for other in view.module.functions if other.info is info), None)
    if inner is None or info.decorators or info.yields:
        return False
    if any(handles(inner.resolver.evaluate(value, inner.scope)) for _, value in info.assigns):
        return False
    made = [h for r in info.returns for h in handles(inner.resolver.evaluate(r.value, inner.scope))]
    openings = {op.key: call for call, op in inner.ops() if op.opens}
    if not made or any(handle.key not in openings for handle in made) or _keeps(inner):
        return False
    return all(_opens_anew(inner, openings[handle.key], depth - 1) for handle in made)


def _keeps(view: FunctionView) -> bool:
    """Whether the function stores a connection in a container."""
    return any(
        isinstance(target, ast.Subscript) and handles(view.resolver.evaluate(node.value, view.scope))
        for node in ast.walk(view.info.node)
        if isinstance(node, ast.Assign)
        for target in node.targets
    )
