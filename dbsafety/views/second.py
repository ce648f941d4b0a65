"""Writes through a second connection while the first one holds work on the same file (fact C2e)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from dbsafety.drivers.spec import Effect
from dbsafety.facts.scopes import FunctionInfo
from dbsafety.facts.sql import Verb
from dbsafety.flow.graph import StepKind
from dbsafety.typestate.automaton import Tx
from dbsafety.typestate.ops import Op
from dbsafety.typestate.values import Handle, Key
from dbsafety.views.files import Files
from dbsafety.views.view import FunctionView, ModuleView


@dataclass(frozen=True, slots=True)
class Second:
    """`call` writes through another connection, in the function `inside` when it calls one, while `first` holds what
    the call `write` wrote.
    """

    view: FunctionView
    call: ast.Call
    inside: FunctionInfo | None
    write: ast.Call
    first: Key
    handle: Handle


def second_writes(module: ModuleView, drivers: tuple[str, ...]) -> Iterator[Second]:
    """The first such call of each function and connection, in source order."""
    files = Files(module)
    for view in module.functions:
        writing = [
            key for key, handle in sorted(view.frame.own().items()) if handle.driver in drivers and _writes(view, key)
        ]
        if not writing:
            continue
        others = [(call, key, file, inside) for call, key, file, inside in _others(view, files) if file is not None]
        for key in writing if others else ():
            file = files.of_key(key)
            calls = {id(call): inside for call, other, at, inside in others if other != key and at == file}
            found = _while_dirty(view, key, view.frame.own()[key], calls) if file is not None and calls else None
            if found is not None:
                yield found


def _others(view: FunctionView, files: Files) -> Iterator[tuple[ast.Call, Key, str | None, FunctionInfo | None]]:
    """The calls that write on a connection which this function, or the one that is called, has opened."""
    opened = {op.key: files.of_opening(view, call) for call, op in view.ops() if op.opens}
    for call, op in view.ops():
        if op.key in opened and _takes_lock(op):
            yield call, op.key, opened[op.key], None
    for call, facts in view.calls():
        for target in facts.targets:
            if target.info is view.info or target.info.yields:
                continue
            for key, file in _inside(view.module, target.info, files):
                yield call, key, files.told_to(view.info, call, target.info, file), target.info


def _inside(module: ModuleView, function: FunctionInfo, files: Files) -> Iterator[tuple[Key, str | None]]:
    """The connections of its own on which the function writes, with their files."""
    view = FunctionView(module, function)
    opened = {op.key: files.of_opening(view, call) for call, op in view.ops() if op.opens and not op.key.persistent}
    for key, file in opened.items():
        if any(_takes_lock(op) for _, op in view.ops(key)):
            yield key, file


def _takes_lock(op: Op) -> bool:
    return op.statement.writes or (op.statement.verb is Verb.BEGIN and op.statement.immediate)


def _writes(view: FunctionView, key: Key) -> bool:
    return any(op.statement.writes and op.effect is Effect.EXECUTE for _, op in view.ops(key))


def _while_dirty(view: FunctionView, key: Key, handle: Handle, calls: dict[int, FunctionInfo | None]) -> Second | None:
    search = view.follow(handle, key)
    if search.over_budget:
        return None
    for node in tuple(search.parents):
        step = search.steps[node.step]
        if step.kind is not StepKind.CALL or not isinstance(step.node, ast.Call) or id(step.node) not in calls:
            continue
        if node.state.tx is not Tx.OPEN or not node.state.dirty:
            continue
        before = next((b for b, a in pairwise(search.path(node)) if a.state.dirty and not b.state.dirty), None)
        write = search.steps[before.step].node if before is not None else None
        if isinstance(write, ast.Call):
            return Second(view, step.node, calls[id(step.node)], write, key, handle)
    return None
