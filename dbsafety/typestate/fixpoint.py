"""Answers to questions that may need themselves: the least fixpoint of each strongly connected component.

A question that is asked while it is under way is answered with what is known so far. The components are found as in
Tarjan's algorithm (R. Tarjan, "Depth-first search and linear graph algorithms", 1972): the question that closes a
component asks again until no member changes, then all members are settled at once. So the answers depend neither on
which member was asked first nor, between files, on the order of the files.

Two more things keep it so. The guesses of a component are made at once, from what it has settled to without them, and
stand. A question too deep below others is answered before them, so that what is known already does not decide how far
the analysis looks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from dbsafety.typestate.memory import Memory, Store

K = TypeVar("K")
V = TypeVar("V")

_NEVER = 1_000_000
_MAX_WAITING = 100
"""Questions that wait for one too deep below them; only a component that is that deep in itself has so many."""


class _TooDeepError(Exception):
    """Too many questions wait for each other: the last one is to be answered before them."""


class Fixpoint(Generic[K, V]):
    """Solves one kind of question; settled answers go to `store`.

    `bottom` is what is supposed of a question before anything is known. `unsettled` is the answer of a component that
    still changes after `rounds` rounds and one for each member, and of a question that more than `depth` others of its
    own component wait for. Such an answer holds for this file only, and `exhausted` counts it.
    """

    def __init__(self, memory: Memory, store: Store[K, V], bottom: V, *, depth: int, rounds: int, unsettled: V) -> None:
        self.exhausted = 0
        self._memory = memory
        self._store = store
        self._bottom = bottom
        self._max_depth = depth
        self._rounds = rounds
        self._unsettled = unsettled
        self._active: dict[K, int] = {}
        self._cut = _NEVER
        self._changed = False
        self._latest: dict[K, V] = {}
        self._partial: dict[K, tuple[V, int]] = {}
        self._trail: list[K] = []
        self._waiting: dict[K, Callable[[], V]] = {}
        self._computes: list[Callable[[], V]] = []
        self._held: dict[K, Callable[[], V]] = {}
        self._guessing: K | None = None

    def ask(self, key: K, compute: Callable[[], V]) -> V:
        """The answer to `key`; `compute` may ask further questions."""
        known = self._known(key)
        if known is not None:
            return known
        opened = self._active.get(key)
        if opened is not None:
            self._cut = min(self._cut, opened)
            return self._latest.get(key, self._bottom)
        partial = self._partial.get(key)
        if partial is not None:
            self._cut = min(self._cut, partial[1])
            return partial[0]
        if not self._active:
            return self._from_start(key, compute)
        if len(self._active) < self._max_depth:
            return self._answer(key, compute)
        if key not in self._waiting and len(self._waiting) < _MAX_WAITING:
            self._waiting[key] = compute
            raise _TooDeepError
        self.give_up()
        return self._unsettled

    def give_up(self) -> None:
        """Say that the question under way met a budget: its answer holds for this file only."""
        self.exhausted += 1
        self._memory.tainted = True

    def is_final(self) -> bool:
        """Whether what the question under way has been told so far will not change.

        A question that takes something else where an answer is empty may do so only then: otherwise a guess would
        feed the cycle that it is part of.
        """
        if self._cut == _NEVER:
            return True
        key = next(reversed(self._active))
        if key == self._guessing:
            return True
        self._held[key] = self._computes[-1]
        return False

    def _known(self, key: K) -> V | None:
        """The answer that is settled already."""
        known = self._store.shared.get(key)
        if known is None:
            known = self._store.own.get(key)
            self._memory.tainted = self._memory.tainted or known is not None
        return known

    def _from_start(self, key: K, compute: Callable[[], V]) -> V:
        """Answer a question that no other waits for, and before it those that are too deep below it."""
        outer = self._memory.tainted
        self._waiting[key] = compute
        try:
            while True:
                last = next(reversed(self._waiting))
                try:
                    answer = self._known(last)
                    if answer is None:
                        answer = self._answer(last, self._waiting[last])
                    del self._waiting[last]
                    if not self._waiting:
                        return answer
                except _TooDeepError:
                    self._drop(0)
                self._memory.tainted = outer
        finally:
            if self._waiting:
                self._waiting.clear()
                self._drop(0)

    def _answer(self, key: K, compute: Callable[[], V]) -> V:
        memory, depth, mark = self._memory, len(self._active), len(self._trail)
        outer = memory.tainted, self._cut, self._changed
        memory.tainted, self._cut, self._changed = False, _NEVER, False
        self._active[key] = depth
        self._computes.append(compute)
        try:
            answer = compute()
            if self._cut == depth:
                answer = self._iterated(key, compute, answer, depth, mark)
        finally:
            del self._active[key]
            self._computes.pop()
        if self._cut >= depth:
            answer = self._settle(key, answer, mark)
            self._changed = outer[2]
        else:
            self._changed = self._changed or outer[2] or self._latest.get(key, self._bottom) != answer
            self._partial[key] = answer, self._cut
            self._trail.append(key)
        self._cut = outer[1] if self._cut >= depth else min(self._cut, outer[1])
        memory.tainted = memory.tainted or outer[0]
        return answer

    def _iterated(self, key: K, compute: Callable[[], V], answer: V, depth: int, mark: int) -> V:
        """Ask again with what is known so far until no member of the component changes, nor a guess is left."""
        turns = self._rounds
        while turns + len(self._trail) - mark > 0:
            turns -= 1
            if self._changed or self._latest.get(key, self._bottom) != answer:
                self._reopen(mark)
                self._latest[key] = answer
            else:
                guesses = self._guesses(key, answer, mark)
                if not guesses or self._cut != depth:
                    return answer
                (self._store.own if self._memory.tainted else self._store.shared).update(guesses)
                self._drop(mark)
                self._latest.pop(key, None)
                if key in guesses:
                    return guesses[key]
                turns = self._rounds
            self._changed, self._cut = False, _NEVER
            answer = compute()
            if self._cut != depth:
                return answer
        self.give_up()
        self._partial.update((member, (self._unsettled, depth)) for member in self._trail[mark:])
        return self._unsettled

    def _guesses(self, key: K, answer: V, mark: int) -> dict[K, V]:
        """What members of a settled component that were not to guess so far make of its answers; only what is new."""
        before = {key: answer, **{member: self._partial[member][0] for member in self._trail[mark:]}}
        held = {member: self._held.pop(member) for member in before if member in self._held}
        found: dict[K, V] = {}
        end, cut, guessing, changed = len(self._trail), self._cut, self._guessing, self._changed
        for member, compute in held.items():
            self._guessing = member
            self._active.setdefault(member, len(self._active))
            self._computes.append(compute)
            try:
                value = compute()
            finally:
                self._computes.pop()
                self._guessing = guessing
                if member != key:
                    del self._active[member]
            if value != before[member]:
                found[member] = value
        self._drop(end)
        self._changed = changed  # what the guesses asked besides is forgotten
        if self._cut < cut:
            self._held.update(held)  # it is part of a larger component, which is not settled yet
        return found

    def _reopen(self, mark: int) -> None:
        for member in self._trail[mark:]:
            self._latest[member] = self._partial.pop(member)[0]
            self._held.pop(member, None)
        del self._trail[mark:]

    def _drop(self, mark: int) -> None:
        """Forget members of a component that is not settled; all of them, if `mark` is 0 and nothing is under way."""
        for member in self._trail[mark:]:
            del self._partial[member]
            self._latest.pop(member, None)
            self._held.pop(member, None)
        del self._trail[mark:]
        if not self._active:
            self._latest.clear()
            self._held.clear()
            self._cut, self._changed = _NEVER, False

    def _settle(self, key: K, answer: V, mark: int) -> V:
        """Keep the answers of a whole component."""
        kept = self._store.own if self._memory.tainted else self._store.shared
        kept[key] = answer
        members = self._trail[mark:]
        for member in members:
            kept[member] = self._partial.pop(member)[0]
        if members or self._latest or self._held:
            del self._trail[mark:]
            for member in (key, *members):
                self._latest.pop(member, None)
                self._held.pop(member, None)
        return answer
