"""Writes that belong together, each final at once: the connection commits by itself, no BEGIN was sent (B5b, B5c)."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from dbsafety.drivers.spec import DriverSpec, Effect
from dbsafety.facts.sql import Verb
from dbsafety.flow.graph import EdgeKind, Step, StepKind
from dbsafety.typestate.automaton import Tx
from dbsafety.typestate.ops import Op
from dbsafety.typestate.values import Handle, Key
from dbsafety.views.absence import says_none
from dbsafety.views.autocommitted import idle_rollbacks, self_committing
from dbsafety.views.view import FunctionView


@dataclass(frozen=True, slots=True)
class Pair:
    """Two writes of which the second depends on the first; `why` says by what, in words."""

    first: ast.Call
    second: ast.Call
    key: Key
    handle: Handle
    spec: DriverSpec
    why: str


def dependent_writes(view: FunctionView) -> Iterator[Pair]:
    """For each connection of this body that commits by itself, the first two writes that depend on each other.

    None where a rollback shows what is meant: that is DBS113's.
    """
    for key, handle, spec in self_committing(view):
        writes = [(call, op) for call, op in view.ops(key) if op.statement.writes and op.effect is Effect.EXECUTE]
        if len(writes) < 2 or any(op.statement.verb is Verb.BEGIN for _, op in view.ops(key)):
            continue
        if any(key in facts.passed and facts.unknown for _, facts in view.calls()):
            continue
        final = _final_at_once(view, key, handle)
        alone = [(call, op) for call, op in writes if id(call) in final]
        pair = next(_pairs(view, alone), None)
        if pair is not None and not any(True for _ in idle_rollbacks(view, key, handle)):
            yield Pair(pair[0], pair[1], key, handle, spec, pair[2])


def _final_at_once(view: FunctionView, key: Key, handle: Handle) -> frozenset[int]:
    """The calls, by `id`, that always run outside a transaction."""
    search = view.follow(handle, key)
    if search.over_budget:
        return frozenset()
    calls: dict[int, bool] = {}
    for node in tuple(search.parents):
        step = search.steps[node.step]
        if step.kind is StepKind.CALL and isinstance(step.node, ast.Call):
            alone = node.state.auto and node.state.tx is Tx.IDLE
            calls[id(step.node)] = calls.get(id(step.node), True) and alone
    return frozenset(call for call, alone in calls.items() if alone)


def _pairs(view: FunctionView, writes: list[tuple[ast.Call, Op]]) -> Iterator[tuple[ast.Call, ast.Call, str]]:
    for first, op in writes:
        for second, other in writes:
            if second is first or not _follows(view, first, second):
                continue
            why = _dependence(view, (first, op), (second, other))
            if why:
                yield first, second, why


def _dependence(view: FunctionView, first: tuple[ast.Call, Op], second: tuple[ast.Call, Op]) -> str:
    """By what the second write depends on the first, "" when nothing says that it does."""
    (call, op), (later, other) = first, second
    used, again = _arguments(call), _arguments(later)
    shared = [name for name in again if name in used]
    if shared:
        return f"both are about `{shared[0]}`"
    made = [name for name in again if op.statement.returning and _is_fetched(view, name)]
    if made:
        return f"`{made[0]}` comes from the first"
    table = op.statement.table
    words = {op.statement.word, other.statement.word}
    if table and "{" not in table and table == other.statement.table and words != {"INSERT"}:
        return f"both change `{table}`"
    return ""


def _arguments(call: ast.Call) -> list[str]:
    """The variables and attributes among the parameters of a statement."""
    nodes = [node for argument in (*call.args[1:], *(k.value for k in call.keywords)) for node in ast.walk(argument)]
    receivers = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    receivers |= {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    found = [node for node in nodes if isinstance(node, ast.Name | ast.Attribute) and id(node) not in receivers]
    return list(dict.fromkeys(ast.unparse(node) for node in found))


def _is_fetched(view: FunctionView, name: str) -> bool:
    bindings = view.scope.bindings.get(name, [])
    return any(b.value is not None and "fetch" in ast.unparse(b.value) for b in bindings)


def _follows(view: FunctionView, first: ast.Call, second: ast.Call) -> bool:
    """Whether the second call can come after the first in the same turn of every loop, when that has changed a row."""
    start, end = view.step_of(first), view.step_of(second)
    if start is None or end is None or start.index >= end.index:
        return False
    pending, seen = deque([start.index]), {start.index}
    while pending:
        step = view.cfg.steps[pending.popleft()]
        for edge in step.succ:
            if edge.kind is _nothing_changed(step):
                continue
            if edge.target == end.index:
                return True
            if edge.target not in seen and edge.target > start.index:
                seen.add(edge.target)
                pending.append(edge.target)
    return False


def _nothing_changed(step: Step) -> EdgeKind | None:
    """The way out of a test of `rowcount` on which there is nothing of the first write that could stay."""
    match step.node:
        case ast.Attribute(attr="rowcount"):
            none: bool | None = False
        case ast.Compare(left=ast.Attribute(attr="rowcount"), ops=[operator], comparators=[right]):
            none = says_none(operator, right)
        case _:
            return None
    return None if none is None else EdgeKind.TRUE if none else EdgeKind.FALSE
