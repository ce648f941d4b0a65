"""Fixpoints: the least solution of questions that need each other, the same from wherever they are asked."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from dbsafety.facts.program import Program
from dbsafety.typestate.fixpoint import Fixpoint
from dbsafety.typestate.memory import Memory, Store

Numbers = frozenset[int]
NOTHING: Numbers = frozenset()


class Puzzle:
    """Questions `0..n-1`; the answer to each is its own numbers and those of the questions it asks."""

    def __init__(
        self, asks: Mapping[int, list[int]], own: Mapping[int, Numbers], *, depth: int = 100, rounds: int = 12
    ) -> None:
        memory = Memory(Program())
        self.memory = memory
        self.store: Store[int, Numbers] = Store(memory)
        self.fixpoint: Fixpoint[int, Numbers] = Fixpoint(
            memory, self.store, NOTHING, depth=depth, rounds=rounds, unsettled=NOTHING
        )
        self.asks, self.own = asks, own
        self.computed: list[int] = []

    def ask(self, question: int) -> Numbers:
        """The answer."""
        return self.fixpoint.ask(question, lambda: self._computed(question))

    def _computed(self, question: int) -> Numbers:
        self.computed.append(question)
        return self.own.get(question, NOTHING).union(*(self.ask(other) for other in self.asks.get(question, ())))


def reachable(asks: Mapping[int, list[int]], own: Mapping[int, Numbers], start: int) -> Numbers:
    """The least solution by plain reachability."""
    seen, pending = {start}, [start]
    while pending:
        for other in asks.get(pending.pop(), ()):
            if other not in seen:
                seen.add(other)
                pending.append(other)
    return NOTHING.union(*(own.get(question, NOTHING) for question in seen))


@pytest.mark.parametrize("seed", range(60))
def test_the_least_solution_from_any_start(seed: int) -> None:
    chance = random.Random(seed)
    size = chance.randint(2, 14)
    asks = {q: [chance.randrange(size) for _ in range(chance.randint(0, 3))] for q in range(size)}
    own = {q: frozenset({q}) for q in range(size) if chance.random() < 0.5}
    order = chance.sample(range(size), size)
    puzzle = Puzzle(asks, own)
    assert [puzzle.ask(q) for q in order] == [reachable(asks, own, q) for q in order]
    assert puzzle.fixpoint.exhausted == 0
    assert not puzzle.memory.tainted
    assert not puzzle.store.own


def test_all_members_of_a_cycle_are_settled_at_once() -> None:
    puzzle = Puzzle({0: [1], 1: [2], 2: [0]}, {2: frozenset({7})})
    assert puzzle.ask(0) == {7}
    before = list(puzzle.computed)
    assert puzzle.ask(1) == puzzle.ask(2) == {7}
    assert puzzle.computed == before


def test_a_cycle_of_which_nothing_is_known_takes_one_round() -> None:
    puzzle = Puzzle({0: [1], 1: [2, 1], 2: [0]}, {})
    assert puzzle.ask(0) == NOTHING
    assert sorted(puzzle.computed) == [0, 1, 2]


@pytest.mark.parametrize("first", range(30))
def test_no_chain_is_too_deep(first: int) -> None:
    puzzle = Puzzle({q: [q + 1] for q in range(29)}, {29: frozenset({7})}, depth=3)
    assert puzzle.ask(first) == puzzle.ask(0) == {7}
    assert puzzle.fixpoint.exhausted == 0
    assert not puzzle.store.own


def test_what_is_asked_too_deep_inside_a_cycle_is_counted_and_holds_for_this_file_only() -> None:
    puzzle = Puzzle({0: [1], 1: [2], 2: [3], 3: [4], 4: [0]}, {0: frozenset({7})}, depth=3)
    puzzle.ask(0)
    assert puzzle.fixpoint.exhausted > 0
    assert puzzle.memory.tainted
    assert not puzzle.store.shared


@pytest.mark.parametrize("first", range(20))
def test_a_cycle_may_take_as_many_rounds_as_it_has_members(first: int) -> None:
    asks = {q: [max(q - 1, 0), min(q + 1, 19)] for q in range(20)}
    puzzle = Puzzle(asks, {19: frozenset({7})}, rounds=3)
    assert puzzle.ask(first) == {7}
    assert puzzle.fixpoint.exhausted == 0


@pytest.mark.parametrize("first", ["a", "b"])
def test_guesses_of_a_cycle_are_made_at_once(first: str) -> None:
    memory = Memory(Program())
    store: Store[str, Numbers] = Store(memory)
    fixpoint: Fixpoint[str, Numbers] = Fixpoint(memory, store, NOTHING, depth=9, rounds=9, unsettled=NOTHING)

    def a() -> Numbers:
        told = fixpoint.ask("b", b)
        return frozenset({0}) if not told and fixpoint.is_final() else told

    def b() -> Numbers:
        told = fixpoint.ask("a", a)
        return frozenset({1}) if not told and fixpoint.is_final() else told

    fixpoint.ask(first, a if first == "a" else b)
    assert (fixpoint.ask("a", a), fixpoint.ask("b", b)) == ({0}, {1})
    assert not memory.tainted


def test_what_never_settles_is_given_up() -> None:
    memory = Memory(Program())
    store: Store[str, int] = Store(memory)
    growing: Fixpoint[str, int] = Fixpoint(memory, store, 0, depth=9, rounds=5, unsettled=-1)

    def more() -> int:
        return 1 + growing.ask("other", lambda: growing.ask("more", more))

    assert growing.ask("more", more) == -1
    assert growing.exhausted == 1
    assert store.own == {"more": -1, "other": -1}


def guessing(first: str) -> tuple[Numbers, Numbers]:
    """Two questions that need each other, of which `a` guesses where it is told nothing; `first` is asked first."""
    memory = Memory(Program())
    store: Store[str, Numbers] = Store(memory)
    fixpoint: Fixpoint[str, Numbers] = Fixpoint(memory, store, NOTHING, depth=9, rounds=9, unsettled=NOTHING)

    def a() -> Numbers:
        told = fixpoint.ask("b", b)
        return frozenset({0}) if not told and fixpoint.is_final() else told

    def b() -> Numbers:
        return fixpoint.ask("a", a) | fixpoint.ask("known", lambda: frozenset({7}))

    fixpoint.ask(first, a if first == "a" else b)
    return fixpoint.ask("a", a), fixpoint.ask("b", b)


def test_a_guess_does_not_feed_its_own_cycle() -> None:
    assert guessing("a") == guessing("b") == (frozenset({7}), frozenset({7}))


def test_a_guess_is_made_where_the_cycle_says_nothing() -> None:
    memory = Memory(Program())
    store: Store[str, Numbers] = Store(memory)
    fixpoint: Fixpoint[str, Numbers] = Fixpoint(memory, store, NOTHING, depth=9, rounds=9, unsettled=NOTHING)

    def a() -> Numbers:
        told = fixpoint.ask("b", b)
        return frozenset({0}) if not told and fixpoint.is_final() else told

    def b() -> Numbers:
        return fixpoint.ask("a", a)

    assert fixpoint.ask("a", a) == fixpoint.ask("b", b) == {0}
    assert store.shared == {"a": {0}, "b": {0}}
