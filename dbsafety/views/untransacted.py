"""Writes that begin with WITH, for which sqlite3 opens no transaction, in code that may roll back (fact C8c)."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from dbsafety.drivers.spec import Effect
from dbsafety.facts.sql import Verb
from dbsafety.flow.graph import Step, StepKind
from dbsafety.typestate.automaton import Tx
from dbsafety.typestate.ops import Op
from dbsafety.typestate.search import Node, Search
from dbsafety.typestate.values import Key
from dbsafety.views.databases import openings_of
from dbsafety.views.view import FunctionView


@dataclass(frozen=True, slots=True)
class Untransacted:
    """The call that writes, and the rollback, or the `with` item, that is thought to take it back."""

    call: ast.Call
    op: Op
    rollback: ast.Call | ast.withitem


class _Place(NamedTuple):
    """A node behind the write; `more`: the same unit has sent another write; `raised`: an exception led here."""

    node: Node
    more: bool
    raised: bool


def untransacted(view: FunctionView) -> Iterator[Untransacted]:
    """Such writes of the function, in source order."""
    for call, op in view.ops():
        step = view.step_of(call)
        if not _is_such(view, op) or step is None:
            continue
        search = view.follow(op.handle, op.key)
        if search.over_budget:
            continue
        here = [n for n in search.parents if n.step == step.index and n.flight is None]
        idle = [n for n in here if n.state.tx is Tx.IDLE and not n.state.auto]
        rollback = _rollback_after(view, search, idle, op.key)
        if rollback is not None:
            yield Untransacted(call, op, rollback)


def _is_such(view: FunctionView, op: Op) -> bool:
    """Whether the statement begins with WITH and writes, on a connection whose module begins transactions by verb."""
    if not op.statement.cte or not op.statement.writes or op.effect is not Effect.EXECUTE or op.weak:
        return False
    openings = [call for _, call in openings_of(view.module, op.key)]
    return op.spec.keeps_lock and not any(k.arg == "autocommit" for call in openings for k in call.keywords)


def _rollback_after(view: FunctionView, search: Search, starts: list[Node], key: Key) -> ast.Call | ast.withitem | None:
    """The first rollback on a way on which the write was one of several, or nothing failed."""
    queue = deque(
        _Place(after, more=False, raised=False)
        for node in starts
        for after in search.successors(node)
        if after.flight is None
    )
    seen = set(queue)
    while queue:
        place = queue.popleft()
        step = search.steps[place.node.step]
        effects = _effects(view, step.node, key) if step.kind is StepKind.CALL else frozenset()
        rollback = _rollback_at(view, step, place, Effect.ROLLBACK in effects, key)
        if rollback is not None and (place.more or not place.raised):
            return rollback
        if Effect.COMMIT in effects or Effect.CLOSE in effects:
            continue
        more = place.more or Effect.EXECUTE in effects
        for following in search.successors(place.node):
            new = _Place(following, more, place.raised or following.flight is not None)
            if new not in seen:
                seen.add(new)
                queue.append(new)
    return None


def _rollback_at(
    view: FunctionView, step: Step, place: _Place, calls: bool, key: Key
) -> ast.Call | ast.withitem | None:
    """The rollback at the step: a call, or the end of a block that an exception leaves."""
    if isinstance(step.node, ast.Call) and calls:
        return step.node
    leaves = step.kind is StepKind.WITH_EXIT and place.node.flight is not None
    return step.node if leaves and isinstance(step.node, ast.withitem) and _ends(view, step.node, key) else None


def _effects(view: FunctionView, node: ast.AST | None, key: Key) -> frozenset[Effect]:
    """What a call does to the connection: EXECUTE for a write, and how the transaction ends, also by text."""
    ops = [op for op in view.frame.call(node).ops if op.key == key] if isinstance(node, ast.Call) else []
    found: set[Effect] = {op.effect for op in ops if op.effect is not Effect.EXECUTE}
    by_verb: dict[Verb, Effect] = {
        Verb.WRITE: Effect.EXECUTE,
        Verb.COMMIT: Effect.COMMIT,
        Verb.ROLLBACK: Effect.ROLLBACK,
    }
    found.update(by_verb[op.statement.verb] for op in ops if op.statement.verb in by_verb)
    return frozenset(Effect.COMMIT if effect is Effect.SCRIPT else effect for effect in found)


def _ends(view: FunctionView, item: ast.withitem, key: Key) -> bool:
    """Whether leaving the block with an exception rolls the connection back."""
    blocks = (block for block in view.frame.blocks(item) if key in block.keys and block.with_spec is not None)
    return any(block.with_spec is not None and block.with_spec.error is Effect.ROLLBACK for block in blocks)
