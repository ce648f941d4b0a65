"""Summaries of functions as state relations, on demand, memoised, recursion to the least fixpoint."""

from __future__ import annotations

import ast
from collections import deque

from dbsafety.facts.scopes import FunctionInfo
from dbsafety.typestate.automaton import State
from dbsafety.typestate.fixpoint import Fixpoint
from dbsafety.typestate.frame import Frame, Frames
from dbsafety.typestate.relation import Question, Relation, Start, Subject
from dbsafety.typestate.search import Search
from dbsafety.typestate.values import Evaluator, Handle, Key

_ROUNDS = 12
_MAX_DEPTH = 40
_MAX_REACH = 100
_UNKNOWN: Relation = frozenset()


class Summaries:
    """The state relations of a program's functions.

    An answer that met a budget is empty, which means unknown. `exhausted` counts budgets that were hit.
    """

    def __init__(self, resolver: Evaluator, frames: Frames) -> None:
        self.resolver = resolver
        self._shared = frames
        self._frames: dict[int, Frame] = {}
        self._over_budget = 0
        self._relations: Fixpoint[Question, Relation] = Fixpoint(
            frames.memory, frames.relations, _UNKNOWN, depth=_MAX_DEPTH, rounds=_ROUNDS, unsettled=_UNKNOWN
        )
        self._returns: Fixpoint[int, bool] = Fixpoint(
            frames.memory, frames.returns, True, depth=_MAX_DEPTH, rounds=_ROUNDS, unsettled=True
        )

    @property
    def exhausted(self) -> int:
        """How many budgets were hit."""
        return self._over_budget + self._relations.exhausted + self._returns.exhausted + self.resolver.exhausted

    def give_up(self) -> None:
        """Count a search over the budget."""
        self._over_budget += 1

    def frame(self, function: FunctionInfo) -> Frame:
        """The function with its graph and facts."""
        known = self._frames.get(id(function))
        if known is None:
            known = self._frames[id(function)] = Frame(self.resolver, function, self._shared)
        return known

    def relation(self, function: FunctionInfo, subject: Subject, start: Start, state: State) -> Relation:
        """The ways out of `function` for the connection when it starts in `state`; empty when a budget was hit."""
        handle = subject.handle
        question = (id(function), subject.key, handle.driver, handle.mode, subject.flags, start, state)
        return self._relations.ask(question, lambda: self._ways_out(function, subject, start, state))

    def _ways_out(self, function: FunctionInfo, subject: Subject, start: Start, state: State) -> Relation:
        search = self.search(function, subject)
        search.run(start, state)
        if search.over_budget:
            self._relations.give_up()
            return _UNKNOWN
        return frozenset(search.exits)

    def search(self, function: FunctionInfo, subject: Subject) -> Search:
        """A run over `function` for the connection, not yet started."""
        spec = self.resolver.table.driver(subject.handle.driver)
        return Search(self.frame(function), subject, self, spec)

    def touched(self, function: FunctionInfo) -> dict[Key, Handle]:
        """The connections that the function, or anything it calls, works on, without the local ones of callees."""
        return self._reached(function)[0]

    def is_vast(self, function: FunctionInfo) -> bool:
        """Whether the function calls so many others that it is not known which connections they all work on."""
        return self._reached(function)[1]

    def _reached(self, function: FunctionInfo) -> tuple[dict[Key, Handle], bool]:
        return self._shared.touched.get(id(function), lambda: self._within_reach(function))

    def _within_reach(self, function: FunctionInfo) -> tuple[dict[Key, Handle], bool]:
        """The connections, those of the nearest functions first, and whether some functions were left out."""
        found: dict[Key, Handle] = {}
        seen: set[int] = set()
        pending = deque([function])
        while pending and len(seen) < _MAX_REACH:
            current = pending.popleft()
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
        return found, any(id(left) not in seen for left in pending)

    def returns(self, function: FunctionInfo) -> bool:
        """Whether the function can end without an exception at all."""
        return self._returns.ask(id(function), lambda: self._can_return(function))

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
