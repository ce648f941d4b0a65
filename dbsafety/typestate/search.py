"""Reachability in the exploded graph: (step, state, exception in flight, exceptions set aside), with parent pointers.

Transfers distribute over union, so breadth-first search is the may-analysis, it terminates by finiteness, and the chain
of parents is a shortest witness.
"""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from dbsafety.drivers.spec import DriverSpec
from dbsafety.flow.graph import Edge, EdgeKind, Step, StepKind, Why
from dbsafety.typestate import flags
from dbsafety.typestate.automaton import Raised, Seen, State, Tx
from dbsafety.typestate.catch import Match, clause_matches
from dbsafety.typestate.effects import Effects, Transfer
from dbsafety.typestate.frame import Frame
from dbsafety.typestate.guards import Predicate, holds
from dbsafety.typestate.relation import EXIT_OF, Exit, Relations, Start, Subject
from dbsafety.typestate.values import externals

BUDGET = 20_000
"""Nodes of one search; beyond it nothing is known."""


class Node(NamedTuple):
    """A point of the exploded graph; `aside` holds the kinds set aside for each entry of the step's `saved`."""

    step: int
    state: State
    flight: Raised | None = None
    aside: tuple[Raised, ...] = ()


class Sight(NamedTuple):
    """Something revealed at a node."""

    what: Seen
    node: Node


