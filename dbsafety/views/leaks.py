"""How a connection that a function opens escapes its close."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from dbsafety.drivers.spec import Effect
from dbsafety.flow.graph import Step, StepKind
from dbsafety.typestate.automaton import Raised, State, Tx
from dbsafety.typestate.relation import Start
from dbsafety.typestate.search import Node, Search
from dbsafety.typestate.values import Handle, Key, handles
from dbsafety.views.view import FunctionView

_SENDING = (Effect.EXECUTE, Effect.SCRIPT, Effect.COMMIT)
_KEEPERS = frozenset(
    {
        *("add", "append", "appendleft", "callback", "enter_context", "finalize", "insert", "push", "put"),
        *("put_nowait", "register", "set", "setattr", "setdefault"),
    }
)
"""Names of calls that keep what they are given."""
OPEN = (Tx.IDLE, Tx.OPEN, Tx.FAILED)
"""The states of a connection that nobody has closed or given back."""


@dataclass(frozen=True, slots=True)
class Leak:
    """The step whose error skips the close, and the handler that ends the error (None: it, or what a handler raises in
    its place, leaves the function).
    """

    failing: Step
    handler: Step | None


def leak_of(view: FunctionView, opening: ast.Call, handle: Handle, key: Key) -> Leak | None:
    """The first statement whose error leaves the connection that `opening` made open, None when there is none."""
    return leak_in(view, opening, view.follow(handle, key), Raised.DB, lambda step: _sends(view, step))


def leak_in(
    view: FunctionView, opening: ast.Call, search: Search, kind: Raised, fails: Callable[[Step], bool]
) -> Leak | None:
    """The first step that `fails` with an exception of this kind which leaves the connection open."""
    if search.over_budget:
        return None
    ending = closing_steps(search)
    for node in tuple(search.parents):
        step = search.steps[node.step]
        if node.state.tx not in OPEN or step.node is opening or not fails(step):
            continue  # what fails while it opens is lost to the function that opens
        if not is_opened_by(view, opening, search, node):
            continue
        for failed in search.successors(node):
            if failed.flight is kind:
                leak = _escape(search, step, failed, ending)
                if leak is not None:
                    return leak
    return None


def is_opened_by(view: FunctionView, opening: ast.Call, search: Search, node: Node) -> bool:
    """Whether `opening` is the last call on the way to the node that opened the connection."""
    for point in reversed(search.path(node)):
        call = search.steps[point.step].node
        if isinstance(call, ast.Call) and any(
            op.opens and op.key == search.subject.key for op in view.frame.call(call).ops
        ):
            return call is opening
    return True


def follow_on(view: FunctionView, handle: Handle, key: Key) -> Search:
    """The analysis of one connection over the whole function, beyond each `yield` of a generator too."""
    search = view.follow(handle, key)
    if view.cfg.is_generator and not search.over_budget:
        search.run(Start.RESUME, State(Tx.OPEN))
    return search


def closing_steps(search: Search) -> frozenset[int]:
    """The steps that close the connection or give it back, a called function perhaps on some of its ways only.

    What a failed rollback leaves is closed as well, but nobody closed it.
    """
    return frozenset(
        node.step
        for node in tuple(search.parents)
        if node.state.tx in OPEN
        and any(after.state.tx is Tx.CLOSED and after.flight is None for after in search.successors(node))
    )


def _escape(search: Search, failing: Step, failed: Node, ending: frozenset[int]) -> Leak | None:
    """Follow the error of one statement to an end of the function with the connection still open."""
    parents: dict[Node, Node | None] = {failed: None}
    queue = deque([failed])
    while queue:
        node = queue.popleft()
        if node.state.tx in OPEN:
            passed_on = node.flight is failed.flight or _is_translated(search, parents, node)
            if node.step == search.frame.cfg.raise_end and passed_on:
                return Leak(failing, None)
            if node.step == search.frame.cfg.return_end:
                return Leak(failing, _handler_on(search, parents, node))
        for target in search.successors(node):
            tried = node.step in ending and target.state.tx in OPEN
            if target not in parents and not tried:
                parents[target] = node
                queue.append(target)
    return None


def _is_translated(search: Search, parents: dict[Node, Node | None], end: Node) -> bool:
    """Whether a `raise` in a handler has put the exception that leaves the function, no exit, in the error's place."""
    current: Node | None = end if end.flight is Raised.OTHER else None
    while current is not None and current.flight is not None:
        current = parents[current]
    if current is None or search.steps[current.step].kind is not StepKind.RAISE:
        return False
    return _handler_on(search, parents, current) is not None


def _handler_on(search: Search, parents: dict[Node, Node | None], end: Node) -> Step | None:
    """The handler that ended the error, the last one on the way."""
    current: Node | None = end
    while current is not None:
        step = search.steps[current.step]
        if step.kind is StepKind.HANDLER:
            return step
        current = parents[current]
    return None


def _sends(view: FunctionView, step: Step) -> bool:
    """Whether the step talks to the database; making a cursor or reading fetched rows does not."""
    if isinstance(step.node, ast.withitem):
        return step.kind is StepKind.WITH_EXIT and any(block.keys for block in view.frame.blocks(step.node))
    if step.kind is not StepKind.CALL or not isinstance(step.node, ast.Call):
        return False
    facts = view.frame.call(step.node)
    return bool(facts.targets) or any(op.effect in _SENDING for op in facts.ops)


def is_kept(view: FunctionView, key: Key) -> bool:
    """Whether the function puts the connection, or its `close`, where others find it: a container, an attribute of
    another object, a registry of exit handlers.
    """
    for call, facts in view.calls():
        func = call.func
        name = func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""
        if name not in _KEEPERS:
            continue
        if key in facts.passed or any(_is_method_of(view, argument, key) for argument in call.args):
            return True
    return any(
        isinstance(target, ast.Subscript | ast.Attribute)
        and any(h.key == key for h in handles(view.resolver.evaluate(node.value, view.scope)))
        for node in ast.walk(view.info.node)
        if isinstance(node, ast.Assign)
        for target in node.targets
    )


def _is_method_of(view: FunctionView, node: ast.expr, key: Key) -> bool:
    if not isinstance(node, ast.Attribute):
        return False
    return any(handle.key == key for handle in handles(view.resolver.evaluate(node.value, view.scope)))
