"""Summaries of functions as state relations, on demand, memoised, recursion to a fixpoint."""

from __future__ import annotations

import ast

from dbsafety.facts.scopes import FunctionInfo
from dbsafety.typestate.automaton import State
from dbsafety.typestate.frame import Frame, Frames
from dbsafety.typestate.relation import Relation, Start, Subject
from dbsafety.typestate.search import Search
from dbsafety.typestate.values import Evaluator, Handle, Key, Mode

_ROUNDS = 4
_MAX_DEPTH = 40
_MAX_REACH = 60
_Call = tuple[int, Key, str, Mode, tuple[tuple[str, bool], ...], Start, State]


class Summaries:
    """The state relations of a program's functions.

    A recursive call is answered with what is known so far; the call that closes the cycle repeats until nothing
    changes, at most four rounds, after which the answer is empty, which means unknown. What was found inside the cycle
    is kept until then only. `exhausted` counts budgets that were hit.
    """

    def __init__(self, resolver: Evaluator, frames: Frames) -> None:
        self.resolver = resolver
        self._shared = frames
        self.exhausted = 0
        self._frames: dict[int, Frame] = {}
        self._known: dict[_Call, Relation] = {}
        self._open: dict[_Call, tuple[Relation, int]] = {}
        self._partial: dict[_Call, tuple[Relation, int]] = {}
        self._lowest_cut = _MAX_DEPTH
        self._returns: dict[int, bool] = {}

    def frame(self, function: FunctionInfo) -> Frame:
        """The function with its graph and facts."""
        known = self._frames.get(id(function))
        if known is None:
            known = self._frames[id(function)] = Frame(self.resolver, function, self._shared)
        return known

    def relation(self, function: FunctionInfo, subject: Subject, start: Start, state: State) -> Relation:
        """The ways out of `function` for the connection when it starts in `state`; empty when a budget was hit."""
        handle = subject.handle
        call = (id(function), subject.key, handle.driver, handle.mode, subject.flags, start, state)
        known = self._known.get(call)
        if known is not None:
            return known
        pending = self._open.get(call) or self._partial.get(call)
        if pending is not None:
            self._lowest_cut = min(self._lowest_cut, pending[1])
            return pending[0]
        depth = len(self._open)
        if depth >= _MAX_DEPTH:
            self.exhausted += 1
            return frozenset()
        outer_cut, self._lowest_cut = self._lowest_cut, _MAX_DEPTH
        self._open[call] = (frozenset(), depth)
        try:
            result = self._solve(call, depth, function, subject, start, state)
        finally:
            del self._open[call]
        if self._lowest_cut >= depth:
            self._known[call] = result
            self._lowest_cut = outer_cut
        else:
            self._partial[call] = (result, self._lowest_cut)
            self._lowest_cut = min(self._lowest_cut, outer_cut)
        return result

    def _solve(
        self, call: _Call, depth: int, function: FunctionInfo, subject: Subject, start: Start, state: State
    ) -> Relation:
        """Run the function; when the answer needed itself, again with what is known so far until nothing changes."""
        for _ in range(_ROUNDS):
            search = self.search(function, subject)
            search.run(start, state)
            if search.over_budget:
                self.exhausted += 1
                return frozenset()
            result = frozenset(search.exits)
            if self._lowest_cut > depth:
                return result
            self._partial = {key: value for key, value in self._partial.items() if value[1] < depth}
            if result == self._open[call][0]:
                return result
            self._open[call] = (result, depth)
        self.exhausted += 1
        return frozenset()

    def search(self, function: FunctionInfo, subject: Subject) -> Search:
        """A run over `function` for the connection, not yet started."""
        spec = self.resolver.table.driver(subject.handle.driver)
        return Search(self.frame(function), subject, self, spec)

    def touched(self, function: FunctionInfo) -> dict[Key, Handle]:
        """The connections that the function, or anything it calls, works on, without the local ones of callees."""
        return self._shared.touched.get(id(function), lambda: self._within_reach(function))

    def _within_reach(self, function: FunctionInfo) -> dict[Key, Handle]:
        found: dict[Key, Handle] = {}
        seen: set[int] = set()
        pending = [function]
        while pending and len(seen) < _MAX_REACH:
            current = pending.pop()
            if id(current) in seen:
                continue
            seen.add(id(current))
            frame = self.frame(current)
            for key, handle in frame.own().items():
                if current is function or key.persistent:
                    found.setdefault(key, handle)
            if current is function:
                for key, handle in frame.passed().items():
                    found.setdefault(key, handle)
            pending.extend(target.info for target in frame.targets())
        return found

    def returns(self, function: FunctionInfo) -> bool:
        """Whether the function can end without an exception at all."""
        known = self._returns.get(id(function))
        if known is None:
            self._returns[id(function)] = True
            known = self._returns[id(function)] = self._can_return(function)
        return known

    def _can_return(self, function: FunctionInfo) -> bool:
        cfg = self.frame(function).cfg
        if cfg.truncated or cfg.is_generator:
            return True  # calling a generator function only makes the generator
        frame = self.frame(function)
        seen = {cfg.entry}
        pending = [cfg.entry]
        while pending:
            step = cfg.steps[pending.pop()]
            if step.index == cfg.return_end:
                return True
            following = [edge.target for edge in step.succ] if self._passes(frame, step.node) else []
            if step.exc is not None:
                following.append(step.exc)
            for index in following:
                if index not in seen:
                    seen.add(index)
                    pending.append(index)
        return False

    def _passes(self, frame: Frame, node: object) -> bool:
        """Whether a step lets control go on: a call that exits, or of a function that never returns, does not."""
        if not isinstance(node, ast.Call):
            return True
        facts = frame.call(node)
        if facts.exits or facts.aborts:
            return False
        return not facts.targets or any(self.returns(target.info) for target in facts.targets)
