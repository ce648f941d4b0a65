"""Answers to questions that may need themselves: the least fixpoint of each strongly connected component.

A question that is asked while it is under way is answered with what is known so far. The components are found as in
Tarjan's algorithm (R. Tarjan, "Depth-first search and linear graph algorithms", 1972): the question that closes a
component asks again until no member changes, then all members are settled at once. So the answers depend neither on
which member was asked first nor, between files, on the order of the files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from dbsafety.typestate.memory import Memory, Store

K = TypeVar("K")
V = TypeVar("V")

_NEVER = 1_000_000


class Fixpoint(Generic[K, V]):
    """Solves one kind of question; settled answers go to `store`.

    `bottom` is what is supposed of a question before anything is known. `unsettled`, if given, is the answer of a
    component that still changes after `rounds` rounds; without it the last answer stands. Either way, and when more
    than `depth` questions wait for each other, the answer holds for this file only, and `exhausted` counts it.
    """

    def __init__(
        self, memory: Memory, store: Store[K, V], bottom: V, *, depth: int, rounds: int, unsettled: V | None = None
    ) -> None:
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
        self._held: set[K] = set()
        self._released: set[K] = set()

    def ask(self, key: K, compute: Callable[[], V]) -> V:
        """The answer to `key`; `compute` may ask further questions."""
        known = self._store.shared.get(key)
        if known is not None:
            return known
        known = self._store.own.get(key)
        if known is not None:
            self._memory.tainted = True
            return known
        opened = self._active.get(key)
        if opened is not None:
            self._cut = min(self._cut, opened)
            return self._latest.get(key, self._bottom)
        partial = self._partial.get(key)
        if partial is not None:
            self._cut = min(self._cut, partial[1])
            return partial[0]
        if len(self._active) >= self._max_depth:
            self.give_up()
            return self._bottom if self._unsettled is None else self._unsettled
        return self._answer(key, compute)

    def give_up(self) -> None:
        """Say that the question under way met a budget: its answer holds for this file only."""
        self.exhausted += 1
        self._memory.tainted = True

    def is_final(self) -> bool:
        """Whether what the question under way has been told so far will not change.

        A question that takes something else where an answer is empty may do so only then: otherwise a guess would
        feed the cycle that it is part of. Once the component is settled without the guesses, it is settled with them.
        """
        if self._cut == _NEVER:
            return True
        key = next(reversed(self._active))
        if key in self._released:
            return True
        self._held.add(key)
        return False

    def _answer(self, key: K, compute: Callable[[], V]) -> V:
        memory, depth, mark = self._memory, len(self._active), len(self._trail)
        outer = memory.tainted, self._cut, self._changed
        memory.tainted, self._cut, self._changed = False, _NEVER, False
        self._active[key] = depth
        try:
            answer = compute()
            if self._cut == depth:
                answer = self._iterated(key, compute, answer, depth, mark)
        finally:
            del self._active[key]
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
        """Ask again with what is known so far until no member of the component changes."""
        for _ in range(self._rounds):
            members = {*self._trail[mark:], key}
            if not self._changed and self._latest.get(key, self._bottom) == answer:
                held = self._held & members
                if not held:
                    return answer
                self._released |= held
            self._held -= members
            self._reopen(mark)
            self._latest[key] = answer
            self._changed, self._cut = False, _NEVER
            answer = compute()
            if self._cut != depth:
                return answer
        self.give_up()
        if self._unsettled is not None:
            answer = self._unsettled
            self._partial.update((member, (answer, depth)) for member in self._trail[mark:])
        return answer

    def _reopen(self, mark: int) -> None:
        for member in self._trail[mark:]:
            self._latest[member] = self._partial.pop(member)[0]
        del self._trail[mark:]

    def _settle(self, key: K, answer: V, mark: int) -> V:
        """Keep the answers of a whole component."""
        kept = self._store.own if self._memory.tainted else self._store.shared
        kept[key] = answer
        members = self._trail[mark:]
        for member in members:
            kept[member] = self._partial.pop(member)[0]
        if members or self._latest:
            del self._trail[mark:]
            for member in (key, *members):
                self._latest.pop(member, None)
                self._held.discard(member)
                self._released.discard(member)
        return answer
