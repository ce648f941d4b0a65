"""Loops that write on the connection whose rows they go over (fact C2b)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from dbsafety.drivers.spec import Effect, HandleKind
from dbsafety.facts.sql import Verb
from dbsafety.typestate.automaton import Tx
from dbsafety.typestate.ops import Op
from dbsafety.typestate.values import Key
from dbsafety.views.upgrades import WRITES, inside, is_read
from dbsafety.views.view import FunctionView


@dataclass(frozen=True, slots=True)
class Iteration:
    """A loop that writes with `write` while rows of `read` are still coming, on one connection."""

    read: ast.Call
    write: ast.Call
    op: Op


def iterations(view: FunctionView) -> Iterator[Iteration]:
    """The loops over a SELECT that write on the same connection before they hold the lock."""
    for loop in (step.node for step in view.cfg.steps if isinstance(step.node, ast.For)):
        source = _source(view, loop.iter, loop)
        if source is None:
            continue
        read, op = source
        search = view.follow(op.handle, op.key)
        if search.over_budget:
            continue
        for call, cursor in _writes_in(view, loop, op.key):
            step = view.step_of(call)
            unlocked = step is not None and any(
                n.step == step.index and n.state.tx is Tx.IDLE and not n.state.dirty and n.flight is None
                for n in search.parents
            )
            if unlocked and (cursor is None or cursor not in _names(read, loop.iter)):
                yield Iteration(read, call, op)
                break


def _source(view: FunctionView, node: ast.expr, loop: ast.For) -> tuple[ast.Call, Op] | None:
    """The SELECT whose rows the loop goes over as they come, None when they are all there or there is one at most."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("enumerate", "iter"):
        if not node.args:
            return None
        node = node.args[0]
    calls = [node] if isinstance(node, ast.Call) else _sent_before(view, node, loop)
    for call in reversed(calls):
        for op in view.frame.call(call).ops:
            if op.effect is Effect.EXECUTE and op.spec.deferred_begin:
                many = is_read(op) and op.statement.verb is Verb.READ and not _is_one(op.sql or "")
                return (call, op) if many else None
    return None


def _sent_before(view: FunctionView, node: ast.expr, loop: ast.For) -> list[ast.Call]:
    """The statements before the loop whose cursor `node` is: run on it, or bound to it."""
    if not isinstance(node, ast.Name | ast.Attribute):
        return []
    name = ast.unparse(node)
    found: list[ast.Call] = []
    for call, op in view.ops():
        if op.effect is not Effect.EXECUTE or call.lineno >= loop.lineno:
            continue
        statement = view.parents.get(id(call))
        bound = isinstance(statement, ast.Assign) and name in [ast.unparse(target) for target in statement.targets]
        receiver = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
        if bound or (receiver == name and op.handle.kind is HandleKind.CURSOR):
            found.append(call)
    return found


def _is_one(sql: str) -> bool:
    return " ".join(sql.lower().split()).rstrip("; )").endswith("limit 1")


def _writes_in(view: FunctionView, loop: ast.For, key: Key) -> Iterator[tuple[ast.Call, str | None]]:
    """The writes in the body of the loop, with the name of the cursor that a write itself is sent on."""
    nodes = {id(node) for statement in loop.body for node in ast.walk(statement)}
    for call, facts in view.calls():
        if id(call) not in nodes:
            continue
        here = [op for op in facts.ops if op.key == key]
        if any(op.statement.verb in WRITES for op in here or inside(view, call, key)):
            on_cursor = any(op.handle.kind is HandleKind.CURSOR for op in here)
            receiver = call.func.value if isinstance(call.func, ast.Attribute) and on_cursor else None
            yield call, ast.unparse(receiver) if receiver is not None else None


def _names(read: ast.Call, iterated: ast.expr) -> frozenset[str]:
    """How the cursor of the SELECT is spelled."""
    receiver = ast.unparse(read.func.value) if isinstance(read.func, ast.Attribute) else ""
    return frozenset({receiver, ast.unparse(iterated)})