class Search:
    """One run over a function for one connection."""

    def __init__(self, frame: Frame, subject: Subject, relations: Relations, spec: DriverSpec) -> None:
        self.frame = frame
        self.subject = subject
        self.spec = spec
        self.steps = frame.cfg.steps
        self.effects = Effects(frame, subject, relations, spec)
        self.parents: dict[Node, Node | None] = {}
        self.sights: list[Sight] = []
        self.exits: set[tuple[Exit, State]] = set()
        self.over_budget = frame.cfg.truncated
        self._flags = dict(subject.flags)
        self._stop_at_yield = False
        self._raised_argument: bool | None = None
        self._guards: dict[int, Predicate | None] = {}

    def run(self, start: Start, state: State) -> None:
        """Explore from `start` with the connection in `state`."""
        self._stop_at_yield = self.frame.cfg.is_generator and start is Start.ENTRY
        if start in (Start.EXIT_OK, Start.EXIT_RAISED):
            self._raised_argument = start is Start.EXIT_RAISED
        queue = deque(self._starts(start, state))
        for node in queue:
            self.parents[node] = None
        while queue:
            node = queue.popleft()
            for target in self.successors(node):
                if target not in self.parents:
                    self.parents[target] = node
                    queue.append(target)
            if len(self.parents) > BUDGET:
                self.over_budget = True
                return

    def path(self, node: Node) -> list[Node]:
        """The witness: the nodes from the start to `node`."""
        chain: list[Node] = []
        current: Node | None = node
        while current is not None:
            chain.append(current)
            current = self.parents.get(current)
        chain.reverse()
        return chain

    def _starts(self, start: Start, state: State) -> list[Node]:
        if start in (Start.ENTRY, Start.EXIT_OK, Start.EXIT_RAISED):
            return [Node(self.frame.cfg.entry, state)]
        found: list[Node] = []
        for step in self.steps:
            if step.kind is not StepKind.YIELD:
                continue
            here = Node(step.index, state, None, tuple(Raised.OTHER for _ in step.saved))
            if start is Start.RESUME:
                found.extend(self._along(here, edge, state) for edge in step.succ)
            elif step.exc is not None:
                kind = {Start.THROW_DB: Raised.DB, Start.THROW_BASE: Raised.BASE}.get(start, Raised.OTHER)
                found.append(self.raised(here, kind, state))
        return found

    def successors(self, node: Node) -> Iterator[Node]:
        """Where control may go from `node`."""
        step = self.steps[node.step]
        match step.node:
            case ast.Call() as call if step.kind is StepKind.CALL:
                yield from self._transfer(node, step, self.effects.call(call, node.state))
            case ast.withitem() as item if step.kind is StepKind.WITH_ENTER:
                yield from self._transfer(node, step, self.effects.enter(item, node.state))
            case ast.withitem() as item if step.kind is StepKind.WITH_EXIT:
                yield from self._with_exit(node, step, item)
            case ast.expr() as test if step.kind is StepKind.TEST:
                yield from self._test(node, step, test)
            case (ast.For() | ast.AsyncFor()) as loop if step.kind is StepKind.FOR and self._nothing_in(node, loop):
                yield from (self._along(node, e, node.state) for e in step.succ if e.kind is EdgeKind.FALSE)
            case _:
                yield from self._control(node, step)

    def _control(self, node: Node, step: Step) -> Iterator[Node]:
        """Steps that do nothing to the connection but to lead on, to hold an exception back or to end the run."""
        match step.kind:
            case StepKind.RETURN_END:
                self.exits.add((Exit.NORMAL, node.state))
            case StepKind.RAISE_END:
                self.exits.add((EXIT_OF[node.flight or Raised.OTHER], node.state))
            case StepKind.DISPATCH:
                yield from self._dispatch(node, step)
            case StepKind.RAISE:
                yield from self._raise(node, step)
            case StepKind.RESUME if step.why is Why.RAISE:
                yield self.raised(node, node.aside[-1] if node.aside else Raised.OTHER, node.state)
            case StepKind.BIND if step.node is not None:
                state = self.effects.bind(step.node, node.state)
                yield from self._plain(node, step, state)
            case StepKind.YIELD if self._stop_at_yield:
                self.exits.add((Exit.YIELD, node.state))
                if step.exc is not None:
                    yield self.raised(node, Raised.BASE, node.state)
            case StepKind.RETURN:
                self._note_true(node, step)
                yield from self._plain(node, step, node.state)
            case _:
                yield from self._plain(node, step, node.state)

    def _plain(self, node: Node, step: Step, state: State) -> Iterator[Node]:
        for edge in step.succ:
            yield self._along(node, edge, state)
        if step.exc is not None and (state.tx is not Tx.FAILED or not step.succ):
            yield self.raised(node, Raised.OTHER, state)

    def _transfer(self, node: Node, step: Step, transfer: Transfer) -> Iterator[Node]:
        self._reveal(node, transfer.seen)
        for state in transfer.normal:
            for edge in step.succ:
                yield self._along(node, edge, state)
        for kind, state in transfer.raised:
            if step.exc is not None:
                yield self.raised(node, kind, state)

    def _reveal(self, node: Node, seen: tuple[Seen, ...]) -> None:
        for what in seen:
            self.sights.append(Sight(what, node))
            if node.state.by == -3:
                kind = Exit.SEEN_STATEMENT if what is Seen.STATEMENT else Exit.SEEN_COMMIT
                self.exits.add((kind, node.state))

    def _with_exit(self, node: Node, step: Step, item: ast.withitem) -> Iterator[Node]:
        flight = node.flight if step.why is Why.RAISE else None
        transfer = self.effects.leave(item, node.state, flight)
        if flight is None:
            yield from self._transfer(node, step, transfer)
            return
        self._reveal(node, transfer.seen)
        for kind, state in transfer.raised:
            if step.exc is not None:
                yield self.raised(node, kind, state)
        for edge in step.succ:
            if edge.kind is EdgeKind.SUPPRESSED:
                for state in transfer.swallowed:
                    caught = state._replace(by=step.index, left=True) if _uncaught(state) else state
                    yield self._along(node, edge, caught)

    def _dispatch(self, node: Node, step: Step) -> Iterator[Node]:
        flight = node.flight
        nomatch = [edge for edge in step.succ if edge.kind is EdgeKind.NOMATCH]
        for edge in step.succ:
            if edge.kind is not EdgeKind.MATCH:
                continue
            handler = self.steps[edge.target].node
            clause = handler.type if isinstance(handler, ast.ExceptHandler) else None
            match = clause_matches(self.frame.resolver, clause, self.frame.scope, self.spec, flight or Raised.OTHER)
            if match is Match.NO:
                continue
            yield self._along(node, edge, self._caught(node, step, edge.target), keep=True)
            if match is Match.SURE:
                return
        for edge in nomatch:
            target = self.steps[edge.target]
            yield Node(edge.target, node.state, flight, _carried(step, target, node))
        if not nomatch:
            for edge in step.succ:
                if edge.kind is not EdgeKind.MATCH:
                    yield self._along(node, edge, node.state)

    def _caught(self, node: Node, step: Step, handler: int) -> State:
        state = node.state
        if state.tx is not Tx.FAILED or state.left or state.by == -3:
            return state
        if state.by >= 0 and state.by in step.saved:
            return state
        return state._replace(by=handler)

    def _along(self, node: Node, edge: Edge, state: State, *, keep: bool = False) -> Node:
        """Follow a normal edge: exceptions set aside outside the target are dropped, handlers may be left."""
        source, target = self.steps[node.step], self.steps[edge.target]
        aside: tuple[Raised, ...] = ()
        if target.saved:
            aside = tuple(
                node.aside[source.saved.index(owner)] if owner in source.saved else (node.flight or Raised.OTHER)
                for owner in target.saved
            )
        if state.tx is Tx.FAILED and not state.left:
            state = self._left(source, target, state)
        return Node(edge.target, state, node.flight if keep or source.kind is StepKind.DISPATCH else None, aside)

    def _left(self, source: Step, target: Step, state: State) -> State:
        if state.by >= 0:
            inside = state.by in target.saved or state.by == target.index
            return state if inside else state._replace(left=True)
        if state.by == -1:
            set_aside = (*source.saved, source.index) if _is_final(source) else source.saved
            dropped = [self.steps[owner] for owner in set_aside if owner not in target.saved]
            ended = next((step for step in dropped if step.kind is StepKind.FINALLY), None)
            if ended is not None:
                by = source if source.kind is StepKind.RETURN else ended
                return state._replace(by=by.index, left=True)
        return state

    def raised(self, node: Node, kind: Raised, state: State) -> Node:
        """Where an exception of the kind leads that the step of `node` raises in `state`."""
        source = self.steps[node.step]
        index = source.exc if source.exc is not None else self.frame.cfg.raise_end
        return Node(index, state, kind, _carried(source, self.steps[index], node))

    def _raise(self, node: Node, step: Step) -> Iterator[Node]:
        """A `raise`, or an assertion that fails; a handler is not judged by what it takes for granted."""
        if not (isinstance(step.node, ast.Assert) and node.state.tx is Tx.FAILED):
            yield self.raised(node, self._kind_raised(node, step), node.state)

    def _kind_raised(self, node: Node, step: Step) -> Raised:
        """The kind of a `raise`: the one set aside for a bare one, else told by the class."""
        if not isinstance(step.node, ast.Raise) or step.node.exc is None:
            return (
                (node.aside[-1] if node.aside else Raised.OTHER) if isinstance(step.node, ast.Raise) else Raised.OTHER
            )
        expression = step.node.exc
        if isinstance(expression, ast.Name):
            for owner, kind in zip(reversed(step.saved), reversed(node.aside), strict=False):
                handler = self.steps[owner].node
                if isinstance(handler, ast.ExceptHandler) and handler.name == expression.id:
                    return kind
        called = expression.func if isinstance(expression, ast.Call) else expression
        for value in externals(self.frame.resolver.evaluate(called, self.frame.scope)):
            if value.dotted in ("SystemExit", "KeyboardInterrupt", "GeneratorExit"):
                return Raised.BASE
            error = self.frame.resolver.table.error(value.dotted)
            if error is not None and error[0].name == self.spec.name:
                return Raised.DB
        return Raised.OTHER

    def _test(self, node: Node, step: Step, test: ast.expr) -> Iterator[Node]:
        truth = self._known_truth(test)
        if truth is None and node.state.tx is Tx.FAILED and node.state.by >= 0 and self._is_local(test):
            # Only what went through the handler is in this state, so its flags are those of the way here.
            truth = flags.truth(test, [self.steps[point.step] for point in self.path(node)[:-1]])
        guard = self._guard(step.index, test)
        if truth is None and guard is not None:
            truth = guard(node.state)
        for edge in step.succ:
            wanted = edge.kind is EdgeKind.TRUE
            if edge.kind in (EdgeKind.TRUE, EdgeKind.FALSE) and truth is not None and truth is not wanted:
                continue
            yield self._along(node, edge, node.state)
        if step.exc is not None and node.state.tx is not Tx.FAILED:
            yield self.raised(node, Raised.OTHER, node.state)

    def _nothing_in(self, node: Node, loop: ast.For | ast.AsyncFor) -> bool:
        """Whether the loop takes no turn after a failure, since what it goes over is still empty."""
        if node.state.tx is not Tx.FAILED or node.state.by < 0 or not self._is_local(loop.iter):
            return False
        return flags.is_empty(loop.iter, [self.steps[point.step] for point in self.path(node)[:-1]])

    def _is_local(self, test: ast.expr) -> bool:
        """Whether the test asks for a variable that this function alone binds."""
        name = test.left if isinstance(test, ast.Compare) else test
        name = name.value if isinstance(name, ast.Subscript) else name
        scope = self.frame.scope
        return isinstance(name, ast.Name) and name.id in scope.bindings and name.id not in scope.outer_names

    def _guard(self, index: int, test: ast.expr) -> Predicate | None:
        if index not in self._guards:
            self._guards[index] = holds(self.frame.resolver, test, self.frame.scope, self.subject.key)
        return self._guards[index]

    def _known_truth(self, test: ast.expr) -> bool | None:
        """What the caller's arguments say; inside `__exit__` the exception arguments are known to be None or not."""
        if isinstance(test, ast.Name) and test.id in self._flags:
            return self._flags[test.id]
        if self._raised_argument is None:
            return None
        names = [argument.arg for argument in self.frame.info.parameters[1:4]]
        match test:
            case ast.Name(id=name) if name in names:
                return self._raised_argument
            case ast.Compare(left=ast.Name(id=name), ops=[operator], comparators=[ast.Constant(value=None)]) if (
                name in names
            ):
                return self._raised_argument is isinstance(operator, (ast.IsNot, ast.NotEq))
        return None

    def _note_true(self, node: Node, step: Step) -> None:
        value = step.node.value if isinstance(step.node, ast.Return) else None
        if isinstance(value, ast.Constant) and value.value is True and self._raised_argument:
            self.exits.add((Exit.TRUE, node.state))


def _is_final(step: Step) -> bool:
    """Whether the step begins the `finally` copy of an exception, which it sets aside."""
    return step.kind is StepKind.FINALLY and step.why is Why.RAISE


def _uncaught(state: State) -> bool:
    return state.tx is Tx.FAILED and state.by != -3 and not state.left


def _carried(source: Step, target: Step, node: Node) -> tuple[Raised, ...]:
    """What is still set aside at the target of an exceptional edge."""
    if not target.saved:
        return ()
    return tuple(
        node.aside[source.saved.index(owner)] if owner in source.saved else Raised.OTHER for owner in target.saved
    )
