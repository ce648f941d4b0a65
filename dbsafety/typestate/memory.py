"""Answers that hold for every file of a run, kept beside those that hold for the file under analysis only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from dbsafety.drivers.table import DEFAULT_TABLE, DriverTable
from dbsafety.facts.program import Program
from dbsafety.typestate.values import Value

K = TypeVar("K")
V = TypeVar("V")


class Memory:
    """What is known of a program so far.

    Only an answer that came about without a cycle is the same whatever was asked before it, so only such answers are
    shared between files: findings must not depend on the order in which files are checked. An answer that needed
    itself, or one that needed such an answer, is forgotten with the file. `tainted` says that the computation under
    way has met one.
    """

    def __init__(self, program: Program, table: DriverTable = DEFAULT_TABLE) -> None:
        self.program = program
        self.table = table
        self.tainted = False
        self._stores: list[_Forgetful] = []
        self._generation = program.generation
        self.values: Store[tuple[int, int], frozenset[Value]] = Store(self)

    def register(self, store: _Forgetful) -> None:
        """From now on `store` forgets when the memory does."""
        self._stores.append(store)

    def begin(self) -> None:
        """Turn to another file: forget what held for the last one, and everything when a module has changed."""
        void = self._generation != self.program.generation
        self._generation = self.program.generation
        self.tainted = False
        for store in self._stores:
            store.forget(everything=void)


class Store(Generic[K, V]):
    """The answers to one kind of question; no answer is None."""

    def __init__(self, memory: Memory) -> None:
        self.shared: dict[K, V] = {}
        self.own: dict[K, V] = {}
        self._memory = memory
        memory.register(self)

    def get(self, key: K, compute: Callable[[], V]) -> V:
        """The answer to `key`, computed when it is asked for the first time."""
        found = self.shared.get(key)
        if found is not None:
            return found
        memory = self._memory
        found = self.own.get(key)
        if found is not None:
            memory.tainted = True
            return found
        outer, memory.tainted = memory.tainted, False
        found = compute()
        (self.own if memory.tainted else self.shared)[key] = found
        memory.tainted = memory.tainted or outer
        return found

    def forget(self, *, everything: bool) -> None:
        """Drop the answers for one file, or all."""
        self.own.clear()
        if everything:
            self.shared.clear()


class _Forgetful(Protocol):
    def forget(self, *, everything: bool) -> None:
        """Drop the answers for one file, or all."""
