"""What the analysis saw in a function: errors that end in a handler, and where the failed transaction goes then."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise

from dbsafety.drivers.spec import DriverSpec
from dbsafety.facts.scopes import FunctionInfo
from dbsafety.flow.graph import Step, StepKind
from dbsafety.typestate.automaton import Seen, State, Tx, idle
from dbsafety.typestate.lifetime import dies_with_owner
from dbsafety.typestate.relation import Exit, Start, Subject
from dbsafety.typestate.search import Node, Search
from dbsafety.typestate.summaries import Summaries
from dbsafety.typestate.translated import may_meet
from dbsafety.typestate.values import Key, handles


class End(Enum):
    """What happens to the failed transaction after the handler."""

    FUNCTION = "function"
    """The function ends normally and the connection lives on."""
    STATEMENT = "statement"
    """Another statement is sent."""
    RETRY = "retry"
    """Another statement of the same `try` is sent: the next turn of a loop, a retry."""
    COMMIT = "commit"
    """It is committed."""
    INSIDE = "inside"
    """Another statement is sent before the handler is left."""
    DROPPED = "dropped"
    """The function ends normally and the connection with it."""


@dataclass(slots=True, eq=False)
class Swallow:
    """A database error that a handler ends while its transaction is still failed.

    `handler` is the `except` clause, the `with` item that suppresses, or the statement in `finally` that drops the
    exception; None for INSIDE findings whose handler is not left. `failing` is the statement that fails, `ends` where
    each witness leads, by kind, as the node at the end of it; `paths` are the witnesses. `dirty`: an earlier write of
    the same transaction was waiting.
    """

    function: FunctionInfo
    subject: Subject
    spec: DriverSpec
    handler: ast.AST | None
    handler_step: Step | None
    paths: dict[End, list[Step]] = field(default_factory=dict)
    dirty: bool = False

    def failing(self, end: End) -> Step | None:
        """The step that fails on the way to `end`."""
        return self.fails.get(end)

    fails: dict[End, Step] = field(default_factory=dict)


def swallows(summaries: Summaries, function: FunctionInfo) -> Iterator[Swallow]:
    """Every swallowed error of the function, per connection and handler, in source order."""
    found: dict[tuple[int, Key], Swallow] = {}
    frame = summaries.frame(function)
    for key, handle in sorted(summaries.touched(function).items()):
        spec = summaries.resolver.table.driver(handle.driver)
        if not spec.aborts and not spec.keeps_lock:
            continue
        subject = Subject(key, handle)
        search = summaries.search(function, subject)
        search.run(Start.ENTRY, entry_state(function, subject))
        if key.persistent and any(op.opens and op.key == key for node in function.calls for op in frame.call(node).ops):
            search.run(Start.ENTRY, State(Tx.UNBOUND))  # opened here when it is not there yet
        if search.over_budget:
            summaries.give_up()
            continue
        _collect(summaries, search, function, found)
    yield from sorted(found.values(), key=lambda s: (s.handler_step.line if s.handler_step else 0, s.subject.key))


def entry_state(function: FunctionInfo, subject: Subject) -> State:
    """The state of the connection when the function begins: unbound for its own variables, else idle."""
    key = subject.key
    own = key.kind in ("local", "site") and key.owner == f"{function.module.path}:{function.qualname}"
    here = key.kind == "site" or (key.kind == "global" and function.scope.kind == "module")
    if own or (here and key.owner == function.module.path):
        return State(Tx.UNBOUND)
    return idle(subject.handle.mode)


def outlives(summaries: Summaries, function: FunctionInfo, subject: Subject) -> bool:
    """Whether the connection lives on when the function returns."""
    key = subject.key
    if key.kind == "global" and function.scope.kind == "module":
        return False
    # One that a pool lends and nobody gives back is out of everybody's reach: DBS205.
    if key.kind == "param" or (subject.handle.pooled and key.kind not in ("local", "site")):
        return True
    if key.persistent and not dies_with_owner(summaries.resolver, function, key):
        return True
    own = f"{function.module.path}:{function.qualname}"
    if key.kind == "local" and key.owner != own:
        return True
    # `yield from cursor` yields rows.
    handed = [*(r.value for r in function.returns), *(y.value for y in function.yields if isinstance(y, ast.Yield))]
    values = (summaries.resolver.evaluate(node, function.scope) for node in handed)
    return any(handle.key == key for some in values for handle in handles(some))


def _collect(
    summaries: Summaries, search: Search, function: FunctionInfo, found: dict[tuple[int, Key], Swallow]
) -> None:
    for sight in search.sights:
        state = sight.node.state
        if state.by == -2:
            continue
        if _is_probe(search, sight.node):
            continue
        if sight.what is Seen.COMMIT and state.by == -1:
            continue  # the error is still on its way: not swallowed, see DBS104
        if sight.what is Seen.COMMIT:
            if search.spec.aborts or not _of_its_own(search, sight.node):
                _note(summaries, search, function, found, sight.node, End.COMMIT)
        elif search.spec.aborts:
            _note(
                summaries, search, function, found, sight.node, _later(search, sight.node) if state.left else End.INSIDE
            )
    end = search.frame.cfg.return_end
    left = [node for node in search.parents if node.step == end and node.state.tx is Tx.FAILED]
    left = [node for node in left if node.state.left and node.state.by >= 0]
    lives = bool(left) and outlives(summaries, function, search.subject)
    for node in left:
        _note(summaries, search, function, found, node, End.FUNCTION if lives else End.DROPPED)


def _is_probe(search: Search, node: Node) -> bool:
    """Whether the statement only asks if the connection is alive (`SELECT 1`): its failure, caught, is the answer."""
    step = search.steps[node.step]
    call = step.node
    if not isinstance(call, ast.Call) or step.exc == search.frame.cfg.raise_end:
        return False
    texts = [op.sql for op in search.frame.call(call).ops if op.sql]
    return bool(texts) and all(" ".join(text.split()).strip(";").upper() == "SELECT 1" for text in texts)


def _later(search: Search, node: Node) -> End:
    """Whether the statement after the handler belongs to the body of the handler's own `try`."""
    handler = search.steps[node.state.by].node if node.state.by >= 0 else None
    again = isinstance(handler, ast.ExceptHandler) and any(
        handler in attempt.handlers for attempt in search.steps[node.step].tries
    )
    return End.RETRY if again else End.STATEMENT


