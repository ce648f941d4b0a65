"""What the cancellation of a task does to the transaction it is in (fact B9)."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from dbsafety.drivers.spec import DriverSpec, Effect
from dbsafety.flow.graph import Step, StepKind
from dbsafety.typestate.automaton import Raised, Tx
from dbsafety.typestate.catch import Match, clause_matches
from dbsafety.typestate.search import Node, Search
from dbsafety.typestate.values import Handle, Key
from dbsafety.views.committing import commits
from dbsafety.views.handlers import Verdict, verdict
from dbsafety.views.view import FunctionView


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A task cancelled at the await `at`: `handler` ends the cancellation and `commit` follows, or the rollback in
    `handler` does not see it (`commit` None) and the transaction stays open.
    """

    handler: ast.ExceptHandler
    at: Step
    key: Key
    handle: Handle
    commit: Step | None = None


def cancelled_commits(view: FunctionView) -> Iterator[Cancelled]:
    """The handlers that end a cancellation before a commit, unless they are reported for database errors already."""
    broad = [
        (attempt, handler)
        for attempt, handler in _handlers(view)
        if clause_matches(view.resolver, handler.type, view.scope, _any_spec(view), Raised.BASE) is Match.SURE
    ]
    broad = [(a, h) for a, h in broad if not any(isinstance(n, ast.Raise) for s in h.body for n in ast.walk(s))]
    if not broad:
        return
    told = {id(swallow.handler) for swallow in view.swallows if verdict(view, swallow) is not Verdict.NONE}
    for attempt, handler in broad:
        if id(handler) not in told:
            found = next(_commits_behind(view, attempt, handler), None)
            if found is not None:
                yield found


def cancelled_rollbacks(view: FunctionView) -> Iterator[Cancelled]:
    """The handlers whose rollback a cancellation passes by, on connections of this module that live on."""
    for attempt, handler in _handlers(view):
        inside = {id(node) for statement in handler.body for node in ast.walk(statement)}
        rolled = {op.key: op.handle for c, op in view.ops() if op.effect is Effect.ROLLBACK and id(c) in inside}
        for key, handle in sorted(rolled.items()):
            spec = view.spec(handle)
            if clause_matches(view.resolver, handler.type, view.scope, spec, Raised.BASE) is not Match.NO:
                continue
            if handle.pooled or not _is_kept(view, key):
                continue
            at = _left_open(view, attempt, key, handle)
            if at is not None:
                yield Cancelled(handler, at, key, handle)


def _handlers(view: FunctionView) -> Iterator[tuple[ast.Try, ast.ExceptHandler]]:
    if view.cfg.is_async:
        for attempt in view.info.tries:
            for handler in attempt.handlers:
                yield attempt, handler


def _any_spec(view: FunctionView) -> DriverSpec:
    """Some driver's table: whether a clause catches everything is the same for all."""
    return view.resolver.table.drivers[0]


def _commits_behind(view: FunctionView, attempt: ast.Try, handler: ast.ExceptHandler) -> Iterator[Cancelled]:
    for key, handle in sorted(view.module.summaries.touched(view.info).items()):
        search = view.follow(handle, key)
        if search.over_budget:
            continue
        for node in _awaits(view, search, attempt, key):
            if not node.state.dirty:
                continue
            commit = _commit_after(search, search.raised(node, Raised.BASE, node.state), handler)
            if commit is not None:
                yield Cancelled(handler, search.steps[node.step], key, handle, commit)


def _awaits(view: FunctionView, search: Search, attempt: ast.Try, key: Key) -> Iterator[Node]:
    """The points in the `try` at which the task waits while the transaction is open; one that waits for a statement of
    the connection is in the state before that statement.
    """
    sent: dict[int, Step] = {}
    for step in search.steps:
        value = step.node.value if step.kind is StepKind.AWAIT and isinstance(step.node, ast.Await) else None
        if isinstance(value, ast.Call) and any(op.key == key for op in view.frame.call(value).ops):
            sent[id(value)] = step
    for node in tuple(search.parents):
        step = search.steps[node.step]
        if attempt not in step.tries or node.state.tx is not Tx.OPEN:
            continue
        if step.kind is StepKind.CALL and id(step.node) in sent:
            yield node._replace(step=sent[id(step.node)].index)
        elif step.kind is StepKind.AWAIT and step not in sent.values():
            yield node


def _commit_after(search: Search, start: Node, handler: ast.ExceptHandler) -> Step | None:
    """The commit that follows when the handler has ended the exception."""
    pending, seen, caught = deque([(start, False)]), {(start, False)}, False
    while pending:
        node, caught = pending.popleft()
        step = search.steps[node.step]
        caught = caught or (step.kind is StepKind.HANDLER and step.node is handler)
        if caught and not step.saved and node.flight is None and node.state.dirty and commits(search, step):
            return step
        for target in search.successors(node):
            if (target, caught) not in seen:
                seen.add((target, caught))
                pending.append((target, caught))
    return None


def _is_kept(view: FunctionView, key: Key) -> bool:
    """Whether the connection outlives the task as far as this module tells: it is opened here and kept."""
    own = f"{view.info.module.path}:{view.info.qualname}"
    if not key.persistent and not (key.kind == "local" and key.owner != own):
        return False
    return any(op.opens for other in view.module.functions for _, op in other.ops(key))


def _left_open(view: FunctionView, attempt: ast.Try, key: Key, handle: Handle) -> Step | None:
    """The await of the `try` at which a cancellation leaves the function with the transaction open."""
    search = view.follow(handle, key)
    if search.over_budget:
        return None
    for node in _awaits(view, search, attempt, key):
        pending = deque([search.raised(node, Raised.BASE, node.state)])
        seen = set(pending)
        while pending:
            current = pending.popleft()
            leaves = current.step == search.frame.cfg.raise_end and current.flight is Raised.BASE
            if leaves and current.state.tx is Tx.OPEN:
                return search.steps[node.step]
            for target in search.successors(current):
                if target not in seen:
                    seen.add(target)
                    pending.append(target)
    return None
