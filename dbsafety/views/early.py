"""Commits that run although the work before them is not complete: in `finally`, in handlers, in `__exit__`."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

from dbsafety.drivers.spec import Effect
from dbsafety.facts.sql import Verb
from dbsafety.flow.graph import Step, StepKind
from dbsafety.typestate.automaton import Raised, Seen, State, Tx
from dbsafety.typestate.calls import is_generator_manager
from dbsafety.typestate.catch import Match, clause_matches
from dbsafety.typestate.relation import Start, Subject
from dbsafety.typestate.report import End, Swallow, last_statement
from dbsafety.typestate.search import Node, Search
from dbsafety.typestate.values import Handle, Key, Mode, handles
from dbsafety.views.committing import commits, writes
from dbsafety.views.view import FunctionView

_HALF = State(Tx.FAILED, dirty=True)
_EXITS = ("__exit__", "__aexit__")


@dataclass(frozen=True, slots=True)
class EarlyCommit:
    """A commit on the way of an error. `owner` is the `try` whose `finally` it stands in, the handler, or the function
    (`__exit__`). `failing` is the step whose exception leads there, `written` the write that is stored then, `missing`
    the one that is left out; a step that is a YIELD stands for the body of a `with` block. `is_refused`: only an
    error before it is sent (fact B1b) makes the failing statement leave the others as they are.
    """

    commit: ast.Call
    owner: ast.AST
    key: Key
    handle: Handle
    failing: Step | None = None
    written: Step | None = None
    missing: Step | None = None
    is_refused: bool = False

    @property
    def is_repeated(self) -> bool:
        """Whether what is left out are later turns of the same write: rows of a loop."""
        return self.written is not None and self.written is self.missing


def is_early(view: FunctionView, swallow: Swallow) -> bool:
    """Whether the commit after a swallowed error stands in the handler itself or in the `finally` of its `try`."""
    commit = last_statement(swallow.paths[End.COMMIT]).node
    return commit is not None and owner_of(view, commit, swallow.handler) is not None


def owner_of(view: FunctionView, commit: ast.AST, handler: ast.AST | None) -> ast.ExceptHandler | ast.Try | None:
    """The handler, or the `try` with that handler, whose handler or `finally` holds the commit."""
    inner = commit
    for outer in view.around(commit):
        if isinstance(outer, ast.ExceptHandler) and outer is handler:
            return outer
        if isinstance(outer, ast.Try) and inner in outer.finalbody:
            return outer if handler in outer.handlers else None
        inner = outer
    return None


def writes_in(view: FunctionView, handler: ast.ExceptHandler, key: Key) -> bool:
    """Whether the handler itself writes on the connection: what has happened, something else instead, or the same once
    more. A text that is not known is taken for one of those.
    """
    inside = {id(node) for statement in handler.body for node in ast.walk(statement)}
    return any(
        op.statement.writes or (op.effect is Effect.EXECUTE and op.statement.verb is Verb.UNKNOWN)
        for call, op in view.ops(key)
        if id(call) in inside
    )


def early_commits(view: FunctionView) -> Iterator[EarlyCommit]:
    """The commits that an error of something else than the statements they store leads to, one for each call."""
    ends_block = view.info.cls is not None and view.name.rpartition(".")[2] in _EXITS
    steps = [step for step in view.cfg.steps if step.kind is StepKind.CALL and step.saved]
    steps = [step for step in steps if isinstance(step.node, ast.Call) and _may_commit(view, step.node)]
    if not steps and not ends_block:
        return
    seen: set[int] = set()
    for key, handle in sorted(view.module.summaries.touched(view.info).items()):
        found = _in_tries(view, key, handle, steps) if steps else iter(())
        for early in (*found, *(_at_exit(view, key, handle) if ends_block else ())):
            if id(early.commit) not in seen:
                seen.add(id(early.commit))
                yield early


def _may_commit(view: FunctionView, call: ast.Call) -> bool:
    facts = view.frame.call(call)
    return bool(facts.targets) or any(op.effect in (Effect.COMMIT, Effect.EXECUTE) for op in facts.ops)


def _in_tries(view: FunctionView, key: Key, handle: Handle, steps: list[Step]) -> Iterator[EarlyCommit]:
    scan = _Scan(view, key, handle)
    if scan.search.over_budget:
        return
    for step in steps:
        if isinstance(step.node, ast.Call) and scan.commits(step):
            for index in step.saved:
                early = scan.early(step, step.node, scan.search.steps[index])
                if early is not None:
                    yield early
                    break


class _Scan:
    """The analysis of one connection over a function, with the questions about incomplete work."""

    def __init__(self, view: FunctionView, key: Key, handle: Handle) -> None:
        self.view = view
        self.key = key
        self.handle = handle
        self.search = view.follow(handle, key)
        self._writes: dict[int, bool] = {}

    def commits(self, step: Step) -> bool:
        """Whether the call commits the connection's transaction, itself or in a called function."""
        return step.kind is StepKind.CALL and commits(self.search, step)

    def writes(self, step: Step) -> bool:
        """Whether the call changes rows on the connection, itself or in a called function."""
        known = self._writes.get(step.index)
        if known is None:
            known = self._writes[step.index] = writes(self.search, step)
        return known

    def early(self, commit: Step, call: ast.Call, owner: Step) -> EarlyCommit | None:
        """The error that leads to the commit in that handler or `finally` while the work is incomplete."""
        attempt = owner.node if owner.kind is StepKind.FINALLY else self.view.parents.get(id(owner.node))
        if not isinstance(attempt, ast.Try) or owner.node is None:
            return None
        if isinstance(owner.node, ast.ExceptHandler) and self._goes_its_own_way(owner.node):
            return None
        nodes = [node for node in self.search.parents if attempt in self.search.steps[node.step].tries]
        for node in sorted(nodes, key=lambda node: self.search.spec.aborts and self.is_sent(node)):
            step = self.search.steps[node.step]
            if step.kind is StepKind.YIELD:
                begun = self.handle.mode is Mode.TRANSACTION or node.state.tx is Tx.OPEN
                if begun and self._is_block() and self._leads(self._thrown(node), commit):
                    return EarlyCommit(call, owner.node, self.key, self.handle, step, step, step)
            elif node.state.tx is Tx.OPEN and node.state.dirty and not self.commits(step):
                missing = self._missing(step, attempt)
                if missing is not None and self._fails_to(node, commit):
                    found = EarlyCommit(call, owner.node, self.key, self.handle, step, self._written(node), missing)
                    return replace(found, is_refused=self.search.spec.aborts and self.is_sent(node))
        return None

    def is_sent(self, node: Node) -> bool:
        """Whether the step sends a statement itself: an error of the driver there aborts what came before (B1a)."""
        call = self.search.steps[node.step].node
        ops = self.view.frame.call(call).ops if isinstance(call, ast.Call) else ()
        return any(op.key == self.key and op.effect in (Effect.EXECUTE, Effect.SCRIPT) for op in ops)

    def _goes_its_own_way(self, handler: ast.ExceptHandler) -> bool:
        """Whether the handler is for a case that the author has foreseen, or writes down what has happened."""
        view, spec = self.view, self.search.spec
        if clause_matches(view.resolver, handler.type, view.scope, spec, Raised.OTHER) is not Match.SURE:
            return True
        return writes_in(view, handler, self.key)

    def _missing(self, step: Step, attempt: ast.Try) -> Step | None:
        """The write of the same transaction that is not reached when the step fails."""
        pending, seen = deque([step]), {step.index}
        while pending:
            current = pending.popleft()
            if self.writes(current):
                return current
            if current is not step and self.commits(current):
                continue
            for edge in current.succ:
                target = self.search.steps[edge.target]
                if target.index not in seen and attempt in target.tries:
                    seen.add(target.index)
                    pending.append(target)
        return None

    def _fails_to(self, node: Node, commit: Step) -> bool:
        """Whether an error of the step leads to the commit with what was written so far still waiting for it.

        An error that is not the driver's is a poor witness for a statement whose driver's errors are rolled back.
        """
        step = self.search.steps[node.step]
        failed = [after for after in self.search.successors(node) if after.flight is not None]
        own = [after for after in failed if after.flight is Raised.DB]
        if own and not any(self._leads(after, commit, lost=True) for after in own):
            return False
        if own and self.search.spec.keeps_lock:
            failed = own
        return step.exc is not None and any(self._leads(after, commit) for after in failed)

    def _leads(self, start: Node, commit: Step, *, lost: bool = False) -> bool:
        """Whether the commit is reached with a write waiting for it; `lost` counts an aborted transaction too."""
        kept = (Tx.OPEN, Tx.FAILED) if lost or self.search.spec.keeps_lock else (Tx.OPEN,)
        pending, seen = deque([start]), {start}
        while pending:
            node = pending.popleft()
            step = self.search.steps[node.step]
            if step.node is commit.node and step.kind is commit.kind and node.state.tx in kept and node.state.dirty:
                return True
            if isinstance(step.node, ast.ExceptHandler) and writes_in(self.view, step.node, self.key):
                continue
            for target in self.search.successors(node):
                if target not in seen:
                    seen.add(target)
                    pending.append(target)
        return False

    def _thrown(self, node: Node) -> Node:
        """The node to which an exception of the block's body leads, which has written something before."""
        return self.search.raised(node, Raised.OTHER, node.state._replace(tx=Tx.OPEN, dirty=True))

    def _is_block(self) -> bool:
        """Whether the function is a context manager or a dependency, so that errors of what it serves come to it."""
        view = self.view
        if is_generator_manager(view.resolver, view.info):
            return True
        if len(view.info.yields) != 1 or any("fixture" in ast.unparse(d) for d in view.info.decorators):
            return False
        return any(h.key == self.key for h in handles(view.resolver.evaluate(view.info.yields[0].value, view.scope)))

    def _written(self, node: Node) -> Step | None:
        """The write that is stored: the last one on the way."""
        path = [self.search.steps[point.step] for point in self.search.path(node)[:-1]]
        return next((step for step in reversed(path) if self.writes(step)), None)


def _at_exit(view: FunctionView, key: Key, handle: Handle) -> Iterator[EarlyCommit]:
    """The commit of an `__exit__` that never asks whether the block has failed."""
    node = view.info.node
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or handle.mode is not Mode.TRANSACTION:
        return
    told = [
        *(argument.arg for argument in view.info.parameters[1:]),
        *([node.args.vararg.arg] if node.args.vararg else []),
    ]
    if any(isinstance(part, ast.Name) and part.id in told for part in ast.walk(node)):
        return
    search: Search = view.module.summaries.search(view.info, Subject(key, handle))
    search.run(Start.EXIT_RAISED, _HALF._replace(by=-3))
    for sight in search.sights:
        call = search.steps[sight.node.step].node
        if sight.what is Seen.COMMIT and isinstance(call, ast.Call) and not search.over_budget:
            yield EarlyCommit(call, node, key, handle)
