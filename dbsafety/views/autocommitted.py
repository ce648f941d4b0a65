"""Questions about connections that commit by themselves: what a rollback there can still undo (facts B3b, C6b, C6c)."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dbsafety.drivers.spec import DriverSpec, Effect
from dbsafety.facts.sql import Verb
from dbsafety.flow.graph import Step, StepKind
from dbsafety.typestate.automaton import Tx
from dbsafety.typestate.blocks import BlockKind
from dbsafety.typestate.ops import Op
from dbsafety.typestate.search import Node, Search
from dbsafety.typestate.values import Handle, Key, Mode
from dbsafety.views.view import FunctionView

_SENDING = (Effect.EXECUTE, Effect.SCRIPT)
_OPENING = (Verb.BEGIN, Verb.SAVEPOINT, Verb.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Final:
    """A recovery that undoes nothing: `recovery` is the rollback or the block, `first` and `second` two writes of the
    work it is meant for, the same one when it writes many rows.
    """

    recovery: ast.expr
    key: Key
    handle: Handle
    first: ast.Call
    second: ast.Call


@dataclass(frozen=True, slots=True)
class Ignored:
    """A rollback that the driver does not send, of a transaction that the call `begin` has opened by its text."""

    recovery: ast.expr
    key: Key
    handle: Handle
    begin: ast.Call


def self_committing(view: FunctionView) -> Iterator[tuple[Key, Handle, DriverSpec]]:
    """The connections of this body that are sure to commit by themselves, of drivers whose rollback is idle then."""
    for key, handle in sorted(view.frame.own().items()):
        spec = view.spec(handle)
        if handle.mode is Mode.AUTOCOMMIT and not spec.rollback_in_autocommit and not spec.default_autocommit:
            yield key, handle, spec


def idle_rollbacks(view: FunctionView, key: Key, handle: Handle) -> Iterator[Final]:
    """The rollbacks and blocks that are to undo several writes, each of which is final at once."""
    if _may_begin(view, key):
        return
    for call in _rollbacks(view, key):
        attempt = _attempt_of(view, call)
        if attempt is not None:
            pair = _two_writes(view, key, attempt.body)
            if pair is not None:
                yield Final(call, key, handle, *pair)
    for item, body in _blocks(view, key):
        pair = _two_writes(view, key, body)
        if pair is not None:
            yield Final(item.context_expr, key, handle, *pair)


def ignored_rollbacks(view: FunctionView, key: Key, handle: Handle) -> Iterator[Ignored]:
    """The rollbacks of a transaction begun by text that the driver does not send, when the connection is used on."""
    calls = _rollbacks(view, key)
    begins = [call for call, op in view.ops(key) if op.statement.verb is Verb.BEGIN]
    if not calls or not begins:
        return
    search = view.follow(handle, key)
    if search.over_budget:
        return
    for node in tuple(search.parents):
        call = search.steps[node.step].node
        if not any(call is other for other in calls) or not isinstance(call, ast.Call):
            continue
        if node.state.tx not in (Tx.OPEN, Tx.FAILED) or not node.state.auto:
            continue
        begin = next((b for point in search.path(node) for b in begins if search.steps[point.step].node is b), None)
        if begin is not None and _goes_on(view, search, node, handle, key):
            calls = [other for other in calls if other is not call]
            yield Ignored(call, key, handle, begin)


def _rollbacks(view: FunctionView, key: Key) -> list[ast.Call]:
    """The calls of `rollback()` on the connection."""
    return [
        call
        for call, op in view.ops(key)
        if op.effect is Effect.ROLLBACK and isinstance(call.func, ast.Attribute) and call.func.attr == "rollback"
    ]


def _may_begin(view: FunctionView, key: Key) -> bool:
    """Whether a transaction may be opened by text: here, elsewhere in the module, or by code that is not known."""
    if view.module.sends(key, "begin") or view.module.sends(key, "savepoint"):
        return True
    if any(key in facts.passed and facts.unknown for _, facts in view.calls()):
        return True
    sent = [op for _, op in view.ops(key) if op.effect in _SENDING]
    return any(op.effect is Effect.SCRIPT or op.statement.verb in _OPENING for op in sent)


def _attempt_of(view: FunctionView, call: ast.Call) -> ast.Try | None:
    """The `try` in whose handler the call stands."""
    for outer in view.around(call):
        if isinstance(outer, ast.ExceptHandler):
            attempt = view.parents.get(id(outer))
            return attempt if isinstance(attempt, ast.Try) else None
    return None


def _blocks(view: FunctionView, key: Key) -> Iterator[tuple[ast.withitem, list[ast.stmt]]]:
    """The `with conn:` blocks whose end would commit or roll back, but which open no transaction themselves."""
    for node in ast.walk(view.info.node):
        if not isinstance(node, (ast.With, ast.AsyncWith)):
            continue
        for item in node.items:
            for block in view.frame.blocks(item):
                told = block.with_spec
                if block.kind is not BlockKind.HANDLE or key not in block.keys or told is None:
                    continue
                if told.error is Effect.ROLLBACK and not told.begins and not told.closes:
                    yield item, node.body


def _two_writes(view: FunctionView, key: Key, body: Sequence[ast.stmt]) -> tuple[ast.Call, ast.Call] | None:
    """Two writes of which the second follows the first inside the statements; one that writes many rows counts."""
    inside = {id(node) for statement in body for node in ast.walk(statement)}
    writes = {id(call): call for call, op in view.ops(key) if op.statement.writes and id(call) in inside}
    for call, op in view.ops(key):
        if id(call) not in writes:
            continue
        if _is_many(call, op):
            return call, call
        step = view.step_of(call)
        following = _next_write(view, step, inside, writes) if step is not None else None
        if following is not None:
            return call, following
    return None


def _is_many(call: ast.Call, op: Op) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    spec = op.spec.handles.get(op.handle.kind)
    method = spec.methods.get(name) if spec is not None else None
    return method is not None and method.many


def _next_write(view: FunctionView, step: Step, inside: set[int], writes: dict[int, ast.Call]) -> ast.Call | None:
    pending, seen = deque([step]), {step.index}
    while pending:
        for edge in pending.popleft().succ:
            target = view.cfg.steps[edge.target]
            if target.kind is StepKind.CALL and id(target.node) in writes:
                return writes[id(target.node)]
            if target.index not in seen and id(target.node) in inside:
                seen.add(target.index)
                pending.append(target)
    return None


def _goes_on(view: FunctionView, search: Search, node: Node, handle: Handle, key: Key) -> bool:
    """Whether the connection is used, or outlives the function, in the transaction that the rollback leaves open."""
    lives = view.outlives(handle, key)
    ends = (search.frame.cfg.return_end, search.frame.cfg.raise_end)
    pending = deque(target._replace(state=node.state) for target in search.successors(node) if target.flight is None)
    seen = set(pending)
    while pending:
        current = pending.popleft()
        if current.state.tx in (Tx.OPEN, Tx.FAILED):
            if current.step in ends and lives:
                return True
            if any(op.key == key and op.statement.verb is not Verb.ROLLBACK for op in _ops_at(view, search, current)):
                return True
        for target in search.successors(current):
            if target not in seen:
                seen.add(target)
                pending.append(target)
    return False


def _ops_at(view: FunctionView, search: Search, node: Node) -> tuple[Op, ...]:
    call = search.steps[node.step].node
    if not isinstance(call, ast.Call) or search.steps[node.step].kind is not StepKind.CALL:
        return ()
    return tuple(op for op in view.frame.call(call).ops if op.effect in (*_SENDING, Effect.COMMIT))
