"""How a connection that a function opens escapes its close."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from dbsafety.drivers.spec import Effect
from dbsafety.flow.graph import Step, StepKind
from dbsafety.rules.view import FunctionView
from dbsafety.typestate.automaton import Raised, Tx
from dbsafety.typestate.search import Node, Search
from dbsafety.typestate.values import Handle, Key

_SENDING = (Effect.EXECUTE, Effect.SCRIPT, Effect.COMMIT)
_OPEN = (Tx.IDLE, Tx.OPEN, Tx.FAILED)


@dataclass(frozen=True, slots=True)
class Leak:
    """The step whose error skips the close, and the handler that ends the error (None: it leaves the function)."""

    failing: Step
    handler: Step | None


def leak_of(view: FunctionView, handle: Handle, key: Key) -> Leak | None:
    """The shortest way on which a database error leaves the connection open, None when there is none."""
    search = view.follow(handle, key)
    if search.over_budget:
        return None
    for node in search.parents:
        if node.state.tx not in _OPEN:
            continue
        raised = node.step == view.cfg.raise_end and node.flight is Raised.DB
        if raised or node.step == view.cfg.return_end:
            leak = _on_path(view, search, node, raised=raised)
            if leak is not None:
                return leak
    return None


def _on_path(view: FunctionView, search: Search, end: Node, *, raised: bool) -> Leak | None:
    """The failing call of a path; a normal end counts only if a handler ended the error of this connection on it."""
    path = search.path(end)
    for position in range(len(path) - 1, 0, -1):
        before, after = path[position - 1], path[position]
        step = search.steps[before.step]
        if after.flight is not Raised.DB or before.flight is not None or before.state.tx not in _OPEN:
            continue
        if not _sends(view, step):
            continue
        if raised:
            return Leak(step, None)
        caught = [search.steps[node.step] for node in path[position:]]
        handler = next((found for found in caught if found.kind is StepKind.HANDLER), None)
        return Leak(step, handler) if handler is not None else None
    return None


def _sends(view: FunctionView, step: Step) -> bool:
    """Whether the step talks to the database; making a cursor or reading fetched rows does not."""
    if step.kind is not StepKind.CALL or not isinstance(step.node, ast.Call):
        return step.kind in (StepKind.WITH_ENTER, StepKind.WITH_EXIT)
    facts = view.frame.call(step.node)
    return bool(facts.targets) or any(op.effect in _SENDING for op in facts.ops)