def _note(
    summaries: Summaries,
    search: Search,
    function: FunctionInfo,
    found: dict[tuple[int, Key], Swallow],
    node: Node,
    end: End,
) -> None:
    by = node.state.by
    key = (by, search.subject.key)
    step = search.steps[by] if by >= 0 else None
    swallow = found.get(key)
    if swallow is not None and end in swallow.paths:
        swallow.dirty = swallow.dirty or node.state.dirty
        return
    path = search.path(node)
    failing = _failing(search, path)
    handler = _what_ends(step) if step is not None else None
    if swallow is None:
        if failing is not None and not _can_end(summaries, search, failing, handler):
            return
        swallow = found[key] = Swallow(function, search.subject, search.spec, handler, step)
    swallow.dirty = swallow.dirty or node.state.dirty
    swallow.paths[end] = [search.steps[point.step] for point in path]
    if failing is not None:
        swallow.fails[end] = failing


def _can_end(summaries: Summaries, search: Search, failing: Step, handler: ast.AST | None) -> bool:
    attempts = [attempt for attempt in failing.tries if handler in attempt.handlers]
    if not attempts or not isinstance(handler, ast.ExceptHandler):
        return True
    return may_meet(summaries, search.frame, attempts[0], handler)


def _of_its_own(search: Search, node: Node) -> bool:
    """Whether all that is committed are earlier turns of the statement that failed: a loop that skips bad rows, which
    SQLite stores as it says (fact C5a).
    """
    path = search.path(node)
    written = [b for b, a in pairwise(path) if a.state.dirty and not b.state.dirty]
    failing = _failing(search, path)
    return bool(written) and failing is not None and written[-1].step == failing.index


def _what_ends(step: Step) -> ast.AST | None:
    """The clause, `with` item or statement that ends the error: in a `finally` body the first jump out of it."""
    if step.kind is not StepKind.FINALLY or not isinstance(step.node, ast.Try):
        return step.node
    jumps = (n for part in step.node.finalbody for n in ast.walk(part) if isinstance(n, (ast.Break, ast.Continue)))
    return next(jumps, step.node)


def _failing(search: Search, path: list[Node]) -> Step | None:
    """The last step on the way whose exception made the transaction fail."""
    for before, after in zip(reversed(path[:-1]), reversed(path[1:]), strict=True):
        if after.state.tx is Tx.FAILED and before.state.tx is not Tx.FAILED:
            return search.steps[before.step]
    return None


def ends_normally(relation: frozenset[tuple[Exit, State]]) -> bool:
    """Whether a relation has a normal way out."""
    return any(way is Exit.NORMAL for way, _ in relation)


def last_statement(path: list[Step]) -> Step:
    """The last step of a witness that has a place in the source."""
    for step in reversed(path):
        if step.kind not in (StepKind.RETURN_END, StepKind.RAISE_END, StepKind.ENTRY):
            return step
    return path[-1]
